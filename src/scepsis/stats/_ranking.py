"""How well each of several scores ranks the responders of each perturbation, on the pairs that all of them have."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from scepsis.stats._auroc import auroc, bedroc, mann_whitney, mann_whitney_counts, partial_auroc
from scepsis.stats._influence import ClusterSums
from scepsis.stats._order import Order, Ranked
from scepsis.stats._precision import average_precision, lift, prevalence
from scepsis.stats._row_scores import GeneRows, complete_cases

if TYPE_CHECKING:
    from scepsis._core._types import BoolArray, FloatArray, IntArray
    from scepsis.stats._auroc import Placements
    from scepsis.stats._row_scores import RowScores

#: Pairs held at a time for each score.
BLOCK = 1 << 17
N_DECILES = 10


@dataclass(frozen=True)
class Responders:
    """Labels to be ranked, and what makes a perturbation one that counts."""

    #: Perturbations x targets: 1 responds, 0 does not, -1 is no candidate.
    labels: IntArray
    #: Perturbations that may count.
    usable: BoolArray
    min_candidates: int = 10
    min_positives: int = 2
    #: Decile (0 to 9) of each target's mean, -1 where it is not known; None for no analysis by decile.
    deciles: IntArray | None = None

    @property
    def block(self) -> int:
        return max(1, BLOCK // max(1, int(self.labels.shape[1])))


def _nan(*shape: int) -> FloatArray:
    return np.full(shape, np.nan)


@dataclass
class Ranking:
    """Scores x perturbations, unless said otherwise."""

    n_scores: int
    n_units: int
    auroc: FloatArray = field(init=False)
    #: AUROC on each score's own pairs, and with 0 for a score that is missing.
    auroc_own: FloatArray = field(init=False)
    auroc_filled: FloatArray = field(init=False)
    auprc: FloatArray = field(init=False)
    lift: FloatArray = field(init=False)
    partial_auroc: FloatArray = field(init=False)
    bedroc: FloatArray = field(init=False)
    n_pos: IntArray = field(init=False)
    n_neg: IntArray = field(init=False)
    n_filled: IntArray = field(init=False)
    #: Pairs with a label and a score.
    n_own: IntArray = field(init=False)
    constant: BoolArray = field(init=False)
    #: Perturbations that count in means and tests.
    used: BoolArray = field(init=False)
    #: Pairs of perturbations x targets that every score that narrows has.
    complete: BoolArray = field(init=False)
    #: One ranking of all pairs, for each score.
    pooled: FloatArray = field(init=False)
    #: Scores x perturbations x deciles of the target's mean.
    by_decile: FloatArray = field(init=False)
    #: Sums of differences of influence values, for each pair of scores asked for.
    clusters: dict[tuple[int, int], ClusterSums] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        shape = (self.n_scores, self.n_units)
        for name in ("auroc", "auroc_own", "auroc_filled", "auprc", "lift", "partial_auroc", "bedroc"):
            setattr(self, name, _nan(*shape))
        for name in ("n_pos", "n_neg", "n_filled", "n_own"):
            setattr(self, name, np.zeros(shape, dtype=np.int64))
        self.constant, self.used = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
        self.pooled, self.by_decile = _nan(self.n_scores), _nan(*shape, N_DECILES)

    def record(self, score: int, rows: slice, placed: Placements) -> None:
        """Fill in what one block of rows gave."""
        share = prevalence(placed)
        self.auroc[score, rows] = auroc(placed)
        self.auprc[score, rows] = average_precision(placed)
        self.lift[score, rows] = lift(self.auprc[score, rows], share)
        self.partial_auroc[score, rows] = partial_auroc(placed)
        self.bedroc[score, rows] = bedroc(placed)
        self.n_pos[score, rows], self.n_neg[score, rows] = placed.n_pos, placed.n_neg
        self.constant[score, rows] = placed.constant


def rank_responders(
    scores: list[RowScores], responders: Responders, comparisons: list[tuple[int, int]] | None = None
) -> Ranking:
    """
    Score every perturbation by every score.

    Headline numbers are from the pairs that every score that narrows has; a score that does not narrow loses the
    pairs that it has no value for, alone. `comparisons` are positions of scores whose differences are wanted.

    Notes
    -----
    ``K R T log T`` for K scores, R perturbations and T targets. Memory beyond the labels and one boolean of their
    size is a block of rows for every score.
    """
    labels = responders.labels
    ranking = Ranking(len(scores), len(labels))
    ranking.clusters = {pair: ClusterSums.zeros(labels.shape[1]) for pair in comparisons or []}
    ranking.complete = complete = np.zeros(labels.shape, dtype=bool)
    if not labels.size:
        return ranking
    for start in range(0, len(labels), responders.block):
        rows = slice(start, start + responders.block)
        blocks = [one.rows(rows) for one in scores]
        complete[rows] = complete_cases(scores, blocks, labels[rows] >= 0)
        block = _Block(blocks, responders, complete[rows], rows, ranking)
        _add_up([block.rank(index) for index in range(len(scores))], ranking, rows)
    for index, one in enumerate(scores):
        ranking.pooled[index] = _pooled(one, responders, complete, ranking.used[index])
    return ranking


@dataclass(frozen=True)
class _Block:
    """Some perturbations under every score."""

    scores: list[FloatArray]
    responders: Responders
    complete: BoolArray
    rows: slice
    ranking: Ranking

    def rank(self, index: int) -> tuple[FloatArray, BoolArray]:
        """Fill in what one score gives; return the influence of its pairs, and which they are."""
        ranking, responders, rows, scores = self.ranking, self.responders, self.rows, self.scores[index]
        labels = responders.labels[rows]
        labelled, positive = labels >= 0, labels == 1
        order, present = Order.of(scores), ~np.isnan(scores)
        own, valid = labelled & present, self.complete & present
        ranked = Ranked(order, positive, valid)
        of_own = ranked if np.array_equal(own, valid) else Ranked(order, positive, own)
        ranking.record(index, rows, ranked.placements)
        ranking.auroc_own[index, rows] = of_own.auroc
        ranking.n_own[index, rows] = of_own.n_pos + of_own.n_neg
        missing = labelled & ~present
        ranking.n_filled[index, rows] = missing.sum(axis=1, dtype=np.int32)
        filled = of_own.auroc_filled(scores, missing, positive) if missing.any() else of_own.auroc
        ranking.auroc_filled[index, rows] = filled
        used = responders.usable[rows] & (ranking.n_pos[index, rows] >= responders.min_positives)
        used &= ranking.n_pos[index, rows] + ranking.n_neg[index, rows] >= responders.min_candidates
        used &= ~ranking.constant[index, rows] & ~np.isnan(ranked.auroc)
        ranking.used[index, rows] = used
        if responders.deciles is not None:
            within = ranked.auroc_within(responders.deciles, N_DECILES)
            ranking.by_decile[index, rows] = np.where(used[:, None], within, np.nan)
        return ranked.influence(), valid


def _add_up(influences: list[tuple[FloatArray, BoolArray]], ranking: Ranking, rows: slice) -> None:
    """Add the differences of influence values to the sums of every comparison."""
    for (first, second), sums in ranking.clusters.items():
        both = ranking.used[first, rows] & ranking.used[second, rows]
        if both.any():
            chosen = slice(None) if both.all() else both
            (one, took_part), (other, also) = influences[first], influences[second]
            sums.add(one[chosen] - other[chosen], np.any(took_part[chosen] | also[chosen], axis=0))


def _pooled(one: RowScores, responders: Responders, complete: BoolArray, used: BoolArray) -> float:
    """AUROC of all pairs of all perturbations that count, in one ranking."""
    if isinstance(one, GeneRows):  # every perturbation scores a target the same
        valid = complete[used] & ~np.isnan(one.values)
        n_valid, n_pos = valid.sum(axis=0), (valid & (responders.labels[used] == 1)).sum(axis=0)
        return mann_whitney_counts(one.values, n_pos, n_valid - n_pos)
    positives, negatives = [], []
    for start in range(0, len(used), responders.block):
        rows = slice(start, start + responders.block)
        scores = one.rows(rows)
        valid = complete[rows] & used[rows, None] & ~np.isnan(scores)
        positive = responders.labels[rows] == 1
        flat = scores.ravel()
        positives.append(flat.take(np.flatnonzero(valid & positive)))
        negatives.append(flat.take(np.flatnonzero(valid & ~positive)))
    return mann_whitney(np.concatenate(positives), np.concatenate(negatives))


def mean_deciles(means: FloatArray) -> IntArray:
    """Decile (0 to 9) of each gene by its mean, genes with the same mean together; -1 for NaN."""
    from scipy.stats import rankdata

    result = np.full(len(means), -1)
    known = ~np.isnan(means)
    n = int(known.sum())
    result[known] = np.minimum((N_DECILES * (rankdata(means[known]) - 0.5) / max(n, 1)).astype(int), N_DECILES - 1)
    return result
