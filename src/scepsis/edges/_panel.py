"""Attention among the tokens of a panel, from queries and keys, in pieces that fit a cache."""

from __future__ import annotations

from math import e, log2, prod
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Where the log sums are made part of the product. Elsewhere a product may round its factors (TF32 keeps 10 bits),
#: which loses nothing of half precision but much of a log sum.
_FOLDED_ON = {"cpu"}
#: Scores alive at once: a cache full of them on a CPU, enough for a GPU to be busy with.
_SCORES_AT_ONCE = {"cpu": 1 << 19, "cuda": 1 << 26}


class Scratch:
    """Memory that every cell and layer uses again: asking the system for fresh pages costs as much as the scores."""

    def __init__(self) -> None:
        self._held: dict[str, torch.Tensor] = {}

    def take(self, name: str, shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        """A tensor with anything in it, good until `name` is taken again."""
        n = prod(shape)
        held = self._held.get(name)
        if held is None or held.numel() < n or (held.dtype, held.device) != (dtype, device):
            held = self._held[name] = torch.empty(n, dtype=dtype, device=device)
        return held[:n].view(*shape)


def panel_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    n_tokens: int,
    *,
    rows: torch.Tensor | slice,
    columns: torch.Tensor | slice,
    log_sum: torch.Tensor | None = None,
    causal: bool = False,
    mean: bool = True,
    scratch: Scratch | None = None,
) -> torch.Tensor:
    r"""
    Attention of some tokens of one cell to others, normalised over all tokens that may be looked at.

    Parameters
    ----------
    query, key
        Heads x tokens x head size.
    n_tokens
        Tokens that may be looked at; what follows is padding.
    rows, columns
        Tokens that look, and tokens that are looked at.
    log_sum
        Heads x tokens, :math:`\log \sum_m \exp(q_i \cdot k_m / \sqrt d)` where the attention kernel told it. Without it
        the rows are normalised here, over all tokens.
    causal
        Whether a token sees only those at or before it.
    mean
        Average over heads.
    scratch
        Where to work, and where the result lies until the next call.

    Returns
    -------
    Heads (or 1) x rows x columns, single precision or better; 0 where a token may not look.
    """
    scratch = Scratch() if scratch is None else scratch
    precision, device = torch.promote_types(query.dtype, torch.float32), query.device
    positions = torch.arange(query.shape[1], device=device)
    seen = columns if log_sum is not None else slice(0, n_tokens)
    forbidden = positions[seen][None] > positions[rows][:, None] if causal else None
    q, k = query[:, rows], key[:, seen]
    scale, shift = query.shape[-1] ** -0.5, None
    if log_sum is not None:
        # The logarithm to base 2, powers of which are quicker than those of e, of attention over the number averaged.
        scale *= log2(e)
        shift = log_sum[:, rows, None].to(precision) * -log2(e) - log2(len(query) if mean else 1)
    folded = device.type in _FOLDED_ON
    q, k = _folded(q, k, scale, shift, precision, scratch) if folded else (q.to(precision), k.to(precision))
    k = k.transpose(1, 2)
    result = scratch.take("result", (1 if mean else len(q), q.shape[1], len(positions[columns])), precision, device)
    for piece in _pieces(q.shape[1], len(q) * k.shape[-1], device):
        part = q[:, piece]
        scores = torch.bmm(part, k, out=scratch.take("scores", (*part.shape[:2], k.shape[-1]), precision, device))
        if not folded:
            scores = (
                scores.mul_(scale) if shift is None else torch.add(shift[:, piece], scores, alpha=scale, out=scores)
            )
        if forbidden is not None:
            scores.masked_fill_(forbidden[piece], float("-inf"))
        if shift is None:
            weights = torch.softmax(scores, -1, out=scratch.take("weights", scores.shape, precision, device))
            weights = weights[..., columns]
            if mean:
                torch.mean(weights, 0, keepdim=True, out=result[:, piece])
            else:
                result[:, piece] = weights
        elif mean:
            torch.sum(scores.exp2_(), 0, keepdim=True, out=result[:, piece])
        else:
            torch.exp2(scores, out=result[:, piece])
    return result


def _folded(
    query: torch.Tensor,
    key: torch.Tensor,
    scale: float,
    shift: torch.Tensor | None,
    precision: torch.dtype,
    scratch: Scratch,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Queries and keys whose product is scaled and shifted: the shift is an entry of the query that meets a 1."""
    size, device = query.shape[-1], query.device
    width = size if shift is None else size + 1
    q = scratch.take("query", (*query.shape[:2], width), precision, device)
    k = scratch.take("key", (*key.shape[:2], width), precision, device)
    q[..., :size].copy_(query).mul_(scale)
    k[..., :size].copy_(key)
    if shift is not None:
        q[..., size:] = shift
        k[..., size:] = 1.0
    return q, k


def _pieces(n_rows: int, scores_per_row: int, device: torch.device) -> Iterator[slice]:
    at_once = _SCORES_AT_ONCE.get(device.type, _SCORES_AT_ONCE["cuda"])
    step = max(1, at_once // max(1, scores_per_row))
    for start in range(0, n_rows, step):
        yield slice(start, start + step)
