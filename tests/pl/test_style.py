from __future__ import annotations

import itertools

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from scipy.optimize import minimize

from scepsis.pl._style import KINDS, jitter, kind_order, look, rows_height, spread

#: Linear maps from RGB to what a dichromat sees (Vienot, Brettel and Mollon 1999, in linear light).
DICHROMATS = {
    "full": np.eye(3),
    "deuteranope": np.array([[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]]),
    "protanope": np.array([[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]]),
}


@pytest.mark.parametrize("eyes", DICHROMATS)
def test_kinds_differ_in_colour_for_every_eye_and_in_marker(eyes: str) -> None:
    seen = {kind: DICHROMATS[eyes] @ np.array(to_rgb(appearance.colour)) ** 2.2 for kind, appearance in KINDS.items()}
    for one, other in itertools.combinations(KINDS, 2):
        assert np.abs(np.clip(seen[one], 0, 1) ** 0.45 - np.clip(seen[other], 0, 1) ** 0.45).max() > 0.08
    assert len({appearance.marker for appearance in KINDS.values()}) == len(KINDS)


def test_unknown_kind_is_drawn_and_comes_last() -> None:
    assert look("nonsense").label == "other"
    assert kind_order(["nonsense", "baseline", "edges", "edges"]) == ["edges", "baseline", "nonsense"]


def test_jitter_fills_the_range_evenly_and_is_the_same_on_every_call() -> None:
    offsets = jitter(200)
    assert offsets.min() >= -1
    assert offsets.max() < 1
    assert np.histogram(offsets, bins=10, range=(-1, 1))[0].tolist() == pytest.approx([20] * 10, abs=2)
    np.testing.assert_array_equal(offsets, jitter(200))


def test_height_grows_with_rows_up_to_a_page() -> None:
    heights = [rows_height(n) for n in (1, 3, 10, 500)]
    assert heights == sorted(heights)
    assert heights[-1] == 14


def test_labels_are_moved_apart_no_further_than_needed() -> None:
    assert spread([0.1, 0.9], 0.2) == [0.1, 0.9]
    assert spread([], 0.2) == []
    np.testing.assert_allclose(spread([0.5, 0.5, 0.5], 0.2), [0.3, 0.5, 0.7])
    values = np.random.default_rng(0).normal(size=12).tolist()
    placed = np.array(spread(values, 0.3))
    assert (np.diff(np.sort(placed)) >= 0.3 - 1e-9).all()
    assert (np.argsort(placed, kind="stable") == np.argsort(values, kind="stable")).all()
    # least squares under the order constraint, by brute force over a chain of inequalities
    order = np.argsort(values)
    target = np.array(values)[order]
    best = minimize(
        lambda x: ((x - target) ** 2).sum(),
        placed[order],
        constraints=[{"type": "ineq", "fun": lambda x: np.diff(x) - 0.3}],
    )
    np.testing.assert_allclose(placed[order], best.x, atol=1e-4)
