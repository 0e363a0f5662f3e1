from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import stats

import scepsis as sps

if TYPE_CHECKING:
    from anndata import AnnData

CONTROLS = {"n_controls": 1, "cells_per_perturbation": 0, "n_genes": 6000, "n_regulators": 5, "n_other": 595}


def world(**knobs: object) -> AnnData:
    return sps.datasets.simulate_screen(**(CONTROLS | knobs))


def ordinary(adata: AnnData) -> np.ndarray:
    return ~(adata.var["is_perturbed"] | adata.var["is_housekeeping"]).to_numpy()


@pytest.mark.parametrize("bias", [0.0, 4.0])
@pytest.mark.parametrize("frac", [0.05, 0.3])
def test_share_of_responders_whatever_their_bias(bias: float, frac: float) -> None:
    adata = world(resp_bias=bias, resp_frac=frac)
    responder = adata.var["is_responder"].to_numpy()[ordinary(adata)]
    assert abs(responder.mean() - frac) < 4 * np.sqrt(frac * (1 - frac) / len(responder))
    level = adata.var["log_mean"].to_numpy()[ordinary(adata)]
    p = stats.mannwhitneyu(level[responder], level[~responder], alternative="greater").pvalue
    assert p < 1e-10 if bias else p > 1e-3


def test_perturbed_genes_respond_at_their_own_rate() -> None:
    adata = world(pert_resp=0.4)
    share = adata.var.loc[adata.var["is_perturbed"], "is_responder"].mean()
    assert abs(share - 0.4) < 4 * np.sqrt(0.24 / 600)
    assert not adata.var.loc[adata.var["is_housekeeping"], "is_responder"].any()


def test_loadings() -> None:
    """Responders load on one programme, four shape Gamma in size, plus as often as said; the others hardly at all."""
    adata = world()
    loadings = adata.varm["responsiveness"]
    responder = adata.var["is_responder"].to_numpy()
    assert loadings[~responder].std() == pytest.approx(0.05, rel=0.05)
    main = np.take_along_axis(loadings, np.abs(loadings).argmax(axis=1)[:, None], axis=1)[responder, 0]
    n = len(main)
    assert np.abs(main).mean() == pytest.approx(0.7, abs=4 * 0.35 / np.sqrt(n))
    assert (main > 0).mean() == pytest.approx(0.6, abs=4 * np.sqrt(0.24 / n))
    first = (np.abs(loadings).argmax(axis=1) == 0)[responder]
    assert first.mean() == pytest.approx(0.85 + 0.15 / 4, abs=4 * np.sqrt(0.1 / n))


def test_responses() -> None:
    frame = world().uns["simulate_screen"]["perturbations"]
    amplitude = frame["amplitude"].to_numpy()
    assert (amplitude == 0).mean() == pytest.approx(0.15, abs=4 * np.sqrt(0.1275 / 600))
    assert amplitude.max() == 2.5
    assert np.median(np.log(amplitude[amplitude > 0])) == pytest.approx(-0.125, abs=4 * 0.63 / np.sqrt(510))
    mixture = frame.filter(like="program").to_numpy()
    np.testing.assert_allclose(np.abs(mixture).sum(axis=1), 1)
    np.testing.assert_allclose(np.abs(mixture).mean(axis=0), [0.85, 0.05, 0.05, 0.05], atol=0.03)
    assert (mixture[:, 0] < 0).mean() == pytest.approx(0.15, abs=4 * np.sqrt(0.1275 / 600))


def test_equal_programmes() -> None:
    frame = world(n_programs=8, dominance=0.0).uns["simulate_screen"]["perturbations"]
    np.testing.assert_allclose(np.abs(frame.filter(like="program")).mean(axis=0), 1 / 8, atol=0.04)


def test_one_programme_and_no_response() -> None:
    adata = world(n_programs=1, inert=1.0)
    frame = adata.uns["simulate_screen"]["perturbations"]
    assert adata.varm["responsiveness"].shape == (6000, 1)
    assert (frame["amplitude"] == 0).all()
    assert (frame["program1"].abs() == 1).all()
