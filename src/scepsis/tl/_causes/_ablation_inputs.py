"""What an ablation is given, checked before any work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scepsis._core._edge_slots import edge_params, recorded_mask
from scepsis._core._keys import SELECT_LAYER
from scepsis._core._match import tokens_for
from scepsis._core._memory import require_memory
from scepsis._core._model_runs import model_record, require_model
from scepsis._core._resolve import Choice
from scepsis._core._results import read_result
from scepsis._core._screen import read_screen
from scepsis._core._validate import listing, require_choice, require_integers, require_key, require_positive
from scepsis.stats._ablation import Target
from scepsis.tl._causes._outputs import OUTPUTS, require_output
from scepsis.tl._shared._run import owned_panel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

    from scepsis._core._screen import Screen
    from scepsis._core._types import IntArray
    from scepsis.models import AttentionModel
    from scepsis.tl._shared._ablation_run import Cells
    from scepsis.tl._shared._conditions import Condition

MAKER = "scepsis.tl.rank_heads(adata, model, reference=network)"
MATCHES = ("layer", "entropy")


def require_options(
    match: str | Sequence[str],
    key_added: str,
    *,
    margin: float,
    n_cells: int | None,
    **at_least_one: int,
) -> list[str]:
    """Names of what random sets share with the primary one, if all options are in range."""
    require_key(key_added, argument="key_added")
    require_positive(margin, argument="margin", minimum=1e-6)
    for argument, value in at_least_one.items():
        require_positive(value, argument=argument, minimum=2 if argument == "min_units" else 1)
    _require_number(n_cells, argument="n_cells", minimum=2)
    matched = [match] if isinstance(match, str) else list(dict.fromkeys(match))
    for one in matched:
        require_choice(one, MATCHES, argument="match")
    return matched


def _require_number(number: int | None, *, argument: str, minimum: int) -> None:
    if number is not None:
        require_integers([number], argument=argument)
        require_positive(number, argument=argument, minimum=minimum)


@dataclass(frozen=True)
class Given:
    """Ranking, cells, genes and labels, all of which belong together."""

    ranking: dict[str, Any]
    cells: IntArray
    tokens: IntArray
    panel: IntArray
    #: Positions in the panel of the perturbed genes whose rows are read.
    sources: IntArray
    #: Half of the ranking that each of them is in; -1 for those that it did not read.
    half: IntArray
    screen: Screen
    target: Target
    #: What the tests speak for.
    record: dict[str, Any]
    provenance: dict[str, Any]


def given(
    adata: AnnData, model: AttentionModel, ranking: str, edges: str, effects: str, target: dict[str, int]
) -> Given:
    """Read all that an ablation rests on; see `scepsis.tl.ablate_heads` for what is raised."""
    require_model(model)
    _require_intact(model)
    entry = read_result(adata, ranking, maker=MAKER)
    params = entry["params"]
    if "heads" not in entry or "model_fingerprint" not in params:
        msg = f"`adata.uns[{ranking!r}]` is no ranking of heads. Call `{MAKER}` first."
        raise KeyError(msg)
    if params["model_fingerprint"] != model.fingerprint:
        msg = (
            f"`adata.uns[{ranking!r}]` ranks the heads of {params.get('model', 'another model')!r}, whose weights are "
            f"not those of {model.name!r}. Call `{MAKER}` with this model."
        )
        raise ValueError(msg)
    masks = [recorded_mask(adata, params, axis) for axis in ("obs", "var")]
    if masks[0] is None or masks[1] is None:
        what = "cells" if masks[0] is None else "genes"
        msg = f"`adata.uns[{ranking!r}]` was made from other {what} than `adata` has now. Call `{MAKER}` anew."
        raise ValueError(msg)
    match = tokens_for(adata, model)
    panel = owned_panel(match, Choice(masks[1], str(params["genes"])))
    screen = read_screen(adata, effects, panel)
    place = np.full(adata.n_vars + 1, -1)
    place[panel] = np.arange(len(panel))
    at = np.where(screen.scorable, place[screen.gene], -1)
    sources = np.unique(at[at >= 0])
    if not len(sources):
        msg = (
            f"No perturbed gene of {effects!r} that can be scored is in the panel and the vocabulary, so there is no "
            "readout. Put them into the panel: `scepsis.pp.select_panel(adata, model, force=[...])`."
        )
        raise ValueError(msg)
    row = np.where(at >= 0, np.searchsorted(sources, np.maximum(at, 0)), -1)
    names = adata.var_names[panel[sources]]
    half = entry["sources"].set_index("gene")["half"].reindex(names).fillna(-1).to_numpy(dtype=np.int64)
    shared = {name: params[name] for name in ("cells", "genes", "n_cells", "n_genes", "cells_hash", "genes_hash")}
    labels_hash = str(screen.params.get("labels_hash", ""))
    return Given(
        entry, np.flatnonzero(masks[0]), match.tokens, panel, sources, half, screen,
        Target(screen.labels, row, **target), _record(adata, edges, model, shared),
        shared | model_record(model, match) | {"labels_hash": labels_hash},
    )  # fmt: skip


def _require_intact(model: AttentionModel) -> None:
    """Raise inside a block of `intervene`: a condition or a random set could touch the same heads, midway."""
    from scepsis.models._intervene import active_interventions

    if active_interventions(model):
        msg = (
            f"{model.name!r} is under an intervention, and `ablate_heads` sets its own. Call it outside of "
            "`with model.intervene(...)`; what is to be done besides can be joined in `conditions` by `|`."
        )
        raise ValueError(msg)


def _record(adata: AnnData, edges: str, model: AttentionModel, own: dict[str, Any]) -> dict[str, Any]:
    """Record of the edges that the tests speak for: that of attention of this model, if there is one."""
    params = edge_params(adata, edges) if edges in adata.varp else {}
    if params and params.get("model_fingerprint", "") != model.fingerprint:
        msg = (
            f"`adata.varp[{edges!r}]` is not attention of {model.name!r}. Name the edges of this model by `edges=`, or "
            "another name for tests that speak for none that are stored."
        )
        raise ValueError(msg)
    return params or own | {"layer_rule": "single"}


def frozen_layer(adata: AnnData, model: AttentionModel, layer: int | None) -> int | None:
    """Layer that edges are read at: as given, else as on record for this model; None for neither."""
    if layer is not None:
        if isinstance(layer, bool) or not isinstance(layer, int | np.integer) or not 0 <= layer < model.n_layers:
            msg = f"`layer` asks for {layer!r}; the model has layers 0 to {model.n_layers - 1} (0-based)."
            raise ValueError(msg)
        return int(layer)
    entry = adata.uns.get(SELECT_LAYER)
    params = entry.get("params", {}) if hasattr(entry, "get") else {}
    if params.get("model_fingerprint") == model.fingerprint and "layer" in params:
        return int(params["layer"])
    return None


def layers_read(readouts: str | int | Sequence[str | int], model: AttentionModel, frozen: int | None) -> dict[str, int]:
    """Name of every readout, and its layer; what is made from the last hidden states stands last, at one beyond."""
    asked = [readouts] if isinstance(readouts, str | int | np.integer) else list(readouts)
    found: dict[str, int] = {}
    outputs_read: dict[str, int] = {}
    for one in asked:
        if one == "frozen":
            if frozen is None:
                if len(asked) == 1:
                    msg = (
                        "`readouts='frozen'` needs a layer: pass `layer=`, or choose one with "
                        "`scepsis.tl.select_layer(adata, network, how='frozen')`."
                    )
                    raise ValueError(msg)
                continue
            layer = frozen
        elif one in OUTPUTS:
            require_output(str(one), model)
            outputs_read[str(one)] = model.n_layers
            continue
        elif one == "last":
            layer = model.n_layers - 1
        elif isinstance(one, int | np.integer) and not isinstance(one, bool) and 0 <= one < model.n_layers:
            layer = int(one)
        else:
            msg = (
                "`readouts` takes 'last', 'frozen', 'insilico', 'logits' or a layer "
                f"(0 to {model.n_layers - 1}, 0-based), not {one!r}."
            )
            raise ValueError(msg)
        found[f"attention_L{layer}"] = layer
    if not found:
        msg = "`readouts` names no layer whose attention is read; it takes 'last', 'frozen' or layers, first of all."
        raise ValueError(msg)
    return found | outputs_read


def primary_of(name: str | None, made: Sequence[Condition]) -> Condition | None:
    """Condition that is held against random sets; None where no set of heads is taken out."""
    sets = [one for one in made if one.kind == "heads" and one.chosen and not one.why_not]
    if name is not None:
        for one in sets:
            if one.name == name:
                return one
        msg = f"`primary` names {name!r}; heads are taken out by {listing([one.name for one in sets])}."
        raise ValueError(msg)
    tops = [one for one in sets if one.name.startswith("top_")]
    return next((one for one in tops if one.k == 5), max(tops, key=lambda one: one.k, default=next(iter(sets), None)))


def require_runnable(cells: Cells, n_cells: int | None, n_known: int) -> None:
    """Raise for batches of no cells, more cells than there are, or sums that would not fit."""
    _require_number(cells.batch_size, argument="batch_size", minimum=1)
    if n_cells is not None and n_cells > n_known:
        msg = f"`n_cells={n_cells}` asks for more than the {n_known} cells that heads were ranked on."
        raise ValueError(msg)
    n_pairs = f"{len(cells.sources)} x {len(cells.panel)} genes"
    require_memory(
        cells.n_bytes, cells.memory_limit, what=f"Attention of {len(cells.layers)} layers x {n_pairs} by head",
        remedy="Ask for fewer `readouts`, or rank on a smaller panel.",
    )  # fmt: skip
