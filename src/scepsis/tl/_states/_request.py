"""What is asked of networks per state, checked before any work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scepsis._core._edge_slots import read_edges, stale
from scepsis._core._groups import Groups, Strata
from scepsis._core._keys import EdgeKeys
from scepsis._core._memory import require_memory
from scepsis._core._validate import listing, require_choice, require_positive
from scepsis.tl._states._leiden import Clustering, choose_embedding
from scepsis.tl._states._measures import AttentionMeasure, ValueMeasure, correlation_of, own_score

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pandas as pd
    from anndata import AnnData

    from scepsis._core._resolve import Choice
    from scepsis._core._types import Data, FloatArray, IntArray
    from scepsis.models import AttentionModel
    from scepsis.tl._states._measures import Measure, Networks

CORRELATIONS = ("spearman", "pearson")
ATTENTION = "attention"


def require_score(
    score: str | Callable[[FloatArray], Any],
    model: AttentionModel | None,
    layers: int | Sequence[int] | None,
    min_detected: int = 1,
) -> None:
    """A name or a function, and a model for attention alone."""
    if not callable(score):
        require_choice(score, (*CORRELATIONS, ATTENTION), argument="score")
    require_positive(min_detected, argument="min_detected")
    if score == ATTENTION and min_detected > 1:
        msg = (
            "`min_detected` is about genes whose values are correlated; attention has "
            "`adata.varp['<key>_n_cells']`, the cells behind each pair."
        )
        raise ValueError(msg)
    if model is not None and score != ATTENTION and not callable(score):
        msg = f"`model` is read for `score='attention'`; with `score={score!r}` it would not be used."
        raise ValueError(msg)
    if layers is not None and model is None:
        msg = "`layers` are those of `model`, which is not given; name stored edges of one layer with `edges=`."
        raise ValueError(msg)


def require_candidates(adata: AnnData, genes: Choice, candidates: Sequence[str] | None) -> None:
    """All of them must be in the panel."""
    if candidates is None:
        return
    if isinstance(candidates, str) or not len(candidates):
        msg = f"`candidates` takes a sequence of names of genes, not {candidates!r}."
        raise TypeError(msg)
    missing = [name for name in candidates if name not in set(adata.var_names[genes.index])]
    if missing:
        msg = (
            f"`candidates` names genes that are not in the panel: {listing(missing)}. "
            "Put them into the panel: `scepsis.pp.select_panel(adata, force=[...])`."
        )
        raise ValueError(msg)


def choose_strata(
    data: Data,
    adata: AnnData,
    cells: Choice,
    *,
    groupby: str | None,
    use_rep: str | None,
    model: AttentionModel | None,
    resolution: float,
    n_neighbors: int,
    min_cells: int,
    seed: int,
) -> tuple[Strata, dict[str, Any]]:
    """Strata of the chosen cells, and what is on record of a clustering."""
    if groupby is not None:
        if use_rep is not None:
            msg = "Pass `groupby` or `use_rep`, not both: labels are given, or found by clustering."
            raise ValueError(msg)
        groups = Groups.find(data, adata, groupby)
        return Strata.of(groups, cells.mask, min_cells, where=f"`adata.obs[{groupby!r}]`"), {}
    require_positive(resolution, argument="resolution", minimum=1e-6)
    require_positive(n_neighbors, argument="n_neighbors", minimum=2)
    name = choose_embedding(adata, use_rep, model, cells.mask)
    values = np.asarray(adata.obsm[name])[cells.mask]
    groups = Clustering(values, n_neighbors=n_neighbors, seed=seed).groups(resolution, cells.mask)
    strata = Strata.of(groups, cells.mask, min_cells, where=f"the clusters of `adata.obsm[{name!r}]`")
    return strata, {"use_rep": name, "resolution": float(resolution), "n_neighbors": int(n_neighbors)}


def make_measure(
    adata: AnnData,
    score: str | Callable[[FloatArray], Any],
    cells: Choice,
    genes: Choice,
    strata: Strata | None,
    *,
    model: AttentionModel | None = None,
    layers: int | Sequence[int] | None = None,
    edges: str = ATTENTION,
    groupby: str | None = None,
    layer: str | None = None,
    min_detected: int = 1,
    candidates: Sequence[str] | None = None,
    seed: int = 0,
    show: bool = False,
    memory_limit: int | None = None,
    n_sets: int = 0,
) -> Measure:
    """
    What gives the networks that `score` asks for.

    `strata` for those that are stored already; a pass of a model over the strata, or over the chosen cells in `n_sets`
    sets, must fit.
    """
    if callable(score):
        return ValueMeasure.of(adata, layer, cells, genes, own_score(score), "score", min_detected)
    if score != ATTENTION:
        return ValueMeasure.of(adata, layer, cells, genes, correlation_of(score), "correlation", min_detected)
    if model is None:
        if strata is None or groupby is None:
            msg = "Attention within new strata needs `model=`; stored networks are of the strata they were made for."
            raise ValueError(msg)
        return StoredMeasure.of(adata, EdgeKeys(edges), groupby, strata)
    measure = AttentionMeasure.of(adata, model, layers, genes, sources=candidates, seed=seed, show=show)
    if strata is not None or n_sets:
        members = np.array_split(cells.index, n_sets) if strata is None else strata.members
        measure.run(members).require_fit(memory_limit)
    return measure


def require_fit(
    adata: AnnData, n_genes: int, strata: Strata, memory_limit: int | None, candidates: Sequence[str] | None
) -> None:
    """Raise `MemoryError` when the networks of all strata would not fit."""
    n_strata = len(strata.members)
    n_pairs = n_genes * (n_genes if candidates is None else len(candidates))
    stored = 4 * adata.n_vars**2 if 2 * n_pairs >= adata.n_vars**2 else 8 * n_pairs
    require_memory(
        (n_strata + 2) * stored + n_strata * 4 * n_genes**2 + 24 * n_genes**2,
        memory_limit,
        what=f"Networks of {n_strata} strata x {n_genes} genes",
        remedy="Choose a smaller panel (`scepsis.pp.select_panel(adata, n_top_genes=...)`), fewer strata "
        "(`min_cells=`), or the rows of a few `candidates=`.",
    )


def require_pass(
    score: str,
    cells: Choice,
    genes: Choice,
    *,
    n_held: int,
    memory_limit: int | None,
) -> None:
    """
    Raise `MemoryError` when networks of values that are made one after the other, `n_held` at a time, would not fit.

    What a pass of a model takes is for `make_measure` to ask.
    """
    from scepsis.edges._correlation import correlation_bytes

    if score != ATTENTION:
        values = correlation_bytes(len(cells.index), len(genes.index))
        require_networks(cells, genes, n_held=n_held, memory_limit=memory_limit, beside=values)


def require_networks(cells: Choice, genes: Choice, *, n_held: int, memory_limit: int | None, beside: int = 0) -> None:
    """Raise `MemoryError` when `n_held` networks, what they are scored and drawn with, and `beside` would not fit."""
    n_genes = len(genes.index)
    require_memory(
        beside + (n_held + 10) * 4 * n_genes**2,
        memory_limit,
        what=f"Networks of {n_genes} genes in {len(cells.index)} cells",
        remedy="Choose a smaller panel: `scepsis.pp.select_panel(adata, n_top_genes=...)`.",
    )


@dataclass
class StoredMeasure:
    """Networks that `attention_edges(groupby=...)` has stored."""

    adata: AnnData
    keys: EdgeKeys
    genes: IntArray
    #: Slugs under which they are stored, in the order of the strata.
    slugs: list[str]
    said: dict[str, Any]
    signed: bool = False
    scale: str = "probability"

    @classmethod
    def of(cls, adata: AnnData, keys: EdgeKeys, groupby: str, strata: Strata) -> StoredMeasure:
        call = f"`scepsis.tl.attention_edges(adata, model, layers=..., groupby={groupby!r})`"
        entry = adata.uns.get(keys.key)
        if not hasattr(entry, "get") or "strata" not in entry:
            msg = f"`adata.uns[{keys.key!r}]['strata']` does not exist. Call {call} first, or pass `model=`."
            raise KeyError(msg)
        params = dict(entry["params"])
        if params.get("groupby") != groupby:
            msg = (
                f"`adata.uns[{keys.key!r}]` holds networks of `groupby={params.get('groupby')!r}`, not {groupby!r}. "
                f"Call {call}, or pass `model=`."
            )
            raise ValueError(msg)
        table: pd.DataFrame = entry["strata"]
        sizes = dict(zip(table["group"], table["n_obs"], strict=True))
        if stale(adata, params) or any(
            sizes.get(name) != size for name, size in zip(strata.labels, strata.sizes, strict=True)
        ):
            msg = (
                f"The networks in `adata.uns[{keys.key!r}]` are of other cells than the strata of {groupby!r} "
                f"among the chosen cells. Call {call} anew, with the same cells."
            )
            raise ValueError(msg)
        slugs = dict(zip(table["group"], table["slug"], strict=True))
        genes = read_edges(adata, keys.key).genes
        kept = ("model", "family", "model_fingerprint", "vocabulary_hash", "layers", "layer_rule", "causal")
        said = {name: params[name] for name in kept if name in params}
        return cls(adata, keys, genes, [slugs[name] for name in strata.labels], said, scale=params["scale"])

    def within(self, members: Sequence[IntArray]) -> Networks:
        return _StoredNetworks(self, len(members))

    def record(self) -> dict[str, Any]:
        return self.said


@dataclass
class _StoredNetworks:
    measure: StoredMeasure
    n_sets: int

    def each(self, part: int | None = None) -> Iterator[FloatArray]:
        return (self._read(self.measure.keys.group(slug).key) for slug in self.measure.slugs)

    def pooled(self, part: int | None = None, of: Sequence[int] | None = None) -> FloatArray:
        return self._read(self.measure.keys.key)

    def _read(self, key: str) -> FloatArray:
        from scepsis._core._edge_slots import unpack

        values, _ = unpack(self.measure.adata.varp[key], self.measure.genes)
        return np.array(values, dtype=np.float32)
