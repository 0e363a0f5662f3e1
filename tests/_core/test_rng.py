from __future__ import annotations

import numpy as np
import pytest

from scepsis._core._rng import child, resolve_seed


def test_children_depend_on_their_names_alone() -> None:
    first = child(3, "cells", 7).random(5)
    child(3, "other").random(100)
    np.testing.assert_array_equal(first, child(3, "cells", 7).random(5))
    assert not np.array_equal(first, child(3, "cells", 8).random(5))
    assert not np.array_equal(first, child(4, "cells", 7).random(5))
    # names are kept apart: ("a", "b") is not ("ab",)
    assert not np.array_equal(child(0, "a", "b").random(3), child(0, "ab").random(3))


def test_children_leave_the_global_state_alone() -> None:
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    child(0, "x").random(10)
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_every_kind_of_seed_becomes_one_number() -> None:
    assert resolve_seed(5) == 5
    assert resolve_seed(np.int64(5)) == 5
    assert resolve_seed(np.random.default_rng(1)) == int(np.random.default_rng(1).integers(2**32))
    assert resolve_seed(np.random.SeedSequence(9)) == int(np.random.SeedSequence(9).generate_state(1)[0])
    assert resolve_seed(None) != resolve_seed(None)
    assert all(type(resolve_seed(seed)) is int for seed in (np.int32(1), None, np.random.default_rng(0)))


@pytest.mark.parametrize("wrong", [-1, 1.5, "0", True])
def test_what_is_no_seed_is_refused(wrong: object) -> None:
    with pytest.raises(TypeError, match="rng"):
        resolve_seed(wrong)  # type: ignore[arg-type]
