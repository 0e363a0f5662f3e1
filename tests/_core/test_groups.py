from __future__ import annotations

import logging

import anndata as ad
import mudata as md
import numpy as np
import pandas as pd
import pytest

from scepsis._core._groups import Groups, Strata


@pytest.fixture
def mdata() -> md.MuData:
    """RNA of ten cells; protein of the last eight and of one more, in another order."""
    rna = ad.AnnData(
        np.ones((10, 2)), obs=pd.DataFrame({"own": list("aabbbaabbb")}, index=[f"c{i}" for i in range(10)])
    )
    names = [f"c{i}" for i in (9, 8, 7, 6, 5, 4, 3, 2, 99)]
    prot = ad.AnnData(np.ones((9, 1)), obs=pd.DataFrame({"leiden": pd.Categorical(list("yyyyxxxxz"))}, index=names))
    prot.obs["number"] = np.arange(9)
    prot.obs["score"] = np.linspace(0, 1, 9)
    with pd.option_context("mode.copy_on_write", False):
        return md.MuData({"rna": rna, "prot": prot})


@pytest.mark.filterwarnings("ignore")
def test_labels_of_another_modality_follow_the_names_of_cells(mdata: md.MuData) -> None:
    rna = mdata["rna"]
    groups = Groups.find(mdata, rna, "prot:leiden")
    labels = [groups.labels[code] if code >= 0 else None for code in groups.codes]
    assert labels == [None, None, "x", "x", "x", "x", "y", "y", "y", "y"]
    assert Groups.find(mdata, rna, "own").labels == ("a", "b")
    # whole numbers stay labels although two cells have none
    assert (Groups.find(mdata, rna, "prot:number").codes < 0).sum() == 2
    mdata.obs["joint"] = pd.Categorical(["j"] * mdata.n_obs)
    assert Groups.find(mdata, rna, "joint").codes.tolist() == [0] * 10
    with pytest.raises(TypeError, match="continuous"):
        Groups.find(mdata, rna, "prot:score")
    with pytest.raises(KeyError, match=r"'absent'.*modality is 'prot'"):
        Groups.find(mdata, rna, "prot:absent")
    with pytest.raises(KeyError, match=r"other modalities.*'rna', 'prot'"):
        Groups.find(mdata, rna, "absent")


def test_strata_that_are_too_small_are_listed(caplog: pytest.LogCaptureFixture) -> None:
    codes = np.repeat([0, 1, 2, 3, -1], [5, 2, 0, 4, 3])
    groups = Groups(codes, ("T/B", "T B", "none", "β"))
    cells = np.ones(14, dtype=bool)
    cells[0] = False
    with caplog.at_level(logging.INFO, logger="scepsis"):
        strata = Strata.of(groups, cells, 4, where="`here`")
    assert strata.labels == ("T/B", "β")
    assert [rows.tolist() for rows in strata.members] == [[1, 2, 3, 4], [7, 8, 9, 10]]
    assert strata.sizes == [4, 4]
    assert strata.table.to_dict("list") == {
        "group": ["T/B", "T B", "β"],
        "slug": ["T_B", "T_B_2", "group"],
        "n_obs": [4, 2, 4],
        "status": ["ok", "too_few_units", "ok"],
    }
    assert "fewer than 4 cells are left out: 'T B'" in caplog.text
    assert "3 chosen cells without a label" in caplog.text
    column = strata.column(14)
    assert list(column.categories) == ["T/B", "β"]
    assert column.isna().sum() == 6
    with pytest.raises(ValueError, match=r"No group of `here` has 6.*largest has 4"):
        Strata.of(groups, cells, 6, where="`here`")
    with pytest.raises(ValueError, match="None of the 3 chosen cells has a label in `here`"):
        Strata.of(groups, codes == -1, 1, where="`here`")
