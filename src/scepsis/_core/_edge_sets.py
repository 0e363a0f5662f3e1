"""The sets of edges to be scored: those asked for, and what belongs beside them."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd

from scepsis._core._edge_frames import edges_from_frame
from scepsis._core._edge_slots import edge_owner, read_edges, recorded_mask
from scepsis._core._keys import EDGE_PANEL, RANDOMIZED, EdgeKeys
from scepsis._core._types import Scale
from scepsis._core._validate import listing

if TYPE_CHECKING:
    from anndata import AnnData

    from scepsis._core._edge_slots import EdgeArray
    from scepsis._core._types import EdgesLike, IntArray

logger = logging.getLogger(__name__)
Kind = Literal["edges", "scale", "control", "signed", "baseline"]
#: Scales that belong beside unscaled attention.
FURTHER_SCALES = ("uniform_fold", "centered")


@dataclass(frozen=True)
class EdgeSet:
    """One set of edges that is scored."""

    name: str
    kind: Kind
    edges: EdgeArray
    #: Where the edges are, for messages.
    slot: str
    #: Key in ``varp``; "" for a table.
    key: str = ""

    @property
    def params(self) -> dict[str, Any]:
        return self.edges.params

    @property
    def cells_hash(self) -> str:
        return str(self.params.get("cells_hash", ""))

    @property
    def is_signed(self) -> bool:
        """Whether the sign is a direction of regulation: as recorded, else whether there is any negative weight."""
        if "signed" in self.params:
            return bool(self.params["signed"])
        return bool(np.min(self.edges.values, initial=0, where=~np.isnan(self.edges.values)) < 0)

    @property
    def is_attention(self) -> bool:
        return self.params.get("method", "attention") == "attention" and self.params.get("scale") in get_args(Scale)

    @property
    def is_counterfactual(self) -> bool:
        """Whether a model was asked what changes when a source does."""
        return self.params.get("method") == "insilico"


@dataclass
class EdgeSets:
    """All sets, those asked for first, and the companions of attention that are not there."""

    sets: list[EdgeSet] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    @property
    def of_model(self) -> EdgeSet | None:
        """First set that is attention of a model, else the first of its counterfactuals."""
        first = next((one for one in self.sets if one.is_attention), None)
        return first or next((one for one in self.sets if one.is_counterfactual), None)


def gather_edges(adata: AnnData, edges: EdgesLike, *, companions: bool = True) -> EdgeSets:
    """Read what `edges` asks for, and, unless they are not wanted, the companions in ``varp`` of what is attention."""
    asked: list[EdgeSet] = []
    for name, given in _named(edges).items():
        asked += _read(adata, name, given)
    _require_distinct([one.name for one in asked])
    result = EdgeSets(asked)
    keys = {one.key for one in asked if one.key}
    for one in asked:
        if not (companions and one.key and (one.is_attention or one.is_counterfactual)):
            continue
        for kind, key, wanted in _companions(adata, one):
            if key in adata.varp and key not in keys:
                keys.add(key)
                name = key if one.name == one.key else f"{one.name}{key.removeprefix(edge_owner(adata, one.key))}"
                result.sets.append(EdgeSet(name, kind, read_edges(adata, key), f"adata.varp[{key!r}]", key))
            elif key not in keys and wanted:
                result.missing.append(key)
    order = get_args(Kind)
    result.sets.sort(key=lambda one: order.index(one.kind))
    _require_distinct([one.name for one in result.sets])
    _say_missing(result.missing)
    _say_unrecorded([one.slot for one in result.sets if not one.cells_hash])
    return result


def _named(edges: EdgesLike) -> dict[str, str | pd.DataFrame]:
    if isinstance(edges, str):
        return {edges: edges}
    if isinstance(edges, pd.DataFrame):
        return {"edges": edges}
    if isinstance(edges, Mapping):
        named: dict[Any, Any] = dict(edges)
    else:
        listed: list[Any] = list(edges)
        if any(isinstance(one, pd.DataFrame) for one in listed):
            msg = "`edges` holds a table without a name. Pass a dict, for example `edges={'grnboost': frame}`."
            raise TypeError(msg)
        _require_distinct(listed)
        named = {one: one for one in listed}
    if not named:
        msg = "`edges` is empty. Name at least one key of `adata.varp`, or pass a table."
        raise ValueError(msg)
    for name, one in named.items():
        if not isinstance(name, str) or not name or not isinstance(one, str | pd.DataFrame):
            msg = f"`edges` must name keys of `adata.varp` or tables, not {name!r}: {type(one).__name__}."
            if isinstance(name, int) and isinstance(one, str):  # layers by number, as `get.layer_keys` gives them
                msg += " Of layers by number pass the keys alone: `list(scepsis.get.layer_keys(adata, ...).values())`."
            raise TypeError(msg)
    return named


def _read(adata: AnnData, name: str, one: str | pd.DataFrame) -> list[EdgeSet]:
    if isinstance(one, str):
        return [EdgeSet(name, "edges", read_edges(adata, one), f"adata.varp[{one!r}]", one)]
    where = "edges" if name == "edges" else f"edges[{name!r}]"
    groups = edges_from_frame(adata, one, argument=where)
    return [EdgeSet(f"{name}_{group}" if group else name, "edges", edges, where) for group, edges in groups.items()]


def _require_distinct(names: list[Any]) -> None:
    repeated = sorted({str(name) for name in names if names.count(name) > 1})
    if repeated:
        msg = f"`edges` leads to the name {listing(repeated)} more than once. Pass a dict with a name for each."
        raise ValueError(msg)


def require_told_apart(names: list[str], *, argument: str = "edges") -> None:
    """Raise unless everything that is scored, edges and what a tool adds to them, has a name of its own."""
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        msg = f"`{argument}` has the name {listing(repeated)}, which another predictor has too. "
        raise ValueError(msg + "Pass a dict with other names.")


def _companions(adata: AnnData, one: EdgeSet) -> list[tuple[Kind, str, bool]]:
    """Kind and key of what belongs beside attention, and whether its absence is told."""
    owner = edge_owner(adata, one.key)
    part = one.key.removeprefix(owner)  # a layer or a group: "_L3"
    keys = EdgeKeys(owner)
    if owner.endswith((RANDOMIZED, *FURTHER_SCALES)):
        return []
    if one.is_counterfactual:  # too dear to be asked for
        return [("control", keys.randomized + part, False)]
    own = one.params.get("scale")
    scales = [scale for scale in get_args(Scale) if scale != own]
    twin = EdgeKeys(keys.randomized)
    result: list[tuple[Kind, str, bool]] = [
        ("scale", keys.scale(scale).key + part, scale in FURTHER_SCALES) for scale in scales
    ]
    result.append(("control", twin.key + part, True))
    return result + [("control", twin.scale(scale).key + part, False) for scale in scales]


def _say_missing(missing: list[str]) -> None:
    if missing:
        warnings.warn(
            f"Attention is scored without {listing(missing)}. Unscaled attention mostly measures depth and "
            "co-detection, and a model with random weights has it too. Extract the scales with "
            "`scepsis.tl.attention_edges(adata, model, scale=('probability', 'uniform_fold', 'centered'))` and the "
            "control with `scepsis.tl.attention_edges(adata, scepsis.models.randomize(model), "
            "key_added='attention_randomized')`.",
            UserWarning,
            stacklevel=4,
        )


def _say_unrecorded(slots: list[str]) -> None:
    if slots:
        warnings.warn(
            f"There is no record of the cells behind {listing(slots)}, so whether they have seen perturbed cells, or "
            "other cells than the rest, cannot be checked.",
            UserWarning,
            stacklevel=4,
        )


def panel_of(adata: AnnData, sets: list[EdgeSet]) -> IntArray:
    """
    Genes that can be candidates: the recorded panels of the sets asked for, together.

    Without any record: ``var["edge_panel"]`` when there is one, else every gene with an edge.
    """
    asked = [one for one in sets if one.kind == "edges"]
    panel = np.zeros(adata.n_vars, dtype=bool)
    for one in asked:
        mask = recorded_mask(adata, one.params, "var") if one.params.get("genes_hash") else None
        if mask is not None:
            panel |= mask
    if not panel.any() and EDGE_PANEL in adata.var:
        panel = adata.var[EDGE_PANEL].to_numpy(dtype=bool)
    if not panel.any():
        for one in asked:
            panel[one.edges.genes] = True
    genes: IntArray = np.flatnonzero(panel)
    for one in sets:
        # edges of one gene have no pair, and give rows that say so
        if len(one.edges.genes) > 1 and not np.isin(one.edges.genes, genes).any():
            msg = (
                f"None of the {len(one.edges.genes)} genes of `{one.slot}` is among the {len(genes)} candidates "
                f"(`adata.var[{EDGE_PANEL!r}]`, or the panel of the other edges). "
                "Call `scepsis.pp.select_panel(adata, force=[...])` with genes that both have."
            )
            raise ValueError(msg)
    return genes
