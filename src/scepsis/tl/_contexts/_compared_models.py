"""What is compared: models about to be read, edges that are there already, and the cells and genes of all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scepsis._core._edge_sets import EdgeSet, gather_edges
from scepsis._core._gene_table import chosen_cells, require_same_cells
from scepsis._core._hashing import hash_strings
from scepsis._core._keys import RANDOMIZED, EdgeKeys, slugs
from scepsis._core._match import tokens_for
from scepsis._core._resolve import Choice
from scepsis._core._rng import child
from scepsis._core._validate import listing, require_key, require_positive
from scepsis.tl._shared._mean_attention import attention_edge_array, attention_run

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from anndata import AnnData

    from scepsis._core._types import BoolArray, IntArray, Scale
    from scepsis.edges._accumulate import AttentionSums
    from scepsis.models import AttentionModel
    from scepsis.tl._shared._run import Run


@dataclass(frozen=True)
class Reading:
    """A model about to be read."""

    name: str
    kind: Any
    key: str
    run: Run

    def extract(self, common: Common, samples: list[BoolArray], *, show: bool) -> list[EdgeSet]:
        """Edges from each of ever larger samples of cells; every cell is read once."""
        own = EdgeKeys(common.key)
        chosen = Choice(common.genes, own.genes)
        result = []
        for cells, sums in self._growing(samples, show=show):
            run = replace(self.run, cells=Choice(cells, common.cells.name))
            edges = attention_edge_array(run, sums, chosen, cells_name=own.cells, genes_name=own.genes)
            result.append(EdgeSet(self.name, self.kind, edges, f"adata.varp[{self.key!r}]", self.key))
        return result

    def _growing(self, samples: list[BoolArray], *, show: bool) -> Iterator[tuple[BoolArray, AttentionSums]]:
        total = None
        for before, cells in zip([np.zeros_like(samples[0]), *samples], samples, strict=False):
            sums = replace(self.run, cells=Choice(cells & ~before, None)).extract(show=show)
            if total is None:
                total = sums
            else:
                total.merge(sums)
            yield cells, total


@dataclass(frozen=True)
class Common:
    """What all models have in common."""

    adata: AnnData
    models: dict[str, AttentionModel]
    #: Sets of edges that are there already.
    given: list[EdgeSet]
    cells: Choice
    #: Genes of the panel that all know.
    genes: BoolArray
    key: str
    slugs: dict[str, str]
    #: Genes of `adata`, and of the panel, that each knows.
    known: dict[str, tuple[int, int]]

    @property
    def panel(self) -> IntArray:
        return np.flatnonzero(self.genes)

    @classmethod
    def of(cls, adata: AnnData, models: Any, cells: Choice, genes: Choice, key: str) -> Common:
        if not isinstance(models, Mapping) or len(models) < 2:
            msg = (
                "`models` must be a dict of at least two: `{'name': scepsis.models.load(...), 'correlation': "
                "'spearman'}`."
            )
            raise (ValueError if isinstance(models, Mapping) else TypeError)(msg)
        edges = {name: one for name, one in models.items() if isinstance(one, str | pd.DataFrame)}
        read = {name: one for name, one in models.items() if name not in edges}
        for name, one in read.items():
            require_key(name, argument="models")
            if not hasattr(one, "vocabulary") or not hasattr(one, "fingerprint"):
                msg = f"`models[{name!r}]` must be a model, a key of `adata.varp` or a table, not {type(one).__name__}."
                raise TypeError(msg)
        given = gather_edges(adata, edges, companions=False).sets if edges else []
        mask = genes.mask.copy()
        known = {}
        for name, model in read.items():
            own = tokens_for(adata, model).owner
            known[name] = int(own.sum()), int((own & genes.mask).sum())
            mask &= own
        for one in given:
            own = np.isin(np.arange(adata.n_vars), one.edges.genes)
            known[one.name] = int(own.sum()), int((own & genes.mask).sum())
            mask &= own
        if mask.sum() < 2:
            each = ", ".join(f"{name} {n_panel}" for name, (_, n_panel) in known.items())
            msg = (
                f"Of the {int(genes.mask.sum())} genes of the panel, {listing(models)} have {int(mask.sum())} in "
                f"common (alone: {each}). Choose a panel of genes that all know, "
                "`scepsis.pp.select_panel(adata, model)`, and make edges anew."
            )
            raise ValueError(msg)
        result = cls(adata, read, given, cells, mask, key, slugs(read), known)
        result.require_same_cells()
        return result

    def require_same_cells(self) -> None:
        """Edges that are there must be from the cells that the models will read."""
        expected = hash_strings(self.adata.obs_names[self.cells.mask])
        other = [one.slot for one in self.given if one.cells_hash and chosen_cells(one.params) != expected]
        if other:
            msg = (
                f"`{other[0]}` is from other cells than the {int(self.cells.mask.sum())} that models are to read. Make "
                "it anew from these, or pass the column that chose its cells as `mask_obs=`."
            )
            raise ValueError(msg)
        require_same_cells(self.adata, self.given, features=False, allow=False)

    def runs(
        self, layers: Any, scale: Scale, *, randomized: bool, seed: int, limits: tuple[int | None, int | None]
    ) -> list[Reading]:
        """One reading of each model, and one of its twin."""
        from scepsis.models import randomize

        chosen = layers if isinstance(layers, Mapping) else dict.fromkeys(self.models, layers)
        unknown = [name for name in chosen if name not in self.models]
        if unknown:
            msg = f"`layers` names no model {listing(unknown)}; there are: {listing(self.models)}."
            raise ValueError(msg)
        result = []
        for name, model in self.models.items():
            keys = EdgeKeys(self.key).group(self.slugs[name])
            common: dict[str, Any] = {
                "layers": chosen.get(name), "scale": scale, "seed": seed, "batch_size": limits[0],
                "memory_limit": limits[1],
            }  # fmt: skip
            genes = Choice(self.genes, None)
            run = attention_run(self.adata, model, self.cells, genes, **common)
            result.append(Reading(name, "edges", keys.key, run))
            if randomized:
                twin = replace(run, model=randomize(model, rng=seed))
                result.append(Reading(f"{name}_{RANDOMIZED}", "control", keys.randomized, twin))
        return result

    def samples(self, n_cells: Sequence[int] | None, seed: int) -> tuple[list[BoolArray], list[int]]:
        """Nested samples of the cells, the last of which has all; and the numbers for which there are too few."""
        rows = self.cells.index
        if n_cells is None:
            return [self.cells.mask], []
        if not self.models:
            msg = (
                "`n_cells` needs a model among `models`: edges that are there already are from the cells that they are."
            )
            raise ValueError(msg)
        sizes = sorted({int(n) for n in n_cells})
        for number in sizes or [0]:
            require_positive(number, argument="n_cells", minimum=2)
        fit = [n for n in sizes if n < len(rows)]
        if not fit:
            msg = f"None of `n_cells` is below the {len(rows)} cells that models are to read. Pass smaller numbers."
            raise ValueError(msg)
        order = child(seed, "compare_models", "cells").permutation(rows)
        masks = []
        for n in fit:
            masks.append(np.zeros_like(self.cells.mask))
            masks[-1][order[:n]] = True
        return [*masks, self.cells.mask], [n for n in sizes if n > len(rows)]

    def frame(self, read: list[EdgeSet]) -> pd.DataFrame:
        """One row for each of what is compared."""
        keys = {one.name: one.key for one in (*read, *self.given)}
        rows = [
            {"model": name, "kind": "model" if name in self.models else "edges", "edges_key": keys[name]}
            | {"family": str(getattr(self.models.get(name), "family", ""))}
            | {"n_vocabulary": n_all, "n_panel": n_panel, "n_common": len(self.panel)}
            for name, (n_all, n_panel) in self.known.items()
        ]
        return pd.DataFrame(rows)
