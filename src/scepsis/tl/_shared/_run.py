"""One pass of a model over cells: what it is made from, whether it fits, and how it is carried out."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from scepsis._core._hashing import hash_array, hash_strings
from scepsis._core._memory import require_memory
from scepsis._core._model_runs import CELLS_AT_ONCE, cell_blocks, model_record, require_tokens
from scepsis._core._partitions import shares_memory, sum_parts, threads_here
from scepsis._core._progress import progress_bar
from scepsis._core._rng import cell_seeds
from scepsis._core._rows import is_dask
from scepsis._core._validate import listing
from scepsis._core._values import counts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from anndata import AnnData
    from numpy.typing import NDArray

    from scepsis._core._groups import Groups
    from scepsis._core._match import Match
    from scepsis._core._resolve import Choice
    from scepsis._core._types import IntArray
    from scepsis._core._values import Values
    from scepsis.edges._accumulate import AttentionSums, Plan
    from scepsis.edges._attention import Extraction
    from scepsis.edges._shares import Share
    from scepsis.models import AttentionModel

logger = logging.getLogger(__name__)


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

    #: What is read, for messages.
    what: ClassVar[str] = "attention"
    #: What would take less memory.
    cheaper: ClassVar[str] = "fewer `{kind}`, scales or groups, for the rows of a few `sources=`"

    def reader(self) -> type[Extraction]:
        """What reads; imported late, for it needs torch."""
        from scepsis.edges._attention import Extraction

        return Extraction

    def reading(self) -> Callable[[AttentionModel], Extraction]:
        """What makes, of a model, the reading that is asked for, over no cells yet."""
        tokens = self.match.tokens
        panel = tokens[self.panel]
        return partial(self.reader(), tokens=tokens, panel=panel, plan=self.plan, batch_size=self.batch_size)

    def extract(self, *, checkpoint: str | Path | None = None, show: bool) -> AttentionSums:
        """Read all cells, from where `checkpoint` stopped if there is one."""
        from scepsis.edges._checkpoint import Checkpoint

        rows = self.cells.index
        file = None if checkpoint is None else Checkpoint(checkpoint, self.fingerprint())
        extraction = self.reading()(self.model)
        n_done = 0 if file is None else file.resume(extraction.sums)
        if n_done:
            logger.info("%d of %d cells are in the checkpoint already", n_done, len(rows))
        # In threads of this process a model would read one chunk at a time anyway, with all cores.
        apart = is_dask(counts(self.adata).matrix) and not shares_memory()
        read = self._read_apart if apart else self._read_here
        description = f"{self.what} of {self.model.name}"
        with progress_bar(total=len(rows), desc=description, unit="cell", show=show, initial=n_done) as bar:
            for n_cells in read(extraction, rows[n_done:], bar.update):
                n_done += n_cells
                if file is not None:
                    file.save(extraction.sums, n_done, now=n_done == len(rows))
        require_tokens(int(extraction.sums.totals[0]), len(rows), fate="were left out")
        return extraction.sums

    def _read_here(self, extraction: Extraction, rows: IntArray, on_cells: Callable[[int], object]) -> Iterator[int]:
        """Add cells block by block; gives their number after each."""
        for chosen, block, seeds in cell_blocks(self.adata, rows, self.seed):
            extraction.add(block, self._groups_of(chosen), seeds, on_cells)
            yield len(chosen)

    def _read_apart(self, extraction: Extraction, rows: IntArray, on_cells: Callable[[int], object]) -> Iterator[int]:
        """Add what dask's workers make of the chunks that they have."""
        from scepsis.edges._shares import Share, joined
        from scepsis.models._reference import portable

        names = self.adata.obs_names
        parts = sum_parts(
            counts(self.adata),
            rows,
            _read_chunk,
            joined,
            shared=(Share(portable(self.model), self.reading()),),
            arguments=lambda chosen: (self._groups_of(chosen), cell_seeds(self.seed, names[chosen])),
        )
        for n_cells, sums in parts:
            extraction.sums.merge(sums)
            on_cells(n_cells)
            yield n_cells

    def _groups_of(self, rows: IntArray) -> IntArray:
        """Group of each cell; those without a label count towards the whole, in the last one."""
        codes: IntArray = self.groups.codes[rows]
        return np.where(codes < 0, self.plan.n_groups - 1, codes)

    def record(self, sums: AttentionSums) -> dict[str, Any]:
        """What is recorded of every run, whatever it reads."""
        n_empty, n_truncated, n_tokens = sums.totals.tolist()
        return model_record(self.model, self.match) | {
            "layers": list(self.plan.layers),
            "causal": self.model.causal,
            "batch_size": self.batch_size,
            "seed": self.seed,
            "n_cells_without_tokens": n_empty,
            "n_cells_truncated": n_truncated,
            "mean_tokens": n_tokens / (len(self.cells.index) - n_empty),
        }

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
            what=f"{self.what.capitalize()} of {what}",
            remedy=f"Ask for {self.cheaper.format(kind=kind)}, or for a smaller panel "
            "(`scepsis.pp.select_panel(adata, model, n_top_genes=...)`).",
        )


def _read_chunk(values: Values, rows: IntArray, share: Share, groups: IntArray, seeds: NDArray[Any]) -> AttentionSums:
    """Read the cells of one chunk, on a worker."""
    ends = range(CELLS_AT_ONCE, len(rows), CELLS_AT_ONCE)
    blocks = (block for _, block in values.blocks(rows, size=CELLS_AT_ONCE))
    return share.read(zip(blocks, np.split(groups, ends), np.split(seeds, ends), strict=True), threads_here())


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
