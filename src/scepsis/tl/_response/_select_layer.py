from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd

from scepsis._core._edge_slots import edge_params
from scepsis._core._keys import SELECT_LAYER, EffectKeys
from scepsis._core._layers import layer_keys
from scepsis._core._network_pairs import read_network_pairs
from scepsis._core._registry import Evidence, updated_tests
from scepsis._core._resolve import resolve
from scepsis._core._rng import resolve_seed
from scepsis._core._screen_pairs import read_pairs
from scepsis._core._store import record, write
from scepsis._core._types import Direction
from scepsis._core._validate import require_choice, require_key, require_positive
from scepsis.tl._response import _layer_tables as tables

if TYPE_CHECKING:
    from anndata import AnnData

    from scepsis._core._types import Data, Seed

How = Literal["frozen", "nested"]
METRIC = re.compile(r"auroc|f1@[1-9]\d*")


def select_layer(  # noqa: PLR0913 - two ways of choosing, each with its own options
    adata: Data,
    reference: pd.DataFrame | None = None,
    *,
    how: How = "nested",
    edges: str = "attention",
    versus: str = "spearman",
    metric: str = "auroc",
    min_targets: int = 3,
    gene_symbols: str | None = None,
    date: str | None = None,
    effects: str = "perturbation",
    direction: Direction = "source",
    n_splits: int = 5,
    margin: float = 0.02,
    min_candidates: int = 10,
    min_positives: int = 2,
    min_units: int = 6,
    n_boot: int = 1_000,
    allow_different_cells: bool = False,
    key_added: str = SELECT_LAYER,
    mod: str | None = None,
    rng: Seed = 0,
    copy: bool = False,
) -> Data | None:
    r"""
    Choose a layer of a model without letting the choice flatter it :cite:p:`kendiukhov2026`.

    The best of 18 layers is better than a layer. A choice can be honest in two ways: made before any label of the
    screen is read, on other data, and frozen; or made anew without each part of the perturbations, and judged on that
    part alone (Kendiukhov (2026), analysis A03).

    Parameters
    ----------
    adata
        ``frozen``: data that the labels to be scored later are not from. ``nested``: the screen. With edges of single
        layers in ``varp``, as `scepsis.tl.attention_edges` stores them when all layers are asked for.
    reference
        ``frozen``: the network to be recovered, with columns ``source``, ``target`` and, if it has it, ``weight``.
    how
        ``frozen`` or ``nested``.
    edges
        Edges key whose layers are compared.
    versus
        ``nested``: edges that layers are compared with.
    metric
        ``frozen``: ``auroc`` of all pairs of regulators and genes in one ranking, or ``f1@500`` (any number), the F1
        among so many strongest pairs, ties at the cut broken at random.
    min_targets
        ``frozen``: listed targets that make a gene a regulator.
    gene_symbols
        ``frozen``: column of ``var`` that `reference` names genes by; ``var_names`` when not given.
    date
        ``frozen``: the day, for the record. No clock is read: the same call gives the same bytes.
    effects
        Label set. ``frozen``: the one that must not be there yet.
    direction
        ``nested``: edge that scores target t of perturbation g, as in `scepsis.tl.perturbation_auroc`.
    n_splits
        ``nested``: folds of perturbations.
    margin
        ``nested``: largest difference of AUROCs that counts as none.
    min_candidates
        ``nested``: candidates below which a perturbation is not counted.
    min_positives
        ``nested``: responders below which a perturbation is not counted.
    min_units
        Perturbations, or regulators, below which there is no p-value and the status says so.
    n_boot
        Resamples of perturbations, or of regulators.
    allow_different_cells
        Use edges that are recorded to be from different cells.
    key_added
        Name of the result. Only under its default name does the record speak for edges.
    mod
        Modality, for MuData.
    rng
        Seed of folds, planted signals and resamples.
    copy
        Return a changed copy instead of writing into `adata`.

    Returns
    -------
    None, or the copy. Sets ``uns[key_added]``, a dict with

    ``["params"]``
        ``how``, ``layer`` and ``edges_key`` (the choice; left out by ``nested`` when folds do not agree), hashes of
        cells, genes and reference or labels, and the fingerprint of the model.
    ``["profile"]``
        One row for each layer: ``layer, edges_key``; ``share_of_resamples`` in which it is the best; ``frozen``:
        ``value`` of the metric and ``is_chosen``; ``nested``: mean ``auroc`` and ``auroc_versus``, ``difference``
        with intervals over perturbations (``ci_low, ci_high``: t; ``twoway_low, twoway_high``: clustered by
        perturbation and gene; ``boot_low, boot_high``: percentile), ``p_value`` (of the layer by itself: it is chosen
        by looking, and no test), ``cohen_d``, ``n_units`` and ``n_folds`` that chose it.
    ``["summary"]`` (``nested``)
        One row: the held-out ``difference`` with the same intervals, ``p_value`` (Wilcoxon, two-sided),
        ``p_bonferroni`` (times the number of layers, 1 at most), ``cohen_d``, ``equivalence``,
        ``minimum_detectable``, ``n_units, n_layers, n_chosen, status``.
    ``["folds"]``, ``["per_perturbation"]``, ``["detection"]`` (``nested``)
        What each fold chose; what was held out; and the held-out difference had there been a signal (``delta`` standard
        deviations at half of the responders, in every layer).
    ``uns["tests"]`` (``nested``)
        ``nested``, of `edges`, with ``layer_rule`` ``nested``.

    Raises
    ------
    KeyError
        Edges, effects or columns of the reference do not exist.
    TypeError
        ``frozen`` without a reference.
    ValueError
        ``frozen`` where labels are already there; edges without layers; an option out of its range.

    Notes
    -----
    **Frozen.** Labels that are in `adata` were read from its cells, so a choice made there is not one from before. Make
    it on other data, carry the record over, and the layer it names is ``frozen`` wherever edges of the same weights
    are scored::

        sps.tl.select_layer(atlas, network, how="frozen")
        screen.uns["select_layer"] = atlas.uns["select_layer"]
        sps.tl.attention_edges(screen, model)           # "attention_L13" is frozen, other layers are not
        sps.tl.attention_edges(screen, model, layers=[13], layer_rule="frozen", key_added="chosen")

    A layer that the record does not name stays usable everywhere. Its rows are exploratory.

    **Nested.** For each fold the layer with the largest mean difference to `versus` on the other perturbations is
    taken, the lower one of equals; differences of the held-out perturbations are put together and tested. There is no
    one matrix that such a test is of, unless all folds agree: then the held-out differences are that layer's, and the
    layer is ``nested`` on these cells and labels; else there is no layer to go on with, and none is named.

    A network of few listed pairs cannot tell layers apart: `share_of_resamples` says how sure the choice is.

    Cost: ``L P T log T`` for L layers, P perturbations and T targets, six times over (planted signals); ``frozen``
    ``L N log N`` for N pairs, with ``f1@K`` another pass over the pairs for each resample.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata, model = sps.datasets.demo(), sps.models.load("demo")
    >>> sps.pp.select_cells(adata, n_cells=200)
    >>> sps.pp.gene_features(adata)
    >>> sps.tl.attention_edges(adata, model)
    >>> network = adata.uns["simulate_screen"]["network"]
    >>> sps.tl.select_layer(adata, network, how="frozen", n_boot=200)
    >>> adata.uns["select_layer"]["params"]["edges_key"].startswith("attention_L")
    True
    """
    data = adata.copy() if copy else adata
    target = resolve(data, mod)
    _check(how, metric, direction, n_splits, margin, min_units, n_boot, key_added)
    for argument, value in (("min_positives", min_positives), ("min_candidates", min_candidates)):
        require_positive(value, argument=argument)
    layers = _layers(target, edges)
    options = tables.Options(
        metric=metric,
        n_splits=int(n_splits),
        margin=float(margin),
        min_units=int(min_units),
        min_positives=int(min_positives),
        min_candidates=int(min_candidates),
        n_boot=int(n_boot),
        seed=resolve_seed(rng),
    )
    rows: dict[str, pd.DataFrame] = {}
    if how == "frozen":
        source = _reference(target, reference, effects)
        more: dict[str, Any] = {
            "min_targets": min_targets,
            "gene_symbols": gene_symbols,
            "allow": allow_different_cells,
            "date": date,
        }
        result = _frozen(target, source, edges, layers, options, **more)
    else:
        result, rows = _nested(
            target, edges, layers, versus, options, effects, direction, allow=allow_different_cells, key=key_added
        )
    write(target, uns={key_added: result} | rows)
    return data if copy else None


def _check(
    how: str, metric: str, direction: str, n_splits: int, margin: float, min_units: int, n_boot: int, key_added: str
) -> None:
    require_choice(how, get_args(How), argument="how")
    require_choice(direction, get_args(Direction), argument="direction")
    require_key(key_added, argument="key_added")
    if not METRIC.fullmatch(metric):
        msg = f"`metric` takes 'auroc' or 'f1@' with a number, such as 'f1@500', not {metric!r}."
        raise ValueError(msg)
    for argument, value, minimum in (("n_splits", n_splits, 2), ("min_units", min_units, 2), ("n_boot", n_boot, 1)):
        require_positive(value, argument=argument, minimum=minimum)
    require_positive(margin, argument="margin", minimum=0)


def _layers(adata: AnnData, edges: str) -> dict[int, str]:
    layers = layer_keys(adata, edges)
    if not layers:
        msg = (
            f"`adata.uns[{edges!r}]` has no edges of single layers. Store them with `scepsis.tl.attention_edges(adata, "
            "model)`, which keeps every layer beside their mean."
        )
        raise ValueError(msg)
    return layers


def _reference(adata: AnnData, reference: pd.DataFrame | None, effects: str) -> pd.DataFrame:
    """The network, once it is sure that no label has been read."""
    keys = EffectKeys(effects)
    if keys.uns in adata.uns or keys.target in adata.varm:
        msg = (
            f"The labels {effects!r} are in `adata` already (`adata.uns[{keys.uns!r}]`): a layer frozen here would be "
            "frozen after they were read, and on the cells that they are from. Freeze it on other data and carry the "
            f"record over (`adata.uns[{SELECT_LAYER!r}] = other.uns[{SELECT_LAYER!r}]`), or before "
            "`scepsis.tl.perturbation_effects` is called; or choose on these perturbations with `how='nested'`."
        )
        raise ValueError(msg)
    if reference is None:
        msg = "`how='frozen'` needs a network: `scepsis.tl.select_layer(adata, reference, how='frozen')`."
        raise TypeError(msg)
    return reference


def _of_edges(adata: AnnData, edges: str, layers: dict[int, str]) -> dict[str, Any]:
    """What a record of the choice shares with the edges."""
    params = edge_params(adata, next(iter(layers.values())))
    shared = ("model", "model_fingerprint", "cells_hash", "genes_hash", "n_cells", "n_genes")
    return {"edges": edges, "n_layers": len(layers)} | {name: params[name] for name in shared if name in params}


def _choice(layers: dict[int, str], position: int) -> dict[str, Any]:
    """The layer at a position, for the record; None is left out of it."""
    if position < 0:
        return {"layer": None, "edges_key": None}
    layer = list(layers)[position]
    return {"layer": layer, "edges_key": layers[layer]}


def _frozen(
    adata: AnnData,
    reference: pd.DataFrame,
    edges: str,
    layers: dict[int, str],
    options: tables.Options,
    *,
    min_targets: int,
    gene_symbols: str | None,
    allow: bool,
    date: str | None,
) -> dict[str, Any]:
    pairs = read_network_pairs(
        adata,
        reference,
        list(layers.values()),
        min_targets=min_targets,
        gene_symbols=gene_symbols,
        allow_different_cells=allow,
    )
    seen = tables.recovery(pairs, options)
    frame = pd.DataFrame(
        {
            "layer": list(layers),
            "edges_key": np.array(list(layers.values()), dtype=object),
            "value": seen.metric,
            "share_of_resamples": seen.stability,
            "is_chosen": np.arange(len(layers)) == seen.chosen,
        }
    )
    params = record(
        how="frozen",
        metric=options.metric,
        min_targets=int(min_targets),
        min_units=options.min_units,
        n_boot=options.n_boot,
        allow_different_cells=allow,
        seed=options.seed,
        date=date,
        reference_hash=pairs.network.hash,
        n_listed=int(pairs.listed.sum()),
        n_units=seen.n_units,
        status=seen.status,
        **_choice(layers, seen.chosen),
        **_of_edges(adata, edges, layers),
    )
    return {"params": params, "profile": frame}


def _nested(
    adata: AnnData,
    edges: str,
    layers: dict[int, str],
    versus: str,
    options: tables.Options,
    effects: str,
    direction: Direction,
    *,
    allow: bool,
    key: str,
) -> tuple[dict[str, Any], dict[str, pd.DataFrame]]:
    asked = [*layers.values(), versus]
    pairs = read_pairs(adata, asked, effects=effects, direction=direction, allow_different_cells=allow)
    seen = tables.profile(pairs, options)
    labels_hash = str(pairs.screen.params.get("labels_hash", ""))
    position = seen.chosen[0] if len(seen.chosen) == 1 and seen.status == "ok" else -1
    params = record(
        how="nested",
        versus=versus,
        effects=effects,
        direction=direction,
        n_splits=options.n_splits,
        margin=options.margin,
        min_units=options.min_units,
        min_positives=options.min_positives,
        min_candidates=options.min_candidates,
        n_boot=options.n_boot,
        allow_different_cells=allow,
        seed=options.seed,
        labels_hash=labels_hash,
        **_choice(layers, position),
        **_of_edges(adata, edges, layers),
    )
    row = tables.nested_row(edges, versus, pairs, seen, options)
    result = {
        "params": params,
        "profile": tables.profile_frame(layers, seen),
        "summary": tables.summary_frame(seen, row),
        "detection": tables.detection_frame(edges, seen),
        **tables.fold_frames(pairs, layers, seen),
    }
    own = edge_params(adata, next(iter(layers.values()))) | ({"layer_rule": "nested"} if len(layers) > 1 else {})
    evidence = Evidence(
        key=key, params=params, edges={edges: own}, effects=effects, labels_hash=labels_hash, seed=options.seed
    )
    return result, updated_tests(adata, [row], evidence)
