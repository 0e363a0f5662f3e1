"""The study of a head that does not matter, in small; and that it would find one that does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import head_null
import numpy as np
import pytest
import torch
import toy_heads

import scepsis as sps

if TYPE_CHECKING:
    from pathlib import Path


def test_chi_square_tells_uniform_from_not() -> None:
    rng = np.random.default_rng(0)
    uniform, skewed = rng.random(200), rng.random(200) ** 2
    statistic, p = head_null.uniformity(uniform)
    counts = np.array([((uniform > low / 10) & (uniform <= (low + 1) / 10)).sum() for low in range(10)])
    assert statistic == pytest.approx(((counts - 20) ** 2 / 20).sum())
    assert p > 0.01
    assert head_null.uniformity(skewed)[1] < 1e-6


def test_a_seed_gives_p_values_of_its_own_that_repeat() -> None:
    first, again, other = (head_null.of_seed(seed, 2) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    for found in first.values():
        assert 0 < found.randomised <= found.plain <= 1
    assert first[3].n_run <= first[10].n_run <= toy_heads.N_HEADS - 1


def test_the_same_study_finds_a_planted_head(tmp_path: Path) -> None:
    """Against the other heads of its layer it is the first, so that the smallest p there is comes out."""
    model = sps.models.load(toy_heads.make_checkpoint(tmp_path / "toy", 0, 0.01))
    with torch.no_grad():
        toy_heads.plant(model)
    rows = [gene % toy_heads.N_GROUPS for gene in range(toy_heads.N_PERTURBED)]
    adata = toy_heads.make_screen(3, toy_heads.listed()[rows])
    found = head_null.held_against_its_layer(adata, model, toy_heads.PLANTED, seed=0)
    assert found[10].plain == pytest.approx(1 / toy_heads.N_HEADS)
    irrelevant = head_null.held_against_its_layer(adata, model, (2, 3), seed=0)
    assert irrelevant[10].plain > 0.05
