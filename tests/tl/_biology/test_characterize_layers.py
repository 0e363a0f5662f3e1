from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

import scepsis as sps

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LAYERS = [f"attention_L{layer}" for layer in range(8)]


def run(adata: ad.AnnData, references: dict[str, Any], **more: Any) -> dict[str, Any]:
    options = {"edges": LAYERS, "n_null": 50, "show_progress_bar": False}
    assert sps.tl.characterize_layers(adata, references, **(options | more)) is None
    return adata.uns[more.get("key_added", "characterize_layers")]


def of(frame: pd.DataFrame, reference: str, **more: Any) -> pd.DataFrame:
    frame = frame[frame["reference"] == reference]
    for column, value in more.items():
        frame = frame[frame[column] == value]
    return frame


@pytest.fixture
def planted(make_layers: Callable[..., Any]) -> tuple[ad.AnnData, dict[str, Any], dict[str, Any]]:
    adata, references = make_layers()
    return adata, references, run(adata, references)


def test_what_early_and_late_layers_carry_is_found_where_it_is(planted: Any) -> None:
    adata, _, result = planted
    trends = result["trends"].set_index("reference")
    assert trends.loc["complexes", "slope_high"] < 0
    assert trends.loc["regulation", "slope_low"] > 0
    assert trends.loc["complexes", "rho"] < -0.9
    assert trends.loc["regulation", "rho"] > 0.9
    assert trends.loc["complexes", "highest_layer"] <= 1
    assert trends.loc["regulation", "highest_layer"] >= 6
    assert trends.loc["abundant", "slope_low"] < 0 < trends.loc["abundant", "slope_high"]
    (pair,) = result["agreement"].query("first == 'complexes' and second == 'regulation'").to_dict("records")
    assert pair["rho"] < -0.8
    tests = sps.get.tests(adata).set_index(["reference", "name"])
    assert tests.loc[("regulation", "trend"), "p_raw"] < 0.01
    assert tests.loc[("regulation", "trend"), "role"] == "confirmatory"
    assert tests.loc[("complexes", "enrichment/greater"), "p_raw"] < 0.2  # 50 permutations, times 8 layers


def test_partial_correlations_tell_pairs_from_genes(planted: Any) -> None:
    """Highly expressed genes attend to each other: an AUROC like that of a network, and nothing left of it."""
    adata, _, result = planted
    profile, partial = result["profile"], result["partial"]
    assert of(profile, "abundant", kind="edges")["auroc"].min() > 0.7
    ranks = partial[(partial["scale"] == "rank") & (partial["kind"] == "edges")]
    assert (of(ranks, "abundant", given="nothing")["p_value"] < 0.01).all()
    assert (of(ranks, "abundant", given="genes")["p_value"] > 0.05).sum() >= 7
    assert of(ranks, "abundant", given="genes")["retained"].abs().max() < 0.5
    for reference, layer in (("complexes", 0), ("regulation", 7)):
        (row,) = of(ranks, reference, given="pair_and_genes", layer=layer).to_dict("records")
        assert row["p_value"] < 1e-4
        assert row["ci_low"] > 0.1
    tests = sps.get.tests(adata).set_index(["reference", "name"])
    primary = "partial/pair_and_genes"
    assert tests.loc[("complexes", primary), "p_raw"] < 1e-3
    assert tests.loc[("abundant", primary), "p_raw"] > 0.05
    assert tests.loc[("abundant", primary), "baseline_value"] > 0.8  # what the product of means reaches alone
    assert tests["is_primary"].sum() == 4


def test_co_expression_is_taken_away_by_the_pair_alone(make_layers: Callable[..., Any]) -> None:
    adata, references = make_layers(signal=0, confound=0, along=8)
    result = run(adata, {name: references[name] for name in ("coexpressed", "regulation")})
    ranks = result["partial"].query("scale == 'rank' and kind == 'edges'")
    assert of(ranks, "coexpressed", given="nothing")["partial"].min() > 0.3
    assert of(ranks, "coexpressed", given="genes")["partial"].min() > 0.15
    assert of(ranks, "coexpressed", given="pair_and_genes")["partial"].abs().max() < 0.12
    assert of(ranks, "regulation", given="pair_and_genes")["partial"].abs().max() < 0.12
    assert result["references"].set_index("reference").loc["coexpressed", "kind"] == "undirected"


def test_aurocs_are_those_of_scikit_learn_in_the_universe_of_each_reference(planted: Any) -> None:
    adata, references, result = planted
    n, names = adata.n_vars, list(adata.var_names)
    upper = np.triu_indices(n, 1)
    together = np.zeros((n, n), dtype=bool)
    for genes in references["complexes"].values():
        own = [names.index(gene) for gene in genes]
        together[np.ix_(own, own)] = True
    regulates = adata.varp["regulation"] != 0
    rows = np.flatnonzero(regulates.sum(axis=1) >= 3)
    others = rows[:, None] != np.arange(n)
    table = result["profile"].set_index(["reference", "edges"])["auroc"]
    for key in ("attention_L0", "attention_L5", "spearman"):
        values = np.abs(adata.varp[key].astype(np.float64))
        both = ((values + values.T) / 2)[upper].astype(np.float32)
        assert table["complexes", key] == pytest.approx(roc_auc_score(together[upper], both), abs=1e-12)
        directed = roc_auc_score(regulates[rows][others], values[rows][others])
        assert table["regulation", key] == pytest.approx(directed, abs=1e-12)
    mean = adata.var["mean"].to_numpy(dtype=np.float64)
    product = np.outer(mean, mean)[upper].astype(np.float32)
    assert table["complexes", "mean_product"] == pytest.approx(roc_auc_score(together[upper], product), abs=1e-12)
    counts = result["references"].set_index("reference")
    assert counts.loc["complexes", "n_evaluated"] == together[upper].sum()
    assert counts.loc["complexes", "largest_set"] == pytest.approx(6 / together[upper].sum())
    assert counts.loc["regulation", "n_evaluated"] == regulates[rows].sum()


@pytest.mark.filterwarnings("ignore:Attention is scored without")
def test_intervals_are_those_of_reference_auroc(planted: Any) -> None:
    """The same pairs, by the code that ranks one reference at a time; there, genes without a listed pair count too."""
    adata, references, result = planted
    sps.tl.reference_auroc(adata, references["regulation"], edges=["attention_L6", "spearman"], n_boot=10)
    expected = adata.uns["reference_auroc"]["summary"].query("statistic == 'pooled' and predictor == 'attention_L6'")
    row = of(result["profile"], "regulation", edges="attention_L6").iloc[0]
    (wanted,) = expected.to_dict("records")
    assert row["auroc"] == pytest.approx(wanted["auroc"], abs=1e-9)
    assert row["ci_low"] == pytest.approx(wanted["ci_low"], abs=1e-5)
    compared = adata.uns["reference_auroc"]["contrasts"].query("statistic == 'pooled' and versus == 'spearman'")
    (wanted,) = compared[compared["edges"] == "attention_L6"].to_dict("records")
    assert row["difference_low"] == pytest.approx(wanted["ci_low"], abs=1e-5)
    assert row["minimum_detectable"] == pytest.approx(wanted["minimum_detectable"], abs=1e-5)


def test_the_methods_paragraph_tells_how_it_was_made(planted: Any) -> None:
    adata, references, _ = planted
    sps.tl.tf_profile(adata, references["regulation"], edges=LAYERS[0], n_null=20)
    sps.tl.attention_vs_coexpression(adata, edges=LAYERS[0], n_null=30, show_progress_bar=False)
    said = sps.get.methods(adata)
    assert "are listed in the references complexes, regulation, abundant and coexpressed, beside spearman" in said
    assert "compared with 50 permutations of gene names" in said
    assert "with 20 permutations of class labels, as inference from 50 regulators with 3 targets on" in said
    assert "over pairs, against 30 permutations of gene names" in said


def test_trend_statistics_follow_from_the_profile(planted: Any) -> None:
    _, _, result = planted
    values = of(result["profile"], "complexes", kind="edges").sort_values("layer")["auroc"]
    row = result["trends"].set_index("reference").loc["complexes"]
    assert row["rho"] == pytest.approx(spearmanr(range(8), values).statistic)
    assert row["slope"] == pytest.approx(np.polyfit(range(8), values, 1)[0])


def test_same_seed_same_result_whatever_else_is_asked(make_layers: Callable[..., Any]) -> None:
    adata, references = make_layers()
    first = run(adata, references)
    second = run(adata, dict(reversed(references.items())), edges=LAYERS[::-1], key_added="again")
    by = ["reference", "edges"]
    for name in ("profile", "enrichment", "partial"):
        more = ["scale", "given"] if name == "partial" else []
        one, other = (result[name].sort_values([*by, *more]).reset_index(drop=True) for result in (first, second))
        drop = [column for column in one if column.startswith("q_")]
        pd.testing.assert_frame_equal(one.drop(columns=drop), other.drop(columns=drop), check_exact=True)


def test_random_weights_stand_beside_and_are_not_tested(
    make_layers: Callable[..., Any], store_edges: Callable[..., None]
) -> None:
    adata, references = make_layers()
    rng = np.random.default_rng(0)
    for layer in range(8):
        noise = rng.random((adata.n_vars, adata.n_vars))
        store_edges(adata, f"attention_randomized_L{layer}", noise, method="attention", scale="probability")
    for owner in ("attention", "attention_randomized"):
        keys = [f"{owner}_L{layer}" for layer in range(8)]
        adata.uns[owner] = {"params": adata.uns[keys[0]]["params"] | {"layers": list(range(8))}, "edges_keys": keys}
        for key in keys:
            del adata.uns[key]
    result = run(adata, references, edges=None)
    assert set(result["trends"]["kind"]) == {"edges", "control"}
    tests = sps.get.tests(adata)
    assert set(tests["edges"]) == {"attention"}
    assert set(tests["role"]) == {"confirmatory"}  # all layers were looked at: none was chosen
    control = result["partial"].query("kind == 'control' and scale == 'rank' and given == 'pair_and_genes'")
    assert (control["p_value"] < 0.05).mean() < 0.3
    one = run(adata, references, edges=["attention_L7"], key_added="one")
    assert len(one["trends"]) == 0
    assert set(sps.get.tests(adata).query("key == 'one'")["role"]) == {"exploratory"}


def test_a_small_reference_has_no_numbers_and_a_degenerate_one_a_status(make_layers: Callable[..., Any]) -> None:
    adata, references = make_layers()
    names = list(adata.var_names)
    given = {
        "complexes": references["complexes"],
        "tiny": pd.DataFrame({"source": names[:2], "target": names[2:4]}),
        "few": {"one": names[:4], "two": names[1:5]},
        "everything": {"all": names},
        "nothing": pd.DataFrame({"source": [names[0], "elsewhere"], "target": ["nowhere", names[1]]}),
        "alone": {"one": names[:1], "two": [*names[1:2], "nowhere"]},
    }
    adata.varp["flat"] = np.ones((adata.n_vars, adata.n_vars), dtype=np.float32)
    with pytest.warns(UserWarning, match="no record of the cells"):
        result = run(adata, given, edges={"attention_L0": "attention_L0", "attention_L1": "flat"})
    status = result["references"].set_index("reference")["status"].to_dict()
    assert status == {
        "complexes": "ok",
        "tiny": "no_positives",
        "few": "too_few_units",
        "everything": "no_negatives",
    } | dict.fromkeys(["nothing", "alone"], "no_positives")
    profile = result["profile"].set_index(["reference", "edges"])
    assert profile.loc[("complexes", "attention_L1"), "status"] == "constant_score"
    assert profile.loc[("complexes", "attention_L1"), "auroc"] == 0.5
    assert profile.loc[["tiny", "everything"], "auroc"].isna().all()
    assert np.isfinite(profile.loc[("few", "attention_L0"), "auroc"])
    assert np.isnan(profile.loc[("few", "attention_L0"), "ci_low"])
    tests = sps.get.tests(adata)
    assert tests[tests["status"] != "ok"]["p_raw"].isna().all()
    assert len(tests) == 6 * 7


def test_results_survive_the_disk_and_a_copy(
    planted: Any, roundtrips: Callable[..., Any], untouched: Callable[..., Any]
) -> None:
    adata, references, result = planted
    small = ad.AnnData(np.zeros((1, 1)), uns={"characterize_layers": result, "tests": adata.uns["tests"]})
    for back in roundtrips(small):
        for name, frame in result.items():
            if name != "params":
                pd.testing.assert_frame_equal(back.uns["characterize_layers"][name], frame, check_dtype=False)
    with untouched(adata):
        copied = sps.tl.characterize_layers(
            adata, references, edges=LAYERS[:2], n_null=5, key_added="other", copy=True, show_progress_bar=False
        )
    assert "other" in copied.uns


def test_wrong_input_is_told_before_any_work(make_layers: Callable[..., Any], untouched: Callable[..., Any]) -> None:
    adata, references = make_layers()
    network = references["regulation"]
    wrong: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
        (network, {}, TypeError, "must be a dict from names"),
        ({}, {}, TypeError, "without entries"),
        ({"net": [1]}, {}, TypeError, r"references\['net'\]"),
        ({"net": network.rename(columns={"target": "to"})}, {}, KeyError, "lacks 'target'"),
        ({"net": network.replace(r"^", "mouse_", regex=True)}, {}, ValueError, "two namespaces"),
        ({"sets": {"one": ["a", "b"]}}, {}, ValueError, "two namespaces"),
        ({"sets": {"one": "TF01"}}, {}, TypeError, "of strings"),
        ({"net": network}, {"kinds": {"net": "tree"}}, ValueError, "kinds"),
        ({"net": network}, {"kinds": {"other": "directed"}}, ValueError, "does not have"),
        ({"net": network}, {"edges": None}, KeyError, "attention"),
        ({"net": network}, {"edges": ["nowhere_L0"]}, KeyError, "nowhere_L0"),
        ({"net": network}, {"edges": {"a_L0": LAYERS[0], "a_L00": LAYERS[1]}}, ValueError, "more than once"),
        ({"net": network}, {"versus": "pearson"}, KeyError, "pearson"),
        ({"net": network}, {"edges": "spearman"}, ValueError, "nothing but 'spearman', which layers are compared with"),
        ({"net": network}, {"universe": "unordered"}, ValueError, "universe"),
        ({"net": network}, {"top": 0}, ValueError, "top"),
        ({"net": network}, {"edges": {"mean": "attention_L0"}}, ValueError, "'mean', which another predictor has"),
        (
            {"sets": references["complexes"]},
            {"edges": {"mean_product": "attention_L0"}},
            ValueError,
            "'mean_product', which another predictor has",
        ),
    ]
    for given, more, error, words in wrong:
        with untouched(adata), pytest.raises(error, match=words):
            run(adata, given, **more)
    del adata.var["variance"]
    with untouched(adata), pytest.raises(KeyError, match="gene_features"):
        run(adata, {"net": network})


@pytest.mark.real_data
def test_published_references_lie_over_real_cells(data_dir: Path) -> None:
    """Gene sets and networks as they are distributed, over the genes of a screen, by symbol."""
    adata = ad.read_h5ad(data_dir / "screens" / "papalexi_eccite_thp1_299genes.h5ad")[:600].copy()
    sets = {
        line.split("\t")[0]: line.rstrip("\n").split("\t")[2:]
        for line in (data_dir / "networks" / "GO_Biological_Process_2021.gmt").read_text().splitlines()
    }
    string = pd.read_csv(data_dir / "networks" / "hESC_STRING_TFs500.csv").set_axis(["source", "target"], axis=1)
    trrust = pd.read_csv(
        data_dir / "networks" / "trrust_human.tsv", sep="\t", header=None, names=["source", "target", "mode", "pmid"]
    )
    adata.obs["edge_cells"], adata.var["edge_panel"] = True, True
    sps.pp.lognormalize(adata, totals="n_umis_total")
    sps.pp.gene_features(adata)
    sps.tl.correlation_edges(adata)
    sps.tl.correlation_edges(adata, method="pearson")
    result = run(adata, {"go": sets, "string": string, "trrust": trrust}, edges="pearson", top=100)
    found = result["references"].set_index("reference")
    assert found["kind"].to_dict() == {"go": "gene_sets", "string": "undirected", "trrust": "directed"}
    own = [set(genes) & set(adata.var_names) for genes in sets.values()]
    varies = set(adata.var_names[adata.var["variance"] > 0])
    pairs = {frozenset((one, other)) for genes in own for one in genes for other in genes if one != other}
    assert found.loc["go", "n_in_panel"] == len(pairs)
    profile = of(result["profile"], "go", edges="pearson").iloc[0]
    assert profile["n_pos"] == sum(pair <= varies for pair in pairs)
    assert abs(profile["difference"]) < 0.05  # one correlation against another
