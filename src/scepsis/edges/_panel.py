"""Attention among the tokens of a panel, from queries and keys, in pieces that fit a cache."""

from __future__ import annotations

from math import e, log2, prod
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Scores alive at once: about a cache full of them on a CPU, enough for a GPU to be busy with.
_SCORES_AT_ONCE = {"cpu": 1 << 20, "cuda": 1 << 26}


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
    q, k = _factors(query, key, rows, seen, log_sum, share=len(query) if mean else 1, scratch=scratch)
    shape = (1 if mean else len(q), q.shape[1], len(positions[columns]))
    result = scratch.take("result", shape, precision, device)
    for piece in _pieces(q.shape[1], len(q) * k.shape[-1], device):
        part = q[:, piece]
        scores = torch.bmm(part, k, out=scratch.take("scores", (*part.shape[:2], k.shape[-1]), precision, device))
        if forbidden is not None:
            scores.masked_fill_(forbidden[piece], float("-inf"))
        if log_sum is None:
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


def _factors(
    query: torch.Tensor,
    key: torch.Tensor,
    rows: torch.Tensor | slice,
    seen: torch.Tensor | slice,
    log_sum: torch.Tensor | None,
    *,
    share: int,
    scratch: Scratch,
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""
    What to multiply (heads x rows x size, heads x size x columns) for scores over the root of the head size.

    With log sums, the product is :math:`\log_2 (a_{ij} / \text{share})`: the log sum is one more entry of the query
    that meets a 1 in every key, and powers of 2 are quicker than those of e.
    """
    precision, device = torch.promote_types(query.dtype, torch.float32), query.device
    q, k = query[:, rows], key[:, seen]
    size = q.shape[-1]
    more = 0 if log_sum is None else 1
    wide_q = scratch.take("query", (*q.shape[:2], size + more), precision, device)
    wide_k = scratch.take("key", (*k.shape[:2], size + more), precision, device)
    wide_q[..., :size].copy_(q).mul_(size**-0.5 * (log2(e) if more else 1.0))
    wide_k[..., :size].copy_(k)
    if log_sum is not None:
        wide_q[..., size].copy_(log_sum[:, rows]).mul_(-log2(e)).sub_(log2(share))
        wide_k[..., size] = 1.0
    return wide_q, wide_k.transpose(1, 2)


def _pieces(n_rows: int, scores_per_row: int, device: torch.device) -> Iterator[slice]:
    at_once = _SCORES_AT_ONCE.get(device.type, _SCORES_AT_ONCE["cuda"])
    step = max(1, at_once // max(1, scores_per_row))
    for start in range(0, n_rows, step):
        yield slice(start, start + step)
