from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from scepsis._core._results import entries, read_frame, read_result


@pytest.fixture
def stored() -> ad.AnnData:
    adata = ad.AnnData(np.ones((2, 2), dtype=np.float32))
    adata.uns["scores"] = {"params": {"seed": 1}, "table": pd.DataFrame({"a": [1, 2]})}
    adata.uns["foreign"] = {"neighbors": 3}
    return adata


def test_what_was_stored_comes_back(stored: ad.AnnData) -> None:
    entry = read_result(stored, "scores", maker="make()")
    assert entry["params"] == {"seed": 1}
    pd.testing.assert_frame_equal(read_frame(stored, "scores", "table", maker="make()"), pd.DataFrame({"a": [1, 2]}))
    entry["new"] = 1  # a copy of the entry, not the entry
    assert "new" not in stored.uns["scores"]


def test_what_is_missing_names_the_call_that_makes_it(stored: ad.AnnData) -> None:
    with pytest.raises(KeyError, match=r"\['nothing'\].*'scores', 'foreign'.*`make\(\)` first"):
        read_result(stored, "nothing", maker="make()")
    with pytest.raises(KeyError, match="no result of this package"):
        read_result(stored, "foreign", maker="make()")
    with pytest.raises(KeyError, match=r"\['other'\].*`make\(\)` anew"):
        read_frame(stored, "scores", "other", maker="make()")


def test_entries_are_found_by_their_frames(stored: ad.AnnData) -> None:
    table = stored.uns["scores"]["table"]
    stored.uns["both"] = {"params": {}, "table": table, "more": table}
    stored.uns |= {"bare": {"table": table}, "number": 3}
    assert [key for key, _ in entries(stored, "table")] == ["scores", "both"]
    assert [key for key, _ in entries(stored, "table", "more")] == ["both"]
