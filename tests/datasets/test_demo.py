from __future__ import annotations

import numpy as np

import scepsis as sps
from scepsis.datasets._demo import DEMO


def test_demo_is_the_screen_it_says_it_is() -> None:
    adata = sps.datasets.demo()
    assert adata.n_vars == 300
    assert adata.var["is_regulator"].sum() == 30
    assert adata.var["is_perturbed"].sum() == 40
    sizes = adata.obs["perturbation"].value_counts()
    assert sizes["non-targeting"] == 1500
    perturbed = sizes.drop("non-targeting")
    assert len(perturbed) == 40
    assert 60 <= perturbed.mean() <= 75
    assert adata.uns["simulate_screen"]["params"]["wiring"] == 0.2


def test_no_cell_has_more_genes_than_the_shipped_models_have_positions() -> None:
    detected = np.diff(sps.datasets.demo().X.indptr)
    assert detected.max() <= 256
    assert detected.min() > 20


def test_demo_is_simulate_screen_at_a_fixed_seed() -> None:
    one, two = sps.datasets.demo(), sps.datasets.simulate_screen(**DEMO)
    assert (one.X != two.X).nnz == 0
    assert one is not sps.datasets.demo()


def test_features_win_in_the_demo() -> None:
    """Responders of a perturbation, by what is known of them, are better told by expression than by the network."""
    adata = sps.datasets.demo()
    responder = adata.var["is_responder"].to_numpy()
    level = adata.var["log_mean"].to_numpy()
    assert level[responder].mean() > level[~responder & ~adata.var["is_housekeeping"]].mean() + 0.5
