"""Figures of a page, as pictures inside it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from scepsis import pl
from scepsis._core._numbers import count, decimal
from scepsis._report._biology import LAYERS
from scepsis._report._picture import figure
from scepsis.pl._style import rows_height

if TYPE_CHECKING:
    from anndata import AnnData

    from scepsis._report._audited import Audited
    from scepsis._report._html import Markup

#: Genes drawn of an edge matrix.
GENES = 30


def figures(adata: AnnData, audited: Audited) -> list[Markup]:
    """Every figure of scores, effects and edges that there are results for; what was asked beyond has its own."""
    drawn = [_scores(adata, audited)]
    if audited.layers_key in adata.uns:
        drawn.append(_layers(adata, audited))
    if LAYERS in adata.uns:
        drawn.append(_known(adata))
    if audited.effects:
        drawn.append(_effects(adata, audited))
    if (edges := audited.slots.get(audited.edges[0])) is not None:
        drawn.append(_matrix(adata, edges))
    return drawn


def _scores(adata: AnnData, audited: Audited) -> Markup:
    rows = audited.summary
    means = "; ".join(f"{name} {decimal(mean)}" for name, mean in zip(rows["predictor"], rows["auroc"], strict=True))
    return figure(
        lambda ax: pl.perturbation_auroc(adata, key=audited.key, ax=ax),
        size=(8.0, rows_height(len(rows))),
        alt=f"AUROC of every perturbation, one row per predictor. Means: {means}.",
        caption="AUROC of every perturbation (dots; hollow where flagged) and mean over perturbations with its 95 % "
        "interval.",
    )


def _layers(adata: AnnData, audited: Audited) -> Markup:
    rows = adata.uns[audited.layers_key]["summary"]
    layered = rows[[bool(re.fullmatch(r".+_L\d+", str(name))) for name in rows["predictor"]]]
    means = "; ".join(
        f"{name} {decimal(mean)}" for name, mean in zip(layered["predictor"], layered["auroc"], strict=True)
    )
    return figure(
        lambda ax: pl.perturbation_auroc_layers(adata, key=audited.layers_key, ax=ax),
        size=(8.0, 4.4),
        alt=f"Mean AUROC by layer, with predictors that have no layer as horizontal lines. Means: {means}.",
        caption="Mean AUROC by layer, with 95 % intervals. Picking a layer here is picking it after seeing the answer.",
    )


def _known(adata: AnnData) -> Markup:
    rows = adata.uns[LAYERS]["profile"]
    edges = rows[rows["kind"] == "edges"]
    top = "; ".join(f"{name} {decimal(own['auroc'].max())}" for name, own in edges.groupby("reference", sort=False))
    n_layers, n_references = edges["layer"].nunique(), edges["reference"].nunique()
    return figure(
        lambda ax: pl.characterize_layers(adata, ax=ax),
        size=(4.2 + 0.48 * n_layers, 1.9 + 0.42 * max(n_references, 2)),
        alt=f"AUROC of references at every layer, highest: {top}.",
        caption="AUROC of listed pairs at every layer, with correlation and the best single feature of genes beside.",
    )


def _effects(adata: AnnData, audited: Audited) -> Markup:
    table = audited.effects["perturbations"]
    return figure(
        lambda ax: pl.perturbation_effects(adata, key=audited.effects_key, ax=ax),
        size=(8.0, rows_height(len(table), row=0.2)),
        alt=f"Responding genes of {count(len(table))} perturbations, from {count(table['n_targets'].min())} to "
        f"{count(table['n_targets'].max())}, beside the number expected by chance.",
        caption="Genes that respond to each perturbation, and genes that the same test calls on control cells.",
    )


def _matrix(adata: AnnData, edges: str) -> Markup:
    return figure(
        lambda ax: pl.attention_edges(adata, key=edges, max_genes=GENES, ax=ax),
        size=(7.6, 6.4),
        alt=f"Matrix of {edges}: sources in rows, targets in columns, strongest target first.",
        caption=f"{edges}, sources in rows and targets in columns, strongest target first; grey was never evaluated. "
        "Columns of one colour mean that an edge depends on its target more than on its source.",
    )
