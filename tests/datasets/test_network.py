from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import scepsis as sps
from scepsis.datasets._network import damped, total_effect

if TYPE_CHECKING:
    from anndata import AnnData

CONTROLS = {"n_controls": 1, "cells_per_perturbation": 0}


def world(**knobs: object) -> AnnData:
    return sps.datasets.simulate_screen(**(CONTROLS | knobs))


def states(adata: AnnData) -> list[str]:
    return adata.uns["simulate_screen"]["states"]["edges_key"].tolist()


def test_total_effect_is_the_sum_over_paths() -> None:
    rng = np.random.default_rng(0)
    direct = damped(rng.normal(0, 0.5, (5, 12)), 0.6)
    square = np.zeros((12, 12))
    square[:5] = direct
    term, effect = np.eye(12), np.eye(12)
    for _ in range(300):
        term = term @ square
        effect += term
    np.testing.assert_allclose(total_effect(direct), effect[:5], atol=1e-10)


def test_damping_scales_edges_among_regulators_only() -> None:
    direct = np.random.default_rng(1).normal(0, 2, (4, 9))
    result = damped(direct, 0.6)
    assert np.abs(np.linalg.eigvals(result[:, :4])).max() == pytest.approx(0.6)
    np.testing.assert_array_equal(result[:, 4:], direct[:, 4:])
    np.testing.assert_allclose(result[:, :4] / direct[:, :4], (result[:, :4] / direct[:, :4])[0, 0])
    np.testing.assert_array_equal(damped(result / 2, 0.6), result / 2)


@pytest.mark.parametrize("limit", [0.2, 0.6])
def test_no_state_exceeds_the_spectral_radius(limit: float) -> None:
    adata = world(spectral_radius=limit, out_degree=60, weight=1.0)
    radii = [np.abs(np.linalg.eigvals(adata.varp[key][:60, :60].astype(float))).max() for key in states(adata)]
    assert max(radii) <= limit + 1e-5
    assert max(radii) > 0.99 * limit


def test_total_effect_of_the_screen_is_the_mean_over_states() -> None:
    adata = world()
    shares = adata.uns["simulate_screen"]["states"]["share"]
    expected = np.zeros((600, 600))
    for share, key in zip(shares, states(adata), strict=True):
        expected += share * np.linalg.inv(np.eye(600) - adata.varp[key].astype(float))
    np.fill_diagonal(expected, 0.0)
    np.testing.assert_allclose(adata.varp["total_effect"], expected, atol=1e-5)


def test_only_regulators_regulate_and_nobody_itself_or_housekeeping() -> None:
    adata = world()
    for key in adata.varp:
        matrix = adata.varp[key]
        assert not matrix[~adata.var["is_regulator"]].any()
        assert not np.diagonal(matrix).any()
        assert not matrix[:, adata.var["is_housekeeping"]].any()


def test_figures_of_the_default_network() -> None:
    """Means over worlds against their expectations, within four standard errors."""
    degree, positive, everywhere, size, to_regulators = [], [], [], [], []
    for seed in range(6):
        adata = world(rng=seed)
        edges = adata.uns["simulate_screen"]["network"]
        degree.append((adata.varp["regulation"][:60] != 0).sum(axis=1))
        positive.append((edges["weight"] > 0).mean())
        everywhere.append((edges["state"] == "all").mean())
        outer = edges[~edges["target"].str.startswith("TF")]
        size.append(outer.loc[outer["state"] == "all", "weight"].abs().mean())
        to_regulators.append(1 - len(outer) / len(edges))
        single = outer.loc[outer["state"] != "all", "weight"].abs().mean()
        assert single / size[-1] == pytest.approx(1.3, abs=0.1)
    degree = np.concatenate(degree)
    assert degree.min() >= 2
    assert abs(degree.mean() - 12) < 4 * degree.std() / np.sqrt(len(degree))
    n = degree.sum()
    assert abs(np.mean(positive) - 0.7) < 4 * np.sqrt(0.21 / n)
    assert abs(np.mean(everywhere) - 0.6) < 4 * np.sqrt(0.24 / n)
    assert abs(np.mean(size) - 0.7) < 4 * 0.2 / np.sqrt(n / 2)
    # 60 of 590 genes, at half the odds: about 5 %
    assert 0.03 < np.mean(to_regulators) < 0.08


@pytest.mark.parametrize(("knob", "low", "high"), [({"activating": 1.0}, 1, 1), ({"activating": 0.0}, 0, 0)])
def test_signs(knob: dict[str, float], low: float, high: float) -> None:
    weights = world(**knob).uns["simulate_screen"]["network"]["weight"]
    assert low <= (weights > 0).mean() <= high


def test_shared_edges_only() -> None:
    adata = world(shared=1.0)
    for key in states(adata):
        np.testing.assert_array_equal(adata.varp[key], adata.varp["regulation"])
    assert (adata.uns["simulate_screen"]["network"]["state"] == "all").all()


def test_private_edges_only() -> None:
    adata = world(shared=0.0)
    present = np.stack([adata.varp[key] != 0 for key in states(adata)])
    assert present.sum(axis=0).max() == 1


def test_more_edges_keep_those_there_were() -> None:
    few, many = (world(out_degree=degree).varp["regulation"] != 0 for degree in (8, 16))
    assert (few <= many).all()
    assert many.sum() > 1.5 * few.sum()


def test_hubs_concentrate_the_edges() -> None:
    even, uneven = (np.sort((world(hub_sd=sd).varp["regulation"] != 0).sum(axis=0))[::-1] for sd in (0.0, 2.0))
    assert uneven[:30].sum() > 2 * even[:30].sum()


def test_out_degree_cannot_exceed_the_genes_there_are() -> None:
    adata = world(n_genes=30, n_regulators=5, n_other=0, out_degree=500)
    assert ((adata.varp["regulation"][:5] != 0).sum(axis=1) == 30 - 10 - 1).all()
