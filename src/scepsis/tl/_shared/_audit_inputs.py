"""What an audit is given, checked before any work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scepsis._core._edge_frames import WEIGHT, better_named
from scepsis._core._edge_slots import edge_params, read_edges
from scepsis._core._keys import EdgeKeys, EffectKeys
from scepsis._core._network import MODE, read_network
from scepsis._core._validate import listing, require_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

    from scepsis._core._types import EdgesLike
    from scepsis.models import AttentionModel

ATTENTION = EdgeKeys("attention")
CORRELATION = "spearman"
#: Steps that can be left out.
STEPS = (
    "perturbation_auroc", "perturbation_auroc_layers", "select_layer", "incremental_value", "matched_evaluation",
    "explain_edges", "residualize_edges", "reference_auroc", "degree_null", "circularity", "rank_heads", "ablate_heads",
)  # fmt: skip
#: Random sets of heads at most, however many networks are rewired.
N_HEAD_SETS = 200


@dataclass(frozen=True)
class Subject:
    """What is audited: names of sets of edges, the audited ones first, and those that come as tables."""

    names: list[str]
    tables: dict[str, pd.DataFrame]


def steps_to_skip(skip: str | Sequence[str]) -> set[str]:
    names = {skip} if isinstance(skip, str) else set(skip)
    if unknown := names - set(STEPS):
        msg = f"`skip` names no step {listing(sorted(unknown))}; there are: {listing(STEPS, limit=len(STEPS))}."
        raise KeyError(msg)
    return names


def subject_of(adata: AnnData, model: AttentionModel | None, edges: EdgesLike | None) -> Subject:
    given: dict[str, Any] = {}
    if isinstance(edges, str):
        given = {edges: edges}
    elif isinstance(edges, pd.DataFrame):
        given = {"edges": edges}
    elif isinstance(edges, Mapping):
        given = dict(edges)
    elif edges is not None:
        given = {str(one): one for one in edges}
    if model is not None or (edges is None and ATTENTION.key in adata.varp):
        given = {ATTENTION.key: ATTENTION.key} | given
    renamed = [name for name, one in given.items() if isinstance(one, str) and one != name]
    tables = {name: one for name, one in given.items() if isinstance(one, pd.DataFrame)}
    if renamed:
        msg = f"`edges` renames keys of `adata.varp` ({listing(renamed)}): name them as they are stored."
        raise ValueError(msg)
    made = {CORRELATION, *tables} | ({ATTENTION.key} if model is not None else set())
    absent = [name for name in given if name not in adata.varp and name not in made]
    if absent:
        msg = (
            f"`adata.varp` has no edges {listing(absent)}; there are: {listing(adata.varp)}. Pass a table, or a model."
        )
        raise KeyError(msg)
    if not given:
        msg = "There is nothing to audit: pass a model, or `edges=` (keys of `adata.varp`, or tables)."
        raise ValueError(msg)
    for name in tables:
        require_key(name, argument="edges")
    return Subject(list(dict.fromkeys([*given, CORRELATION])), tables)


def references_of(
    adata: AnnData, reference: Any, gene_symbols: str | None, min_targets: int
) -> dict[str, pd.DataFrame]:
    """References by name, each read once over all genes, so that one of another namespace raises before any work."""
    if reference is None:
        return {}
    named: dict[str, Any] = dict(reference) if isinstance(reference, Mapping) else {"reference": reference}
    for name, frame in named.items():
        if not isinstance(frame, pd.DataFrame):
            kind = type(frame).__name__
            msg = f"`reference` must be a frame with columns 'source' and 'target', or a dict of such, not {kind}."
            raise TypeError(msg)
        require_key(name, argument="reference")
        column = better_named(adata, frame, gene_symbols)
        read_network(adata, frame, np.arange(adata.n_vars), min_targets=min_targets, gene_symbols=column)
    return named


def tells_modes(frame: pd.DataFrame) -> bool:
    """Whether a reference knows the direction of regulation of any pair: by its modes, or by weights of both signs."""
    return MODE in frame or (WEIGHT in frame and bool((frame[WEIGHT] < 0).any()))


def why_no_intervention(
    adata: AnnData, model: AttentionModel | None, effects: str, references: Mapping[str, pd.DataFrame]
) -> str:
    """Why heads are neither ranked nor taken out; "" when they can be."""
    if model is None:
        return "no model was given"
    if not references:
        return "no reference was given"
    keys = EffectKeys(effects)
    if keys.uns not in adata.uns:
        return "there are no effects"
    if ATTENTION.key not in adata.varp:
        return "there is no attention of the model"
    if edge_params(adata, ATTENTION.key).get("model_fingerprint") != model.fingerprint:
        return "the attention that is there is that of another model"
    perturbed = set(adata.uns[keys.uns]["perturbations"]["gene"].astype(str))
    if perturbed.isdisjoint(adata.var_names[read_edges(adata, ATTENTION.key, warn=False).genes]):
        return "no perturbed gene has attention"
    return ""


def has_labels(adata: AnnData, groupby: str, effects: str) -> bool:
    return EffectKeys(effects).uns in adata.uns or groupby in adata.obs


def require_answerable(
    adata: AnnData, subject: Subject, references: dict[str, pd.DataFrame], groupby: str, effects: str
) -> None:
    if not references and not has_labels(adata, groupby, effects):
        msg = (
            f"There is nothing to audit {listing(subject.names)} on: `adata.obs[{groupby!r}]` does not exist, there "
            f"are no effects {effects!r}, and no `reference` was given. Name the column by `groupby=`, or pass a "
            "network."
        )
        raise ValueError(msg)
