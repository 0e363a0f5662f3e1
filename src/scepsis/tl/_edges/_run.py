"""One pass of a model over cells: what it is made from, whether it fits, and how it is carried out."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scepsis._core._hashing import hash_array, hash_strings
from scepsis._core._memory import require_memory
from scepsis._core._progress import progress_bar
from scepsis._core._rng import cell_seeds
from scepsis._core._validate import listing
from scepsis._core._values import counts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from anndata import AnnData
    from numpy.typing import NDArray
    from scipy import sparse

    from scepsis._core._groups import Groups
    from scepsis._core._match import Match
    from scepsis._core._resolve import Choice
    from scepsis._core._types import IntArray
    from scepsis.edges._accumulate import AttentionSums, Plan
    from scepsis.models import AttentionModel

logger = logging.getLogger(__name__)
#: Cells read and tokenised at a time.
CELLS_AT_ONCE = 256
#: Below this share of the vocabulary, ranks no longer mean what they meant in training.
_FEW_GENES = 0.2


@dataclass(frozen=True)
class Run:
    """Everything that sums of attention depend on."""

    adata: AnnData
    model: AttentionModel
    cells: Choice
    groups: Groups
    match: Match
    #: Genes of the panel that own a token.
    panel: IntArray
    plan: Plan
    seed: int
    batch_size: int | None = None

    def extract(self, *, checkpoint: str | Path | None, show: bool) -> AttentionSums:
        """Read all cells, from where `checkpoint` stopped if there is one."""
        from scepsis.edges._attention import Extraction
        from scepsis.edges._checkpoint import Checkpoint

        extraction = Extraction(
            self.model,
            tokens=self.match.tokens,
            panel=self.match.tokens[self.panel],
            plan=self.plan,
            batch_size=self.batch_size,
        )
        file = None if checkpoint is None else Checkpoint(checkpoint, self.fingerprint())
        n_done = 0 if file is None else file.resume(extraction.sums)
        rows = self.cells.index
        if n_done:
            logger.info("%d of %d cells are in the checkpoint already", n_done, len(rows))
        description = f"attention of {self.model.name}"
        with progress_bar(total=len(rows), desc=description, unit="cell", show=show, initial=n_done) as bar:
            for block, codes, seeds in self._blocks(rows[n_done:]):
                extraction.add(block, codes, seeds, bar.update)
                n_done += len(codes)
                if file is not None:
                    file.save(extraction.sums, n_done, now=n_done == len(rows))
        self._require_tokens(extraction.sums)
        return extraction.sums

    def _blocks(self, rows: IntArray) -> Iterator[tuple[sparse.csr_matrix, IntArray, NDArray[np.uint64]]]:
        # Cells without a label count towards the whole, in the last group.
        codes = np.where(self.groups.codes < 0, self.plan.n_groups - 1, self.groups.codes)
        for chosen, block in counts(self.adata).blocks(rows, size=CELLS_AT_ONCE):
            yield block, codes[chosen], cell_seeds(self.seed, self.adata.obs_names[chosen])

    def _require_tokens(self, sums: AttentionSums) -> None:
        n_empty = int(sums.totals[0])
        if n_empty == int(self.cells.mask.sum()):
            msg = "No cell has a gene of the model's vocabulary: there is nothing to attend to."
            raise ValueError(msg)
        if n_empty:
            logger.warning("%d cells have no gene of the vocabulary and were left out", n_empty)

    def fingerprint(self) -> str:
        """Hash of all that the sums depend on; of the counts, those of the first and last cells."""
        rows = self.cells.index
        ends = np.unique(np.r_[rows[:CELLS_AT_ONCE], rows[-CELLS_AT_ONCE:]])
        values = [block.toarray() for _, block in counts(self.adata).blocks(ends)]
        return hash_strings(
            [
                self.model.fingerprint,
                str(self.model.dtype),
                self.model.vocabulary.hash,
                str(self.plan),
                str(self.seed),
                hash_strings(self.adata.obs_names[rows]),
                hash_strings(self.adata.var_names[self.panel]),
                hash_array(self.match.tokens),
                hash_array(self.groups.codes[rows]),
                *map(hash_array, values),
            ]
        )

    def require_fit(self, memory_limit: int | None) -> None:
        """Raise `MemoryError` when sums and results together would not fit."""
        plan, n_vars = self.plan, self.adata.n_vars
        n_networks = (plan.n_groups + (plan.n_groups > 1)) * len(plan.scales) * (plan.n_maps + (plan.n_maps > 1))
        n_pairs = plan.n_sources * plan.n_genes
        stored = n_networks * (4 * n_vars**2 if 2 * n_pairs >= n_vars**2 else 8 * n_pairs)
        kind = "heads" if plan.heads else "layers"
        what = f"{plan.n_maps} {kind} x {plan.n_sources} x {plan.n_genes} genes"
        if plan.n_groups > 1:
            what += f" x {plan.n_groups} groups"
        if len(plan.scales) > 1:
            what += f" x {len(plan.scales)} scales"
        require_memory(
            plan.n_bytes + stored,
            memory_limit,
            what=f"Attention of {what}",
            remedy=f"Ask for fewer `{kind}`, scales or groups, for the rows of a few `sources=`, or for a smaller "
            "panel (`scepsis.pp.select_panel(adata, model, n_top_genes=...)`).",
        )

    def warn_of_few_genes(self) -> None:
        """Say when most of what the model knows was not measured."""
        n_known, n_all = int(self.match.owner.sum()), len(self.model.vocabulary.tokens)
        if n_known < _FEW_GENES * n_all:
            warnings.warn(
                f"`adata` has {n_known:,} of the {n_all:,} genes that {self.model.name!r} knows. Genes are ranked "
                "among those present, so cells look different from those of training; keep all measured genes in "
                "`adata` where you can, and choose the panel with `scepsis.pp.select_panel`.",
                UserWarning,
                stacklevel=4,
            )


def owned_panel(match: Match, genes: Choice) -> IntArray:
    """Genes of the panel that own a token."""
    panel = genes.index[match.owner[genes.index]]
    n_asked = int(genes.mask.sum())
    if len(panel) < 2:
        msg = (
            f"Only {len(panel)} of the {n_asked} panel genes are in the model's vocabulary. "
            "Choose the panel with the model: `scepsis.pp.select_panel(adata, model)`."
        )
        raise ValueError(msg)
    if len(panel) < n_asked:
        logger.info("%d panel genes are not in the vocabulary", n_asked - len(panel))
    return panel


def source_positions(adata: AnnData, panel: IntArray, sources: Sequence[str] | None) -> tuple[int, ...]:
    """Where in the panel the genes stand whose rows are asked for; () for all."""
    if sources is None:
        return ()
    names = [sources] if isinstance(sources, str) else [str(name) for name in sources]
    position = {name: index for index, name in enumerate(adata.var_names[panel])}
    missing = [name for name in names if name not in position]
    if missing or not names:
        msg = (
            f"`sources` names genes that are not in the panel and the vocabulary: {listing(missing)}. "
            "Put them into the panel: `scepsis.pp.select_panel(adata, model, force=[...])`."
        )
        raise ValueError(msg)
    return tuple(sorted({position[name] for name in names}))
