"""What becomes of targets when a source is taken out of a cell, or put at its top: a model's own counterfactuals."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from scepsis.edges._attention import overflow
from scepsis.edges._cells import Batches
from scepsis.edges._fidelity import cosine_distance
from scepsis.models._protocol import place

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from scipy import sparse

    from scepsis._core._types import FloatArray, IntArray
    from scepsis.models import AttentionModel, Tokens

Kind = Literal["delete", "overexpress"]


@dataclass(frozen=True)
class Case:
    """A cell as it is, or with one source changed, and where its targets stand."""

    tokens: Tokens
    #: Position among the tokens, and in the panel, of every target.
    at: IntArray
    genes: IntArray
    #: Which of the sources was changed, -1 for none; which cell of its group this is.
    source: int = -1
    cell: int = 0

    def __len__(self) -> int:
        return len(self.tokens.ids)


class InsilicoSums:
    """Sums of what happened to targets, and how many cells they are over: sources x panel."""

    def __init__(self, n_sources: int, n_genes: int) -> None:
        self.sums = np.zeros((n_sources, n_genes))
        self.n_cells = np.zeros((n_sources, n_genes), dtype=np.int32)
        #: Cells in which each source was changed.
        self.n_changed = np.zeros(n_sources, dtype=np.int64)
        self.rank_sum, self.rank_n = np.zeros(n_genes), np.zeros(n_genes, dtype=np.int64)
        #: Cells without tokens, cells cut at the model's length, tokens, and forward passes of one cell.
        self.totals = np.zeros(4, dtype=np.int64)

    def add(self, source: int, genes: IntArray, values: NDArray[np.float64]) -> None:
        self.sums[source, genes] += values
        self.n_cells[source, genes] += 1
        self.n_changed[source] += 1

    def means(self) -> FloatArray:
        """Sources x panel, single precision; NaN where no cell is."""
        with np.errstate(invalid="ignore"):
            result: FloatArray = (self.sums / self.n_cells).astype(np.float32)
        return result

    def mean_rank(self) -> FloatArray:
        """Mean rank of every gene's token; NaN for a gene that is never one."""
        with np.errstate(invalid="ignore"):
            result: FloatArray = (self.rank_sum / self.rank_n).astype(np.float32)
        return result


class Insilico:
    r"""
    Sums, over the cells it is given, of how far a change of each source moves each target.

    A cell is run as it is, and once more for every source. ``"delete"`` takes the token of a source out, in the cells
    that have it (where a family reads undetected genes too, its value becomes 0). ``"overexpress"`` puts it before all
    others, with the highest value in the cell where there are values; a cell that lacks it gets it, and one that is
    full loses its last token. Other tokens move up or down by a rank, as they would if the cell were read anew (but a
    cell that was cut at the model's length does not get the gene that would have come in next).

    Targets are the panel's genes in the cell. Each contributes :math:`1 - \cos(h_j, h'_j)` between its hidden states
    after the last layer. In a causal model a target is moved by sources before it only, and those alone count.

    Parameters
    ----------
    model
        A model behind the protocol.
    tokens
        Token id of every gene of the counts, -1 for none.
    panel
        Token id of every gene of the panel; no two alike.
    sources
        Positions in the panel of the genes that are changed.
    kind
        What is done to them.
    batch_size
        Cells per forward pass; see :class:`~scepsis.edges._cells.Batches`.
    """

    #: What is read, for messages.
    what = "embedding"

    def __init__(
        self,
        model: AttentionModel,
        *,
        tokens: IntArray,
        panel: IntArray,
        sources: Sequence[int],
        kind: Kind = "delete",
        batch_size: int | None = None,
    ) -> None:
        self.model, self.tokens, self.panel = model, tokens, panel
        self.sources = np.asarray(sources, dtype=np.int64)
        self.kind = kind
        self.sums = InsilicoSums(len(self.sources), len(panel))
        self.batches = Batches(batch_size, model.device)
        self._place = np.full(max(int(tokens.max(initial=0)), int(panel.max(initial=0))) + 1, -1)
        self._place[panel] = np.arange(len(panel))

    def add(
        self, counts: sparse.csr_matrix, seeds: NDArray[np.uint64], on_cells: Callable[[int], object] = int
    ) -> None:
        """Add a block of cells: raw counts, and a number of its own per cell for whatever is drawn."""
        encoded = self.model.tokenize(counts, self.tokens, seeds)
        group: list[tuple[Case, list[Case]]] = []
        n_tokens = 0
        for tokens, seed in zip(encoded, seeds, strict=True):
            self._note(tokens)
            intact = self.case(tokens, int(seed))
            changed = self._changed(intact) if len(intact) else []
            group.append((replace(intact, cell=len(group)), [replace(one, cell=len(group)) for one in changed]))
            n_tokens += len(intact) * (1 + len(changed))
            if n_tokens >= self.batches.tokens:
                self._run(group)
                on_cells(len(group))
                group, n_tokens = [], 0
        self._run(group)
        on_cells(len(group))

    def case(self, tokens: Tokens, seed: int) -> Case:
        """A cell as it is compared, with its targets."""
        del seed
        genes = self._place[tokens.ids]
        at = np.flatnonzero(genes >= 0)
        return Case(tokens, at, genes[at])

    def read(self, hidden: torch.Tensor, case: Case) -> torch.Tensor:
        """What is compared of the targets, from their hidden states (targets x width)."""
        del case
        return hidden.to(torch.promote_types(hidden.dtype, torch.float32))

    def compare(self, intact: torch.Tensor, changed: torch.Tensor) -> torch.Tensor:
        """One number per target."""
        return cosine_distance(intact, changed)

    def _note(self, tokens: Tokens) -> None:
        genes = self._place[tokens.ids]
        at = np.flatnonzero(genes >= 0)
        self.sums.rank_sum[genes[at]] += at
        self.sums.rank_n[genes[at]] += 1
        self.sums.totals[:3] += not len(tokens.ids), tokens.cut, len(tokens.ids)

    def _changed(self, intact: Case) -> list[Case]:
        """The cell with each source changed; sources that leave no target are passed over."""
        where = {int(token): position for position, token in enumerate(intact.tokens.ids)}
        result = []
        for number, source in enumerate(self.sources):
            token = int(self.panel[source])
            found = where.get(token)
            case = (
                deleted(intact, found, zero=getattr(self.model, "include_zero_genes", False))
                if self.kind == "delete"
                else overexpressed(intact, token, found, self.model.max_genes)
            )
            if case is None:
                continue
            kept = case.genes != source
            if self.model.causal and self.kind == "delete" and found is not None:
                kept &= case.at >= found
            if kept.any():
                result.append(replace(case, at=case.at[kept], genes=case.genes[kept], source=number))
        return result

    @torch.no_grad()
    def _run(self, group: Sequence[tuple[Case, Sequence[Case]]]) -> None:
        """Run cells as they are, then every change of them."""
        intact: dict[int, tuple[Case, torch.Tensor]] = {}

        def keep(case: Case, values: torch.Tensor) -> None:
            intact[case.cell] = case, values

        def add(case: Case, values: torch.Tensor) -> None:
            own, before = intact[case.cell]
            rows = np.searchsorted(own.genes, case.genes, sorter=(order := np.argsort(own.genes)))
            difference = self.compare(before[place(order[rows], before.device)], values)
            self.sums.add(case.source, case.genes, difference.double().cpu().numpy())

        whole = [one for one, changed in group if changed]
        for cases, take in ((whole, keep), ([one for _, changed in group for one in changed], add)):
            for _ in self.batches.run(cases, partial(self._pass, take=take)):
                pass

    def _pass(self, cases: Sequence[Case], take: Callable[[Case, torch.Tensor], None]) -> None:
        batch = self.model.batch([case.tokens for case in cases], [np.arange(len(case)) for case in cases])
        hidden = self.model.forward(batch)
        values = [
            self.read(hidden[row, place(case.at + batch.offset, hidden.device)], case) for row, case in enumerate(cases)
        ]
        if self.model.dtype == torch.float16 and not all(one.isfinite().all() for one in values):
            raise overflow(self.model, self.what)
        # Where memory runs out above, nothing of the batch was added.
        for case, one in zip(cases, values, strict=True):
            take(case, one)
        self.sums.totals[3] += len(cases)


def deleted(cell: Case, found: int | None, *, zero: bool = False) -> Case | None:
    """A cell without the token at a position; None where it has none, or none that was detected."""
    ids, values = cell.tokens.ids, cell.tokens.values
    if found is None or (values is not None and values[found] == 0):
        return None
    if zero and values is not None:
        lower = values.copy()
        lower[found] = 0.0
        return replace(cell, tokens=replace(cell.tokens, values=lower))
    tokens = replace(
        cell.tokens, ids=np.delete(ids, found), values=None if values is None else np.delete(values, found)
    )
    kept = cell.at != found
    at = cell.at[kept]
    return replace(cell, tokens=tokens, at=at - (at > found), genes=cell.genes[kept])


def overexpressed(cell: Case, token: int, found: int | None, most: int) -> Case:
    """A cell with a token before all others, moved there or new."""
    ids, values = cell.tokens.ids, cell.tokens.values
    rest = np.arange(len(ids)) if found is None else np.delete(np.arange(len(ids)), found)
    rest = rest[: most - 1]
    moved = np.full(len(ids), -1)
    moved[rest] = 1 + np.arange(len(rest))
    tokens: Any = replace(
        cell.tokens,
        ids=np.concatenate([[token], ids[rest]]).astype(ids.dtype),
        values=None if values is None else np.concatenate([[values.max()], values[rest]]).astype(values.dtype),
    )
    kept = moved[cell.at] >= 0
    return replace(cell, tokens=tokens, at=moved[cell.at[kept]], genes=cell.genes[kept])
