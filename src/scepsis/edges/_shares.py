"""A share of the cells, read where they are: on a worker, in another process, by a model that came there."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray
    from scipy import sparse

    from scepsis._core._types import IntArray
    from scepsis.edges._accumulate import AttentionSums
    from scepsis.edges._attention import Extraction
    from scepsis.models import AttentionModel

#: Hooks sit on the modules of a model, so two threads that share it would read each other's cells.
_ONE_AT_A_TIME = Lock()


@dataclass(frozen=True)
class Share:
    """What a worker needs to know to read any cells."""

    #: Gives the model; sent in place of it.
    model: Callable[[], AttentionModel]
    #: Makes the reading from the model.
    reading: Callable[[AttentionModel], Extraction]

    def read(
        self, blocks: Iterable[tuple[sparse.csr_matrix, IntArray, NDArray[np.uint64]]], n_threads: int | None
    ) -> AttentionSums:
        """Sum over blocks of counts, the group of each cell and its seed, in main memory, using `n_threads`."""
        with _ONE_AT_A_TIME, _threads(n_threads):
            extraction = self.reading(self.model())
            for counts, groups, seeds in blocks:
                extraction.add(counts, groups, seeds)
            sums = extraction.sums
        return sums if sums.sums.device.type == "cpu" else joined(sums)


def joined(*parts: AttentionSums) -> AttentionSums:
    """Sums over all the cells of several parts, which stay as they are."""
    result = parts[0].plan.new_sums()
    for part in parts:
        result.merge(part)
    return result


@contextmanager
def _threads(allowed: int | None) -> Iterator[None]:
    """Hold torch to the threads that this worker was given."""
    before = torch.get_num_threads()
    torch.set_num_threads(before if allowed is None else allowed)
    try:
        yield
    finally:
        torch.set_num_threads(before)
