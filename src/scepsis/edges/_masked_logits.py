"""Logits of masked genes: whether a model would still expect a target where a source was changed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from scepsis.edges._insilico import Insilico
from scepsis.models._language_head import language_head
from scepsis.models._protocol import place

if TYPE_CHECKING:
    import torch

    from scepsis.edges._insilico import Case
    from scepsis.models import AttentionModel, Tokens

#: Share of a cell's genes that are masked, as in training.
MASK_SHARE = 0.15
_MASK = "<mask>"


def why_no_masked_logits(model: AttentionModel) -> str:
    """What a model lacks for logits of masked genes; "" when it has everything."""
    if model.causal:
        return f"{model.name!r} is causal: it predicts the next gene, not a masked one"
    if language_head(model) is None:
        return f"{model.name!r} was loaded without a language-model head (family {model.family!r})"
    if _MASK not in model.vocabulary.special:
        return f"the vocabulary of {model.name!r} has no `{_MASK}`"
    return ""


class MaskedLogits(Insilico):
    r"""
    Sums, over cells, of how a change of each source moves the logits of masked targets.

    In every cell a random share of the panel's genes is masked, drawn by the cell's own number, and these are its
    targets; a source that is masked is not changed in that cell. With :math:`\ell_j` for the log-probability of gene
    `j` at its masked position (its logit, but for what all tokens share), a target contributes :math:`\ell_j - \ell'_j`
    for a deletion and :math:`\ell'_j - \ell_j` for an over-expression: above 0 where the source speaks for the target.
    Logits are made at masked positions alone. Cells with values beside genes have no masked gene in this sense.
    """

    what = "logits"

    def __init__(self, model: AttentionModel, *, share: float = MASK_SHARE, **options: Any) -> None:
        lack = why_no_masked_logits(model)
        if lack:
            msg = f"Logits of masked genes cannot be read: {lack}."
            raise ValueError(msg)
        super().__init__(model, **options)
        self.share = share
        self.head: Any = language_head(model)

    def case(self, tokens: Tokens, seed: int) -> Case:
        if tokens.values is not None:
            msg = f"Logits of masked genes cannot be read: {self.model.name!r} reads values beside genes."
            raise ValueError(msg)
        whole = super().case(tokens, seed)
        n = min(len(whole.at), max(1, round(self.share * len(tokens.ids))))
        chosen = np.sort(np.random.default_rng(seed).choice(len(whole.at), n, replace=False))
        ids = tokens.ids.copy()
        ids[whole.at[chosen]] = self.model.vocabulary.special[_MASK]
        return replace(whole, tokens=replace(tokens, ids=ids), at=whole.at[chosen], genes=whole.genes[chosen])

    def _changed(self, intact: Case) -> list[Case]:
        masked = set(intact.genes.tolist())
        return [case for case in super()._changed(intact) if int(self.sources[case.source]) not in masked]

    def read(self, hidden: torch.Tensor, case: Case) -> torch.Tensor:
        logits: torch.Tensor = self.head(hidden).float().log_softmax(-1)
        own = place(self.panel[case.genes].astype(np.int64), hidden.device)
        return logits.gather(1, own[:, None])[:, 0]

    def compare(self, intact: torch.Tensor, changed: torch.Tensor) -> torch.Tensor:
        difference = intact.double() - changed.double()
        return difference if self.kind == "delete" else -difference
