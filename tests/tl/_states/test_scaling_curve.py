from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest, hypergeom, spearmanr, wilcoxon
from sklearn.metrics import average_precision_score, roc_auc_score

import scepsis as sps
from scepsis._core._rng import child
from scepsis.tl._states._samples import growing, more_types

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import anndata as ad

    Planted = Callable[..., tuple[ad.AnnData, pd.DataFrame]]
    Untouched = Callable[[ad.AnnData], Any]

QUIET: dict[str, Any] = {"show_progress_bar": False, "min_targets": 1}


def test_every_number_is_that_of_a_slow_loop(planted: Planted) -> None:
    adata, network = planted()
    assert sps.tl.scaling_curve(adata, reference=network, n_cells=[150, 600], n_seeds=6, rng=2, **QUIET) is None
    curve = adata.uns["scaling_curve"]["curve"]
    listed = np.zeros((30, 30), dtype=int)
    listed[adata.var_names.get_indexer(network["source"]), adata.var_names.get_indexer(network["target"])] = 1
    pairs = listed.any(axis=1)[:, None] & ~np.eye(30, dtype=bool)
    truth = listed[pairs]
    n_listed, n_pairs = int(truth.sum()), len(truth)
    f1 = {}
    for seed in range(6):
        order = child(2, "scaling_curve", seed).permutation(600)
        for n in (150, 600):
            scores = np.abs(spearmanr(adata.X[np.sort(order[:n])]).statistic)[pairs]
            part = curve[(curve["seed"] == seed) & (curve["n_cells"] == n)].set_index(["metric", "k"])
            assert part.loc[("auroc", 0), "value"] == pytest.approx(roc_auc_score(truth, scores), abs=1e-6)
            expected = average_precision_score(truth, scores)
            assert part.loc[("average_precision", 0), "value"] == pytest.approx(expected, abs=1e-6)
            for k in (20, 50, 100, n_listed):
                found = truth[np.argsort(-scores)[:k]].sum()
                row = part.loc[("top_k", k)]
                assert row["true_positives"] == pytest.approx(found)
                assert row["value"] == pytest.approx(2 * found / (k + n_listed))
                assert row["expected"] == pytest.approx(k * n_listed / n_pairs)
                assert row["chance_high"] == hypergeom(n_pairs, n_listed, k).ppf(0.975)
                f1[seed, n, k] = row["value"]
    assert {20, 50, 100, n_listed, n_pairs} <= set(curve["k"])
    differences = np.array([f1[seed, 600, n_listed] - f1[seed, 150, n_listed] for seed in range(6)])
    moved = differences[differences != 0]
    rows = adata.uns["tests"].set_index("name")
    down = int((moved < 0).sum())
    assert rows.loc["top_k/sign", "p_raw"] == binomtest(down, len(moved), alternative="greater").pvalue
    assert rows.loc["top_k/wilcoxon", "p_raw"] == pytest.approx(wilcoxon(moved, alternative="less").pvalue)
    assert rows["is_primary"].to_dict() == {"top_k/sign": True, "top_k/wilcoxon": False, "sign_matrix": False}
    assert rows["analysis"].to_dict() == {"top_k/sign": "A21", "top_k/wilcoxon": "A21", "sign_matrix": "A22"}
    table = adata.uns["scaling_curve"]["changes"].set_index(["metric", "k"])
    row = table.loc[("top_k", n_listed)]
    counts = [(differences > 0).sum(), (differences < 0).sum(), (differences == 0).sum()]
    assert [row["n_up"], row["n_down"], row["n_same"]] == counts
    assert row["sign"] == np.sign(counts[0] - counts[1])
    overlap = adata.uns["scaling_curve"]["overlap"].set_index("n_cells")["jaccard"]
    assert overlap[600] == 1 > overlap[150]  # all cells are the same cells in every run


def test_more_cells_are_better_where_there_is_one_network() -> None:
    adata = sps.datasets.simulate_cssi(n_states=1, cells_per_state=1000, rng=0)
    network = adata.uns["simulate_cssi"]["network"]
    sps.tl.scaling_curve(adata, reference=network, n_cells=[30, 100, 300, 1000, 5000], n_seeds=6, **QUIET)
    result = adata.uns["scaling_curve"]
    table = result["changes"]
    step = table[(table["from_cells"] == 30) & (table["to_cells"] == 300)]
    assert step.empty  # neighbours, and first against last
    assert table[(table["metric"] == "auroc") & (table["to_cells"] == 1000)]["sign"].tolist()[-1] == 1
    assert adata.uns["tests"].set_index("name").loc["top_k/sign", "p_raw"] == 1
    assert result["params"]["left_out"] == ["5000 cells"]
    assert result["params"]["single_metric"] is False
    assert result["fits"].set_index("fit").loc["saturating", "converged"]


@pytest.mark.parametrize("composition", ["random", "fixed", "varied"])
def test_planted_signals_are_seen_by_the_same_tests(planted: Planted, composition: Any) -> None:
    """Cells that know nothing: no change with their number, and one that is planted is found."""
    adata, network = planted()
    adata.X = np.random.default_rng(0).permuted(adata.X, axis=0)
    sizes = [100] if composition == "varied" else [100, 200, 400]
    sps.tl.scaling_curve(
        adata, reference=network, n_cells=sizes, composition=composition, groupby="cell_state", n_seeds=6, **QUIET
    )
    seen = adata.uns["scaling_curve"]["detection"]
    rows = adata.uns["tests"].set_index("name")
    expected = {"random": {"top_k/sign"}, "fixed": {"top_k/sign", "composition/fixed"}}
    assert set(seen["test"]) == expected.get(composition, {"composition/varied"})
    for test, own in seen.groupby("test"):
        assert own["delta"].tolist() == [0.25, 0.5, 1.0, 2.0]
        assert own["detected"].iloc[-1]
        assert own["p_value"].iloc[-1] < rows.loc[test, "p_raw"]
        assert (own["detected"] <= (own["p_value"] < 0.05)).all()
    if composition != "varied":
        top = seen[seen["test"] == "top_k/sign"]
        assert top["statistic"].iloc[-1] < rows.loc["top_k/sign", "effect_size"]
    else:
        assert seen["statistic"].iloc[-1] > 0.5


def test_samples_are_nested_and_fixed_in_composition() -> None:
    rows = np.arange(100, 1100)
    types = np.repeat([0, 1, 2, -1], [500, 300, 150, 50])
    for fixed in (True, False):
        samples = growing(rows, types, [40, 200, 1000, 2000], np.random.default_rng(0), fixed=fixed)
        assert [len(one.rows) for one in samples] == [40, 200, 1000]
        assert set(samples[0].rows) < set(samples[1].rows) < set(samples[2].rows) == set(rows)
        if fixed:
            for one in samples:
                counts = np.bincount(types[one.rows - 100] + 1, minlength=4)
                np.testing.assert_allclose(counts, len(one.rows) * np.array([0.05, 0.5, 0.3, 0.15]), atol=1)
    shares = np.array([500, 300, 150]) / 950
    assert samples[2].entropy == pytest.approx(-(shares * np.log(shares)).sum())
    assert samples[2].n_types == 3
    many, missing = more_types(rows, types, 360, np.random.default_rng(0))
    found = {one.n_types: one for one in many}
    assert sorted([*found, *missing]) == [1, 2, 3]
    assert all(len(one.rows) == 360 for one in many)
    assert found[3].entropy == pytest.approx(np.log(3)) if 3 in found else 3 in missing


@pytest.mark.parametrize("composition", ["fixed", "varied"])
def test_controlled_composition(planted: Planted, composition: Any) -> None:
    adata, network = planted()
    sizes = [60, 150, 600] if composition == "fixed" else [100]
    sps.tl.scaling_curve(
        adata, reference=network, n_cells=sizes, composition=composition, groupby="cell_state", n_seeds=6, **QUIET
    )
    curve = adata.uns["scaling_curve"]["curve"]
    part = curve[curve["metric"] == "auroc"]
    column = "n_cells" if composition == "fixed" else "entropy"
    expected = spearmanr(part[column], part["value"])
    row = adata.uns["tests"].set_index("name").loc[f"composition/{composition}"]
    assert row["statistic"] == pytest.approx(expected.statistic)
    assert row["p_raw"] == pytest.approx(expected.pvalue, abs=0.02)
    assert row["is_primary"] == (composition == "varied")
    if composition == "fixed":
        assert (part["n_types"] == 6).all()
        assert row["statistic"] > 0.5
    else:
        assert sorted(part["n_types"].unique()) == [1, 2, 3, 4, 5, 6]
        assert "top_k/sign" not in set(adata.uns["tests"]["name"])


@pytest.mark.filterwarnings("ignore:`adata` has 60 of")
def test_attention(screen: ad.AnnData, small_model: Any) -> None:
    network = pd.DataFrame({"source": ["G0"] * 3 + ["G1"] * 3, "target": [f"G{number}" for number in range(10, 16)]})
    options: dict[str, Any] = {"n_cells": [40, 280], "n_seeds": 1, "layers": [1], "metrics": ["auroc"], "ks": [5]}
    sps.tl.scaling_curve(screen, small_model, reference=network, **options, **QUIET)
    curve = screen.uns["scaling_curve"]["curve"].set_index("n_cells")
    sps.tl.attention_edges(screen, small_model, layers=[1], show_progress_bar=False)
    matrix = sps.get.edge_matrix(screen, "attention").reindex(index=screen.var_names, columns=screen.var_names)
    rows = matrix.to_numpy()[:2]
    listed = np.zeros((2, 60), dtype=int)
    listed[[0] * 3 + [1] * 3, range(10, 16)] = 1
    known = ~np.isnan(rows)
    assert curve.loc[280, "value"] == pytest.approx(roc_auc_score(listed[known], rows[known]), abs=1e-6)
    assert screen.uns["scaling_curve"]["params"]["single_metric"] is True
    assert screen.uns["tests"].set_index("name").loc["top_k/sign", "status"] == "too_few_units"


def test_wrong_input_and_nothing_to_find(planted: Planted, untouched: Untouched) -> None:
    adata, network = planted()
    with untouched(adata):
        for options, message in (
            ({"composition": "fixed"}, "groupby"),
            ({"composition": "mixed"}, "'mixed'"),
            ({"n_cells": [601]}, "600 chosen cells"),
            ({"n_cells": []}, "n_cells"),
            ({"metrics": ["f1"]}, "'f1'"),
            ({"n_seeds": 0}, "n_seeds"),
            ({"score": "kendall"}, "'kendall'"),
            ({"layers": [0]}, "`layers`"),
        ):
            with pytest.raises(ValueError, match=message):
                sps.tl.scaling_curve(adata, reference=network, **({"n_cells": [100]} | options))
        with pytest.raises(MemoryError, match=r"30 genes in 600 cells.*select_panel"):
            sps.tl.scaling_curve(adata, reference=network, n_cells=[100], memory_limit=1000)
    sps.tl.scaling_curve(
        adata, reference=network, n_cells=[100, 200], n_seeds=2, min_targets=30, show_progress_bar=False
    )
    assert (adata.uns["scaling_curve"]["curve"]["status"] == "no_positives").all()
    assert (adata.uns["tests"]["status"] == "no_positives").all()


def test_it_survives_writing(planted: Planted, roundtrips: Callable[[ad.AnnData], Iterator[ad.AnnData]]) -> None:
    adata, network = planted()
    sps.tl.scaling_curve(adata, reference=network, n_cells=[100, 300], n_seeds=2, **QUIET)
    for back in roundtrips(adata):
        for name in ("curve", "changes", "fits", "overlap", "detection"):
            frames = back.uns["scaling_curve"][name], adata.uns["scaling_curve"][name]
            pd.testing.assert_frame_equal(*frames, check_dtype=False)
