from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import stats

import scepsis as sps
from scepsis.datasets._screen_cells import draw_counts

if TYPE_CHECKING:
    from anndata import AnnData

#: Nothing varies between cells but counting noise.
STILL = {
    "program_sd": 0.0,
    "u_sd": 0.0,
    "q_sd": 0.0,
    "state_sd": 0.0,
    "donor_sd": 0.0,
    "batch_sd": 0.0,
    "batch_depth_sd": 0.0,
    "depth_sd": 0.0,
    "depth_stress": 0.0,
    "escape": 0.0,
    "cells_sd": 0.0,
    "die": 0.0,
}
SMALL = {"n_genes": 60, "n_regulators": 4, "n_other": 2, "n_controls": 3000, "cells_per_perturbation": 1500}


def of(adata: AnnData, label: str) -> AnnData:
    return adata[adata.obs["perturbation"] == label]


def test_counts_are_negative_binomial() -> None:
    """Share of every count against scipy's distribution."""
    n, means, phi = 40_000, np.array([0.2, 1.5, 8.0]), np.array([0.3, 0.1, 0.15])
    counts = draw_counts(0, "x", np.tile(means, (n, 1)), phi).toarray()
    for column, mean, dispersion in zip(counts.T, means, phi, strict=True):
        expected = stats.nbinom(1 / dispersion, 1 / (1 + dispersion * mean))
        top = int(expected.ppf(0.995))
        seen = np.bincount(np.minimum(column.astype(int), top), minlength=top + 1)
        share = np.append(expected.pmf(np.arange(top)), expected.sf(top - 1))
        assert stats.chisquare(seen, share * n).pvalue > 1e-3


@pytest.mark.parametrize("depth", [0.5, 1.0])
def test_control_means_and_variances_have_their_closed_form(depth: float) -> None:
    adata = of(sps.datasets.simulate_screen(**SMALL, **STILL, depth=depth), "non-targeting")
    counts = adata.X.toarray()
    mean = depth * np.exp(adata.var["log_mean"].to_numpy())
    variance = mean + adata.var["dispersion"].to_numpy() * mean**2
    assert np.abs((counts.mean(axis=0) - mean) / np.sqrt(variance / len(counts))).max() < 4.5
    np.testing.assert_allclose(counts.var(axis=0), variance, rtol=0.25)
    level = adata.var["log_mean"].to_numpy()
    np.testing.assert_allclose(adata.var["dispersion"], 0.10 + 0.05 * np.exp(-level))


@pytest.mark.parametrize("wiring", [0.0, 0.4, 1.0])
def test_response_has_its_closed_form(wiring: float) -> None:
    """Mean count of every gene in every arm, from the published truth alone, one guide and one state."""
    adata = sps.datasets.simulate_screen(
        **SMALL, **STILL, wiring=wiring, guides=1, dead_guides=0.0, n_states=1, n_housekeeping=2, out_degree=5
    )
    truth = adata.uns["simulate_screen"]
    loadings = adata.varm["responsiveness"].astype(float)
    level, phi = adata.var["log_mean"].to_numpy(), adata.var["dispersion"].to_numpy()
    for row in truth["perturbations"].itertuples():
        arm = of(adata, row.perturbation)
        g = adata.var_names.get_loc(row.perturbation)
        (e,) = arm.obs["knockdown"].unique()
        mixture = np.array([row.program1, row.program2, row.program3, row.program4])
        eta = level + (1 - wiring) * row.amplitude * e / 0.8 * (loadings @ mixture)
        eta += wiring * np.log1p(-e) * adata.varp["total_effect"][g]
        eta[g] += np.log1p(-e)
        mean = np.exp(np.minimum(eta, 9))
        z = (arm.X.toarray().mean(axis=0) - mean) / np.sqrt((mean + phi * mean**2) / arm.n_obs)
        assert np.abs(z).max() < 4.5


def test_quality_moves_expressed_genes_together_and_housekeeping_not() -> None:
    still = STILL | {"q_sd": 0.4}
    adata = of(sps.datasets.simulate_screen(**SMALL, **still, n_housekeeping=5), "non-targeting")
    counts, quality = adata.X.toarray(), adata.obs["quality"].to_numpy()
    assert quality.std() == pytest.approx(0.4, rel=0.1)
    level = adata.var["log_mean"].to_numpy()[:55]
    slope = np.clip(0.6 + 0.3 * (level - level.mean()) / level.std(), 0, 1.5)
    # log of the mean count over cells of high quality, less that over cells of low quality
    high, low = quality > np.quantile(quality, 0.8), quality < np.quantile(quality, 0.2)
    seen = np.log(counts[high].mean(axis=0)) - np.log(counts[low].mean(axis=0))
    expected = np.log([np.exp(s * quality[high]).mean() / np.exp(s * quality[low]).mean() for s in slope])
    assert stats.pearsonr(seen[:55], expected).statistic > 0.8
    np.testing.assert_allclose(seen[:55].mean(), expected.mean(), atol=0.05)
    np.testing.assert_allclose(seen[55:], 0, atol=0.08)


def test_depth_is_that_of_cell_and_batch() -> None:
    still = STILL | {"depth_sd": 0.35, "batch_depth_sd": 0.5}
    adata = of(sps.datasets.simulate_screen(**SMALL, **still, depth=2.0), "non-targeting")
    total = np.log(np.asarray(adata.X.sum(axis=1)).ravel())
    expected = adata.obs["log_depth"].to_numpy() + np.log(np.exp(adata.var["log_mean"]).sum())
    assert abs((total - expected).mean()) < 0.02
    assert stats.pearsonr(total, expected).statistic > 0.9
    within = adata.obs["log_depth"] - adata.obs.groupby("batch", observed=True)["log_depth"].transform("mean")
    assert within.std() == pytest.approx(0.35, rel=0.1)


def test_guides() -> None:
    adata = sps.datasets.simulate_screen(
        n_genes=700, n_regulators=1, n_other=599, n_controls=1, cells_per_perturbation=20
    )
    reached = adata.uns["simulate_screen"]["guides"]["knockdown"].to_numpy()
    assert len(reached) == 1800
    dead = reached == 0
    assert dead.mean() == pytest.approx(0.1, abs=4 * np.sqrt(0.09 / 1800))
    assert reached.max() <= 0.97
    alive = reached[~dead]
    assert alive.mean() == pytest.approx(0.8, abs=4 * 0.12 / np.sqrt(len(alive)))
    below = alive[alive < 0.97]
    assert stats.kstest(below, lambda x: stats.beta.cdf(x, 8, 2) / stats.beta.cdf(0.97, 8, 2)).pvalue > 1e-3


def test_escaping_cells_keep_the_gene() -> None:
    adata = sps.datasets.simulate_screen(
        n_genes=60, n_regulators=4, n_other=2, cells_per_perturbation=2000, dead_guides=0.0, escape=0.25
    )
    guides = adata.uns["simulate_screen"]["guides"].set_index("guide")["knockdown"]
    perturbed = adata.obs[adata.obs["perturbation"] != "non-targeting"]
    assert (perturbed["knockdown"] == 0).mean() == pytest.approx(0.25, abs=0.02)
    hit = perturbed[perturbed["knockdown"] > 0]
    np.testing.assert_allclose(hit["knockdown"], guides[hit["guide"].astype(str)].to_numpy())
    assert (adata.obs.loc[adata.obs["perturbation"] == "non-targeting", "knockdown"] == 0).all()
    assert adata.obs["guide"].nunique() == 10 + 6 * 3


def test_sick_perturbations_lose_cells_and_depth() -> None:
    knobs = {"n_genes": 300, "n_regulators": 2, "n_other": 198, "n_controls": 1, "cells_per_perturbation": 60}
    adata = sps.datasets.simulate_screen(**knobs, die=1.0, depth_stress=0.5, cells_sd=0.0, wiring=0.0)
    frame = adata.uns["simulate_screen"]["perturbations"]
    expected = np.maximum(np.rint(60 * np.exp(-frame["amplitude"])), 20)
    np.testing.assert_array_equal(frame["n_cells"], expected)
    depth = adata.obs.groupby("perturbation", observed=True)["log_depth"].mean()[frame["perturbation"]]
    assert stats.spearmanr(depth, frame["amplitude"]).statistic < -0.5


def test_no_housekeeping_gene_is_clipped() -> None:
    """Totals must follow depth all the way up: a bound on the log rate under them would hide it."""
    adata = sps.datasets.simulate_screen(**(SMALL | {"cells_per_perturbation": 0}), **(STILL | {"depth_sd": 0.35}))
    high = adata.obs["log_depth"] > 0.7
    total = np.asarray(adata.X.sum(axis=1)).ravel()
    ratio = total[high].mean() / np.exp(adata.obs.loc[high, "log_depth"]).mean()
    assert ratio == pytest.approx(np.exp(adata.var["log_mean"]).sum(), rel=0.05)
