"""Figures of a page, as pictures inside it."""

from __future__ import annotations

import re
from base64 import b64encode
from io import BytesIO
from typing import TYPE_CHECKING

from scepsis import pl
from scepsis._core._keys import HEAD_ABLATION, HEAD_RANKING
from scepsis._core._numbers import count, decimal
from scepsis._report._battery import VERDICT
from scepsis._report._biology import LAYERS
from scepsis._report._html import tag
from scepsis.pl._style import rows_height

if TYPE_CHECKING:
    from collections.abc import Callable

    from anndata import AnnData
    from matplotlib.axes import Axes

    from scepsis._report._audited import Audited
    from scepsis._report._html import Markup

#: Genes drawn of an edge matrix.
GENES = 30


def figures(adata: AnnData, audited: Audited) -> list[Markup]:
    """Every figure that there are results for."""
    drawn = [_scores(adata, audited)]
    if VERDICT in adata.uns:
        drawn += [_verdict(adata, name) for name in audited.edges if name in audited.judged]
    if audited.layers_key in adata.uns:
        drawn.append(_layers(adata, audited))
    if LAYERS in adata.uns:
        drawn.append(_known(adata))
    if audited.effects:
        drawn.append(_effects(adata, audited))
    drawn += [draw(adata) for key, draw in ((HEAD_RANKING, _heads), (HEAD_ABLATION, _ablation)) if key in adata.uns]
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


def _verdict(adata: AnnData, edges: str) -> Markup:
    rows = adata.uns[VERDICT]["criteria"]
    rows = rows[rows["edges"] == edges]
    return figure(
        lambda ax: pl.verdict(adata, edges=edges, ax=ax),
        size=(11.0, 4.6),
        alt=f"Criteria of the verdict on {edges}: {'; '.join(rows['criterion'] + ' ' + rows['reason'])}.",
        caption=f"Criteria of the verdict on {edges}, the numbers that each rests on, and how reliable these are.",
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


def _heads(adata: AnnData) -> Markup:
    table = adata.uns[HEAD_RANKING]["heads"]
    value = next(name for name in ("reference", "perturbation", "entropy") if f"rank_{name}" in table)
    size = (2.6 + 0.36 * (1 + table["head"].max()), 1.3 + 0.36 * max(table["layer"].nunique(), 3))
    return figure(
        lambda ax: pl.head_ranking(adata, value=value, ax=ax),
        size=size,
        alt=f"Heads of the model by layer, coloured by {value}; the first are numbered.",
        caption="What every head alone is worth. Numbers are ranks; a dot beside one says that it is as high by either "
        "half of the genes.",
    )


def _ablation(adata: AnnData) -> Markup:
    table = adata.uns[HEAD_ABLATION]["results"]
    readout = str(table["readout"].iloc[0])
    own = table[(table["readout"] == readout) & (table["status"] != "not_applicable")]
    told = "; ".join(
        f"{name} {'cannot reach it' if status == 'structurally_null' else decimal(value)}"
        for name, status, value in zip(own["condition"], own["status"], own["difference"], strict=True)
    )
    return figure(
        lambda ax: pl.head_ablation(adata, ax=ax),
        size=(7.6, rows_height(len(own), row=0.34, margin=1.9)),
        alt=f"Difference of AUROC at {readout} under each intervention: {told}.",
        caption=f"What interventions do to the AUROC at {readout}. Grey rows cannot reach it; hollow markers did not "
        "move hidden states enough to be evidence.",
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


def figure(draw: Callable[[Axes], Axes], *, size: tuple[float, float], alt: str, caption: str) -> Markup:
    """A picture inside the page, with what it shows in words."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    canvas = Figure(figsize=size, layout="constrained")
    draw(canvas.subplots())
    written = BytesIO()
    # A fixed salt and no date: the same numbers give the same bytes.
    with mpl.rc_context({"svg.hashsalt": "scepsis", "svg.fonttype": "path"}):
        canvas.savefig(written, format="svg", dpi=150, metadata={"Date": None})
    source = f"data:image/svg+xml;base64,{b64encode(written.getvalue()).decode()}"
    return tag("figure", tag("img", src=source, alt=alt), tag("figcaption", caption))
