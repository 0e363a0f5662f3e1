"""What an ablation tests, as rows of the registry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scepsis._core._registry import Row
from scepsis.tl._causes._ablation_tables import of_null

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from scepsis.edges._fidelity import Fidelity
    from scepsis.stats._contrasts import Contrast
    from scepsis.tl._causes._ablation_tables import Measured
    from scepsis.tl._causes._held_out import HeldOut
    from scepsis.tl._shared._conditions import Condition

#: What has an estimate; where units are too few, that alone.
TESTABLE = ("ok", "too_few_units")
TWO_WAY = "t, clustered by perturbation and gene"


def registry_rows(
    measured: Sequence[Measured], trends: pd.DataFrame, bites: dict[str, Fidelity], layers: dict[str, int], edges: str,
    *, margin: float, n_pairs: int, n_pos: int, held: Sequence[HeldOut],
) -> list[Row]:  # fmt: skip
    """Every test: each condition at each readout, the first against random sets, trends, and how much was changed."""
    rows: list[dict[str, Any]] = []
    # The first at which random sets were run speaks for its analysis; without any, the first that was asked for.
    readout = next((one.readout for one in measured if one.null is not None), next(iter(layers)))
    orthogonal = next(
        (
            one.condition.name
            for one in measured
            if one.condition.kind == "uniform" and one.readout == readout and one.status == "ok"
        ),
        "",
    )
    for one in measured:
        marked = (one.condition.is_primary or one.condition.name == orthogonal) and one.readout == readout
        rows.append(_row(one, edges, margin) | {"is_primary": marked, "n": n_pairs, "n_pos": n_pos})
        if one.null is not None:
            rows.append(_against_random(one, edges) | {"n": n_pairs, "n_pos": n_pos})
    rows += [
        _trend(row, edges) | {"is_primary": row["family"] == "top" and row["readout"] == readout}
        for row in _records(trends)
    ]
    rows += [_held_out(one, edges, margin) | {"n": n_pairs, "n_pos": n_pos} for one in held]
    rows += [_bite(name, bite, layers[readout], edges) for name, bite in bites.items()]
    return [Row(**row) for row in rows]


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _row(one: Measured, edges: str, margin: float) -> dict[str, Any]:
    found = None if one.change is None else one.change.found
    condition = one.condition
    what = condition.name if condition.intervention is None else condition.intervention.label
    row: dict[str, Any] = {
        "analysis": condition.analysis,
        "name": one.name,
        "hypothesis": f"{one.readout} ranks responders as well under an intervention ({what}) as without",
        "test_type": "Wilcoxon signed-rank",
        "role": _role(condition),
        "edges": edges,
        "effect_type": "difference of AUROC",
        "unit": "perturbation",
        "margin": margin,
        "status": one.status,
        "reason": one.reason,
    }
    return row if found is None or one.status not in TESTABLE else row | _of_contrast(found)


def _role(condition: Condition) -> str:
    """Heads that were chosen by the responders cannot be tested on them."""
    return "descriptive" if condition.ranked_on_labels else "confirmatory"


def _against_random(one: Measured, edges: str) -> dict[str, Any]:
    told, found = of_null(one), one.change
    return {
        "analysis": one.condition.analysis,
        "name": f"{one.name}/vs_random",
        "hypothesis": f"{one.condition.name} takes no more from {one.readout} than sets of as many heads per layer do",
        "test_type": "sequential Monte Carlo (Besag and Clifford)",
        "role": _role(one.condition),
        "direction": "less",
        "edges": edges,
        "p_raw": told["p_random"],
        "statistic": told["percentile"],
        "effect_size": np.nan if found is None else found.found.difference,
        "effect_type": "difference of AUROC",
        "unit": "head set",
        "n_units": told["n_null"],
        "null_mean": told["null_mean"],
        "null_sd": told["null_sd"],
        "null_family": "head sets matched in layers and entropy",
        "reason": f"no p-value below {told['p_random_floor']:.2g} is possible",
    }


def _held_out(one: HeldOut, edges: str, margin: float) -> dict[str, Any]:
    """Descriptive: the same question as that of the condition, which is tested once."""
    found, condition = one.change.found, one.halves.condition
    row: dict[str, Any] = {
        "analysis": condition.analysis,
        "name": one.name,
        "hypothesis": f"{one.readout} ranks responders as well without heads that it had no part in choosing",
        "test_type": "Wilcoxon signed-rank",
        "role": "descriptive",
        "edges": edges,
        "effect_type": "difference of AUROC",
        "unit": "perturbation",
        "margin": margin,
        "status": one.status,
        "reason": one.reason,
    }
    return row if one.status not in TESTABLE else row | _of_contrast(found)


def _of_contrast(found: Contrast) -> dict[str, Any]:
    return {
        "statistic": found.statistic,
        "p_raw": found.p_value,
        "effect_size": found.difference,
        "ci_low": found.two_way.low,
        "ci_high": found.two_way.high,
        "ci_method": TWO_WAY,
        "n_units": found.n_units,
        "equivalence": found.equivalence,
        "minimum_detectable": found.minimum_detectable,
    }


def _trend(row: dict[str, Any], edges: str) -> dict[str, Any]:
    return {
        "analysis": "A13",
        "name": f"dose/{row['family']}/{row['readout']}",
        "hypothesis": f"the more heads are taken out ({row['doses']}), the better {row['readout']} ranks, or as well",
        "test_type": "Page's trend",
        "role": "descriptive" if row["family"] == "composite" else "confirmatory",
        "direction": "less",
        "edges": edges,
        "statistic": row["statistic"],
        "p_raw": row["p_value"],
        "effect_size": row["slope"],
        "effect_type": "AUROC per step of dose",
        "unit": "perturbation",
        "n_units": row["n_units"],
        "status": "ok" if np.isfinite(row["p_value"]) else "too_few_units",
    }


def _bite(name: str, bite: Fidelity, layer: int, edges: str) -> dict[str, Any]:
    return {
        "analysis": "A15",
        "name": f"fidelity/{name}",
        "hypothesis": f"{name} leaves hidden states as they were",
        "test_type": "cosine distance",
        "role": "descriptive",
        "edges": edges,
        "effect_size": bite.maximum,
        "effect_type": "largest cosine distance of hidden states",
        "statistic": bite.at(layer),
        "baseline_name": "rounding, at the readout",
        "baseline_value": float(bite.floor_hidden[layer]),
        "unit": "cell",
        "n_units": len(bite.hidden),
        "status": "ok" if bite.applied else "not_applied",
        "reason": "" if bite.applied else "no hidden state moved at all",
    }
