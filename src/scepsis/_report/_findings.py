"""What a row of a table says: the one place where numbers become words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from scepsis._core._keys import DETECTION_RATE, MEAN, RANDOMIZED, VARIANCE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

ALPHA = 0.05
#: Perturbations below which nothing is inferred.
MIN_UNITS = 6
#: Features of the target gene alone that an edge must beat, each of them, to say more than they do.
TRIVIAL = (VARIANCE, MEAN, DETECTION_RATE)
#: Words that an edge has to earn by that.
GATED = ("regulatory", "causal", "encodes regulation", "wiring")

Finding = Literal["better", "worse", "equal", "undecided", "no inference", "not compared"]
Level = Literal["above", "below", "undecided", "no inference", "not scored"]


def level(row: pd.Series[Any]) -> Level:
    """Where a predictor stands against chance, from its row of the summary."""
    if not np.isfinite(row["auroc"]):
        return "not scored"
    if row["n_units"] < MIN_UNITS or not np.isfinite(row["p_value"]):
        return "no inference"
    if row["p_value"] >= ALPHA:
        return "undecided"
    return "above" if row["auroc"] > 0.5 else "below"


def finding(row: pd.Series[Any]) -> Finding:
    """
    What a comparison shows, from its row of the contrasts.

    By the two-way clustered interval: inside the margin is equal, without zero is better or worse, else undecided.
    """
    if not np.isfinite(row["difference"]):
        return "not compared"
    if row["n_units"] < MIN_UNITS or not np.isfinite([row["twoway_low"], row["twoway_high"]]).all():
        return "no inference"
    if row["equivalence"] == "equivalent":
        return "equal"
    if row["equivalence"] != "different":
        return "undecided"
    return "better" if row["difference"] > 0 else "worse"


def is_barred(row: pd.Series[Any]) -> bool:
    """Whether numbers support nothing because edges have seen perturbed cells."""
    return str(row["status"]) == "label_leak"


def is_significant(row: pd.Series[Any]) -> bool:
    """Whether the signed-rank test over perturbations finds a difference after correction."""
    return bool(row["q_value"] < ALPHA)


def trivial_rows(contrasts: pd.DataFrame, edges: str) -> dict[str, pd.Series[Any] | None]:
    """Comparison of edges with each trivial feature; None where there is none."""
    own = contrasts[contrasts["edges"] == edges]
    rows = {str(row["versus"]): row for _, row in own.iterrows()}
    return {name: rows.get(name) for name in TRIVIAL}


def beats_trivial(contrasts: pd.DataFrame, edges: str) -> bool:
    """Whether edges rank responders better than each trivial feature: by the interval, and by the test."""
    rows = trivial_rows(contrasts, edges).values()
    return all(
        row is not None and not is_barred(row) and finding(row) == "better" and is_significant(row) for row in rows
    )


def has_earned(contrasts: pd.DataFrame, edges: str, judged: Mapping[str, bool | None]) -> bool:
    """
    Whether words for a mechanism may be used.

    By criterion (a) of the verdict where edges were judged, else by the table. What is not assessable is not met.
    """
    return judged[edges] is True if edges in judged else beats_trivial(contrasts, edges)


def is_twin(edges: str, versus: str) -> bool:
    """Whether `versus` is what the same model gives with random weights."""
    return versus != edges and versus.replace(f"_{RANDOMIZED}", "", 1) == edges


def told(contrasts: pd.DataFrame, order: Sequence[str]) -> pd.DataFrame:
    """
    Rows that a reader needs, by edges in their `order`.

    Edges against baselines, against their own companions, and against other edges once; what remains is each pair of
    edges seen from the other side, and companions of other edges.
    """
    place = {name: position for position, name in enumerate(order)}
    keep = []
    for _, row in contrasts.iterrows():
        edges, versus, kind = str(row["edges"]), str(row["versus"]), row["versus_kind"]
        if kind == "edges":
            keep.append(place.get(edges, 0) < place.get(versus, len(place)))
        else:
            keep.append(kind == "baseline" or versus.startswith(f"{edges}_") or is_twin(edges, versus))
    return contrasts[np.array(keep, dtype=bool)]


def gated_words(text: str) -> list[str]:
    """Words in `text` that edges have to earn."""
    return [word for word in GATED if re.search(rf"\b{word}\b", text, flags=re.IGNORECASE)]
