from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from scepsis._core._hashing import hash_array, hash_files, hash_strings

if TYPE_CHECKING:
    from pathlib import Path


def test_names_are_told_apart_by_content_order_and_boundaries() -> None:
    reference = hash_strings(["a", "b"])
    assert reference == hash_strings(pd.Index(["a", "b"]))
    assert len({reference, hash_strings(["b", "a"]), hash_strings(["ab"]), hash_strings(["a"]), hash_strings([])}) == 5


def test_arrays_are_told_apart_by_shape_type_and_values() -> None:
    array = np.arange(6, dtype=np.float32)
    different = [array, array.reshape(2, 3), array.astype(np.float64), array[::-1]]
    assert len({hash_array(one) for one in different}) == 4
    assert hash_array(array[::-1]) == hash_array(array[::-1].copy())


def test_files_are_read_whole(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"x" * (5 << 20))
    two.write_bytes(b"x" * (5 << 20) + b"y")
    assert hash_files([one]) != hash_files([two])
    assert hash_files([one]) == hash_files([one])
