from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scepsis._core._edge_pairs import read_edge_pairs
from scepsis._core._keys import RESIDUALIZERS
from scepsis._core._progress import progress_bar
from scepsis._core._registry import Evidence, Row, updated_tests
from scepsis._core._resolve import resolve
from scepsis._core._rng import child, resolve_seed
from scepsis._core._store import record, write
from scepsis._core._validate import listing, require_choice, require_key, require_positive
from scepsis.stats._boosted import Trees, boosted
from scepsis.stats._node_effects import node_effects
from scepsis.stats._residual import N_FOLDS, Pairs, gene_blocks, ols
from scepsis.stats._residual import pair_folds as folds_of_pairs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from scepsis._core._edge_pairs import EdgePairs
    from scepsis._core._types import BoolArray, Data, EdgesLike, FloatArray, Seed
    from scepsis.stats._residual import Explained

NAME = "explain_edges"
COLUMNS = ["edges", "target", "learner", "split", "r2", "r2_train", "n_pairs", "n_genes", "status"]
LEARNERS = {
    "ols": "linear regression on features of both genes",
    "gbdt": "boosted trees on features of both genes",
    "node": "an effect of the source and one of the target",
}


def explain_edges(
    adata: Data,
    *,
    edges: EdgesLike = ("attention", "spearman"),
    learners: Sequence[str] = RESIDUALIZERS,
    pair_folds: bool = True,
    max_train: int = 100_000,
    max_pairs: int = 5_000_000,
    allow_different_cells: bool = False,
    n_jobs: int = 1,
    show_progress_bar: bool = True,
    key_added: str = NAME,
    mod: str | None = None,
    rng: Seed = 0,
    copy: bool = False,
) -> Data | None:
    r"""
    Ask how much of edges is a function of what their two genes are like by themselves :cite:p:`kendiukhov2026`.

    Every pair is predicted from variance, mean and detection rate of its genes by models that have not seen it. The
    share of the variance of edges that such predictions explain is no fault of the edges; but what has been explained
    tells nothing of pairs (Kendiukhov (2026), analysis A07). `scepsis.tl.residualize_edges` asks what is left.

    Parameters
    ----------
    adata
        Cells x genes, with edges in ``varp`` and gene features in ``var`` (`scepsis.pp.gene_features`).
    edges
        What is explained: keys of ``varp``, a table with columns ``source``, ``target``, ``weight``, or a dict from
        names to keys or tables. All sets are compared on the pairs that all of them have.
    learners
        ``ols``: linear regression on variance and mean of the source and variance, mean and detection rate of the
        target. ``gbdt``: boosted trees on all six. ``node``: not features, but an effect of each source and of each
        target, estimated from their other pairs; the most that anything about single genes could add up to.
    pair_folds
        Use five random folds of pairs, the paper's, as well: both genes of a pair are then known from other pairs.
    max_train
        Pairs that one model of boosted trees learns from at most.
    max_pairs
        Pairs that are used at most; drawn at random when there are more.
    allow_different_cells
        Use edges and features that are recorded to be from different cells.
    n_jobs
        Models of boosted trees fitted at a time. The result does not depend on it.
    show_progress_bar
        Show how many models are fitted.
    key_added
        Name of the result.
    mod
        Modality, for MuData.
    rng
        Seed of blocks, folds and training pairs.
    copy
        Return a changed copy instead of writing into `adata`.

    Returns
    -------
    None, or the copy. Sets

    ``uns[key_added]``
        ``params``, and ``r2``, a frame with one row for each set of edges, ``target`` (``value``: the edge, or its
        magnitude where edges are signed; ``rank`` of that; ``signed`` and ``signed_rank``: the value of signed edges),
        ``learner`` and ``split`` (``gene``: models that have seen neither gene; ``pair``; ``own_pair`` for ``node``):
        ``r2`` out of fold, ``r2_train`` among the pairs that the models learned from (mean over models), ``n_pairs``,
        ``n_genes`` and ``status`` (``constant_score``: edges that do not vary, with NaN).
    ``uns["tests"]``
        Descriptive rows ``r2/<learner>/<target>``, out of fold and between genes.

    Raises
    ------
    KeyError
        Edges or features do not exist.
    TypeError
        `edges` is neither of what it can be.
    ValueError
        Edges and features are from different cells, or an option is out of its range.

    Notes
    -----
    :math:`R^2 = 1 - \sum r^2 / \sum (e - \bar e)^2` with residuals r of the pairs that were left out; below 0 where the
    models are worse than the mean. Attention is heavy-tailed, so that a few edges decide the share for the value: read
    that for ranks with it. How genes are dealt so that every pair is predicted once by a model that has seen neither
    of its genes, and how large the trees are, is in the notes of `scepsis.tl.residualize_edges`. A share without an
    interval: pairs are not independent, and no test is made.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.pp.select_cells(adata)
    >>> sps.pp.gene_features(adata)
    >>> sps.tl.correlation_edges(adata)
    >>> sps.tl.explain_edges(adata, edges="spearman", learners=["ols", "node"])
    >>> shares = adata.uns["explain_edges"]["r2"].query("target == 'value' and split == 'gene'")
    >>> bool(shares["r2"].between(0.1, 0.5).all())
    True
    """
    data = adata.copy() if copy else adata
    target = resolve(data, mod)
    names = [learners] if isinstance(learners, str) else list(dict.fromkeys(learners))
    _check(names, max_train, max_pairs, n_jobs, key_added)
    seed = resolve_seed(rng)
    pairs = read_edge_pairs(target, edges, allow_different_cells=allow_different_cells)
    mask = _thinned(pairs.mask, int(max_pairs), child(seed, NAME, "pairs"))
    task = _Task(Pairs.of(mask, pairs.features), names, pair_folds, Trees(max_train=int(max_train)), n_jobs, seed)
    goals = _goals(pairs, mask)
    with progress_bar(total=task.n_fits, desc="explaining edges", unit="fit", show=show_progress_bar) as bar:
        frame = _frame(goals, task, bar)

    params = record(
        learners=names,
        pair_folds=pair_folds,
        n_trees=task.trees.n_trees,
        learning_rate=task.trees.learning_rate,
        max_leaf_nodes=task.trees.max_leaf_nodes,
        max_train=task.trees.max_train,
        max_pairs=int(max_pairs),
        allow_different_cells=allow_different_cells,
        same_cells=pairs.same_cells,
        seed=seed,
        edges=[one.name for one in pairs.sets],
        n_pairs=int(mask.sum()),
    )
    evidence = Evidence(key=key_added, params=params, edges=pairs.records, seed=seed)
    tests = updated_tests(target, _rows(frame), evidence)
    write(target, uns={key_added: {"params": params, "r2": frame}} | tests)
    return data if copy else None


def _check(names: list[str], max_train: int, max_pairs: int, n_jobs: int, key_added: str) -> None:
    require_key(key_added, argument="key_added")
    for name in names:
        require_choice(name, RESIDUALIZERS, argument="learners")
    if not names:
        msg = f"`learners` is empty; it takes {listing(RESIDUALIZERS)}."
        raise ValueError(msg)
    limits = (("max_train", max_train, 100), ("max_pairs", max_pairs, 1000), ("n_jobs", n_jobs, 1))
    for argument, value, minimum in limits:
        require_positive(value, argument=argument, minimum=minimum)


@dataclass(frozen=True)
class _Task:
    """Which models are fitted to which pairs."""

    pairs: Pairs
    learners: list[str]
    with_pair_folds: bool
    trees: Trees
    n_jobs: int
    seed: int

    @property
    def n_fits(self) -> int:
        fitted = sum(name != "node" for name in self.learners)
        return fitted * (1 + self.with_pair_folds) + ("node" in self.learners)

    def results(self, values: list[FloatArray]) -> Iterator[tuple[str, str, list[Explained]]]:
        """Learner, split, and what it says of every matrix."""
        mask = self.pairs.mask
        splits = {"gene": gene_blocks(len(mask), child(self.seed, NAME, "gene"))}
        if self.with_pair_folds:
            splits["pair"] = folds_of_pairs(mask, N_FOLDS, child(self.seed, NAME, "pair"))
        for kind, split in splits.items():
            if "ols" in self.learners:
                yield "ols", kind, ols(values, self.pairs, split)
            if "gbdt" in self.learners:
                found = boosted(
                    values, self.pairs, split, trees=self.trees, seed=self.seed, name=kind, in_sample=True,
                    n_jobs=self.n_jobs,
                )  # fmt: skip
                yield "gbdt", kind, found
        if "node" in self.learners:
            yield "node", "own_pair", node_effects(values, mask)


def _thinned(mask: BoolArray, most: int, rng: np.random.Generator) -> BoolArray:
    """At most so many pairs, drawn at random."""
    places = np.flatnonzero(mask)
    if len(places) <= most:
        return mask
    result = np.zeros(mask.shape, dtype=bool)
    result.flat[rng.choice(places, most, replace=False, shuffle=False)] = True
    return result


def _goals(pairs: EdgePairs, mask: BoolArray) -> list[tuple[str, str, FloatArray]]:
    """What is explained: edges, and how their values are read."""
    goals = []
    for one in pairs.sets:
        for signed in (False, True) if one.is_signed else (False,):
            values = pairs.values(one, signed=signed)
            goals.append((one.name, "signed" if signed else "value", values))
            goals.append((one.name, "signed_rank" if signed else "rank", _ranks(values, mask)))
    return goals


def _ranks(values: FloatArray, mask: BoolArray) -> FloatArray:
    from scipy.stats import rankdata

    ranks = np.full(values.shape, np.nan)
    ranks[mask] = rankdata(values[mask])
    return ranks


def _frame(goals: list[tuple[str, str, FloatArray]], task: _Task, bar: Any) -> pd.DataFrame:
    mask = task.pairs.mask
    n_genes = int((mask.any(axis=0) | mask.any(axis=1)).sum())
    rows: dict[tuple[int, int], tuple[Any, ...]] = {}
    for column, (learner, kind, found) in enumerate(task.results([values for *_, values in goals])):
        for index, ((name, what, values), one) in enumerate(zip(goals, found, strict=True)):
            share = one.r2(values)
            enough = not np.isnan(one.residual).all()
            status = "ok" if np.isfinite(share) else "constant_score" if enough else "too_few_units"
            rows[index, column] = (name, what, learner, kind, share, one.r2_train, task.pairs.n, n_genes, status)
        bar.update()
    return pd.DataFrame([rows[place] for place in sorted(rows)], columns=COLUMNS)


def _rows(frame: pd.DataFrame) -> list[Row]:
    return [
        Row(
            analysis="A07",
            name=f"r2/{row['learner']}/{row['target']}",
            hypothesis=f"Edges ({str(row['target']).replace('_', ' ')}) are explained by {LEARNERS[row['learner']]}",
            test_type="share of variance, out of fold",
            role="descriptive",
            edges=str(row["edges"]),
            statistic=float(row["r2"]),
            effect_size=float(row["r2"]),
            effect_type="R2",
            unit="gene",
            n=int(row["n_pairs"]),
            n_units=int(row["n_genes"]),
            status=str(row["status"]),
        )
        for _, row in frame[frame["split"] != "pair"].iterrows()
    ]
