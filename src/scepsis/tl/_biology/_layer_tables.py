"""Frames of `characterize_layers`, its partial correlations apart."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scepsis._core._rng import child
from scepsis.stats._depth import RankTrend, monotone_r2, rank_trend
from scepsis.stats._multiplicity import benjamini_hochberg
from scepsis.stats._overlap import Overlap, fisher_overlap, permuted_hits
from scepsis.tl._biology._layer_scores import Cell, Estimate, curves_of

if TYPE_CHECKING:
    from scepsis._core._types import BoolArray, FloatArray, IntArray
    from scepsis.tl._biology._layer_scores import OnReference, Predictor

NOTHING = Cell(Estimate(), constant=False, difference=Estimate())
NO_OVERLAP = Overlap(0, 0, np.nan, np.nan, np.nan, np.nan)


def described(studies: list[OnReference]) -> pd.DataFrame:
    """What every reference is, and how much of it is evaluated."""
    rows = []
    for study in studies:
        one, counts = study.reference, study.reference.network.counts
        n_pos, n = len(study.positives), study.space.n
        sides = one.listed.any(axis=1), one.listed.any(axis=0)
        n_genes = int((sides[0] | sides[1]).sum()) if one.dyadic else int(sides[1].sum())
        rows.append(
            {
                "reference": one.name,
                "kind": one.kind,
                "universe": one.network.universe,
                "n_rows": counts["n_rows"],
                "n_sets": counts.get("n_sets", 0),
                "n_in_panel": counts["n_in_panel"],
                "n_evaluated": n_pos,
                "n_pairs": n,
                "prevalence": n_pos / n if n else np.nan,
                "n_regulators": 0 if one.dyadic else int(sides[0].sum()),
                "n_genes": n_genes,
                "largest_set": counts["n_largest"] / max(counts["n_listed"], 1) if "n_largest" in counts else np.nan,
                "labels_hash": one.network.hash,
                "status": study.status,
            }
        )
    return pd.DataFrame(rows)


def profile(studies: list[OnReference], predictors: list[Predictor], versus: str, margin: float) -> pd.DataFrame:
    """One row for each reference and score."""
    rows = []
    for study in studies:
        for one in predictors:
            if one.position < 0 and one.name.endswith("_product") != study.space.dyadic:
                continue
            shown = study.runs
            cell = study.cells.get(one.name, NOTHING) if shown else NOTHING
            status = "constant_score" if study.status == "ok" and cell.constant else study.status
            compared = one.name != versus
            rows.append(
                {
                    "reference": study.reference.name,
                    "edges": one.name,
                    "kind": one.kind,
                    "curve": one.curve,
                    "layer": one.layer,
                    "auroc": cell.auroc.value,
                    "ci_low": cell.auroc.low,
                    "ci_high": cell.auroc.high,
                    "difference": cell.difference.value if compared else np.nan,
                    "difference_low": cell.difference.low,
                    "difference_high": cell.difference.high,
                    "p_value": cell.difference.p_value,
                    "equivalence": cell.difference.equivalence,
                    "margin": margin,
                    "minimum_detectable": cell.difference.detectable,
                    "n": study.space.n,
                    "n_pos": len(study.positives),
                    "n_units": study.n_units,
                    "status": status,
                }
            )
    return pd.DataFrame(rows)


def _values(study: OnReference, layers: list[Predictor]) -> FloatArray:
    """AUROCs along the layers; NaN where there are none."""
    cells = [study.cells.get(one.name, NOTHING) if study.runs else NOTHING for one in layers]
    return np.array([cell.auroc.value for cell in cells])


def layered_curves(predictors: list[Predictor]) -> dict[str, list[Predictor]]:
    """Curves of more than one layer."""
    return {name: own for name, own in curves_of(predictors).items() if len(own) > 1 and own[0].layer >= 0}


def trends(studies: list[OnReference], predictors: list[Predictor]) -> pd.DataFrame:
    """One row for each reference and curve of several layers."""
    rows = []
    for name, layers in layered_curves(predictors).items():
        depth = np.array([one.layer for one in layers])
        own = []
        for study in studies:
            values = _values(study, layers)
            known = bool(np.isfinite(values).all())
            found = rank_trend(depth, values) if known else RankTrend()
            line = study.trends.get(name, Estimate())
            own.append(
                {
                    "reference": study.reference.name,
                    "curve": name,
                    "kind": layers[0].kind,
                    "n_layers": len(layers),
                    "rho": found.rho,
                    "p_layers": found.p_value,
                    "p_shift": found.p_shift,
                    "slope": line.value,
                    "slope_low": line.low,
                    "slope_high": line.high,
                    "p_slope": line.p_value,
                    "minimum_detectable": line.detectable,
                    "monotone_r2": monotone_r2(values, increasing=line.value >= 0) if known else np.nan,
                    "highest_layer": int(depth[np.argmax(values)]) if known else -1,
                    "lowest_layer": int(depth[np.argmin(values)]) if known else -1,
                    "n_units": study.n_units,
                    "status": study.status,
                }
            )
        frame = pd.DataFrame(own)
        for column in ("layers", "slope"):
            frame[f"q_{column}"] = benjamini_hochberg(frame[f"p_{column}"].to_numpy(dtype=float))
        rows.append(frame)
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=TRENDS)


TRENDS = [
    "reference", "curve", "kind", "n_layers", "rho", "p_layers", "p_shift", "slope", "slope_low", "slope_high",
    "p_slope", "minimum_detectable", "monotone_r2", "highest_layer", "lowest_layer", "n_units", "status", "q_layers",
    "q_slope",
]  # fmt: skip


def agreement(studies: list[OnReference], predictors: list[Predictor]) -> pd.DataFrame:
    """How the profiles of two references over the same layers go together."""
    rows = []
    for name, layers in layered_curves(predictors).items():
        for first, second in combinations(studies, 2):
            found = rank_trend(_values(first, layers), _values(second, layers))
            rows.append(
                {
                    "curve": name,
                    "first": first.reference.name,
                    "second": second.reference.name,
                    "n_layers": len(layers),
                    "rho": found.rho,
                    "p_layers": found.p_value,
                    "p_shift": found.p_shift,
                    "status": "ok" if np.isfinite(found.rho) else "too_few_units",
                }
            )
    columns = ["curve", "first", "second", "n_layers", "rho", "p_layers", "p_shift", "status"]
    return pd.DataFrame(rows, columns=columns)


def enrichment(studies: list[OnReference], predictors: list[Predictor], n_null: int, seed: int) -> pd.DataFrame:
    """Listed pairs among the strongest of every layer, against chance and against permuted genes."""
    asked = [one for one in predictors if one.is_edges]
    rows: list[dict[str, Any]] = []
    for study in studies:
        overlaps = _overlaps(study, asked, n_null, seed) if study.runs else [NO_OVERLAP] * len(asked)
        for one, found in zip(asked, overlaps, strict=True):
            status = study.status
            if status == "ok" and not found.top:
                status = "constant_score"
            top = study.tops.get(one.name, np.arange(0)) if study.runs else np.arange(0)
            genes = np.concatenate([study.space.row[top], study.space.column[top]])
            rows.append(
                {
                    "reference": study.reference.name,
                    "edges": one.name,
                    "kind": one.kind,
                    "curve": one.curve,
                    "layer": one.layer,
                    "top": found.top,
                    "n_genes": len(np.unique(genes if study.space.dyadic else study.space.column[top])),
                    "hits": found.hits,
                    "expected": found.expected,
                    "odds_ratio": found.odds_ratio,
                    "p_greater": found.p_greater,
                    "p_less": found.p_less,
                    "p_genes_greater": found.p_genes_greater,
                    "p_genes_less": found.p_genes_less,
                    "status": status,
                }
            )
    frame = pd.DataFrame(rows)
    sides = ["p_greater", "p_less"]
    adjusted = benjamini_hochberg(frame[sides].to_numpy(dtype=float).ravel()).reshape(-1, 2)
    return frame.assign(q_greater=adjusted[:, 0], q_less=adjusted[:, 1])


def _overlaps(study: OnReference, asked: list[Predictor], n_null: int, seed: int) -> list[Overlap]:
    tops = [study.tops[one.name] for one in asked]
    hits = [int(study.listed[top].sum()) for top in tops]
    generator = child(seed, "characterize_layers", "genes", study.reference.name)
    null = permuted_hits(_symmetric(study), study.space, tops, n_null, generator)
    result = []
    for index, (top, hit) in enumerate(zip(tops, hits, strict=True)):
        found = fisher_overlap(len(top), hit, len(study.positives), study.space.n)
        if study.status == "ok" and len(top):
            greater, less = _tail(null[:, index] >= hit), _tail(null[:, index] <= hit)
            found = Overlap(
                found.top, hit, found.expected, found.odds_ratio, found.p_greater, found.p_less, greater, less
            )
        result.append(found)
    return result


def _symmetric(study: OnReference) -> BoolArray:
    listed = study.reference.listed
    return listed | listed.T if study.space.dyadic else listed


def _tail(as_far: BoolArray | IntArray) -> float:
    return (1 + int(as_far.sum())) / (1 + len(as_far))
