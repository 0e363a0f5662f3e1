"""Sums on disk, so that a run that was killed goes on from where it was."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from scepsis.edges._accumulate import AttentionSums

#: Share of the run that may go into writing.
_OVERHEAD = 0.05


class Checkpoint:
    """
    A file with the sums of a run and the number of cells in them.

    It is written beside its place and then moved there, so a reader never meets half a file; and no more often than
    keeps writing to a twentieth of the run.

    Parameters
    ----------
    path
        The file.
    request
        Fingerprint of everything that the sums depend on.
    """

    def __init__(self, path: str | Path, request: str) -> None:
        self.path = Path(path)
        self.request = request
        self._next = 0.0
        if not self.path.parent.is_dir():
            msg = f"`checkpoint={str(path)!r}` lies in a folder that does not exist."
            raise FileNotFoundError(msg)

    def resume(self, sums: AttentionSums) -> int:
        """Fill `sums` from the file and give the number of cells in them; 0, and nothing filled, without a file."""
        if not self.path.is_file():
            return 0
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            msg = f"`checkpoint={str(self.path)!r}` cannot be read as a checkpoint: {error}. Name another file."
            raise ValueError(msg) from error
        if metadata.get("request") != self.request:
            msg = (
                f"`checkpoint={str(self.path)!r}` belongs to another run: the model, its weights, the cells, the "
                "counts, the panel, layers, heads, scales, groups or seed differ. Delete it, or name another file."
            )
            raise ValueError(msg)
        sums.sums.copy_(tensors["sums"])
        sums.n_cells.copy_(tensors["n_cells"])
        for name in ("rank_sum", "rank_n", "totals"):
            getattr(sums, name)[:] = tensors[name].numpy()
        return int(metadata["n_done"])

    def save(self, sums: AttentionSums, n_done: int, *, now: bool = False) -> None:
        """Write, unless the last time was too short ago."""
        started = time.monotonic()
        if started < self._next and not now:
            return
        from safetensors.torch import save_file

        tensors = {"sums": sums.sums.cpu(), "n_cells": sums.n_cells.cpu()} | {
            name: torch.from_numpy(np.asarray(getattr(sums, name))) for name in ("rank_sum", "rank_n", "totals")
        }
        unfinished = self.path.with_name(f"{self.path.name}.unfinished")
        save_file(tensors, unfinished, metadata={"request": self.request, "n_done": str(n_done)})
        unfinished.replace(self.path)
        ended = time.monotonic()
        self._next = ended + (ended - started) / _OVERHEAD
