"""The audit of the audit: its worlds are what they claim, its file can be cut anywhere, and three seeds of it."""

from __future__ import annotations

import os
import warnings
from itertools import pairwise
from typing import TYPE_CHECKING, Self

import battery
import numpy as np
import pandas as pd
import pytest
import run
import summarise
import worlds
from scipy.stats import binomtest, norm
from sklearn.metrics import roc_auc_score

import scepsis as sps

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def world() -> worlds.World:
    return worlds.make_world("along", 0)


def _matrix(world: worlds.World, key: str) -> pd.DataFrame:
    names = world.adata.var_names
    return world.edges[key].pivot_table(index="source", columns="target", values="weight").loc[names, names]


def _listed(world: worlds.World) -> np.ndarray:
    names = world.adata.var_names
    listed = pd.crosstab(world.truth["source"], world.truth["target"])
    return listed.reindex(index=names, columns=names, fill_value=0).to_numpy() > 0


def test_truth_is_the_network_of_the_screen(world: worlds.World) -> None:
    np.testing.assert_array_equal(_listed(world), np.asarray(world.adata.varp["regulation"]) != 0)


def test_strengths_are_distances_in_standard_deviations(world: worlds.World) -> None:
    """Noise is the same for all strengths, and an edge of mean weight stands so far above a pair without one."""
    listed, off = _listed(world), ~np.eye(world.adata.n_vars, dtype=bool)
    areas = []
    for strength in worlds.STRENGTHS:
        scores = _matrix(world, f"true_{strength:g}").to_numpy()
        distance = scores[listed].mean() - scores[off & ~listed].mean()
        assert distance == pytest.approx(strength, abs=0.15)
        assert np.std(scores[off & ~listed]) == pytest.approx(1, rel=0.02)
        areas.append(roc_auc_score(listed[off], scores[off]))
        assert areas[-1] == pytest.approx(norm.cdf(strength / np.sqrt(2)), abs=0.03)
    assert all(low < high for low, high in pairwise(areas))


@pytest.mark.parametrize(("key", "least"), [("key_var", 0.8), ("key_resp", 0.8), ("random", 0.0), ("true_0.5", 0.0)])
def test_key_edges_say_the_same_whatever_the_source(world: worlds.World, key: str, least: float) -> None:
    """What is left without the mean of each target is the noise: as strong for edges as for other pairs."""
    scores = _matrix(world, key).to_numpy()
    left = scores - np.nanmean(scores, axis=0)
    share = np.nanvar(np.nanmean(scores, axis=0)) / np.nanvar(scores)
    assert share >= least
    assert share < 0.95
    if key.startswith("key"):
        listed = _listed(world)
        others = ~listed & ~np.isnan(scores)
        error = np.nanstd(left) / np.sqrt(listed.sum())
        assert abs(left[listed].mean() - left[others].mean()) < 4 * error
        assert np.nanstd(left) == pytest.approx(worlds.PAIR_NOISE, rel=0.03)


def test_rewired_network_keeps_all_degrees_and_few_edges() -> None:
    rng = np.random.default_rng(0)
    listed = np.zeros((60, 60), dtype=bool)
    listed[:20] = rng.random((20, 60)) < rng.beta(0.5, 3, size=60)
    np.fill_diagonal(listed, val=False)
    drawn, kept = worlds.rewired(listed, seed=1)
    for axis in (0, 1):
        np.testing.assert_array_equal(drawn.sum(axis=axis), listed.sum(axis=axis))
    assert not np.diagonal(drawn).any()
    assert kept == pytest.approx((drawn & listed).sum() / listed.sum())
    assert kept < 0.5


def test_coexpression_knows_programmes_and_nothing_of_the_network(world: worlds.World) -> None:
    """Genes of a programme are correlated; regulators and their targets no more than other pairs with them."""
    scores = _matrix(world, "coexpression").to_numpy()
    member = world.adata.var["is_responder"].to_numpy() & ~world.adata.var["is_perturbed"].to_numpy()
    both = np.outer(member, member) & ~np.isnan(scores)
    assert scores[both].mean() > np.nanmean(scores) + 0.1
    areas = []
    for seed in range(3):
        other = worlds.make_world("along", seed)
        regulators = other.adata.var["is_regulator"].to_numpy()
        matrix, listed = _matrix(other, "coexpression").to_numpy()[regulators], _listed(other)[regulators]
        kept = ~np.isnan(matrix)
        # within targets, for expressed genes are targets and correlated a little more often
        centred = matrix - np.nanmean(matrix, axis=0)
        areas.append(roc_auc_score(listed[kept], centred[kept]))
    assert np.mean(areas) == pytest.approx(0.5, abs=0.03)


def test_worlds_differ_in_what_responses_travel_along() -> None:
    first, second = (worlds.make_world(name, 5) for name in ("along", "apart"))
    np.testing.assert_array_equal(first.adata.varp["regulation"], second.adata.varp["regulation"])
    pd.testing.assert_frame_equal(first.edges["true_1"], second.edges["true_1"])
    assert all((frame["weight"] > 0).all() for frame in first.edges.values())


def _row(world: str, seed: int, edges: str, *, passed: bool, n_sets: int = 2) -> dict[str, object]:
    return {
        "world": world, "size": worlds.BASE, "seed": seed, "edges": edges, "a": passed, "b": passed, "c": True,
        "d": pd.NA, "overall": pd.NA if passed else False, "abc": passed, "auroc": 0.5, "auroc_variance": 0.7,
        "n_perturbations": 40, "positive_rate": 0.05, "kept": 0.15, "cpu_seconds": 2.5, "n_sets": n_sets,
        "version": "0",
    }  # fmt: skip


def _frame(rows: list[dict[str, object]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=run.COLUMNS)


def test_file_cut_anywhere_gives_whole_screens_and_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [_row("along", seed, edges, passed=True) for seed in range(3) for edges in ("true_4", "random")]
    path = tmp_path / "rates.csv"
    _frame(rows).to_csv(path, index=False)
    text = path.read_bytes()
    ends = [0, *(index + 1 for index, byte in enumerate(text) if byte == ord("\n"))]
    for cut in range(0, len(text) + 1, 7):
        path.write_bytes(text[:cut])
        n_lines = max(sum(end <= cut for end in ends) - 2, 0)  # but for the header
        assert len(run.read(path)) == n_lines // 2 * 2
    path.write_bytes(text[: ends[4] + 5])
    asked, threads = [], []
    monkeypatch.setattr(run, "ProcessPoolExecutor", _InThisProcess)
    monkeypatch.setenv("NUMBA_NUM_THREADS", "2")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)

    def judged(screen: run.Screen) -> pd.DataFrame:
        asked.append(screen.seed)
        threads.append(os.environ["NUMBA_NUM_THREADS"])
        return _frame([_row(screen.world, screen.seed, edges, passed=True) for edges in ("true_4", "random")])

    monkeypatch.setattr(run, "judged", judged)
    run.run(path, run.screens("rates", range(3), ["along"], [worlds.BASE]), jobs=1)
    assert asked == [1, 2]
    assert threads == ["1", "1"]
    assert os.environ["NUMBA_NUM_THREADS"] == "2"  # numba refuses another number once its threads have been started
    assert "MKL_NUM_THREADS" not in os.environ
    assert sorted(run.read(path)["seed"]) == [0, 0, 1, 1, 2, 2]


def test_a_screen_without_rewired_edges_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "power.csv"
    _frame([_row("along", 0, "true_4", passed=True, n_sets=1) | {"kept": np.nan}]).to_csv(path, index=False)
    assert run.read(path)["kept"].isna().tolist() == [True]


class _InThisProcess:
    def __init__(self, *_: object, **__: object) -> None:
        from concurrent.futures import Future

        self.future = Future

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def submit(self, function: object, *arguments: object) -> object:
        future = self.future()
        future.set_result(function(*arguments))
        return future


@pytest.mark.parametrize(("k", "n"), [(0, 200), (3, 200), (190, 200), (200, 200)])
def test_limits_are_exact(k: int, n: int) -> None:
    expected = binomtest(k, n).proportion_ci(method="exact")
    assert summarise.limits(k, n) == pytest.approx((expected.low, expected.high))


def test_tables_count_what_passed() -> None:
    rows = [_row("along", seed, "true_4", passed=seed < 3) for seed in range(4)]
    rows += [_row("apart", seed, "random", passed=False) for seed in range(4)]
    frame = _frame(rows).astype(dict.fromkeys(run.TRUTHS, "boolean"))
    table = summarise.rates(frame)
    assert "| 4 | 0.500 | 75.0 % | 75.0 % | 100.0 % | 3 | 19.4 to 99.4 % | 1 | 2.5 |" in table
    assert "(v) noise" in table
    assert "3 of 4 (19 to 99 %); 3/3/4" in summarise.power(frame[frame["world"] == "along"])


@pytest.mark.parametrize("seed", [1, 3, 5])
def test_verdict_on_three_screens(seed: int) -> None:
    """
    The strongest true edges pass where responses travel along them; random ones, and key effects, do not.

    Of 40 perturbations x 200 genes such edges pass in four screens of ten; these are three of them.
    """
    world = worlds.make_world("along", seed, strengths=(4.0,))
    world.edges = {key: world.edges[key] for key in ("true_4", "key_resp", "random")}
    passed = battery.judge(world).set_index("edges")
    assert battery.is_finite(passed)
    assert passed.loc["true_4", ["a", "b", "c"]].tolist() == [True, True, True]
    assert pd.isna(passed.loc["true_4", "overall"])  # no intervention, hence no verdict
    rest = passed.drop(index="true_4")
    assert not rest["abc"].any()
    assert (rest["overall"] == False).all()  # noqa: E712 - missing is not False


@pytest.mark.slow
def test_studies_judge_as_an_audit_does() -> None:
    """The studies leave out what the verdict does not read; an audit of the same edges passes and fails the same."""
    keys = ["true_4", "random"]
    first, second = (worlds.make_world("along", 1, strengths=(4.0,)) for _ in range(2))
    for world in (first, second):
        world.edges = {key: world.edges[key] for key in keys}
    found = battery.judge(first).set_index("edges")[["a", "b", "c"]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        sps.tl.audit(
            second.adata, edges=second.edges, reference=second.truth, n_null=battery.N_NULL, n_boot=battery.N_BOOT,
            n_seeds=1, joint_mode="diagonal", skip=["explain_edges", "matched_evaluation"], show_progress_bar=False,
        )  # fmt: skip
    table = second.adata.uns["verdict"]["criteria"]
    expected = table[table["edges"].isin(keys) & table["criterion"].isin(["a", "b", "c"])]
    for row in expected.itertuples():
        assert found.loc[row.edges, row.criterion] == row.passed
    assert len(expected) == 6
