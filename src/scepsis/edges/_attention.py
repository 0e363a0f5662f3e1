"""Attention of a panel's genes, streamed: one layer's block of one cell at a time, never a tensor of all."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from scepsis.edges._accumulate import AttentionSums
from scepsis.edges._scales import scaled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray
    from scipy import sparse

    from scepsis._core._types import IntArray
    from scepsis.edges._accumulate import Plan
    from scepsis.models._protocol import AttentionModel, Batch

#: Tokens per batch when no batch size is given: enough to fill the matrix kernels of a CPU.
_TOKENS_PER_BATCH = 8192
#: Scores alive at once, so that they stay in cache.
_SCORES_AT_ONCE = 1 << 18
_TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-6}


@dataclass(frozen=True)
class Cell:
    """Tokens of one cell, those of the panel first and in the panel's order."""

    tokens: NDArray[np.int32]
    #: Where each token stands in the model's own order.
    ranks: IntArray
    #: Positions in the panel of the first tokens.
    genes: IntArray
    group: int


class _Done(Exception):  # noqa: N818
    """Raised inside the forward pass once the last layer asked for has been read."""


def accumulate_attention(
    model: AttentionModel,
    blocks: Iterable[tuple[sparse.csr_matrix, IntArray]],
    *,
    tokens: IntArray,
    panel: IntArray,
    plan: Plan,
    batch_size: int | None = None,
    on_cells: Callable[[int], None] = lambda _: None,
) -> AttentionSums:
    """
    Sum attention between panel genes over cells.

    Parameters
    ----------
    model
        A model behind the protocol.
    blocks
        ``(counts, groups)``: cells x genes CSR blocks and the group of each cell.
    tokens
        Token id of every gene of the blocks, -1 for none.
    panel
        Token id of every gene of the panel; no two alike.
    plan
        What to sum.
    batch_size
        Cells per forward pass; without it as many as make about 8,192 tokens.
    on_cells
        Called with the number of cells just done.

    Returns
    -------
    The sums. Before the first batch is used, :func:`check_seams` proves on two of its cells that the modules
    that are read are those the model computes with.
    """
    sums = AttentionSums(plan, model.device)
    place = np.full(max(int(tokens.max(initial=0)), int(panel.max(initial=0))) + 1, -1)
    place[panel] = np.arange(len(panel))
    checked = False
    for counts, groups in blocks:
        encoded = model.tokenize(counts, tokens)
        cells = [_arrange(cell, place, int(group)) for cell, group in zip(encoded, groups, strict=True) if len(cell)]
        sums.n_skipped += len(encoded) - len(cells)
        _note(sums, cells, model.max_genes)
        for members in _batches(cells, batch_size):
            if not checked:
                check_seams(model, _batch(model, members[:2]), plan.layers[0])
                checked = True
            _run(model, members, sums)
            on_cells(len(members))
        on_cells(len(encoded) - len(cells))
    return sums


def _arrange(tokens: NDArray[np.int32], place: IntArray, group: int) -> Cell:
    genes = place[tokens]
    in_panel = np.flatnonzero(genes >= 0)
    in_panel = in_panel[np.argsort(genes[in_panel])]
    order = np.concatenate([in_panel, np.flatnonzero(genes < 0)])
    return Cell(tokens[order], order, genes[in_panel], group)


def _note(sums: AttentionSums, cells: Sequence[Cell], max_genes: int) -> None:
    """Everything about a block of cells that does not depend on attention."""
    if not cells:
        return
    sums.count([cell.genes for cell in cells], np.array([cell.group for cell in cells]))
    for cell in cells:
        sums.rank_sum[cell.genes] += cell.ranks[: len(cell.genes)]
        sums.rank_n[cell.genes] += 1
        sums.n_tokens += len(cell.tokens)
        sums.n_truncated += len(cell.tokens) == max_genes


def _batches(cells: Sequence[Cell], batch_size: int | None) -> Iterator[list[Cell]]:
    """Cells of like length together, so that little is padded."""
    waiting: list[Cell] = []
    for cell in sorted(cells, key=lambda cell: -len(cell.tokens)):
        most = batch_size or max(1, _TOKENS_PER_BATCH // len((waiting or [cell])[0].tokens))
        if len(waiting) >= most:
            yield waiting
            waiting = []
        waiting.append(cell)
    if waiting:
        yield waiting


def _batch(model: AttentionModel, cells: Sequence[Cell]) -> Batch:
    return model.batch([cell.tokens for cell in cells], [cell.ranks for cell in cells])


@torch.inference_mode()
def _run(model: AttentionModel, cells: Sequence[Cell], sums: AttentionSums) -> None:
    batch = _batch(model, cells)
    n = sums.plan.n_genes
    places = [torch.from_numpy(cell.genes).to(model.device) for cell in cells]
    flat = [(genes[:, None] * n + genes).view(-1) for genes in places]

    def read(layer: int, query: torch.Tensor, key: torch.Tensor) -> None:
        for row, cell in enumerate(cells):
            if len(cell.genes) > 1:
                heads = panel_attention(
                    query[row],
                    key[row],
                    batch.n_tokens[row],
                    len(cell.genes),
                    n_heads=model.n_heads,
                    mean=not sums.plan.heads,
                )
                _add(sums, layer, cell, heads, flat[row], batch.n_tokens[row])

    with ExitStack() as stack:
        for layer in sums.plan.layers:
            stack.enter_context(_tap(model, layer, read, last=layer == max(sums.plan.layers)))
        try:
            model.forward(batch)
        except _Done:
            return


def _add(sums: AttentionSums, layer: int, cell: Cell, heads: torch.Tensor, flat: torch.Tensor, n_tokens: int) -> None:
    plan = sums.plan
    wanted = plan.heads_of(layer) if plan.heads else [(plan.layers.index(layer), 0)]
    for index, head in wanted:
        for position, scale in enumerate(plan.scales):
            sums.add(cell.group, index, position, flat, scaled(heads[head], scale, n_tokens))


@contextmanager
def _tap(
    model: AttentionModel, layer: int, read: Callable[[int, torch.Tensor, torch.Tensor], None], *, last: bool
) -> Iterator[None]:
    """Call `read` as soon as a layer has computed its queries and keys; end the pass after the last layer."""
    seams = model.seams(layer)
    held: dict[str, torch.Tensor] = {}

    def catch(name: str) -> Callable[..., None]:
        def hook(_module: torch.nn.Module, _args: Any, output: torch.Tensor) -> None:
            held[name] = output
            if len(held) == 2:
                read(layer, held.pop("query"), held.pop("key"))
                if last:
                    raise _Done

        return hook

    handles = [
        seams.query.register_forward_hook(catch("query")),
        seams.key.register_forward_hook(catch("key")),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def panel_attention(
    query: torch.Tensor, key: torch.Tensor, n_tokens: int, n_panel: int, *, n_heads: int, mean: bool
) -> torch.Tensor:
    r"""
    Attention among the first `n_panel` tokens of one cell, its rows normalised over all `n_tokens`.

    Parameters
    ----------
    query, key
        Tokens x (heads x head size).
    n_tokens, n_panel
        Tokens that may be looked at, and tokens of the panel, which come first.
    n_heads
        Heads.
    mean
        Average over heads.

    Returns
    -------
    Heads (or 1) x `n_panel` x `n_panel`: :math:`\operatorname{softmax}_j(q_i \cdot k_j / \sqrt{d})`, single precision
    or better. Rows are worked on in pieces that fit a cache.
    """
    precision = torch.promote_types(query.dtype, torch.float32)
    size = query.shape[-1] // n_heads
    q = query[:n_panel].view(n_panel, n_heads, size).transpose(0, 1).to(precision) * size**-0.5
    k = key[:n_tokens].view(n_tokens, n_heads, size).permute(1, 2, 0).to(precision).contiguous()
    result = torch.empty(1 if mean else n_heads, n_panel, n_panel, dtype=precision, device=query.device)
    step = max(1, _SCORES_AT_ONCE // (n_heads * n_tokens))
    for start in range(0, n_panel, step):
        probabilities = torch.softmax(torch.matmul(q[:, start : start + step], k), dim=-1)[..., :n_panel]
        result[:, start : start + step] = probabilities.mean(0, keepdim=True) if mean else probabilities
    return result


@torch.inference_mode()
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
        stack.callback(seams.output.register_forward_pre_hook(lambda _m, args: seen.update(context=args[0])).remove)
        model.forward(batch)
    missing = {"query", "key", "value", "context"} - set(seen)
    if missing:
        msg = f"Layer {layer} of {model.name!r} never ran its {', '.join(sorted(missing))}: attention cannot be read."
        raise RuntimeError(msg)
    tolerance = _TOLERANCE.get(model.dtype, 5e-2)
    for row, n in enumerate(batch.n_tokens):
        attention = panel_attention(seen["query"][row], seen["key"][row], n, n, n_heads=model.n_heads, mean=False)
        off_one = float((attention.sum(-1) - 1).abs().max())
        value = seen["value"][row, :n].view(n, model.n_heads, -1).transpose(0, 1).to(attention.dtype)
        context = (attention @ value).transpose(0, 1).reshape(n, -1)
        actual = seen["context"][row, :n].to(attention.dtype)
        off_context = float((context - actual).abs().max() / actual.abs().max().clamp_min(1e-12))
        if not (off_one <= tolerance and off_context <= tolerance):
            msg = (
                f"Attention read from layer {layer} of {model.name!r} is not what the model computes with: rows sum "
                f"to 1 within {off_one:.2g}, contexts agree within {off_context:.2g} (allowed {tolerance:.2g})."
            )
            raise RuntimeError(msg)
