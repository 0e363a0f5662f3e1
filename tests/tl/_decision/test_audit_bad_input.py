"""What no audit can answer: an error before any work, or rows with a status and no number made up."""

from __future__ import annotations

import warnings
from functools import partial
from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import scepsis as sps
from scepsis.stats import _learners
from scepsis.stats._boosted import Trees

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

QUICK: dict[str, Any] = {
    "n_null": 20, "n_boot": 30, "n_seeds": 1, "joint_mode": "diagonal", "show_progress_bar": False,
    "skip": "explain_edges",
}  # fmt: skip
NOT_ON_SCREEN = ["explain_edges", "incremental_value", "matched_evaluation"]
OF_SCREEN, OF_REFERENCE = ["A01", "A04", "A05", "A06", "A11"], ["A08", "A09", "A10", "R"]


@pytest.fixture(autouse=True)
def few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(_learners.BOOSTING, "max_iter", 2)
    monkeypatch.setattr("scepsis.tl._confounds._residualize_edges.Trees", partial(Trees, n_trees=2))


@pytest.fixture
def adata(make_audit: Callable[..., ad.AnnData]) -> ad.AnnData:
    return make_audit(n_genes=60, n_units=8, rate=0.25, companions=())


def network_of(adata: ad.AnnData, regulators: int = 8) -> pd.DataFrame:
    """True responders, every second pair of unknown mode."""
    target = adata.varm["perturbation_target"] == 1
    rows = [
        (adata.var_names[g], adata.var_names[t], "Activation" if t % 2 else "Unknown")
        for g in range(min(regulators, target.shape[1]))
        for t in np.flatnonzero(target[:, g])
        if t != g
    ]
    return pd.DataFrame(rows, columns=["source", "target", "mode"])


def run(adata: ad.AnnData, **more: Any) -> pd.DataFrame:
    """Tests of attention after an audit that raised nothing; nothing is significant that has no status ``ok``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        sps.tl.audit(adata, **{"reference": network_of(adata)} | QUICK | more)
    tests = sps.get.tests(adata)
    barred = tests[~tests["status"].isin(["ok", "underpowered"])]
    assert (barred["p_raw"].isna() | (barred["p_raw"] == 1)).all()
    assert not barred["significant"].eq(other=True).any()
    criteria = adata.uns["verdict"]["criteria"]
    assert not criteria.loc[criteria["criterion"] == "overall", "passed"].eq(other=True).any()
    return tests[tests["edges"] == "attention"]


def passed(adata: ad.AnnData, criterion: str, edges: str = "attention") -> Any:
    table = adata.uns["verdict"]["criteria"].set_index(["edges", "criterion"])
    return table.loc[(edges, criterion), "passed"]


@pytest.mark.parametrize("values", [np.nan, 1.0], ids=["all NaN", "constant"])
def test_edges_that_say_nothing(adata: ad.AnnData, values: float) -> None:
    adata.varp["attention"][:] = np.where(np.eye(adata.n_vars, dtype=bool), np.nan, values)
    tests = run(adata)
    assert not (tests["status"] == "ok").any()
    if np.isnan(values):
        assert tests["effect_size"].isna().all()
    else:
        chance = tests.set_index("name").loc["above_chance"]
        assert (chance["status"], chance["effect_size"]) == ("constant_score", 0.5)
        assert set(tests.loc[tests["analysis"].isin(["A05", "A06", "A09"]), "status"]) == {"constant_score"}
    assert [passed(adata, one) is pd.NA for one in "abc"] == [True, True, True]


def test_edges_that_share_no_pair_with_the_screen(adata: ad.AnnData) -> None:
    """Only genes that were not perturbed have edges, so no perturbation has any."""
    adata.varp["attention"][:8] = np.nan
    tests = run(adata, reference=network_of(adata))
    assert set(tests.loc[tests["analysis"].isin(OF_SCREEN), "status"]) <= {
        "too_few_units", "missing_vocab", "no_positives",
    }  # fmt: skip
    assert tests.loc[tests["analysis"].isin(OF_SCREEN), "effect_size"].isna().all()
    assert set(tests.loc[tests["analysis"].isin(OF_REFERENCE), "status"]) <= {"no_positives", "too_few_units"}
    scored = adata.uns["perturbation_auroc"]["per_perturbation"]
    assert set(scored.loc[scored["predictor"] == "attention", "status"]) == {"missing_vocab"}
    assert passed(adata, "a") is pd.NA


def test_a_table_of_other_genes_is_refused(adata: ad.AnnData, untouched: Callable[..., Any]) -> None:
    table = pd.DataFrame({"source": ["ENSG1", "ENSG2"], "target": ["ENSG2", "ENSG3"], "weight": [1.0, 2.0]})
    with untouched(adata), pytest.raises(ValueError, match="two namespaces"):
        sps.tl.audit(adata, edges={"mine": table}, **QUICK)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (lambda f: f.assign(source="ENSG" + f["source"], target="ENSG" + f["target"]), "two namespaces"),
        (lambda f: f.assign(target=f["source"]), "two different genes"),
    ],
    ids=["another namespace", "only self-pairs"],
)
def test_references_that_are_refused(
    adata: ad.AnnData, untouched: Callable[..., Any], reference: Callable[..., Any], message: str
) -> None:
    with untouched(adata), pytest.raises(ValueError, match=message):
        sps.tl.audit(adata, reference=reference(network_of(adata)), **QUICK)


def test_one_regulator(adata: ad.AnnData) -> None:
    tests = run(adata, reference=network_of(adata, regulators=1), skip=NOT_ON_SCREEN)
    found = tests[tests["analysis"].isin(OF_REFERENCE)]
    assert set(found["status"]) <= {"too_few_units", "single_stratum"}
    assert len(found)
    assert passed(adata, "c") is pd.NA
    assert (tests.loc[tests["analysis"].isin(["A01", "A04"]), "status"] == "ok").all()


def test_fewer_than_six_perturbations(make_audit: Callable[..., ad.AnnData]) -> None:
    adata = make_audit(n_genes=60, n_units=5, rate=0.25, companions=())
    tests = run(adata, reference=None)
    found = tests[tests["analysis"].isin(OF_SCREEN)]
    assert set(found["status"]) <= {"too_few_units", "not_run"}
    assert found.set_index("name").loc["above_chance", "effect_size"] > 0
    assert passed(adata, "a") is pd.NA
    assert passed(adata, "b") is pd.NA


def test_a_perturbation_to_which_every_gene_responds(adata: ad.AnnData) -> None:
    adata.varm["perturbation_target"][:, 2] = 1
    run(adata, reference=None, skip=["explain_edges", "residualize_edges"])
    found = adata.uns["perturbation_auroc"]["per_perturbation"]
    row = found[(found["perturbation"] == "G2") & (found["predictor"] == "attention")].iloc[0]
    assert row["status"] == "no_negatives"
    assert np.isnan(row["auroc"])
    tests = sps.get.tests(adata, edges="attention")
    units = tests.loc[tests["analysis"].isin(["A01", "A05", "A06"]) & (tests["status"] == "ok"), "n_units"]
    assert set(units) == {7}


def test_labels_that_are_all_positive(adata: ad.AnnData) -> None:
    network = network_of(adata)
    adata.varm["perturbation_target"][:] = 1
    tests = run(adata, reference=network)
    found = tests[tests["analysis"].isin(OF_SCREEN)]
    assert set(found["status"]) <= {"no_negatives", "too_few_units", "no_positives"}
    assert found["effect_size"].isna().all()
    assert passed(adata, "a") is pd.NA


def test_repeated_rows_of_a_reference_count_once(make_audit: Callable[..., ad.AnnData]) -> None:
    one, two = (make_audit(n_genes=60, n_units=8, rate=0.25, companions=()) for _ in range(2))
    network = network_of(one)
    first = run(one, reference=network, skip=NOT_ON_SCREEN)
    second = run(two, reference=pd.concat([network, network.assign(mode="Unknown")]), skip=NOT_ON_SCREEN)
    columns = ["name", "statistic", "effect_size", "p_raw", "ci_low", "ci_high", "n", "n_pos", "status"]
    pd.testing.assert_frame_equal(first[columns], second[columns])
    counts = two.uns["reference_auroc"]["network"].set_index("step")["n"]
    assert counts["n_rows"] == 2 * len(network)
    assert counts["n_unique"] == len(network)


@pytest.mark.real_data
def test_networks_as_edges_and_as_references_on_a_screen_that_decides_nothing(
    data_dir: Path, make_checkpoint: Callable[..., Path]
) -> None:
    """Attention, its untrained twin, correlation and three networks, on the real knockout screen."""
    folder = make_checkpoint(n_genes=25_424, n_layers=1, n_heads=2, width=16, positions=2048, sigma=0.2)
    dictionaries = {
        "token_dictionary": data_dir / "geneformer" / "token_dictionary.json",
        "gene_medians": data_dir / "geneformer" / "gene_median_dictionary.json",
    }
    model = sps.models.load(folder, **dictionaries)
    screen = ad.read_h5ad(data_dir / "screens" / "papalexi_eccite_thp1_299genes.h5ad")
    screen = screen[(screen.obs["gRNA_frac"] >= 0.8) & (screen.obs["gRNA_umi"] >= 3)].copy()
    sps.pp.lognormalize(screen, totals="n_umis_total")
    sps.pp.select_cells(screen, groupby="perturbation", control="non-targeting", n_cells=200)
    sps.pp.match_genes(screen, model, gene_ids="ensembl_id")
    sps.pp.select_panel(screen, model)
    networks = {
        "collectri": pd.read_csv(data_dir / "networks" / "collectri.csv"),
        "trrust": pd.read_csv(
            data_dir / "networks" / "trrust_human.tsv", sep="\t", names=["source", "target", "mode", "pmid"]
        ),
        "dorothea": pd.read_csv(data_dir / "networks" / "dorothea_hs.csv.gz").rename(columns={"tf": "source"}),
    }
    panel = screen.var_names[screen.var["edge_panel"]]
    pairs = pd.MultiIndex.from_product([panel, panel], names=["source", "target"])
    edges = {}
    for name, network in networks.items():
        listed = pairs.isin(pd.MultiIndex.from_frame(network[["source", "target"]]))
        table = pairs.to_frame(index=False).assign(weight=listed.astype(float))
        edges[name] = table[table["source"] != table["target"]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        skip = ["explain_edges", "residualize_edges", "incremental_value", "matched_evaluation", "select_layer"]
        sps.tl.audit(screen, model, edges=edges, reference=networks, **QUICK | {"skip": skip})
    names = ["attention", *networks, "spearman"]
    criteria = screen.uns["verdict"]["criteria"]
    assert list(dict.fromkeys(criteria["edges"])) == names
    assert criteria.loc[criteria["criterion"] != "c", "passed"].isna().all()  # (c) may fail on what can be counted
    summary = screen.uns["perturbation_auroc"]["summary"].set_index("predictor")
    assert {"attention_randomized", *names} <= set(summary.index)
    assert set(summary["status"]) == {"too_few_units"}
    assert summary.loc["attention", "n_units"] == 3  # STAT1, JAK2 and IFNGR2
    assert (summary.loc[list(networks), "n_units"] == 1).all()  # of these only STAT1 is a regulator
    tests = sps.get.tests(screen)
    scored = tests[tests["reference"] != ""]
    assert set(scored["reference"]) == set(networks)
    assert not (scored["edges"] == scored["reference"]).any()
    for name in networks:
        assert set(names) - {name} <= set(scored.loc[scored["reference"] == name, "edges"])
