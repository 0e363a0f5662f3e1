"""Attention of every head from a few genes, and how spread it is, in one pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from scepsis.edges._accumulate import AttentionSums, Plan
from scepsis.edges._attention import Extraction
from scepsis.edges._panel import panel_attention

if TYPE_CHECKING:
    from scepsis._core._types import FloatArray
    from scepsis.edges._attention import _Target


class HeadPlan(Plan):
    """A map for every head, from some genes of the panel."""

    def new_sums(self, device: torch.device | str = "cpu") -> HeadSums:
        """Sums over no cells."""
        return HeadSums(self, device)


class HeadSums(AttentionSums):
    """Sums of attention of single heads, and over all rows read, of the entropy and the concentration of each."""

    def __init__(self, plan: Plan, device: torch.device | str = "cpu") -> None:
        super().__init__(plan, device)
        #: Entropy and concentration x heads.
        self.spread = torch.zeros(2, plan.n_maps, dtype=torch.float64, device=device)
        #: Rows behind them: genes read, over all cells.
        self.n_rows = torch.zeros(plan.n_maps, dtype=torch.float64, device=device)

    def merge(self, other: AttentionSums) -> None:
        """Add the sums of other cells."""
        super().merge(other)
        if isinstance(other, HeadSums):
            self.spread += other.spread.to(self.spread.device)
            self.n_rows += other.n_rows.to(self.n_rows.device)

    @property
    def entropy(self) -> FloatArray:
        """Mean entropy of each head's rows over all tokens that are seen, in nats; NaN without rows."""
        result: FloatArray = (self.spread[0] / self.n_rows).cpu().numpy()
        return result

    @property
    def concentration(self) -> FloatArray:
        """Mean over rows of :math:`n sum_j a_j^2`: how many times more than evenly a head looks where it looks."""
        result: FloatArray = (self.spread[1] / self.n_rows).cpu().numpy()
        return result

    def rows(self, index: int) -> FloatArray:
        """Mean of one head over the cells of each pair, sources x genes, single precision; NaN where no cell is."""
        sums = self.sums[:, 0, index].sum(dim=0).view(self.plan.n_sources, self.plan.n_genes)
        means: FloatArray = (sums / self.n_cells.sum(dim=0).double()).float().cpu().numpy()
        return means


class HeadExtraction(Extraction):
    """Reads single heads: of each row the weights of all tokens, for its entropy, and the panel's to be kept."""

    sums: HeadSums
    what = "attention of heads"

    def _add(
        self, layer: int, target: _Target, query: torch.Tensor, key: torch.Tensor, log_sum: torch.Tensor | None
    ) -> None:
        maps, heads = self.plan.maps_of(layer)[0], self._heads[layer]
        weights = panel_attention(
            query[heads],
            key[heads],
            target.n_tokens,
            rows=target.rows,
            columns=slice(0, target.n_tokens),
            log_sum=None if log_sum is None else log_sum[heads],
            causal=self.model.causal,
            mean=False,
            scratch=self._scratch,
        )
        self._watch(layer, weights)
        block = weights[:, :, target.columns].double()
        spread = torch.stack(
            [
                torch.special.entr(weights).sum(dim=(1, 2)),
                (weights.square().sum(dim=-1, keepdim=True) * target.n_seen).sum(dim=(1, 2)),
            ]
        ).double()
        # All memory is taken before the first addition: where it runs out, the layer is read again.
        self.sums.add(target.group, 0, maps, target.pairs, block)
        self.sums.spread[:, maps] += spread
        self.sums.n_rows[maps] += weights.shape[1]
