"""Fingerprints of cells, genes and labels: enough to see that two results belong together, without the lists."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray


def hash_strings(names: Iterable[str]) -> str:
    """blake2b of names in their order."""
    joined = "".join([f"{name}\x1f" for name in names])
    return blake2b(joined.encode(), digest_size=16).hexdigest()


def hash_array(array: NDArray[Any]) -> str:
    """blake2b of an array's shape, type and bytes."""
    digest = blake2b(f"{array.shape}{array.dtype.str}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def hash_files(paths: Iterable[Path]) -> str:
    """blake2b of the bytes of files, in the order given."""
    digest = blake2b(digest_size=16)
    for path in paths:
        with path.open("rb") as file:
            while chunk := file.read(1 << 22):
                digest.update(chunk)
    return digest.hexdigest()
