"""A stored result of `cssi`, read back so that it can be made again with other strata."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from scepsis._core._edge_slots import read_edges, recorded_mask, stale, unpack
from scepsis._core._groups import Groups, Strata
from scepsis._core._keys import EdgeKeys
from scepsis._core._resolve import Choice
from scepsis._core._results import read_result
from scepsis.tl._states._request import (
    ATTENTION,
    CORRELATIONS,
    make_measure,
    require_networks,
    require_pass,
    require_score,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from anndata import AnnData

    from scepsis._core._types import FloatArray, IntArray
    from scepsis.edges._cssi import Aggregation
    from scepsis.models import AttentionModel
    from scepsis.tl._states._measures import Measure

MAKER = "scepsis.tl.cssi(adata, groupby=...)"


@dataclass(frozen=True)
class StoredStates:
    """Strata, settings and networks of a result."""

    adata: AnnData
    keys: EdgeKeys
    params: dict[str, Any]
    cells: Choice
    genes: Choice
    strata: Strata

    @classmethod
    def read(cls, adata: AnnData, key: str) -> StoredStates:
        """Raise `KeyError` without a result and `ValueError` when cells or genes have changed since."""
        entry = read_result(adata, key, maker=MAKER)
        keys, params = EdgeKeys(key), dict(entry["params"])
        if params.get("method") != "cssi" or keys.strata not in adata.obs:
            msg = f"`adata.uns[{key!r}]` holds no networks per state. Call `{MAKER}` to make them."
            raise KeyError(msg)
        if stale(adata, params):
            what = " and ".join(stale(adata, params))
            msg = f"The {what} behind `adata.uns[{key!r}]` have changed since; call `{MAKER}` anew."
            raise ValueError(msg)
        choices = []
        for axis, name in (("obs", params["cells"]), ("var", params["genes"])):
            mask = recorded_mask(adata, params, axis)
            choices.append(Choice(np.ones(adata.shape[axis == "var"], bool) if mask is None else mask, name))
        groups = Groups.read(adata, keys.strata)
        strata = Strata.of(groups, choices[0].mask, 1, where=f"`adata.obs[{keys.strata!r}]`")
        return cls(adata, keys, params, choices[0], choices[1], strata)

    @property
    def aggregation(self) -> Aggregation:
        how: Aggregation = self.params["aggregation"]
        return how

    @property
    def signed(self) -> bool:
        return bool(self.params["signed"])

    @cached_property
    def aggregate(self) -> tuple[FloatArray, IntArray]:
        """The stored aggregate, and the genes it is among."""
        found = read_edges(self.adata, self.keys.key)
        return found.values, found.genes

    @property
    def is_function(self) -> bool:
        """Whether a function of the user's made the networks."""
        return bool(self.params["scale"] == "score")

    def can_be_made_anew(self, model: AttentionModel | None) -> bool:
        """Whether networks of other strata can be made: attention needs its model."""
        return model is not None or self.is_function or self.params["score"] in CORRELATIONS

    def require_function(self, score: Callable[..., Any] | None) -> None:
        """A function is not on record, and has to be given again."""
        if self.is_function and score is None:
            msg = f"The networks in `adata.uns[{self.keys.key!r}]` come from a function; pass it as `score=`."
            raise ValueError(msg)

    def measure(
        self,
        *,
        model: AttentionModel | None = None,
        score: Callable[[FloatArray], Any] | None = None,
        layers: Sequence[int] | None = None,
        cells: Choice | None = None,
        show: bool = False,
        memory_limit: int | None = None,
        n_sets: int = 0,
    ) -> Measure:
        """
        What made the networks, of the same cells and genes (or of other `cells`).

        With `n_sets`, a pass of the model over so many sets of cells must fit.
        """
        self.require_function(score)
        asked = score if score is not None else self.params["score"]
        if asked == ATTENTION and model is None:
            msg = (
                f"The networks in `adata.uns[{self.keys.key!r}]` are attention; pass the `model=` to read it within "
                "other strata."
            )
            raise ValueError(msg)
        chosen = (
            layers if layers is not None else None if model is None else list(self.params.get("layers", [])) or None
        )
        require_score(asked, model, chosen)
        slot = str(self.params.get("values", ""))
        layer = slot.removeprefix("adata.layers['").removesuffix("']") if slot.startswith("adata.layers") else None
        layer = None if self.params.get("lognormalized_on_reading") else layer
        return make_measure(
            self.adata, asked, self.cells if cells is None else cells, self.genes, None, model=model, layers=chosen,
            layer=layer, min_detected=int(self.params.get("min_detected", 1)),
            candidates=self.params.get("candidates"), seed=int(self.params["seed"]), show=show,
            memory_limit=memory_limit, n_sets=n_sets,
        )  # fmt: skip

    def require_fit(self, n_held: int, memory_limit: int | None) -> None:
        """Raise `MemoryError` when so many networks, and the values that they are made from, would not fit."""
        held: dict[str, Any] = {"n_held": n_held, "memory_limit": memory_limit}
        if self.params["score"] == ATTENTION:
            require_networks(self.cells, self.genes, **held)
        else:
            require_pass(self.params["score"], self.cells, self.genes, **held)

    def network(self, slug: str) -> FloatArray:
        """Stored network of a state, among the genes of the aggregate."""
        return self._among(self.keys.group(slug).key)

    def pooled(self) -> FloatArray | None:
        """Stored network of all cells together, where there is one."""
        stored = [self.keys.pooled, *([self.params["edges"]] if "edges" in self.params else [])]
        return next((self._among(key) for key in stored if key in self.adata.varp), None)

    def _among(self, key: str) -> FloatArray:
        values, _ = unpack(self.adata.varp[key], self.aggregate[1])
        return np.array(values, dtype=np.float32)

    def keep(self, network: FloatArray, panel: IntArray) -> FloatArray:
        """A network among the genes of `panel` as the stored ones are: genes with any edge, rows of candidates."""
        genes = self.aggregate[1]
        place = np.searchsorted(panel, genes)
        kept = network[np.ix_(place, place)]
        candidates = self.params.get("candidates")
        if candidates is not None:
            kept[~self.adata.var_names[genes].isin(list(candidates))] = np.nan
        return kept
