"""Registry rows of `characterize_layers`: what all layers of some edges say together, on one reference."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from scepsis._core._registry import Row

if TYPE_CHECKING:
    import pandas as pd

    from scepsis.tl._biology._layer_scores import OnReference, Predictor

#: What is taken away before a partial correlation, in words.
WITHOUT = {
    "pair": "the similarity of its genes is taken into account",
    "genes": "mean, variance and detection rate of both genes are taken into account",
    "pair_and_genes": "the similarity of its genes and their means, variances and detection rates are",
}
READ = ("profile", "trends", "partial", "enrichment")
PRIMARY = "pair_and_genes"


def rows(
    study: OnReference, curve: str, layers: list[Predictor], frames: dict[str, pd.DataFrame], versus: str
) -> list[Row]:
    """Rows of one reference and one set of layers; the strongest layer, corrected for how many there are."""
    name = study.reference.name
    own = {
        key: frame[(frame["reference"] == name) & (frame["curve"] == curve)]
        for key, frame in frames.items()
        if key in READ
    }
    baseline, reached = _strongest_feature(frames["profile"], name)
    common: dict[str, Any] = {
        "analysis": "A25",
        "role": "confirmatory",
        "edges": curve,
        "unit": study.unit,
        "n": study.space.n,
        "n_pos": len(study.positives),
        "n_units": study.n_units,
    }
    result = [*_trend(own["trends"], name, common), _versus(own["profile"], len(layers), name, versus, common)]
    partial = own["partial"]
    partial = partial[partial["scale"] == "rank"]
    for given, words in WITHOUT.items():
        result.append(_partial(partial[partial["given"] == given], given, len(layers), f"of {name} {words}", common))
    for side, words in (("greater", "more"), ("less", "fewer")):
        result.append(_enrichment(own["enrichment"], side, len(layers), f"{words} pairs of {name}", common))
    return [replace(row, baseline_name=baseline, baseline_value=reached) for row in result]


def _trend(found: pd.DataFrame, name: str, common: dict[str, Any]) -> list[Row]:
    return [
        Row(
            **common,
            name="trend",
            hypothesis=f"The AUROC on {name} changes with depth",
            test_type="slope over layers with clustered interval (Spearman over layers beside)",
            statistic=row["rho"],
            p_raw=row["p_slope"],
            effect_size=row["slope"],
            effect_type="AUROC per layer",
            ci_low=row["slope_low"],
            ci_high=row["slope_high"],
            ci_method="t, clustered by what pairs share",
            minimum_detectable=row["minimum_detectable"],
            status=row["status"],
        )
        for row in found.to_dict("records")
    ]


def _versus(found: pd.DataFrame, n_layers: int, name: str, versus: str, common: dict[str, Any]) -> Row:
    row = _first(found, "p_value")
    return Row(
        **common,
        name=f"vs_{versus}",
        hypothesis=f"Some layer ranks pairs of {name} better or worse than {versus}",
        test_type=f"strongest difference of AUROCs, Bonferroni over {n_layers} layers",
        statistic=row["difference"],
        p_raw=_bonferroni(row["p_value"], n_layers),
        effect_size=row["difference"],
        effect_type="difference of AUROC",
        ci_low=row["difference_low"],
        ci_high=row["difference_high"],
        ci_method="t, clustered by what pairs share; of this layer alone",
        equivalence=row["equivalence"],
        margin=row["margin"],
        minimum_detectable=row["minimum_detectable"],
        status=row["status"],
        reason=_of_layer(row, n_layers),
    )


def _partial(found: pd.DataFrame, given: str, n_layers: int, words: str, common: dict[str, Any]) -> Row:
    row = _first(found, "p_value")
    return Row(
        **common,
        name=f"partial/{given}",
        hypothesis=f"Some layer tells pairs {words}",
        test_type=f"strongest partial correlation, Bonferroni over {n_layers} layers",
        statistic=row["partial"],
        p_raw=_bonferroni(row["p_value"], n_layers),
        effect_size=row["partial"],
        effect_type="partial correlation of ranks",
        ci_low=row["ci_low"],
        ci_high=row["ci_high"],
        ci_method="t, clustered by what pairs share; of this layer alone",
        minimum_detectable=row["minimum_detectable"],
        is_primary=given == PRIMARY,
        status=row["status"],
        reason=_of_layer(row, n_layers),
    )


def _enrichment(found: pd.DataFrame, side: str, n_layers: int, words: str, common: dict[str, Any]) -> Row:
    row = _first(found, f"p_genes_{side}")
    return Row(
        **common,
        name=f"enrichment/{side}",
        hypothesis=f"The {row['top']} strongest edges of some layer hold {words} than edges of other genes",
        test_type=f"gene-label permutation, Bonferroni over {n_layers} layers (Fisher's exact test beside)",
        direction="greater" if side == "greater" else "less",
        statistic=row["hits"],
        p_raw=_bonferroni(row[f"p_genes_{side}"], n_layers),
        effect_size=row["odds_ratio"],
        effect_type="odds ratio",
        null_family="genes with permuted names",
        status=row["status"],
        reason=_of_layer(row, n_layers),
    )


def _first(found: pd.DataFrame, column: str) -> dict[str, Any]:
    """Row of the layer with the smallest p; of the first one where no layer has any."""
    known = found[found[column].notna()]
    row = (known.sort_values(column, kind="stable") if len(known) else found).iloc[0]
    return {str(name): value for name, value in row.items()}


def _bonferroni(p: float, n: int) -> float:
    return float(min(1.0, p * n)) if np.isfinite(p) else np.nan


def _of_layer(row: dict[str, Any], n_layers: int) -> str:
    return f"layer {row['layer']} of {n_layers}" if row["layer"] >= 0 else ""


def _strongest_feature(profile: pd.DataFrame, name: str) -> tuple[str, float]:
    """Feature of genes with the highest AUROC on a reference."""
    own = profile[(profile["reference"] == name) & (profile["kind"] == "baseline") & profile["auroc"].notna()]
    if own.empty:
        return "", np.nan
    best = own.sort_values("auroc", ascending=False, kind="stable").iloc[0]
    return str(best["edges"]), float(best["auroc"])
