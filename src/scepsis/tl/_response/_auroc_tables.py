"""Frames of `perturbation_auroc`, from the arrays of the numerics."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scepsis._core._rng import child
from scepsis.stats._contrasts import Contrast
from scepsis.stats._intervals import one_sample_t
from scepsis.stats._multiplicity import benjamini_hochberg
from scepsis.stats._paired import signed_rank
from scepsis.stats._planted import DELTAS
from scepsis.stats._planted_rows import planted_aurocs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from scepsis._core._screen import Screen
    from scepsis._core._types import BoolArray, FloatArray
    from scepsis.stats._ranking import Ranking, Responders
    from scepsis.tl._response._predictors import Predictor

CI_METHOD = "t over perturbations"
#: What edges are compared with when they are compared with no other score.
CHANCE = "chance"
#: p-value, before any correction, below which a planted signal counts as seen.
DETECTED_BELOW = 0.05


@dataclass(frozen=True)
class Scored:
    """Predictors, and the ranking of those that were run (in the same order)."""

    predictors: Sequence[Predictor]
    ranking: Ranking
    responders: Responders
    screen: Screen
    min_units: int

    @cached_property
    def position(self) -> list[int]:
        """Position of each predictor in the ranking; -1 for one that was not run."""
        ran = [one.scores is not None for one in self.predictors]
        return [int(index) if run else -1 for index, run in zip(np.cumsum(ran) - 1, ran, strict=True)]

    @cached_property
    def has_edges(self) -> BoolArray:
        """Perturbations whose gene has an edge to a labelled candidate in every set of edges."""
        result: BoolArray = self.screen.gene >= 0
        labelled = (self.responders.labels >= 0).any(axis=1)
        for one, index in zip(self.predictors, self.position, strict=True):
            if one.scores is not None and one.scores.narrows:
                result &= (self.ranking.n_own[index] > 0) | ~labelled
        return result

    @cached_property
    def status(self) -> NDArray[Any]:
        """Status of every perturbation under every predictor, predictors x perturbations."""
        n_units = len(self.screen.names)
        status: NDArray[Any] = np.full((len(self.predictors), n_units), "not_run", dtype=object)
        unscored = ~self.screen.scorable
        for row, (one, index) in enumerate(zip(self.predictors, self.position, strict=True)):
            if index < 0:
                continue
            n_pos, n_neg = self.ranking.n_pos[index], self.ranking.n_neg[index]
            few = (n_pos < self.responders.min_positives) | (n_pos + n_neg < self.responders.min_candidates)
            status[row] = np.select(
                [~self.has_edges, n_pos + n_neg == 0, n_pos == 0, n_neg == 0, few, self.ranking.constant[index]],
                ["missing_vocab", "too_few_units", "no_positives", "no_negatives", "too_few_units", "constant_score"],
                default=np.array(self.screen.status, dtype=object),
            )
            status[row, unscored] = np.array(self.screen.status, dtype=object)[unscored]
            if one.leaks:
                status[row] = "label_leak"
        return status


def per_perturbation(scored: Scored) -> pd.DataFrame:
    """One row for each perturbation and predictor."""
    ranking, predictors, n_units = scored.ranking, scored.predictors, len(scored.screen.names)
    index = np.array(scored.position)

    def column(values: NDArray[Any], missing: float) -> NDArray[Any]:
        padded = np.concatenate([values, np.full((1, n_units), missing, dtype=values.dtype)])  # -1: not run
        flat: NDArray[Any] = padded[index].ravel()
        return flat

    frame = {
        "perturbation": np.tile(np.array(scored.screen.names, dtype=object), len(predictors)),
        "predictor": np.repeat(np.array([one.name for one in predictors], dtype=object), n_units),
        "kind": np.repeat(np.array([one.kind for one in predictors], dtype=object), n_units),
    }
    for name in ("auroc", "auroc_own", "auroc_filled", "auprc", "lift", "partial_auroc", "bedroc"):
        frame[name] = column(getattr(ranking, name), np.nan)
    for name in ("n_pos", "n_neg", "n_filled"):
        frame[name] = column(getattr(ranking, name), 0)
    frame["status"] = scored.status.ravel()
    return pd.DataFrame(frame)


def summary(scored: Scored) -> pd.DataFrame:
    """One row for each predictor, over the perturbations that count."""
    ranking, rows = scored.ranking, []
    for one, index, status in zip(scored.predictors, scored.position, scored.status, strict=True):
        used = ranking.used[index] if index >= 0 else np.zeros(len(status), dtype=bool)
        n_units = int(used.sum())
        enough = n_units >= scored.min_units
        row: dict[str, Any] = {"predictor": one.name, "kind": one.kind, "n_units": n_units}
        test = one_sample_t(ranking.auroc[index][used], 0.5)
        no_score = n_units == 0 and (status == "constant_score").any()
        row |= {
            "auroc": 0.5 if no_score else test.mean,
            "auroc_sd": test.sd,
            "ci_low": test.interval.low if enough else np.nan,
            "ci_high": test.interval.high if enough else np.nan,
            "p_value": test.p_value if enough else np.nan,
            "auroc_pooled": ranking.pooled[index] if index >= 0 else np.nan,
        }
        n_pos, n_neg = ranking.n_pos[index][used], ranking.n_neg[index][used]
        row |= {
            "auprc": _mean(ranking.auprc[index][used]),
            "prevalence": _mean(n_pos / np.maximum(n_pos + n_neg, 1)),
            "lift": _mean(ranking.lift[index][used]),
        }
        row["status"] = _overall(one, n_units, scored.min_units, no_score=no_score)
        rows.append(row)
    return pd.DataFrame(rows)


def _mean(values: NDArray[Any]) -> float:
    return float(values.mean()) if len(values) else np.nan


def _overall(one: Predictor, n_units: int, min_units: int, *, no_score: bool) -> str:
    if one.scores is None:
        return "not_run"
    if one.leaks:
        return "label_leak"
    if no_score:
        return "constant_score"
    return "ok" if n_units >= min_units else "too_few_units"


def comparisons(predictors: Sequence[Predictor]) -> list[tuple[int, int]]:
    """Pairs of positions among the predictors that were run, each pair once: edges against everything else."""
    ran = [one for one in predictors if one.scores is not None]
    return [
        (first, second)
        for first, one in enumerate(ran)
        if one.kind == "edges"
        for second, other in enumerate(ran)
        if second != first and not (other.kind == "edges" and second < first)
    ]


def contrasts(
    scored: Scored, found: dict[tuple[int, int], Contrast], overall: Sequence[str], margin: float
) -> pd.DataFrame:
    """One row for each set of edges and everything it is compared with; `overall` is the status of each predictor."""
    pairs = list(found)
    adjusted = benjamini_hochberg(np.array([found[pair].p_value for pair in pairs]))
    q_values = dict(zip(pairs, adjusted.tolist(), strict=True))
    rows = []
    for first, one in enumerate(scored.predictors):
        if one.kind != "edges":
            continue
        for second, other in enumerate(scored.predictors):
            if second == first:
                continue
            pair = scored.position[first], scored.position[second]
            seen = seen_from(found, pair)
            rows.append(
                {"edges": one.name, "versus": other.name, "versus_kind": other.kind}
                | _contrast_row(seen, margin)
                | {"q_value": q_values.get(pair, q_values.get(pair[::-1], np.nan))}
                | {"status": status_of_pair(one, other, seen, overall[second], scored.min_units)}
            )
    return pd.DataFrame(rows, columns=CONTRAST_COLUMNS)


def seen_from(found: dict[tuple[int, int], Contrast], pair: tuple[int, int]) -> Contrast:
    """Comparison of the first of a pair with the second, whichever way round it was made."""
    if pair in found:
        return found[pair]
    back = found.get(pair[::-1])
    return Contrast(np.nan, 0) if back is None else back.reversed()


CONTRAST_COLUMNS = [
    "edges", "versus", "versus_kind", "difference", "ci_low", "ci_high", "ci_method", "twoway_low", "twoway_high",
    "boot_low", "boot_high", "p_value", "q_value", "cohen_d", "equivalence", "margin", "minimum_detectable", "n_units",
    "status",
]  # fmt: skip


def _contrast_row(seen: Contrast, margin: float) -> dict[str, Any]:
    return {
        "difference": seen.difference,
        "ci_low": seen.interval.low,
        "ci_high": seen.interval.high,
        "ci_method": CI_METHOD,
        "twoway_low": seen.two_way.low,
        "twoway_high": seen.two_way.high,
        "boot_low": seen.boot.low,
        "boot_high": seen.boot.high,
        "p_value": seen.p_value,
        "cohen_d": seen.cohen_d,
        "equivalence": seen.equivalence,
        "margin": margin,
        "minimum_detectable": seen.minimum_detectable,
        "n_units": seen.n_units,
    }


def status_of_pair(one: Predictor, other: Predictor, seen: Contrast, overall: str, min_units: int) -> str:
    """Status of a comparison; `overall` is that of the other predictor alone."""
    if other.scores is None:
        return "not_run"
    if one.leaks or other.leaks:
        return "label_leak"
    if seen.n_units == 0 and overall == "constant_score":
        return overall
    return "ok" if seen.n_units >= min_units else "too_few_units"


def detection(scored: Scored, seed: int) -> pd.DataFrame:
    """What edges with a signal of known strength reach, and whether the tests of the same edges would have seen it."""
    ranking, rows = scored.ranking, []
    for one, index in zip(scored.predictors, scored.position, strict=True):
        if one.kind != "edges" or one.scores is None:
            continue
        generator = child(seed, "perturbation_auroc", "planted", one.name)
        planted = planted_aurocs(one.scores, index, ranking, scored.responders, generator)
        for other, against in zip(scored.predictors, scored.position, strict=True):
            if other is one:
                used, reached, chance, versus = ranking.used[index], np.zeros(planted.shape[1]), 0.5, CHANCE
            elif other.kind != "signed" and against >= 0:
                used, reached, chance, versus = (
                    ranking.used[index] & ranking.used[against], ranking.auroc[against], 0.0, other.name,
                )  # fmt: skip
            else:
                continue
            for delta, areas in zip(DELTAS, planted, strict=True):
                found = areas[used] - reached[used]
                rows.append((one.name, versus, delta, *_seen(found, chance, scored.min_units)))
    frame = pd.DataFrame(rows, columns=DETECTION)
    return frame.astype({"edges": object, "versus": object, "delta": np.float64, "detected": bool})


DETECTION = ["edges", "versus", "delta", "statistic", "ci_low", "ci_high", "p_value", "detected"]


def _seen(values: FloatArray, null: float, min_units: int) -> tuple[float, float, float, float, bool]:
    """Mean, interval and p-value of the test on record (t against chance, signed ranks against another)."""
    test = one_sample_t(values, null)
    if len(values) < min_units:
        return test.mean, np.nan, np.nan, np.nan, False
    p_value = test.p_value if null else signed_rank(values).p_value
    return test.mean, *test.interval, p_value, bool(p_value < DETECTED_BELOW and test.mean > null)


def by_mean_decile(scored: Scored) -> pd.DataFrame:
    """Mean AUROC among the targets of each decile of the mean, over the perturbations with both classes in it."""
    ranking, rows = scored.ranking, []
    for one, index in zip(scored.predictors, scored.position, strict=True):
        if index < 0 or scored.responders.deciles is None:
            continue
        values = ranking.by_decile[index]
        for decile in range(values.shape[1]):
            defined = values[:, decile][~np.isnan(values[:, decile])]
            rows.append((one.name, one.kind, decile + 1, _mean(defined), len(defined)))
    frame = pd.DataFrame(rows, columns=["predictor", "kind", "decile", "auroc", "n_units"])
    types = {"predictor": object, "kind": object, "decile": np.int64, "auroc": np.float64, "n_units": np.int64}
    return frame.astype(types)
