"""From attention probabilities of one cell to scores that may be averaged over cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from scepsis._core._types import Scale


def scaled(block: torch.Tensor, scale: Scale, n_tokens: int | torch.Tensor) -> torch.Tensor:
    """
    Put a panel block of one cell on a scale.

    ``probability`` leaves it; ``uniform_fold`` multiplies by the number of tokens attention chose among, so that 1
    is what indifference would give; ``centered`` takes logarithms and removes the cell's own row and column effects.
    """
    if scale == "probability":
        return block
    if scale == "uniform_fold":
        return block * n_tokens
    return double_centered(block.clamp_min(torch.finfo(block.dtype).tiny).log())


def double_centered(values: torch.Tensor) -> torch.Tensor:
    r"""
    Residual of the additive model :math:`x_{ij} = \mu + \alpha_i + \beta_j`, fitted without the diagonal.

    Least squares over :math:`i \neq j` has a closed form (Warner, Kenny & Stoto 1979). With :math:`n = 2` the model
    fits exactly and the residual is 0; a single gene has no pairs.
    """
    n = values.shape[-1]
    if n <= 2:
        return torch.zeros_like(values)
    off = values - torch.diag_embed(values.diagonal(dim1=-2, dim2=-1))
    rows = off.sum(-1) / (n - 1)
    columns = off.sum(-2) / (n - 1)
    grand = rows.mean(-1)
    own, cross = (n - 1) ** 2 / (n * (n - 2)), (n - 1) / (n * (n - 2))
    shift = (n - 1) / (n - 2) * grand[..., None]
    row_effect = own * rows + cross * columns - shift
    column_effect = own * columns + cross * rows - shift
    return values - grand[..., None, None] - row_effect[..., :, None] - column_effect[..., None, :]
