"""How well each of several scores ranks the responders of each perturbation, on the pairs that all of them have."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from scepsis.stats._auroc import auroc, bedroc, mann_whitney, partial_auroc, placements
from scepsis.stats._influence import ClusterSums
from scepsis.stats._order import Order, Ranked
from scepsis.stats._precision import average_precision, lift, prevalence
from scepsis.stats._row_scores import complete_cases

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
    if not labels.size:
        return ranking
    complete = complete_cases(scores, labels, block=responders.block)
    for start in range(0, len(labels), responders.block):
        rows = slice(start, start + responders.block)
        _rank_block([one.rows(rows) for one in scores], responders, complete[rows], rows, ranking)
    for index, one in enumerate(scores):
        ranking.pooled[index] = _pooled(one, responders, complete, ranking.used[index])
    return ranking


def _rank_block(
    blocks: list[FloatArray], responders: Responders, complete: BoolArray, rows: slice, ranking: Ranking
) -> None:
    labelled = responders.labels[rows] >= 0
    positive = responders.labels[rows] == 1
    influences: dict[int, tuple[FloatArray, BoolArray]] = {}
    compared = {index for pair in ranking.clusters for index in pair}
    for index, scores in enumerate(blocks):
        order, present = Order.of(scores), ~np.isnan(scores)
        own, valid = labelled & present, complete & present
        ranked = Ranked(order, positive, valid)
        ranking.record(index, rows, ranked.placements)
        same = np.array_equal(own, valid)
        ranking.auroc_own[index, rows] = ranked.auroc if same else Ranked(order, positive, own).auroc
        ranking.auroc_filled[index, rows] = _filled(scores, positive, labelled, present, ranking.auroc_own[index, rows])
        ranking.n_filled[index, rows] = np.count_nonzero(labelled & ~present, axis=1)
        ranking.n_own[index, rows] = np.count_nonzero(own, axis=1)
        used = responders.usable[rows] & (ranking.n_pos[index, rows] >= responders.min_positives)
        used &= ranking.n_pos[index, rows] + ranking.n_neg[index, rows] >= responders.min_candidates
        used &= ~ranking.constant[index, rows] & ~np.isnan(ranked.auroc)
        ranking.used[index, rows] = used
        if responders.deciles is not None and used.any():
            within = _by_decile(scores[used], positive[used], valid[used], responders.deciles)
            ranking.by_decile[index, rows][used] = within
        if index in compared:
            influences[index] = ranked.influence(), valid
    for (first, second), sums in ranking.clusters.items():
        both = ranking.used[first, rows] & ranking.used[second, rows]
        if both.any():
            difference = influences[first][0] - influences[second][0]
            took_part = influences[first][1] | influences[second][1]
            sums.add(*((difference, took_part) if both.all() else (difference[both], took_part[both])))


def _filled(
    scores: FloatArray, positive: BoolArray, labelled: BoolArray, present: BoolArray, own: FloatArray
) -> FloatArray:
    """AUROC with 0 for a score that is missing, given that without: only rows with something missing are ranked."""
    some = (labelled & ~present).any(axis=1)
    if not some.any():
        return own
    result = own.copy()
    result[some] = auroc(placements(np.where(present[some], scores[some], 0), positive[some], labelled[some]))
    return result


def _by_decile(scores: FloatArray, positive: BoolArray, valid: BoolArray, deciles: IntArray) -> FloatArray:
    """AUROC within each decile of targets, rows x deciles: every decile of a row is ranked as a row of its own."""
    members = [np.flatnonzero(deciles == decile) for decile in range(N_DECILES)]
    width = max(1, *map(len, members))
    columns = np.full((N_DECILES, width), -1)
    for decile, genes in enumerate(members):
        columns[decile, : len(genes)] = genes
    flat = columns.ravel()
    shape = (len(scores) * N_DECILES, width)
    inside = (valid[:, flat] & (flat >= 0)).reshape(shape)
    return auroc(placements(scores[:, flat].reshape(shape), positive[:, flat].reshape(shape), inside)).reshape(
        len(scores), N_DECILES
    )


def _pooled(one: RowScores, responders: Responders, complete: BoolArray, used: BoolArray) -> float:
    """AUROC of all pairs of all perturbations that count, in one ranking."""
    positives, negatives = [], []
    for start in range(0, len(used), responders.block):
        rows = slice(start, start + responders.block)
        scores = one.rows(rows)
        valid = complete[rows] & used[rows, None] & ~np.isnan(scores)
        positive = responders.labels[rows] == 1
        positives.append(scores[valid & positive])
        negatives.append(scores[valid & ~positive])
    return mann_whitney(np.concatenate(positives), np.concatenate(negatives))


def mean_deciles(means: FloatArray) -> IntArray:
    """Decile (0 to 9) of each gene by its mean, genes with the same mean together; -1 for NaN."""
    from scipy.stats import rankdata

    result = np.full(len(means), -1)
    known = ~np.isnan(means)
    n = int(known.sum())
    result[known] = np.minimum((N_DECILES * (rankdata(means[known]) - 0.5) / max(n, 1)).astype(int), N_DECILES - 1)
    return result
