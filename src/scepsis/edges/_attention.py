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
from scepsis.models._protocol import place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray
    from scipy import sparse

    from scepsis._core._types import IntArray
    from scepsis.edges._accumulate import AttentionSums, Plan
    from scepsis.edges._cells import Cell
    from scepsis.edges._readers import OnEnd
    from scepsis.models import AttentionModel, Batch, Tokens

#: How far the check of the reading may be off, relative.
_TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-6}
_HALF_PRECISION = 5e-2
#: Rows of a cell that the check looks at, spread over its tokens.
_ROWS_CHECKED = 64


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

    #: What is read, for messages.
    what = "attention"

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
        self._checked = self._trusted = False
        self._scratch = Scratch()
        self._heads = {layer: place(np.array(plan.maps_of(layer)[1]), model.device) for layer in plan.layers}
        #: By layer, whether half precision held so far. Kept on the device, and looked at once per block of cells.
        self._finite = torch.ones(len(plan.layers), dtype=torch.bool, device=model.device)
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
        self._refuse_overflow()

    @torch.no_grad()
    def _run(self, cells: Sequence[Cell], done: set[tuple[int, int]]) -> None:
        """Read one batch, but not what is `done`: layer and cell of what was read before memory ran out."""
        batch = to_batch(self.model, cells)
        self._read(batch, cells, self._targets(batch, cells), self._add, done)

    def _targets(self, batch: Batch, cells: Sequence[Cell]) -> list[_Target | None]:
        return [self._target(cell, batch.offset, n) for cell, n in zip(cells, batch.n_tokens, strict=True)]

    def _read(
        self,
        batch: Batch,
        cells: Sequence[Cell],
        targets: Sequence[_Target | None],
        add: Callable[[int, _Target, torch.Tensor, torch.Tensor, torch.Tensor | None], None],
        done: set[tuple[int, int]],
        *,
        layers: Sequence[int] | None = None,
        on_end: OnEnd | None = None,
    ) -> None:
        """Run the model once, and `add` what every layer asked for (of the plan's, all or some) says of every cell."""
        layers = self.plan.layers if layers is None else layers

        def on_layer(layer: int, query: torch.Tensor, key: torch.Tensor, log_sum: torch.Tensor | None) -> None:
            if log_sum is not None:
                self._trust(log_sum[0], query[0], key[0], batch.n_tokens[0])
                self._watch(layer, log_sum)
            for row, (cell, target) in enumerate(zip(cells, targets, strict=True)):
                if target is not None and (layer, id(cell)) not in done:
                    add(layer, target, query[row], key[row], None if log_sum is None else log_sum[row])
                    done.add((layer, id(cell)))

        if self.kernel:
            try:
                self.kernel = from_kernel(self.model, batch, layers, on_layer, on_end)
            except _UnlikeSumsError:
                self.kernel = False
            if self.kernel:
                return
        from_projections(self.model, batch, layers, on_layer, on_end)

    def _trust(self, log_sum: torch.Tensor, query: torch.Tensor, key: torch.Tensor, n_tokens: int) -> None:
        """Before anything is read with a kernel's log sums, see on some rows of one cell that they are such."""
        if self._trusted:
            return
        first, everything = slice(0, min(n_tokens, _ROWS_CHECKED)), slice(0, n_tokens)
        weights = panel_attention(
            query, key, n_tokens, rows=first, columns=everything, log_sum=log_sum, causal=self.model.causal, mean=False
        )
        off_one = float((weights.sum(-1) - 1).abs().max())
        if off_one > _TOLERANCE.get(self.model.dtype, _HALF_PRECISION):
            raise _UnlikeSumsError
        self._trusted = True

    def _watch(self, layer: int, values: torch.Tensor) -> None:
        """Note whether half precision gave a number, without asking the device for it."""
        if self.model.dtype == torch.float16:
            self._finite[self.plan.layers.index(layer)] &= values.isfinite().all()

    def _refuse_overflow(self) -> None:
        if self.model.dtype == torch.float16 and not self._finite.all():
            layer = self.plan.layers[int((~self._finite).nonzero()[0])]
            raise overflow(self.model, f"{self.what} of layer {layer}")

    def _target(self, cell: Cell, offset: int, n_tokens: int) -> _Target | None:
        """What every layer reads of one cell, and where it goes; None for a cell without a pair to keep."""
        device, causal, n_genes = self.model.device, self.model.causal, self.plan.n_genes
        kept = np.flatnonzero(self._row_of_gene[cell.genes] >= 0)
        if len(cell.genes) < 2 or not len(kept):
            return None
        every_row = len(kept) == len(cell.genes)
        # Centring needs every row of the panel, whichever are kept.
        read = np.arange(len(cell.genes)) if "centered" in self.plan.scales else kept
        at = place(cell.at[read] + offset, device)
        columns = place(cell.at + offset, device) if causal else slice(offset, offset + len(cell.at))
        pairs: torch.Tensor | None = None
        if len(cell.genes) < n_genes or not every_row:
            rows, genes = place(self._row_of_gene[cell.genes[kept]], device), place(cell.genes, device)
            pairs = (rows[:, None] * n_genes + genes).view(-1)
        return _Target(
            group=cell.group,
            n_tokens=n_tokens,
            rows=columns if len(read) == len(cell.genes) else at,
            columns=columns,
            kept=None if len(kept) == len(read) else place(kept, device),
            pairs=pairs,
            n_seen=at[:, None] + 1 if causal else n_tokens,
        )

    def _add(
        self, layer: int, target: _Target, query: torch.Tensor, key: torch.Tensor, log_sum: torch.Tensor | None
    ) -> None:
        plan = self.plan
        maps, heads = plan.maps_of(layer)[0], self._heads[layer]
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
        self._watch(layer, weights)
        blocks = [scaled(weights, scale, target.n_seen) for scale in plan.scales]
        if target.kept is not None:
            blocks = [block[:, target.kept] for block in blocks]
        # All memory is taken before the first addition: where it runs out, the layer is read again.
        if target.pairs is not None:
            blocks = [block.double() for block in blocks]
        for position, block in enumerate(blocks):
            self.sums.add(target.group, position, maps, target.pairs, block)


class _UnlikeSumsError(Exception):
    """What a kernel gives beside its contexts is not the log sums of its rows."""


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


def overflow(model: AttentionModel, what: str) -> FloatingPointError:
    """The error for half precision that gave what is no number."""
    return FloatingPointError(
        f"The {what} of {model.name!r} is not a number: half precision overflows there. "
        "Load the model with `dtype='bfloat16'` or `dtype='float32'`."
    )


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

    On some rows, the layer's queries and keys must give weights that sum to 1 over the valid tokens, and together
    with its values they must give the contexts that the model itself hands to the output projection. This catches a
    mask, a scale or a layout of heads that differs from what is assumed.

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
        # First of all hooks there: an intervention changes contexts after the model has made them.
        hook = seams.output.register_forward_pre_hook(partial(_hold_context, seen), prepend=True)
        stack.callback(hook.remove)
        with suppress(Done):
            model.forward(batch)
    missing = {"query", "key", "value", "context"} - set(seen)
    if missing:
        msg = f"Layer {layer} of {model.name!r} never ran its {', '.join(sorted(missing))}: attention cannot be read."
        raise RuntimeError(msg)
    tolerance = _TOLERANCE.get(model.dtype, _HALF_PRECISION)
    query, key = model.heads(layer, seen["query"], seen["key"], batch)
    for row, n in enumerate(batch.n_tokens):
        some = place(np.unique(np.linspace(0, n - 1, _ROWS_CHECKED).astype(int)), model.device)
        attention = panel_attention(
            query[row], key[row], n, rows=some, columns=slice(0, n), causal=model.causal, mean=False
        )
        off_one = float((attention.sum(-1) - 1).abs().max())
        value = seen["value"][row, :n].view(n, -1, model.head_size).transpose(0, 1).to(attention.dtype)
        value = value.repeat_interleave(model.n_heads // len(value), dim=0)
        context = (attention @ value).transpose(0, 1).reshape(len(some), -1)
        actual = seen["context"][row, some].to(attention.dtype)
        off_context = float((context - actual).abs().max() / actual.abs().max().clamp_min(1e-12))
        if not (off_one <= tolerance and off_context <= tolerance):
            msg = (
                f"Attention read from layer {layer} of {model.name!r} is not what the model computes with: rows sum "
                f"to 1 within {off_one:.2g}, contexts agree within {off_context:.2g} (allowed {tolerance:.2g})."
            )
            raise RuntimeError(msg)
