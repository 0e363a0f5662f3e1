"""Cells whose edges belong to states, with the reference that lists them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import scepsis as sps

if TYPE_CHECKING:
    from collections.abc import Callable

    import anndata as ad
    import pandas as pd


@pytest.fixture
def planted() -> Callable[..., tuple[ad.AnnData, pd.DataFrame]]:
    """Maker of cells and their network: ``planted(n_states=, cells_per_state=, effect=, rng=)``."""

    def make(**options: Any) -> tuple[ad.AnnData, pd.DataFrame]:
        adata = sps.datasets.simulate_cssi(**({"n_states": 6, "rng": 1} | options))
        return adata, adata.uns["simulate_cssi"]["network"]

    return make
