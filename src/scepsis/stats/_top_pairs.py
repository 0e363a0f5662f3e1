"""The top of a ranking: how many known pairs are among the K strongest, and how many would be by chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scepsis._core._types import BoolArray, FloatArray, IntArray


@dataclass(frozen=True)
class TopPairs:
    """One entry for every K that was asked for."""

    k: IntArray
    #: Expected number of positives under random breaking of ties at the cut.
    true_positives: FloatArray
    precision: FloatArray
    recall: FloatArray
    f1: FloatArray
    #: Mean and central 95 % of the number of positives in K pairs drawn at random.
    expected: FloatArray
    chance_low: FloatArray
    chance_high: FloatArray


def top_pairs(
    scores: FloatArray, positive: BoolArray, ks: Sequence[int], *, n_positives: int | None = None
) -> TopPairs:
    r"""
    Score the K strongest pairs for every K, :math:`P = TP/K`, :math:`R = TP/n_+`, :math:`F_1 = 2PR/(P+R)`.

    Pairs without a score (NaN) are in no top. Of a block of ties that the cut goes through, each pair counts by the
    share of the block that fits. K is cut at the number of scored pairs. By chance TP is hypergeometric.

    Parameters
    ----------
    scores, positive
        One entry per pair.
    ks
        Numbers of pairs.
    n_positives
        Positives that recall is about, unscored ones included; all in `positive` when not given.
    """
    from scipy.stats import hypergeom

    here = ~np.isnan(scores)
    values, known = scores[here], positive[here]
    total = int(positive.sum()) if n_positives is None else n_positives
    order = np.argsort(-values, kind="stable")
    values, cumulated = values[order], np.concatenate([[0], np.cumsum(known[order])])
    k = np.minimum(np.asarray(ks, dtype=np.int64), len(values))
    cut = values[np.maximum(k - 1, 0)] if len(values) else np.zeros(len(k))
    descending = -values
    first, last = np.searchsorted(descending, -cut), np.searchsorted(descending, -cut, side="right")
    block = np.maximum(last - first, 1)
    found = np.where(k > 0, cumulated[first] + (k - first) * (cumulated[last] - cumulated[first]) / block, 0.0)
    n_known = int(known.sum())
    return TopPairs(
        k=k,
        true_positives=found,
        precision=found / np.maximum(k, 1),
        recall=found / total if total else np.full(len(k), np.nan),
        f1=2 * found / (k + total) if total else np.full(len(k), np.nan),
        expected=k * n_known / max(len(values), 1),
        chance_low=hypergeom.ppf(0.025, len(values), n_known, k),
        chance_high=hypergeom.ppf(0.975, len(values), n_known, k),
    )
