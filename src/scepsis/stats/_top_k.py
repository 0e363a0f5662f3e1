"""Hits among the first of a ranking, where ties at the cut are shared out."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scepsis._core._types import BoolArray, FloatArray


class TopK(NamedTuple):
    """The first k pairs of a ranking as predictions."""

    k: int
    #: Expected true positives, ties at the cut broken at random.
    hits: float
    precision: float
    recall: float
    f1: float


def top_k(scores: FloatArray, positive: BoolArray, sizes: Sequence[int], n_positives: int | None = None) -> list[TopK]:
    r"""
    Score the first k of one ranking as predictions, for several k.

    Of the pairs that share the score at the cut as many are taken as fit, so that the expected number of hits is
    those above the cut plus that number times their share of positives. :math:`F_1 = 2 P R / (P + R)`, 0 without a
    hit. All is NaN where k is more than there are pairs.

    Parameters
    ----------
    scores
        One for each pair, NaN-free.
    positive
        Whether the pair is one.
    sizes
        Numbers of predictions.
    n_positives
        Positives that recall is of, those without a score included; None means those with a score.
    """
    total = int(positive.sum()) if n_positives is None else n_positives
    ascending = np.sort(scores)
    ranked_positives = np.sort(scores[positive])
    result = []
    for k in sizes:
        if k > len(scores):
            result.append(TopK(int(k), np.nan, np.nan, np.nan, np.nan))
            continue
        hits = _hits(ascending, ranked_positives, int(k)) if k else 0.0
        precision, recall = hits / max(k, 1), hits / total if total else np.nan
        f1 = 2 * precision * recall / (precision + recall) if hits else 0.0 * recall
        result.append(TopK(int(k), hits, precision, recall, f1))
    return result


def _hits(ascending: FloatArray, positives: FloatArray, k: int) -> float:
    """Expected positives among the k highest; all scores and those of positives are ascending."""
    cut = ascending[len(ascending) - k]
    above, upto = (len(ascending) - int(ascending.searchsorted(cut, side)) for side in ("right", "left"))
    hits_above, hits_upto = (len(positives) - int(positives.searchsorted(cut, side)) for side in ("right", "left"))
    return hits_above + (k - above) * (hits_upto - hits_above) / (upto - above)
