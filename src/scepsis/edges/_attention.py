"""Attention of a panel's genes, streamed: one layer's block of one cell at a time, never a tensor of all."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from scepsis.edges._cells import Batches, arrange
from scepsis.edges._panel import Scratch, panel_attention
from scepsis.edges._readers import Done, from_kernel, from_projections
from scepsis.edges._scales import scaled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray
    from scipy import sparse

    from scepsis._core._types import IntArray
    from scepsis.edges._accumulate import AttentionSums, Plan
    from scepsis.edges._cells import Cell
    from scepsis.models import AttentionModel, Batch, Tokens

#: How far the check of the reading may be off, relative.
_TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-6}
_HALF_PRECISION = 5e-2


class Extraction:
    """
    Sums attention between the genes of a panel over the cells it is given.

    Parameters
    ----------
    model
        A model behind the protocol.
    tokens
        Token id of every gene of the counts, -1 for none.
    panel
        Token id of every gene of the panel; no two alike.
    plan
        What to sum.
    batch_size
        Cells per forward pass; see :class:`~scepsis.edges._cells.Batches`.
    kernel
        Whether the attention kernel's own log sums are used where it tells them. They save normalising rows a second
        time and change results by rounding only.
    """

    def __init__(
        self,
        model: AttentionModel,
        *,
        tokens: IntArray,
        panel: IntArray,
        plan: Plan,
        batch_size: int | None = None,
        kernel: bool = True,
    ) -> None:
        self.model = model
        self.tokens = tokens
        self.plan = plan
        self.batches = Batches(batch_size, model.device)
        self.kernel = kernel
        self.sums = plan.new_sums(model.device)
        self._checked = False
        self._scratch = Scratch()
        self._row_of_gene = plan.row_of_gene()
        self._place = np.full(max(int(tokens.max(initial=0)), int(panel.max(initial=0))) + 1, -1)
        self._place[panel] = np.arange(len(panel))

    def add(
        self,
        counts: sparse.csr_matrix,
        groups: IntArray,
        seeds: NDArray[np.uint64],
        on_cells: Callable[[int], object] = int,
    ) -> None:
        """
        Add a block of cells: raw counts, the group of each cell, and a number of its own for whatever is drawn.

        Before the first batch is run, :func:`check_seams` proves on the two longest cells of the block that the
        modules that are read are those the model computes with.
        """
        encoded = self.model.tokenize(counts, self.tokens, seeds)
        cells = [
            arrange(cell, self._place, int(group), causal=self.model.causal)
            for cell, group in zip(encoded, groups, strict=True)
            if len(cell.ids)
        ]
        self.sums.note(cells, len(encoded) - len(cells), causal=self.model.causal)
        on_cells(len(encoded) - len(cells))
        if cells and not self._checked:
            longest = sorted(cells, key=len)[-2:]
            check_seams(self.model, to_batch(self.model, longest), self.plan.layers[0])
            self._checked = True
        done: set[tuple[int, int]] = set()
        for members in self.batches.run(cells, partial(self._run, done=done)):
            on_cells(len(members))
            done.clear()

    @torch.no_grad()
    def _run(self, cells: Sequence[Cell], done: set[tuple[int, int]]) -> None:
        """Read one batch, but not what is `done`: layer and cell of what was read before memory ran out."""
        batch = to_batch(self.model, cells)
        targets = [self._target(cell, batch.offset, n) for cell, n in zip(cells, batch.n_tokens, strict=True)]

        def on_layer(layer: int, query: torch.Tensor, key: torch.Tensor, log_sum: torch.Tensor | None) -> None:
            for row, (cell, target) in enumerate(zip(cells, targets, strict=True)):
                if target is not None and (layer, id(cell)) not in done:
                    self._add(layer, target, query[row], key[row], None if log_sum is None else log_sum[row])
                    done.add((layer, id(cell)))

        if not (self.kernel and from_kernel(self.model, batch, self.plan.layers, on_layer)):
            self.kernel = False
            from_projections(self.model, batch, self.plan.layers, on_layer)

    def _target(self, cell: Cell, offset: int, n_tokens: int) -> _Target | None:
        """What every layer reads of one cell, and where it goes; None for a cell without a pair to keep."""
        device, causal = self.model.device, self.model.causal
        is_source = self._row_of_gene[cell.genes] >= 0
        if len(cell.genes) < 2 or not is_source.any():
            return None
        # Centring needs every row of the panel, whichever are kept.
        read = np.ones_like(is_source) if "centered" in self.plan.scales else is_source
        columns: slice | torch.Tensor = (
            torch.from_numpy(cell.at + offset).to(device) if causal else slice(offset, offset + len(cell.at))
        )
        whole_panel = len(cell.genes) == self.plan.n_genes and bool(is_source.all())
        source_rows = self._row_of_gene[cell.genes[is_source]]
        flat = (source_rows[:, None] * self.plan.n_genes + cell.genes).ravel()
        return _Target(
            group=cell.group,
            n_tokens=n_tokens,
            rows=columns if read.all() else torch.from_numpy(cell.at[read] + offset).to(device),
            columns=columns,
            kept=None if is_source[read].all() else torch.from_numpy(is_source[read]).to(device),
            pairs=None if whole_panel else torch.from_numpy(flat).to(device),
            n_seen=torch.from_numpy(cell.at[read] + offset + 1).to(device)[:, None] if causal else n_tokens,
        )

    def _add(
        self, layer: int, target: _Target, query: torch.Tensor, key: torch.Tensor, log_sum: torch.Tensor | None
    ) -> None:
        plan = self.plan
        maps, heads = plan.maps_of(layer)
        if plan.heads:
            query, key = query[heads], key[heads]
            log_sum = None if log_sum is None else log_sum[heads]
        weights = panel_attention(
            query,
            key,
            target.n_tokens,
            rows=target.rows,
            columns=target.columns,
            log_sum=log_sum,
            causal=self.model.causal,
            mean=not plan.heads,
            scratch=self._scratch,
        )
        refuse_overflow(self.model, weights, f"attention of layer {layer}")
        for position, scale in enumerate(plan.scales):
            blocks = scaled(weights, scale, target.n_seen)
            blocks = blocks if target.kept is None else blocks[:, target.kept]
            self.sums.add(target.group, position, maps, target.pairs, blocks)


@dataclass(frozen=True)
class _Target:
    """What every layer reads of one cell, and where it goes."""

    group: int
    n_tokens: int
    rows: slice | torch.Tensor
    columns: slice | torch.Tensor
    #: Which of the rows that are read are kept; None for all.
    kept: torch.Tensor | None
    #: Flat positions of the pairs among the sums; None when the cell has every gene of the panel.
    pairs: torch.Tensor | None
    #: Tokens that each row chooses among.
    n_seen: int | torch.Tensor


def accumulate_attention(
    model: AttentionModel,
    blocks: Iterable[tuple[sparse.csr_matrix, IntArray, NDArray[np.uint64]]],
    *,
    tokens: IntArray,
    panel: IntArray,
    plan: Plan,
    batch_size: int | None = None,
    kernel: bool = True,
    on_cells: Callable[[int], object] = int,
) -> AttentionSums:
    """Sum over blocks of cells; see :class:`Extraction` for what is asked and given."""
    extraction = Extraction(model, tokens=tokens, panel=panel, plan=plan, batch_size=batch_size, kernel=kernel)
    for counts, groups, seeds in blocks:
        extraction.add(counts, groups, seeds, on_cells)
    return extraction.sums


def refuse_overflow(model: AttentionModel, values: torch.Tensor, what: str) -> None:
    """Raise `FloatingPointError` where half precision gave what is no number."""
    if model.dtype == torch.float16 and not values.isfinite().all():
        msg = (
            f"The {what} of {model.name!r} is not a number: half precision overflows there. "
            "Load the model with `dtype='bfloat16'` or `dtype='float32'`."
        )
        raise FloatingPointError(msg)


def to_batch(model: AttentionModel, cells: Sequence[Cell]) -> Batch:
    """Cells as the model takes them."""
    tokens: list[Tokens] = [cell.tokens for cell in cells]
    return model.batch(tokens, [cell.order for cell in cells])


def _hold_context(seen: dict[str, torch.Tensor], _module: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> None:
    """Keep what goes into a layer's output projection; there is nothing to see above it."""
    seen["context"] = args[0]
    raise Done


@torch.no_grad()
def check_seams(model: AttentionModel, batch: Batch, layer: int) -> None:
    """
    Prove on a few cells that what is read is what the model computes with.

    The layer's queries and keys must give rows that sum to 1 over the valid tokens, and together with its values
    they must give the contexts that the model itself hands to the output projection. This catches a mask, a scale
    or a layout of heads that differs from what is assumed.

    Raises
    ------
    RuntimeError
        With the size of the disagreement.
    """
    seams = model.seams(layer)
    seen: dict[str, torch.Tensor] = {}
    with ExitStack() as stack:
        for name in ("query", "key", "value"):
            module: torch.nn.Module = getattr(seams, name)
            stack.callback(module.register_forward_hook(lambda _m, _a, out, name=name: seen.update({name: out})).remove)
        stack.callback(seams.output.register_forward_pre_hook(partial(_hold_context, seen)).remove)
        with suppress(Done):
            model.forward(batch)
    missing = {"query", "key", "value", "context"} - set(seen)
    if missing:
        msg = f"Layer {layer} of {model.name!r} never ran its {', '.join(sorted(missing))}: attention cannot be read."
        raise RuntimeError(msg)
    tolerance = _TOLERANCE.get(model.dtype, _HALF_PRECISION)
    query, key = model.heads(layer, seen["query"], seen["key"], batch)
    for row, n in enumerate(batch.n_tokens):
        everything = slice(0, n)
        attention = panel_attention(
            query[row], key[row], n, rows=everything, columns=everything, causal=model.causal, mean=False
        )
        off_one = float((attention.sum(-1) - 1).abs().max())
        value = seen["value"][row, :n].view(n, -1, model.head_size).transpose(0, 1).to(attention.dtype)
        value = value.repeat_interleave(model.n_heads // len(value), dim=0)
        context = (attention @ value).transpose(0, 1).reshape(n, -1)
        actual = seen["context"][row, :n].to(attention.dtype)
        off_context = float((context - actual).abs().max() / actual.abs().max().clamp_min(1e-12))
        if not (off_one <= tolerance and off_context <= tolerance):
            msg = (
                f"Attention read from layer {layer} of {model.name!r} is not what the model computes with: rows sum "
                f"to 1 within {off_one:.2g}, contexts agree within {off_context:.2g} (allowed {tolerance:.2g})."
            )
            raise RuntimeError(msg)
