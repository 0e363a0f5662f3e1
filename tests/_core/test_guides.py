from __future__ import annotations

from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from scepsis._core._guides import read_guides

if TYPE_CHECKING:
    from collections.abc import Callable

COUNTS = np.array([[0, 3, 1], [5, 0, 0], [0, 0, 0], [2, 2, 9]])
CELLS = [f"cell{index}" for index in range(4)]
GUIDES = ["STAT1g1", "STAT1g2", "NTg1"]


@pytest.fixture
def adata() -> ad.AnnData:
    return ad.AnnData(np.ones((4, 2)), obs=pd.DataFrame(index=CELLS), var=pd.DataFrame(index=["STAT1", "B"]))


def _frame() -> pd.DataFrame:
    return pd.DataFrame(COUNTS, index=CELLS, columns=GUIDES)


def _anndata() -> ad.AnnData:
    return ad.AnnData(sparse.csr_matrix(_frame().to_numpy(dtype=np.float32)), _frame()[[]], pd.DataFrame(index=GUIDES))


@pytest.mark.parametrize("make", [_frame, _anndata])
def test_cells_are_matched_by_name(make: Callable[[], pd.DataFrame | ad.AnnData], adata: ad.AnnData) -> None:
    guides = make()
    for one in (guides, guides[::-1] if isinstance(guides, ad.AnnData) else guides.iloc[::-1]):
        found = read_guides(adata, adata, one)
        np.testing.assert_array_equal(found.counts.toarray(), COUNTS)
        assert found.names == GUIDES
        assert found.known.all()
        assert not found.are_calls


def test_every_place(adata: ad.AnnData) -> None:
    import mudata

    adata.obsm["guide_counts"] = _frame()
    np.testing.assert_array_equal(read_guides(adata, adata, "guide_counts").counts.toarray(), COUNTS)
    with mudata.set_options(pull_on_update=False):
        mdata = mudata.MuData({"rna": adata, "gdo": _anndata()})
    np.testing.assert_array_equal(read_guides(mdata, adata, "gdo").counts.toarray(), COUNTS)
    assert read_guides(mdata, adata, "gdo").table is not None
    with pytest.raises(KeyError, match=r"no modality.*obsm\['guide_counts'\], mod\['rna'\], mod\['gdo'\]"):
        read_guides(mdata, adata, "guides")


def test_called_guides(adata: ad.AnnData) -> None:
    adata.obs["called"] = pd.Categorical(["a+b", "b", None, "a; ctrl"])
    found = read_guides(adata, adata, "called")
    assert found.names == ["a", "b", "ctrl"]
    assert found.are_calls
    np.testing.assert_array_equal(found.counts.toarray(), [[1, 1, 0], [0, 1, 0], [0, 0, 0], [1, 0, 1]])
    adata.obs["called"] = ["a_b", "*", "Unassigned", "a"]
    found = read_guides(adata, adata, "called", "_")
    assert found.names == ["a", "b"]
    np.testing.assert_array_equal(found.counts.toarray(), [[1, 1], [0, 0], [0, 0], [1, 0]])
    adata.obs["called"] = "nan"
    with pytest.raises(ValueError, match="names no guide"):
        read_guides(adata, adata, "called")


def test_some_cells_may_have_no_guides(adata: ad.AnnData) -> None:
    found = read_guides(adata, adata, _frame().iloc[[3, 0, 1]])
    assert found.known.tolist() == [True, True, False, True]
    np.testing.assert_array_equal(found.counts.toarray(), COUNTS)


def test_a_matrix_of_other_cells_is_refused(adata: ad.AnnData) -> None:
    other = _frame().set_axis([f"other{index}" for index in range(4)])
    with pytest.raises(ValueError, match=r"0 of the 4 cells .*'cell0'.*'other0'.*by name, never by position"):
        read_guides(adata, adata, other)
    with pytest.raises(ValueError, match="1 of the 4 cells"):
        read_guides(adata, adata, _frame().iloc[:1])
    barcodes = ["ACGTACGTACGTAAAA", "ACGTACGTACGTCCCC", "ACGTACGTACGTGGGG", "ACGTACGTACGTTTTT"]
    adata.obs_names = [f"{one}-1" for one in barcodes]
    with pytest.raises(ValueError, match="4 barcodes are in both, with other prefixes or suffixes"):
        read_guides(adata, adata, _frame().set_axis([f"lane1_{one}" for one in barcodes]))


def test_what_is_no_matrix_of_guides_is_refused(adata: ad.AnnData) -> None:
    with pytest.raises(ValueError, match=r"holds fractions.*Pass guides as they were counted\.$"):
        read_guides(adata, adata, _frame() + 0.5)
    logged = _anndata()
    logged.X.data = np.log1p(logged.X.data)
    with pytest.raises(ValueError, match="holds fractions") as raised:
        read_guides(adata, adata, logged)
    assert raised.value.__notes__ == ["This is of `guides`, not of the genes."]
    with pytest.raises(ValueError, match="negative"):
        read_guides(adata, adata, _frame() - 3)
    with pytest.raises(TypeError, match="columns 'NTg1' are not numeric"):
        read_guides(adata, adata, _frame().astype({"NTg1": str}))
    with pytest.raises(ValueError, match="several guides called 'a'"):
        read_guides(adata, adata, _frame().set_axis(["a", "a", "b"], axis=1))
    with pytest.raises(ValueError, match="several cells of one name"):
        read_guides(adata, adata, _frame().set_axis(["cell0", "cell0", "cell1", "cell2"]))
    adata.obsm["array"] = COUNTS
    with pytest.raises(TypeError, match=r"obsm\['array'\]` must be an AnnData or a frame"):
        read_guides(adata, adata, "array")
