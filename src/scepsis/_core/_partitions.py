"""Cells where they lie: each row chunk of a dask array is worked on by dask, and what chunks give is added up."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from functools import reduce
from multiprocessing import parent_process
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from scepsis._core._rows import row_chunks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from scepsis._core._types import IntArray
    from scepsis._core._values import Scale, Values

ResultT = TypeVar("ResultT")
#: Chunks under one tree. The caller gets one sum for each tree, so this bounds what is lost when a run is stopped.
_CHUNKS_PER_TREE = 32


def sum_parts(
    values: Values,
    rows: IntArray,
    function: Callable[..., ResultT],
    add: Callable[[ResultT, ResultT], ResultT],
    *,
    shared: tuple[Any, ...] = (),
    arguments: Callable[[IntArray], tuple[Any, ...]] = lambda _: (),
) -> Iterator[tuple[int, ResultT]]:
    """
    Yield, in the order of the cells, ``(number of cells, sum)`` for a few chunks at a time.

    Runs under whatever scheduler dask has: a cluster when there is a client, else threads or processes. Which cells
    are added to which depends on the chunks alone, so the sums do not depend on the number of workers, on which of
    them is first, nor on whether one is lost and its chunks are done again.

    Parameters
    ----------
    values
        A dask array and how it is read.
    rows
        Cells, ascending.
    function
        ``function(values, rows, *shared, *arguments)`` with the values of one chunk, in memory, and rows in it.
    add
        Adds two results into a new one; neither is changed, because dask may need them again.
    shared
        What is the same for all chunks; it goes to each worker once.
    arguments
        Gives, for some of `rows`, what `function` needs to know of these cells.
    """
    from dask.delayed import delayed

    blocks = values.matrix.to_delayed()[:, 0]
    frame = replace(values, matrix=None, totals=None)
    common = [delayed(item, traverse=False) for item in shared]
    work, join = delayed(_work, pure=False), delayed(add, pure=False)

    def tree(chunks: list[tuple[int, int, int, IntArray]]) -> Any:
        sums = []
        for number, start, stop, chosen in chunks:
            totals = None if values.totals is None else values.totals[start:stop]
            sums.append(
                work(function, frame, blocks[number], totals, chosen - start, common, delayed(arguments(chosen)))
            )
        while len(sums) > 1:
            sums = [join(*sums[at : at + 2]) if at + 1 < len(sums) else sums[at] for at in range(0, len(sums), 2)]
        return sums[0]

    chunks = list(row_chunks(values.matrix, rows))
    client, ahead = _client(), 0
    if client is not None:  # so that no worker waits for the last chunk of a tree
        ahead = 1 + sum(client.nthreads().values()) // _CHUNKS_PER_TREE
    waiting: deque[tuple[int, Callable[[], ResultT]]] = deque()
    for first in range(0, len(chunks), _CHUNKS_PER_TREE):
        some = chunks[first : first + _CHUNKS_PER_TREE]
        waiting.append((sum(len(chosen) for *_, chosen in some), _start(tree(some), client)))
        if len(waiting) > ahead:
            n_cells, result = waiting.popleft()
            yield n_cells, result()
    for n_cells, result in waiting:
        yield n_cells, result()


def sum_log_parts(
    values: Values,
    rows: IntArray,
    function: Callable[..., ResultT],
    *,
    shared: tuple[Any, ...] = (),
    arguments: Callable[[IntArray], tuple[Any, ...]] = lambda _: (),
) -> ResultT:
    """
    Sum what chunks of log-normalised values give, and raise `ValueError` for values that are on no log1p scale.

    `function` gets pairs of positions among the chosen cells of a chunk and their values, then `shared` and
    `arguments`; what it gives adds up by ``+``. See :func:`sum_parts`.
    """
    sums = sum_parts(values, rows, _log_part, _add_log_parts, shared=(function, *shared), arguments=arguments)
    result: ResultT
    result, scale = reduce(_add_log_parts, (part for _, part in sums))
    if values.totals is None:
        scale.require_log(values.slot)
    return result


def _log_part(
    values: Values, rows: IntArray, function: Callable[..., ResultT], *arguments: Any
) -> tuple[ResultT, Scale]:
    from scepsis._core._values import Scale

    scale = Scale()
    blocks = ((np.searchsorted(rows, chosen), block) for chosen, block in values.log_blocks(rows, scale))
    return function(blocks, *arguments), scale


def _add_log_parts(first: tuple[Any, Scale], second: tuple[Any, Scale]) -> tuple[Any, Scale]:
    return first[0] + second[0], first[1] + second[1]


def shares_memory() -> bool:
    """Whether dask would work in threads of this process alone, which then has all of its memory to itself."""
    from dask import local, threaded

    return _scheduler() in (None, threaded.get, local.get_sync)


def threads_here() -> int | None:
    """Threads that work on a chunk may take where it is done; None where that is nobody's business."""
    try:
        from distributed import get_worker

        return int(get_worker().state.nthreads)
    except (ImportError, ValueError):  # no worker of a cluster
        # Dask starts a process for every core.
        return None if parent_process() is None else 1


def _start(tree: Any, client: Any) -> Callable[[], Any]:
    """Begin where there is a cluster to do it meanwhile; gives what waits for the result."""
    wait: Callable[[], Any] = tree.compute if client is None else client.compute(tree).result
    return wait


def _client() -> Any:
    """The cluster's client that dask computes with at present, if it does."""
    return getattr(_scheduler(), "__self__", None)


def _scheduler() -> Any:
    """What dask computes with at present; None for the threads that it takes by itself."""
    from dask import base

    return base.get_scheduler()


def _work(
    function: Callable[..., ResultT],
    frame: Values,
    block: Any,
    totals: Any,
    rows: IntArray,
    shared: list[Any],
    arguments: tuple[Any, ...],
) -> ResultT:
    return function(replace(frame, matrix=block, totals=totals), rows, *shared, *arguments)
