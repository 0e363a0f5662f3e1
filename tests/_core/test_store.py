from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from scepsis._core._store import record, write
from scepsis._version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import anndata as ad


def test_records_hold_plain_values_and_leave_out_none() -> None:
    found = record(a=np.int64(3), b=None, c=(1, np.float32(0.5)), d={1: None, "x": {"y": (2,)}}, e=[(0, 1), (2, 3)])
    assert found == {
        "a": 3,
        "c": [1, 0.5],
        "d": {"x": {"y": [2]}},
        "e": ["[0, 1]", "[2, 3]"],
        "scepsis_version": __version__,
    }
    assert type(found["a"]) is int


def test_every_slot_is_written_and_survives(
    screen: ad.AnnData, roundtrips: Callable[[ad.AnnData], Iterator[ad.AnnData]]
) -> None:
    square = np.eye(60, dtype=np.float32)
    frame = pd.DataFrame({"perturbation": ["A/B", "A+B"], "status": ["ok", ""], "n": [1, 2]})
    write(
        screen,
        obs={"flag": np.arange(280) % 2 == 0},
        var={"token_id": np.arange(60, dtype=np.int32)},
        varp={"k": square},
        varm={"lfc": np.zeros((60, 2), dtype=np.float32)},
        uns={"k": {"params": record(seed=1, layers=[1, 2], signed=True, empty=""), "frame": frame}},
    )
    for back in roundtrips(screen):
        np.testing.assert_array_equal(back.varp["k"], square)
        assert back.var["token_id"].dtype == np.int32
        assert back.obs["flag"].dtype == bool
        assert back.uns["k"]["params"]["seed"] == 1
        assert list(back.uns["k"]["params"]["layers"]) == [1, 2]
        assert bool(back.uns["k"]["params"]["signed"]) is True
        pd.testing.assert_frame_equal(
            back.uns["k"]["frame"].reset_index(drop=True), frame, check_dtype=False, check_categorical=False
        )


def test_what_an_earlier_run_left_is_dropped_first(screen: ad.AnnData) -> None:
    screen.varp["old"] = np.zeros((60, 60))
    screen.varp["kept"] = np.zeros((60, 60))
    screen.var["old"] = 1
    write(screen, drop={"varp": ["old", "absent"], "var": ["old"]}, varp={"new": np.ones((60, 60))})
    assert set(screen.varp) == {"kept", "new"}
    assert "old" not in screen.var


def test_a_view_becomes_a_copy_of_its_own_and_says_so(screen: ad.AnnData) -> None:
    screen.uns["k"] = {"params": {"old": 1}}
    before = screen.uns["k"]
    view = screen[:100]
    with pytest.warns(UserWarning, match="is a view"):
        write(view, uns={"k": {"params": {"new": 2}}}, obs={"flag": np.ones(100, dtype=bool)})
    assert not view.is_view
    assert view.uns["k"] == {"params": {"new": 2}}
    assert "scepsis" not in view.uns
    assert "flag" not in screen.obs
    assert screen.uns["k"] is before
    assert screen.uns["k"] == {"params": {"old": 1}}
