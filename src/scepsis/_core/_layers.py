"""Layers of a model's edges: the key of each, and how a choice among them came about."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from scepsis._core._keys import SELECT_LAYER, EdgeKeys, EffectKeys
from scepsis._core._results import read_result
from scepsis._core._validate import listing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from anndata import AnnData

#: End of the key of one layer, or of one head, of edges that several were asked for of.
PART = re.compile(r"(_\w+)?_L(?P<layer>\d+)(?P<head>H\d+)?")
MAKER = "scepsis.tl.attention_edges(adata, model)"
#: Name of edges of one layer.
_LAYER = re.compile(r"(?P<curve>.+)_L(?P<layer>\d+)")


def layer_of(name: str) -> tuple[str, int]:
    """Edges and 0-based layer of a name such as ``attention_L3``; the name itself and -1 for any other."""
    found = _LAYER.fullmatch(name)
    return (found["curve"], int(found["layer"])) if found else (name, -1)


def layer_keys(adata: AnnData, key: str) -> dict[int, str]:
    """0-based layer -> key of ``varp``, ascending; empty for edges that belong to no layer."""
    entry = read_result(adata, key, maker=MAKER)
    names = [str(name) for name in entry.get("edges_keys", [])]
    pattern = re.compile(re.escape(EdgeKeys(key).layer(0).removesuffix("0")) + r"(\d+)")
    layers = {int(found[1]): name for name in names if (found := pattern.fullmatch(name))}
    if layers:
        return dict(sorted(layers.items()))
    params = entry["params"]
    alone = list(params.get("layers", []))
    return {int(alone[0]): key} if len(alone) == 1 and not len(params.get("heads", [])) else {}


def layers_behind(key: str, owner: str, params: Mapping[str, Any]) -> list[int] | None:
    """
    Layers that attention under ``varp[key]`` is the mean of, of a record that `owner` keeps.

    None where it could not be read from a model anew: it is of some heads, sources or one group of cells.
    """
    if "layers" not in params or params.get("groupby") or params.get("heads") or params.get("sources"):
        return None
    layers = [int(layer) for layer in params["layers"]]
    if owner == key:
        return layers
    return next(([layer] for layer in layers if EdgeKeys(owner).layer(layer) == key), None)


def recorded_rule(adata: AnnData, owner: str, key: str, params: Mapping[str, Any]) -> str:
    """
    How the layers behind ``varp[key]`` were chosen, as the records have it.

    Nothing was chosen in a mean over all layers; whoever takes one of them has chosen. That the layer is the one that
    ``uns["select_layer"]`` names makes the choice a frozen or a nested one; that it is another takes away the word of
    whoever called it so.
    """
    rule = str(params.get("layer_rule", "single"))
    layers = [int(layer) for layer in params.get("layers", ())]
    part = PART.fullmatch(key.removeprefix(owner))
    if part and len(layers) > 1 and rule == "single":
        rule = "unrecorded"
    if rule == "single" or (part and part["head"]) or len(params.get("heads", ())):
        return rule
    layer = int(part["layer"]) if part else layers[0] if len(layers) == 1 else None
    choice = layer_choice(adata, params)
    if layer is None or not choice:
        return rule
    if choice.get("layer") == layer:
        return str(choice["how"])
    return "unrecorded" if rule == choice["how"] else rule


def layer_choice(adata: AnnData, params: Mapping[str, Any]) -> dict[str, Any]:
    """
    Record in ``uns["select_layer"]`` that speaks for edges of this record; empty when there is none.

    A frozen choice holds for the same weights in any data. A nested one holds for the cells and labels it was made on.
    """
    entry = adata.uns.get(SELECT_LAYER)
    choice = dict(entry["params"]) if hasattr(entry, "get") and "params" in entry else {}
    model = "model_fingerprint"
    if choice.get("how") not in {"frozen", "nested"} or choice.get(model, "") != params.get(model, ""):
        return {}
    if choice["how"] == "frozen":
        return choice
    effects = adata.uns.get(EffectKeys(str(choice["effects"])).uns)
    labels = effects["params"].get("labels_hash", "") if hasattr(effects, "get") and "params" in effects else None
    same = labels == choice.get("labels_hash") and params.get("cells_hash") == choice.get("cells_hash")
    return choice if same else {}


def require_frozen(adata: AnnData, layers: Sequence[int], fingerprint: str) -> None:
    """Raise `ValueError` when a freeze record names another layer than the one that is called frozen."""
    choice = layer_choice(adata, {"model_fingerprint": fingerprint})
    if choice.get("how") == "frozen" and list(layers) != [choice["layer"]]:
        msg = (
            f"`layer_rule='frozen'`, but `adata.uns[{SELECT_LAYER!r}]` froze layer {choice['layer']}, and the layers "
            f"asked for are {listing(layers)}. Pass `layers=[{choice['layer']}]`, or leave `layer_rule` out: the edges "
            "are then scored as an exploratory choice."
        )
        raise ValueError(msg)
