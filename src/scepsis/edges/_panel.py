"""Attention among the tokens of a panel, from queries and keys, in pieces that fit a cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Scores alive at once.
_SCORES_AT_ONCE = 1 << 18


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

    Returns
    -------
    Heads (or 1) x rows x columns, single precision or better; 0 where a token may not look.
    """
    precision = torch.promote_types(query.dtype, torch.float32)
    q = query[:, rows].to(precision) * query.shape[-1] ** -0.5
    seen = columns if log_sum is not None else slice(0, n_tokens)
    k = key[:, seen].to(precision).transpose(1, 2).contiguous()
    sums = None if log_sum is None else log_sum[:, rows, None].to(precision)
    positions = torch.arange(query.shape[1], device=query.device)
    forbidden = positions[seen][None] > positions[rows][:, None] if causal else None
    shape = (1 if mean else len(q), q.shape[1], len(positions[columns]))
    result = torch.empty(shape, dtype=precision, device=query.device)
    for piece in _pieces(q.shape[1], len(q) * k.shape[-1]):
        scores = torch.matmul(q[:, piece], k)
        if forbidden is not None:
            scores.masked_fill_(forbidden[piece], float("-inf"))
        weights = torch.softmax(scores, -1)[..., columns] if sums is None else scores.sub_(sums[:, piece]).exp_()
        result[:, piece] = weights.mean(0, keepdim=True) if mean else weights
    return result


def _pieces(n_rows: int, scores_per_row: int) -> Iterator[slice]:
    step = max(1, _SCORES_AT_ONCE // max(1, scores_per_row))
    for start in range(0, n_rows, step):
        yield slice(start, start + step)
