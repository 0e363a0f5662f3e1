"""Which sets of edges are layers, and of what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scepsis._core._edge_sets import require_told_apart
from scepsis._core._edge_slots import edge_owner
from scepsis._core._keys import RANDOMIZED, EdgeKeys
from scepsis._core._layers import layer_keys, layer_of
from scepsis._core._validate import listing
from scepsis.tl._biology._layer_scores import Predictor, feature_predictors

if TYPE_CHECKING:
    from anndata import AnnData

    from scepsis._core._edge_sets import EdgeSet, Kind
    from scepsis._core._references import References

ATTENTION = "attention"


def all_layers(adata: AnnData) -> list[str]:
    """Keys of all layers of attention, and of its twin with random weights where there is one."""
    keys = list(layer_keys(adata, ATTENTION).values())
    if not keys:
        msg = (
            f"`adata.uns[{ATTENTION!r}]` has no layers. Call `scepsis.tl.attention_edges(adata, model)` with all of "
            "them, or pass `edges=` with the keys of layers."
        )
        raise KeyError(msg)
    twin = EdgeKeys(ATTENTION).randomized
    return keys + (list(layer_keys(adata, twin).values()) if twin in adata.uns else [])


def line_up(adata: AnnData, found: References, versus: str) -> list[Predictor]:
    """Layers, what they are compared with, and features of genes."""
    predictors = []
    for position, one in enumerate(found.sets):
        if one.name == versus:
            predictors.append(Predictor(versus, "baseline", versus, -1, position))
            continue
        curve, layer = _place(adata, one)
        kind: Kind = "control" if curve.endswith(f"_{RANDOMIZED}") else "edges"
        predictors.append(Predictor(one.name, kind, curve, layer, position))
    if not any(one.is_edges for one in predictors):
        msg = f"`edges` are nothing but {versus!r}, which layers are compared with. Name the keys of layers."
        raise ValueError(msg)
    places = [(one.curve, one.layer) for one in predictors]
    repeated = [place for place in dict.fromkeys(places) if places.count(place) > 1]
    if repeated:
        shown = listing([f"layer {layer} of {curve}" for curve, layer in repeated])
        msg = f"`edges` has {shown} more than once. Pass a dict with a name for each, such as `{{'first_L0': key}}`."
        raise ValueError(msg)
    universes = {one.dyadic for one in found.references}
    result = predictors + [one for dyadic in sorted(universes) for one in feature_predictors(dyadic=dyadic)]
    require_told_apart([one.name for one in result])
    return result


def _place(adata: AnnData, one: EdgeSet) -> tuple[str, int]:
    """Edges that a set is a layer of, and which; its own name and -1 where it is none."""
    curve, layer = layer_of(one.name)
    if layer < 0 and one.key and (owner := edge_owner(adata, one.key)):
        alone = list(adata.uns[owner]["params"].get("layers", ()))
        if owner == one.key and len(alone) == 1:
            return one.name, int(alone[0])
    return curve, layer


def curve_record(adata: AnnData, layers: list[Predictor], sets: list[EdgeSet]) -> dict[str, Any]:
    """
    Record of edges of which every layer is told of.

    Who looks at all layers of a model, and corrects for it, has chosen none; a part of them is a choice.
    """
    first = sets[layers[0].position]
    owner = edge_owner(adata, first.key) if first.key else ""
    everything = set(layer_keys(adata, owner)) if owner else set()
    record = dict(first.params)
    if everything and everything <= {one.layer for one in layers}:
        record["layer_rule"] = adata.uns[owner]["params"].get("layer_rule", "single")
    return record
