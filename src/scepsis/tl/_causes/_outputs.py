"""Readouts made from the last hidden states: what becomes of targets when their source is taken out of a cell."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import numpy as np

from scepsis._core._model_runs import cell_blocks
from scepsis._core._progress import progress_bar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from scepsis._core._types import FloatArray, IntArray
    from scepsis.edges._insilico import Insilico
    from scepsis.models import AttentionModel, Intervention
    from scepsis.tl._shared._ablation_run import Cells

#: Names of these readouts: shift of the targets' embeddings, and of their logits where they are masked.
OUTPUTS = ("insilico", "logits")


def require_output(name: str, model: AttentionModel) -> None:
    """Raise for logits of a model that has none of masked genes."""
    from scepsis.edges._masked_logits import why_no_masked_logits

    if name == "logits" and (lack := why_no_masked_logits(model)):
        msg = f"`readouts` asks for 'logits', but {lack}."
        raise ValueError(msg)


def outputs(
    cells: Cells, rows: IntArray, name: str, interventions: Sequence[Intervention]
) -> tuple[FloatArray, Iterator[FloatArray]]:
    """Scores of targets, sources x panel, without an intervention, and under one after the other."""
    bar = progress_bar(total=len(rows) * (1 + len(interventions)), desc=name, unit="cell", show=cells.show)
    before = _read(cells, rows, name, None, bar)

    def each() -> Iterator[FloatArray]:
        with bar:
            for one in interventions:
                yield _read(cells, rows, name, one, bar)

    return before, each()


def _read(cells: Cells, rows: IntArray, name: str, intervention: Intervention | None, bar: object) -> FloatArray:
    """Mean over cells of what a deletion of each source does to each target, by its size."""
    from scepsis.edges._insilico import Insilico
    from scepsis.edges._masked_logits import MaskedLogits

    kind: type[Insilico] = MaskedLogits if name == "logits" else Insilico
    reader = kind(
        cells.model, tokens=cells.tokens, panel=cells.tokens[cells.panel], sources=cells.sources.tolist(),
        batch_size=cells.batch_size,
    )  # fmt: skip
    with nullcontext() if intervention is None else cells.model.intervene(intervention):
        for _, block, seeds in cell_blocks(cells.adata, rows, cells.seed):
            reader.add(block, seeds, getattr(bar, "update", int))
    sizes: FloatArray = np.abs(reader.sums.means()).astype(np.float64)
    return sizes
