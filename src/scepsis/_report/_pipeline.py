"""The whole path on one screen: what `scepsis demo` and `scepsis audit` have in common."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from scepsis import get, pp, tl
from scepsis._core._keys import EDGE_PANEL, LOGNORM, EdgeKeys
from scepsis._report._audited import LAYERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import pandas as pd
    from anndata import AnnData

    from scepsis._core._types import Scale
    from scepsis.models import AttentionModel

ATTENTION = EdgeKeys("attention")
CORRELATION = "spearman"
TABLE = "perturbation_auroc"
SCALES: tuple[Scale, ...] = ("probability", "uniform_fold", "centered")


@dataclass(frozen=True)
class Plan:
    """Choices that an audit leaves to its caller."""

    groupby: str = "perturbation"
    control: str = "non-targeting"
    #: Layer with log-normalised values; None computes them.
    layer: str | None = None
    #: Column of ``obs`` with the totals of cells.
    totals: str | None = None
    #: Column of ``var`` with the ids that the model reads, and that with the names that labels are written in.
    gene_ids: str | None = None
    gene_symbols: str | None = None
    n_cells: int = 2000
    n_top_genes: int = 2000
    force: Sequence[str] | str | None = None
    #: Layers of the model; None takes all.
    layers: Sequence[int] | None = None
    seed: int = 0


@dataclass(frozen=True)
class Subjects:
    """What is audited: a model with its twin of random weights, edges from elsewhere, known networks."""

    model: AttentionModel | None = None
    twin: AttentionModel | None = None
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    #: Networks in which a pair that is not listed has no edge.
    references: Mapping[str, pd.DataFrame] = field(default_factory=dict)


def conduct(adata: AnnData, subjects: Subjects, plan: Plan, say: Callable[[str], None]) -> None:
    """Prepare, make edges, call responders, score; results are stored in `adata`, audited edges first."""
    with _step(say, "cells, panel and gene features"):
        _prepare(adata, subjects.model, plan)
    edges = []
    if subjects.model is not None:
        with _step(say, f"attention of {subjects.model.name}, and of its twin with random weights"):
            edges += _attention(adata, subjects, plan)
    for name, frame in subjects.tables.items():
        pp.add_edges(adata, frame, key_added=name, gene_symbols=_named_in(adata, frame, plan.gene_symbols))
    with _step(say, "correlation in the same cells"):
        tl.correlation_edges(adata, layer=plan.layer, key_added=CORRELATION)
    for name, frame in subjects.references.items():
        column = _named_in(adata, frame, plan.gene_symbols)
        pp.add_edges(adata, _completed(adata, frame, column), key_added=name, fill_value=0, gene_symbols=column)
    with _step(say, "responders of each perturbation"):
        tl.perturbation_effects(
            adata,
            groupby=plan.groupby,
            control=plan.control,
            layer=plan.layer,
            gene_symbols=plan.gene_symbols,
            rng=plan.seed,
        )
    with _step(say, "scores"):
        edges += [*subjects.tables, CORRELATION, *subjects.references]
        tl.perturbation_auroc(adata, edges=edges, key_added=TABLE, rng=plan.seed)
        _score_layers(adata, subjects, plan)


def _prepare(adata: AnnData, model: AttentionModel | None, plan: Plan) -> None:
    if plan.layer is None and (plan.totals is not None or not _has_lognorm(adata)):
        pp.lognormalize(adata, totals=plan.totals)
    if model is not None:
        pp.match_genes(adata, model, gene_ids=plan.gene_ids)
    pp.select_cells(adata, groupby=plan.groupby, control=plan.control, n_cells=plan.n_cells, rng=plan.seed)
    pp.select_panel(
        adata,
        model,
        n_top_genes=plan.n_top_genes,
        force=plan.force,
        gene_symbols=plan.gene_symbols,
        layer=plan.layer,
    )
    pp.gene_features(adata, layer=plan.layer)


def _has_lognorm(adata: AnnData) -> bool:
    return LOGNORM in adata.layers or "log1p" in adata.uns


def _attention(adata: AnnData, subjects: Subjects, plan: Plan) -> list[str]:
    model, twin = subjects.model, subjects.twin
    if model is None:
        return []
    tl.attention_edges(adata, model, layers=plan.layers, scale=SCALES, key_added=ATTENTION.key, rng=plan.seed)
    if twin is not None:
        tl.attention_edges(adata, twin, layers=plan.layers, key_added=ATTENTION.randomized, rng=plan.seed)
    return [ATTENTION.key]


def _score_layers(adata: AnnData, subjects: Subjects, plan: Plan) -> None:
    """Score single layers in a table of their own, so that they take no part in the corrections of the main one."""
    if subjects.model is None:
        return
    layers = get.layer_keys(adata, ATTENTION.key)
    if len(layers) < 2:
        return
    tl.perturbation_auroc(adata, edges=[*layers.values(), CORRELATION], key_added=f"{TABLE}{LAYERS}", rng=plan.seed)


def _named_in(adata: AnnData, frame: pd.DataFrame, gene_symbols: str | None) -> str | None:
    """Column that names more of a table's genes: `gene_symbols`, or None for ``var_names``."""
    if gene_symbols is None or gene_symbols not in adata.var:
        return None
    named = {*frame["source"], *frame["target"]}
    by_name, by_symbol = (int(names.isin(named).sum()) for names in (adata.var_names, adata.var[gene_symbols]))
    return gene_symbols if by_symbol > by_name else None


def _completed(adata: AnnData, frame: pd.DataFrame, gene_symbols: str | None) -> pd.DataFrame:
    """
    Make a source of every gene of the panel, by one pair of weight 0 each.

    A network has no edge from a source that it does not list, which is a score of its own (the same for all targets).
    Left out, such sources would count as never evaluated, and nothing else could be scored on them either.
    """
    import pandas as pd

    genes = adata.var_names if gene_symbols is None else adata.var[gene_symbols]
    panel = [str(gene) for gene in genes[adata.var[EDGE_PANEL].to_numpy()]]
    missing = sorted(set(panel) - set(frame["source"]))
    added = pd.DataFrame({"source": missing, "target": [panel[gene == panel[0]] for gene in missing]})
    weighted = frame if "weight" in frame else frame.assign(weight=1.0)
    return pd.concat([weighted, added.assign(weight=0.0)], ignore_index=True)


@contextmanager
def _step(say: Callable[[str], None], what: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    say(f"{what} ({time.perf_counter() - start:.1f} s)")
