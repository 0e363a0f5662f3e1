"""The top of a ranking: how many known pairs are among the K strongest, and how many would be by chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scepsis.stats._top_k import top_k

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


def top_pairs(scores: FloatArray, positive: BoolArray, ks: Sequence[int]) -> TopPairs:
    r"""
    Score the K strongest pairs for every K, :math:`P = TP/K`, :math:`R = TP/n_+`, :math:`F_1 = 2PR/(P+R)`.

    Pairs without a score (NaN) are in no top, and count for recall. Ties at the cut are shared out (`top_k`). K is cut
    at the number of scored pairs. By chance TP is hypergeometric.

    Parameters
    ----------
    scores, positive
        One entry per pair.
    ks
        Numbers of pairs.
    """
    from scipy.stats import hypergeom

    here = ~np.isnan(scores)
    n, n_known = int(here.sum()), int(positive[here].sum())
    k = np.minimum(np.asarray(ks, dtype=np.int64), n)
    found = top_k(scores[here], positive[here], k.tolist(), int(positive.sum()))
    hits, precision, recall, f1 = np.array([one[1:] for one in found], dtype=np.float64).reshape(-1, 4).T
    return TopPairs(
        k=k,
        true_positives=hits,
        precision=precision,
        recall=recall,
        f1=f1,
        expected=k * n_known / max(n, 1),
        chance_low=hypergeom.ppf(0.025, n, n_known, k),
        chance_high=hypergeom.ppf(0.975, n, n_known, k),
    )
