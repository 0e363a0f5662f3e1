from __future__ import annotations

import numpy as np
import pytest

from scepsis.stats._splits import Blocks, draw_blocks, folds_of

N_UNITS, N_GENES = 13, 22


@pytest.fixture
def blocks() -> Blocks:
    group = np.array([0, 0, *range(1, N_UNITS - 1)])  # the first two units share a gene
    return Blocks(
        draw_blocks(group, np.full(N_UNITS, 20.0), 5, np.random.default_rng(0)),
        draw_blocks(np.arange(N_GENES), np.full(N_GENES, 10.0), 5, np.random.default_rng(1)),
    )


@pytest.mark.parametrize(("split", "n_folds"), [("perturbation", 5), ("gene", 5), ("joint", 25)])
def test_every_pair_is_tested_once_by_models_that_saw_neither_its_unit_nor_its_gene(
    blocks: Blocks, split: str, n_folds: int
) -> None:
    unit, gene = (axis.ravel() for axis in np.indices((N_UNITS, N_GENES)))
    folds = folds_of(split, blocks)
    assert len(folds) == n_folds
    tested = np.zeros(len(unit), dtype=int)
    for fold in folds:
        train = fold.train(blocks.unit[unit], blocks.gene[gene])
        test = fold.test(blocks.unit[unit], blocks.gene[gene])
        tested += test
        assert train.any()
        if split != "gene":
            assert not set(unit[train]) & set(unit[test])
        if split != "perturbation":
            assert not set(gene[train]) & set(gene[test])
    assert (tested == 1).all()


def test_diagonal_tests_a_fifth_and_each_unit_and_gene(blocks: Blocks) -> None:
    unit, gene = (axis.ravel() for axis in np.indices((N_UNITS, N_GENES)))
    folds = folds_of("joint", blocks, "diagonal")
    tested = np.sum([fold.test(blocks.unit[unit], blocks.gene[gene]) for fold in folds], axis=0)
    assert len(folds) == 5
    assert tested.max() == 1
    assert tested.mean() == pytest.approx(0.2, abs=0.03)
    assert set(unit[tested == 1]) == set(range(N_UNITS))
    assert set(gene[tested == 1]) == set(range(N_GENES))


def test_groups_stay_together_and_blocks_are_of_equal_weight() -> None:
    rng = np.random.default_rng(2)
    group, weight = rng.integers(0, 30, 80), rng.integers(1, 9, 80).astype(float)
    block = draw_blocks(group, weight, 4, np.random.default_rng(3))
    assert all(len(set(block[group == one])) == 1 for one in set(group))
    load, of_group = np.bincount(block, weight), np.bincount(group, weight)
    assert len(load) == 4
    assert load.max() - load.min() <= of_group.max()


def test_fewer_groups_than_blocks_give_fewer_blocks() -> None:
    assert set(draw_blocks(np.array([7, 7, 9]), np.ones(3), 5, np.random.default_rng(0))) == {0, 1}
    assert len(draw_blocks(np.array([], dtype=int), np.ones(0), 5, np.random.default_rng(0))) == 0


def test_blocks_are_drawn_by_the_seed() -> None:
    def draw(seed: int) -> list[int]:
        return draw_blocks(np.arange(30), np.ones(30), 5, np.random.default_rng(seed)).tolist()

    assert draw(0) == draw(0)
    assert draw(0) != draw(1)
