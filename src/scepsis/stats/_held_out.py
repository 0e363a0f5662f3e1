"""Scores of held-out pairs, and how well they rank responders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from scepsis._core._rng import child
from scepsis.stats._auroc import mann_whitney, placements
from scepsis.stats._learners import SCORES
from scepsis.stats._order import Order, Ranked
from scepsis.stats._precision import average_precision
from scepsis.stats._splits import draw_blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from scepsis._core._types import BoolArray, FloatArray, IntArray
    from scepsis.stats._auroc import Placements
    from scepsis.stats._learners import Learner, Pairs
    from scepsis.stats._splits import Blocks, Fold, Split

    #: Tested pairs and their scores under every model, models x pairs; None for a fold that lacks a class.
    Held: TypeAlias = tuple[IntArray, FloatArray] | None

RECALL = "recall@"


class Task(NamedTuple):
    """One fold under one learner."""

    split: Split
    learner: Learner
    fold: Fold


def rows_of(data: Pairs, blocks: Blocks, fold: Fold) -> tuple[IntArray, IntArray] | None:
    """Pairs fitted on and tested; None when either lacks a class."""
    units, genes = blocks.unit[data.unit], blocks.gene[data.gene]
    train, test = np.flatnonzero(fold.train(units, genes)), np.flatnonzero(fold.test(units, genes))
    for part in (train, test):
        n_pos = int(data.positive[part].sum())
        if not 0 < n_pos < len(part):
            return None
    return train, test


def run_task(data: Pairs, blocks: Blocks, task: Task, columns: Sequence[FloatArray], *, alone: bool) -> Held:
    """Fit one fold, and score what it holds out."""
    rows = rows_of(data, blocks, task.fold)
    return None if rows is None else (rows[1], SCORES[task.learner](data, columns, *rows, alone=alone))


def run_frequency(
    data: Pairs, blocks: Blocks, task: Task, columns: Sequence[FloatArray], *, seed: int, alone: bool
) -> Held:
    """
    Run a fold with the responders' frequency among what is fitted on as a further feature.

    The first model has features and frequency alone (if `alone`), the others one of `columns` more each.
    """
    rows = rows_of(data, blocks, task.fold)
    if rows is None:
        return None
    frequency = data.column(encoded_frequency(data, blocks, task.fold, seed))
    models = [*([frequency] if alone else []), *(np.concatenate([frequency, column]) for column in columns)]
    return rows[1], SCORES[task.learner](data, models, *rows, alone=False)


def encoded_frequency(data: Pairs, blocks: Blocks, fold: Fold, seed: int, n_inner: int = 5) -> FloatArray:
    """
    How often each gene responds to the units that a model is fitted on, units x genes.

    For held-out units that is the share over all others. A unit that is fitted on would give its own answer away, so
    these are dealt into `n_inner` further blocks, and each takes the share over the blocks that it is not in. (Leaving
    out just the one unit gives its label away too: the share is lower where it responds.) A gene that none of them
    tested has the share over all genes. Only a split by unit has it: a held-out gene's responses are held out.
    """
    held_out = blocks.unit == fold.unit
    result = np.empty(data.labels.shape)
    result[held_out] = _share(data.labels[~held_out])
    fitted = np.flatnonzero(~held_out)
    generator = child(seed, "frequency", fold.unit)
    inner = draw_blocks(data.group[fitted], (data.labels[fitted] >= 0).sum(axis=1), n_inner, generator)
    for block in range(int(inner.max(initial=-1)) + 1):
        result[fitted[inner == block]] = _share(data.labels[fitted[inner != block]])
    return result


def _share(labels: IntArray) -> FloatArray:
    tested, responds = (labels >= 0).sum(axis=0), (labels == 1).sum(axis=0)
    overall = responds.sum() / max(int(tested.sum()), 1)
    share: FloatArray = np.divide(responds, tested, out=np.full(len(tested), overall), where=tested > 0)
    return share


def run_all(
    function: Callable[..., Held],
    jobs: Sequence[tuple[Any, ...]],
    n_jobs: int,
    advance: Callable[[], Any],
    **options: Any,
) -> list[Held]:
    """Results in the order of the jobs, whatever `n_jobs` is; `advance` is called after each."""
    if n_jobs == 1 or len(jobs) < 2:
        results: Iterable[Held] = (function(*job, **options) for job in jobs)
    else:
        from sklearn.utils.parallel import Parallel, delayed

        parallel = Parallel(n_jobs=n_jobs, return_as="generator")
        results = parallel(delayed(function)(*job, **options) for job in jobs)
    found = []
    for one in results:
        advance()
        found.append(one)
    return found


@dataclass(frozen=True)
class Judged:
    """How well one model ranks the responders of every unit."""

    #: For each metric, one value per unit; NaN where it is not defined.
    metrics: dict[str, FloatArray]
    #: AUROC of all held-out pairs in one ranking.
    pooled: float
    #: Influence of every pair on the AUROC of its unit, units x genes; 0 for pairs that take no part.
    influence: FloatArray
    #: Pairs that take part.
    valid: BoolArray


def judge(scores: FloatArray, data: Pairs, genes: IntArray | None, metrics: Sequence[str]) -> Judged:
    """
    Score held-out pairs.

    Scores of different models are not to be ranked together, so AUROC and average precision are taken among the pairs
    of a unit that one model scored, and averaged over its models. Recall is over all candidates of a unit, as a
    laboratory would take them.

    Parameters
    ----------
    scores
        Units x genes; NaN where not tested.
    genes
        Block of each gene, if different models scored the genes of one unit; None if one model did.
    metrics
        Names: ``auroc``, ``auprc``, ``recall@<k>``. AUROC is always there.
    """
    valid = ~np.isnan(scores) & (data.labels >= 0)
    positive = data.labels == 1
    index = _columns(np.zeros(scores.shape[1], dtype=int) if genes is None else genes)
    shape = (len(scores), *index.shape)
    inside = index >= 0

    def gathered(values: NDArray[Any]) -> NDArray[Any]:
        return values[:, index].reshape(-1, shape[2])

    order = Order.of(gathered(scores))  # what is beyond the last of a block is masked
    ranked = Ranked(order, gathered(positive), gathered(valid) & np.tile(inside, (len(scores), 1)))
    auroc = ranked.auroc.reshape(shape[:2])
    n_models = (~np.isnan(auroc)).sum(axis=1)
    influence = np.zeros(scores.shape)
    spread = ranked.influence().reshape(shape) / np.maximum(n_models, 1)[:, None, None]
    influence[:, index[inside]] = spread[:, inside]
    values = {"auroc": _row_mean(auroc)}
    if "auprc" in metrics:
        values["auprc"] = _row_mean(average_precision(ranked.placements).reshape(shape[:2]))
    recalls = [name for name in metrics if name.startswith(RECALL)]
    if recalls:
        placed = ranked.placements if genes is None else placements(scores, positive & valid, valid)
        values |= {name: recall_at(placed, int(name.removeprefix(RECALL))) for name in recalls}
    used = valid & (n_models > 0)[:, None]
    pooled = mann_whitney(scores[used & positive], scores[used & ~positive])
    return Judged(values, pooled, influence, used)


def _columns(genes: IntArray) -> IntArray:
    """Positions of the genes of every block, blocks x genes; -1 beyond the last of a block."""
    order = np.argsort(genes, kind="stable")
    counts = np.bincount(genes)
    result = np.full((len(counts), int(counts.max())), -1)
    result[np.repeat(np.arange(len(counts)), counts), np.concatenate([np.arange(n) for n in counts])] = order
    return result


def _row_mean(values: FloatArray) -> FloatArray:
    """Mean of what is defined in each row."""
    known = ~np.isnan(values)
    n = known.sum(axis=1)
    total = np.where(known, values, 0.0).sum(axis=1)
    mean: FloatArray = np.divide(total, n, out=np.full(len(values), np.nan), where=n > 0)
    return mean


def recall_at(placed: Placements, k: int) -> FloatArray:
    """
    Share of the positives of each row among its `k` highest targets; what the cut ties is broken at random.

    Of a tied group that the cut goes through, each member is taken with the same probability: the recall is the
    expected one. NaN for rows with one class only.
    """
    n = (placed.n_pos + placed.n_neg)[placed.row]
    above = n - placed.negatives_to - placed.positives_to
    tied = placed.negatives_to - placed.negatives_below + placed.positives_to - placed.positives_below
    return placed.mean(np.clip((k - above) / np.maximum(tied, 1), 0, 1))


def tested_blocks(split: Split, blocks: Blocks) -> IntArray | None:
    """Block of each gene where several models score the genes of one unit."""
    return None if split == "perturbation" else blocks.gene


def permuted(scores: FloatArray, labels: IntArray, rng: np.random.Generator) -> FloatArray:
    """Shuffle what each row says of its pairs among them: the same edges, about other targets."""
    result = scores.copy()
    for row, pairs in enumerate(labels >= 0):
        result[row, pairs] = rng.permutation(scores[row, pairs])
    return result
