"""
Cost of scoring edges against responders, beside a loop over scikit-learn's `roc_auc_score`.

    python benchmarks/auroc.py            # 1,000 perturbations x 2,000 genes, about three minutes
    python benchmarks/auroc.py --quick    # 200 x 1,000, for a look

Prints rows of markdown. Ours and the loop take turns in one process, so that a machine that slows down slows both;
wall time is the smallest of the repetitions. The loop scores the same pairs by the same predictors and computes
nothing but the AUROC; the public function fills its whole result (own and filled AUROCs, precision, partial areas,
deciles, intervals, tests, bootstrap).
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

import scepsis as sps
from scepsis._core._edge_slots import provenance
from scepsis._core._resolve import Choice
from scepsis.stats._auroc import auroc, placements

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

COMPANIONS = ("uniform_fold", "centered", "randomized")
CONTROL = "non-targeting"


def make_screen(n_units: int, n_genes: int, *, gaps: bool) -> ad.AnnData:
    """
    Scores with heavy ties, 2.8 % responders; with `gaps`, 3 % of the genes are no tokens and a fifth has no label.

    Scores are rounded to two decimals, so that a row of 2,000 has a few hundred distinct values.
    """
    rng = np.random.default_rng(0)
    names = [f"G{index}" for index in range(n_genes)]
    cells = pd.DataFrame({"perturbation": [CONTROL] * 200, "edge_cells": True}, index=[f"c{i}" for i in range(200)])
    height = np.round(rng.normal(size=n_genes), 2)
    var = pd.DataFrame({"edge_panel": True, "mean": height, "variance": -height, "detection_rate": height}, index=names)
    var["attention_position"] = height.astype(np.float32)
    adata = ad.AnnData(X=np.zeros((200, n_genes), dtype=np.float32), obs=cells, var=var)
    everything = Choice(np.ones(200, dtype=bool), "edge_cells"), Choice(np.ones(n_genes, dtype=bool), "edge_panel")
    record = provenance(adata, *everything, cells_name="", genes_name="")
    adata.uns["gene_features"] = {"params": record}
    for key in ("attention", *(f"attention_{name}" for name in COMPANIONS), "spearman"):
        values = np.round(rng.normal(size=(n_genes, n_genes)), 2).astype(np.float32)
        np.fill_diagonal(values, np.nan)
        if gaps and key != "spearman":
            values[-n_genes * 3 // 100 :] = values[:, -n_genes * 3 // 100 :] = np.nan
        adata.varp[key] = values
        own = {"signed": key == "spearman"}
        own |= {"method": "spearman"} if key == "spearman" else {"method": "attention", "scale": "probability"}
        adata.uns[key] = {"params": record | own, "edges_keys": [key]}
    adata.varp["attention_n_cells"] = rng.integers(1, 200, (n_genes, n_genes)).astype(np.int32)
    target = (rng.random((n_genes, n_units)) < 0.028).astype(np.float32)
    if gaps:
        target[rng.random(target.shape) < 0.2] = np.nan
    adata.varm["perturbation_target"] = target
    table = pd.DataFrame({"perturbation": names[:n_units], "gene": names[:n_units], "status": "ok"})
    adata.uns["perturbation_effects"] = {
        "params": {"groupby": "perturbation", "control": CONTROL},
        "perturbations": table,
    }
    return adata


def loop(scores: NDArray, positive: NDArray, valid: NDArray) -> NDArray:
    """One call of scikit-learn for each perturbation."""
    rows = zip(scores, positive, valid, strict=True)
    return np.array([roc_auc_score(label[use], score[use]) for score, label, use in rows])


def all_scores(adata: ad.AnnData, n_units: int) -> dict[str, NDArray]:
    """Scores of every predictor, perturbations x genes."""
    scores = {key: np.asarray(adata.varp[key])[:n_units] for key in adata.varp if not key.endswith("_n_cells")}
    scores["spearman_signed"], scores["spearman"] = scores["spearman"], np.abs(scores["spearman"])
    for name in ("variance", "mean", "detection_rate"):
        scores[name] = np.tile(adata.var[name].to_numpy(), (n_units, 1))
    scores["position"] = np.tile(-adata.var["attention_position"].to_numpy(), (n_units, 1))
    scores["coverage"] = np.asarray(adata.varp["attention_n_cells"])[:n_units]
    labels = adata.varm["perturbation_target"].T.astype(np.float64)
    labels[np.arange(n_units), np.arange(n_units)] = np.nan
    known = ~np.isnan(labels)
    others, responding = known.sum(axis=0) - known, np.nansum(labels, axis=0) - np.nan_to_num(labels)
    scores["de_frequency"] = responding / others
    return scores


def seconds(function: Callable[[], object]) -> tuple[float, object]:
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def kernel(adata: ad.AnnData, n_units: int, repeats: int) -> str:
    """Time `placements` and `auroc` against the loop on one matrix of scores."""
    scores = np.asarray(adata.varp["spearman"])[:n_units]
    positive = adata.varm["perturbation_target"].T == 1
    valid = ~np.isnan(scores) & ~np.isnan(adata.varm["perturbation_target"].T)
    ours, theirs = [], []
    for _ in range(repeats):
        for _ in range(5):
            wall, found = seconds(lambda: auroc(placements(scores, positive, valid)))
            ours.append(wall)
        wall, expected = seconds(lambda: loop(scores, positive, valid))
        theirs.append(wall)
    return row("kernel, one matrix", ours, theirs, np.abs(found - expected).max())


def public(adata: ad.AnnData, n_units: int, repeats: int) -> str:
    """Time the public function against the loop over all of its predictors."""
    scores = all_scores(adata, n_units)
    target = adata.varm["perturbation_target"].T.copy()
    target[np.arange(n_units), np.arange(n_units)] = np.nan
    complete = ~np.isnan(target)
    for key in ("attention", *(f"attention_{name}" for name in COMPANIONS), "spearman"):
        complete &= ~np.isnan(scores[key])
    ours, theirs = [], []
    for _ in range(repeats):
        for _ in range(2):
            wall, _ = seconds(lambda: sps.tl.perturbation_auroc(adata))
            ours.append(wall)
        wall, expected = seconds(lambda: {name: loop(one, target == 1, complete) for name, one in scores.items()})
        theirs.append(wall)
    frame = adata.uns["perturbation_auroc"]["per_perturbation"]
    found = {name: part["auroc"].to_numpy() for name, part in frame.groupby("predictor")}
    worst = max(np.abs(found[name] - expected[name]).max() for name in scores)
    missing = set(found) ^ set(scores)
    if missing:
        msg = f"not the same predictors: {missing}"
        raise RuntimeError(msg)
    return row(f"`tl.perturbation_auroc`, {len(scores)} predictors", ours, theirs, worst)


def row(what: str, ours: list[float], theirs: list[float], difference: float) -> str:
    ratio = min(theirs) / min(ours)
    return f"| {what} | {min(theirs):.2f} s | {min(ours):.3f} s | {ratio:.0f}x | {difference:.1e} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="200 perturbations x 1,000 genes")
    parser.add_argument("--repeats", type=int, default=2)
    options = parser.parse_args()
    n_units, n_genes = (200, 1000) if options.quick else (1000, 2000)
    print(f"AUROC of {n_units:,} perturbations x {n_genes:,} genes, heavy ties\n")
    print("| what | scikit-learn loop | ours | ratio | largest difference |\n| --- | --- | --- | --- | --- |")
    for gaps, name in ((False, "all pairs"), (True, "3 % of genes without edges, 20 % without label")):
        adata = make_screen(n_units, n_genes, gaps=gaps)
        for measure in (kernel, public):
            print(measure(adata, n_units, options.repeats).replace(" |", f", {name} |", 1), flush=True)


if __name__ == "__main__":
    main()
