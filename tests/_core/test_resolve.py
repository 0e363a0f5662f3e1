from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import pytest

from scepsis._core._resolve import MAX_GENES_UNASKED, choose_cells, choose_genes, resolve

if TYPE_CHECKING:
    from collections.abc import Callable


def test_the_object_itself_or_a_modality(screen: ad.AnnData) -> None:
    mudata = pytest.importorskip("mudata")
    assert resolve(screen) is screen
    protein = screen[:, :5].copy()
    protein.var_names = [f"P{index}" for index in range(5)]
    with mudata.set_options(pull_on_update=False):
        both = mudata.MuData({"rna": screen, "protein": protein})
    assert resolve(both, "protein") is both.mod["protein"]
    with pytest.raises(TypeError, match="MuData needs `mod=`, one of 'rna', 'protein'"):
        resolve(both)
    with pytest.raises(KeyError, match=r"atac.*'rna', 'protein'"):
        resolve(both, "atac")
    with pytest.raises(TypeError, match="this is an AnnData"):
        resolve(screen, "rna")
    with pytest.raises(TypeError, match="not ndarray"):
        resolve(np.ones((2, 2)))  # type: ignore[arg-type]


@pytest.mark.parametrize("axis", ["obs", "var"])
@pytest.mark.filterwarnings("ignore:.*names are not unique")
def test_duplicated_names_are_refused(screen: ad.AnnData, axis: str, untouched: Callable[[ad.AnnData], object]) -> None:
    names = getattr(screen, f"{axis}_names").to_numpy().copy()
    names[3] = names[0]
    setattr(screen, f"{axis}_names", names)
    with pytest.raises(ValueError, match=rf"`adata.{axis}_names` has duplicates: '{names[0]}'.*make_unique"):
        resolve(screen)


def test_cells_by_argument_by_column_or_all(screen: ad.AnnData, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        everything = choose_cells(screen)
    assert everything.mask.all()
    assert everything.name == ""
    assert "select_cells" in caplog.text
    screen.obs["edge_cells"] = np.arange(280) < 9
    assert choose_cells(screen).name == "edge_cells"
    np.testing.assert_array_equal(choose_cells(screen).index, np.arange(9))
    screen.obs["other"] = np.arange(280) >= 200
    assert choose_cells(screen, "other").mask.sum() == 80
    given = choose_cells(screen, np.arange(280) == 4)
    assert given.name is None
    np.testing.assert_array_equal(given.index, [4])


def test_wrong_masks_are_refused(screen: ad.AnnData) -> None:
    screen.obs["number"] = 1
    screen.obs["nobody"] = False
    with pytest.raises(KeyError, match=r"adata.obs\['numbers'\].*Did you mean 'number'"):
        choose_cells(screen, "numbers")
    with pytest.raises(TypeError, match=r"adata.obs\['number'\]` must be boolean, not int64"):
        choose_cells(screen, "number")
    with pytest.raises(ValueError, match="chooses nothing"):
        choose_cells(screen, "nobody")
    with pytest.raises(ValueError, match=r"shape \(3,\).*\(280,\)"):
        choose_cells(screen, np.ones(3, dtype=bool))
    with pytest.raises(TypeError, match="`mask_obs` must be boolean"):
        choose_cells(screen, np.arange(280))  # type: ignore[arg-type]


def test_many_genes_need_a_panel(screen: ad.AnnData) -> None:
    assert choose_genes(screen).name == ""
    large = ad.AnnData(X=np.zeros((1, MAX_GENES_UNASKED + 1), dtype=np.float32))
    with pytest.raises(ValueError, match="select_panel"):
        choose_genes(large)
    large.var["edge_panel"] = np.arange(large.n_vars) < 10
    assert choose_genes(large).mask.sum() == 10
    assert choose_genes(large, np.ones(large.n_vars, dtype=bool)).mask.all()
