"""Seeds: one recorded number, and a generator of its own for every item of work."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from scepsis._core._types import Seed


def resolve_seed(rng: Seed) -> int:
    """Turn whatever the caller gave into one number that can be recorded and used again."""
    if isinstance(rng, np.random.Generator):
        return int(rng.integers(2**32))
    if isinstance(rng, np.random.SeedSequence):
        return int(rng.generate_state(1)[0])
    if rng is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    if isinstance(rng, bool) or not isinstance(rng, int | np.integer) or rng < 0:
        msg = f"`rng` takes a non-negative integer, a numpy Generator or None, not {rng!r}."
        raise TypeError(msg)
    return int(rng)


def child(seed: int, *names: object) -> np.random.Generator:
    """Give the generator that belongs to `names`, whatever order the work is done in."""
    digest = blake2b("\x1f".join(map(str, names)).encode(), digest_size=16).digest()
    words = np.frombuffer(digest, dtype="<u4").tolist()
    return np.random.default_rng(np.random.SeedSequence(entropy=seed, spawn_key=tuple(words)))


def cell_seeds(seed: int, names: Iterable[str]) -> NDArray[np.uint64]:
    """One number per cell that depends on nothing but the seed and the cell's name."""
    digests = [blake2b(f"{seed}\x1f{name}".encode(), digest_size=8).digest() for name in names]
    return np.frombuffer(b"".join(digests), dtype="<u8")
