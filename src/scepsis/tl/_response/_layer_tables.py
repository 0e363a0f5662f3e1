"""What choosing among layers finds, frozen or nested: frames, and the row of the registry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scepsis._core._registry import Row
from scepsis._core._rng import child
from scepsis.stats._auroc import mann_whitney
from scepsis.stats._contrasts import Contrast, contrasts
from scepsis.stats._layer_choice import TopRanked, best, nested, resampled_f1, shares, stability
from scepsis.stats._planted import DELTAS, planted
from scepsis.stats._ranking import Responders, rank_responders
from scepsis.stats._row_scores import EdgeRows
from scepsis.stats._top_k import top_k
from scepsis.stats._win_matrix import WinMatrix, bootstrap_aurocs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scepsis._core._network_pairs import NetworkPairs
    from scepsis._core._screen_pairs import ScreenPairs
    from scepsis._core._types import BoolArray, FloatArray
    from scepsis.stats._layer_choice import Nested
    from scepsis.stats._ranking import Ranking

NAME = "select_layer"
TWO_WAY = "t, clustered by perturbation and gene"
#: Statuses under which a layer is named all the same.
NAMED = ("ok", "single_stratum", "too_few_units")


@dataclass(frozen=True)
class Options:
    """What is asked for, whichever way the choice is made."""

    metric: str
    n_splits: int
    margin: float
    min_units: int
    min_positives: int
    min_candidates: int
    n_boot: int
    seed: int


@dataclass(frozen=True)
class Recovery:
    """Layers ranked by how well they recover a reference."""

    #: Metric of each layer.
    metric: FloatArray
    stability: FloatArray
    n_units: int
    status: str

    @property
    def chosen(self) -> int:
        """Position of the layer with the largest value; -1 when there is none."""
        return int(best(self.metric[None, :])[0]) if self.status in NAMED else -1


def recovery(pairs: NetworkPairs, options: Options) -> Recovery:
    """Score every layer against the reference, and see which one wins when regulators are drawn anew."""
    n_layers, valid = len(pairs.sets), pairs.candidate
    positive, row = pairs.listed[valid], np.nonzero(valid)[0]
    if not positive.any() or positive.all():
        missing = np.full(n_layers, np.nan)
        return Recovery(missing, missing, 0, "no_negatives" if positive.any() else "no_positives")
    scores = [pairs.scores(one)[valid] for one in pairs.sets]
    rng = child(options.seed, NAME, "bootstrap")
    if options.metric == "auroc":
        values = [mann_whitney(one[positive], one[~positive]) for one in scores]
        matrices = [WinMatrix.of(one, positive, row, len(valid)) for one in scores]
        replicates = bootstrap_aurocs(matrices, options.n_boot, rng)
    else:
        k = int(options.metric.partition("@")[2])
        values = [top_k(one, positive, [k])[0].f1 for one in scores]
        rankings = [TopRanked(one, positive, row) for one in scores]
        replicates = resampled_f1(rankings, k, len(valid), options.n_boot, rng)
    if np.isnan(values).any():
        return Recovery(np.array(values), np.full(n_layers, np.nan), len(valid), "too_few_units")
    status = "single_stratum" if n_layers == 1 else "ok" if len(valid) >= options.min_units else "too_few_units"
    return Recovery(np.array(values), shares(replicates), len(valid), status)


@dataclass(frozen=True)
class Profile:
    """Layers against another score, over the perturbations that count for all of them."""

    #: Layers, and the other score last, x perturbations.
    ranking: Ranking
    used: BoolArray
    contrasts: list[Contrast]
    stability: FloatArray
    #: None with fewer perturbations than folds.
    nested: Nested | None
    #: Held-out difference of the layers chosen for each fold.
    held_out: Contrast
    #: The same for layers with a planted signal, by its strength.
    detection: dict[float, Contrast]
    status: str

    @property
    def differences(self) -> FloatArray:
        """Layers x perturbations that count: AUROC less that of the other score."""
        areas = self.ranking.auroc[:, self.used]
        differences: FloatArray = areas[:-1] - areas[-1]
        return differences

    @property
    def chosen(self) -> list[int]:
        """Positions of the layers that folds chose, each once."""
        return [] if self.nested is None else sorted(set(self.nested.chosen.tolist()))


def profile(pairs: ScreenPairs, options: Options) -> Profile:
    """Compare every layer (all sets but the last) with the last set, and choose one for each fold of perturbations."""
    scores = [pairs.scores(one) for one in pairs.sets]
    n_layers = len(scores) - 1
    ranking = _rank(scores, pairs, pairs.screen.scorable, options)
    used: BoolArray = np.asarray(ranking.used.all(axis=0))
    ranking = _rank(scores, pairs, used, options)  # all layers on the same perturbations
    rng = child(options.seed, NAME, "bootstrap")
    found = contrasts(ranking, margin=options.margin, min_units=options.min_units, n_boot=options.n_boot, rng=rng)
    each = [found[layer, n_layers] for layer in range(n_layers)]
    differences = (ranking.auroc[:-1] - ranking.auroc[-1])[:, used].T
    n_units = int(used.sum())
    status = "single_stratum" if n_layers == 1 else "ok" if n_units >= options.min_units else "too_few_units"
    draws = child(options.seed, NAME, "stability")
    stable = stability(differences, options.n_boot, draws) if n_units else np.full(n_layers, np.nan)
    if n_units < options.n_splits or n_layers == 1:
        lonely = each[0] if n_layers == 1 else Contrast(np.nan, n_units)
        return Profile(ranking, used, each, stable, None, lonely, {}, status)
    choice, held_out = _nested(scores, pairs, used, options)
    detection = {delta: _nested(_planted(scores, pairs, delta, options), pairs, used, options)[1] for delta in DELTAS}
    return Profile(ranking, used, each, stable, choice, held_out, detection, status)


def _rank(scores: Sequence[FloatArray], pairs: ScreenPairs, usable: BoolArray, options: Options) -> Ranking:
    responders = Responders(
        labels=pairs.labels,
        usable=usable,
        min_candidates=options.min_candidates,
        min_positives=options.min_positives,
    )
    rows, columns = (np.arange(size) for size in pairs.labels.shape)
    against_last = [(layer, len(scores) - 1) for layer in range(len(scores) - 1)]
    return rank_responders([EdgeRows(one, rows, columns) for one in scores], responders, against_last)


def _nested(
    scores: Sequence[FloatArray], pairs: ScreenPairs, used: BoolArray, options: Options
) -> tuple[Nested, Contrast]:
    """Choose a layer for each fold, and compare what was held out: a score put together of rows of several layers."""
    ranking = _rank(scores, pairs, used, options)
    differences = (ranking.auroc[:-1] - ranking.auroc[-1])[:, used].T
    choice = nested(differences, options.n_splits, child(options.seed, NAME, "folds"))
    together = scores[0].copy()
    for unit, layer in zip(np.flatnonzero(used).tolist(), choice.of_unit.tolist(), strict=True):
        together[unit] = scores[layer][unit]
    both = _rank([together, scores[-1]], pairs, used, options)
    rng = child(options.seed, NAME, "bootstrap", "nested")
    found = contrasts(both, margin=options.margin, min_units=options.min_units, n_boot=options.n_boot, rng=rng)
    return choice, found[0, 1]


def _planted(scores: Sequence[FloatArray], pairs: ScreenPairs, delta: float, options: Options) -> list[FloatArray]:
    """Every layer with a signal at the same half of the responders; the other score as it is."""
    positive = pairs.labels == 1
    layers = [planted(one, positive, delta, child(options.seed, NAME, "planted")) for one in scores[:-1]]
    return [*layers, scores[-1]]


def profile_frame(layers: dict[int, str], seen: Profile) -> pd.DataFrame:
    """One row for each layer."""
    rows = []
    areas = seen.ranking.auroc[:, seen.used]
    for index, (layer, key) in enumerate(layers.items()):
        one = seen.contrasts[index]
        rows.append(
            {
                "layer": layer,
                "edges_key": key,
                "auroc": float(areas[index].mean()) if areas.size else np.nan,
                "auroc_versus": float(areas[-1].mean()) if areas.size else np.nan,
                "difference": one.difference,
                "ci_low": one.interval.low,
                "ci_high": one.interval.high,
                "twoway_low": one.two_way.low,
                "twoway_high": one.two_way.high,
                "boot_low": one.boot.low,
                "boot_high": one.boot.high,
                "p_value": one.p_value,
                "cohen_d": one.cohen_d,
                "n_units": one.n_units,
                "share_of_resamples": float(seen.stability[index]),
                "n_folds": 0 if seen.nested is None else int((seen.nested.chosen == index).sum()),
            }
        )
    return pd.DataFrame(rows).astype({"edges_key": object})


def fold_frames(pairs: ScreenPairs, layers: dict[int, str], seen: Profile) -> dict[str, pd.DataFrame]:
    """What each fold chose, and what each perturbation says of the layer that was chosen without it."""
    names, numbers = [pairs.screen.names[unit] for unit in np.flatnonzero(seen.used).tolist()], list(layers)
    folds: list[tuple[Any, ...]] = []
    units: list[tuple[Any, ...]] = []
    if seen.nested is not None:
        held = seen.differences[seen.nested.of_unit, np.arange(len(names))]
        for number, position in enumerate(seen.nested.chosen.tolist()):
            inside = seen.nested.fold == number
            means = float(seen.nested.of_training[number]), float(held[inside].mean())
            folds.append((number, numbers[position], *means, int((~inside).sum()), int(inside.sum())))
        areas = seen.ranking.auroc[:, seen.used]
        for unit, name in enumerate(names):
            position = int(seen.nested.of_unit[unit])
            both = float(areas[position, unit]), float(areas[-1, unit])
            units.append((name, int(seen.nested.fold[unit]), numbers[position], *both, float(held[unit])))
    integers = {"fold": np.int64, "layer": np.int64}
    return {
        "folds": pd.DataFrame(folds, columns=FOLDS).astype(integers | {"n_train": np.int64, "n_test": np.int64}),
        "per_perturbation": pd.DataFrame(units, columns=UNITS).astype(integers | {"perturbation": object}),
    }


FOLDS = ["fold", "layer", "difference_train", "difference", "n_train", "n_test"]
UNITS = ["perturbation", "fold", "layer", "auroc", "auroc_versus", "difference"]


def detection_frame(edges: str, seen: Profile) -> pd.DataFrame:
    """Held-out differences with a planted signal."""
    rows = [
        (edges, delta, one.difference, *one.two_way, bool(one.two_way.low > 0)) for delta, one in seen.detection.items()
    ]
    columns = ["edges", "delta", "statistic", "ci_low", "ci_high", "detected"]
    return pd.DataFrame(rows, columns=columns).astype({"edges": object, "delta": np.float64, "detected": bool})


def nested_row(edges: str, versus: str, pairs: ScreenPairs, seen: Profile, options: Options) -> Row:
    """The one test: held-out differences, corrected for the number of layers."""
    one, n_layers = seen.held_out, len(seen.contrasts)
    used = seen.used
    n_pos = int((pairs.labels[used] == 1).sum())
    status = "label_leak" if any(pairs.leaks.values()) else seen.status
    areas = seen.ranking.auroc[-1, used]
    return Row(
        analysis="A03",
        name="nested",
        edges=edges,
        hypothesis=f"Edges of the layer chosen on other perturbations rank responders differently from {versus}",
        test_type=f"Wilcoxon signed-rank on held-out differences, p times {n_layers} layers",
        role="confirmatory",
        statistic=one.difference,
        p_raw=bonferroni(one.p_value, n_layers) if seen.status == "ok" else np.nan,
        effect_size=one.difference,
        effect_type="mean difference of AUROC",
        ci_low=one.two_way.low,
        ci_high=one.two_way.high,
        ci_method=TWO_WAY,
        unit="perturbation x gene",
        n=int((pairs.labels[used] >= 0).sum()),
        n_pos=n_pos,
        n_units=one.n_units,
        baseline_name=versus,
        baseline_value=float(areas.mean()) if len(areas) else np.nan,
        equivalence=one.equivalence,
        margin=options.margin,
        minimum_detectable=one.minimum_detectable,
        is_primary=True,
        status=status,
        reason="one layer: nothing to choose" if seen.status == "single_stratum" else "",
    )


def summary_frame(seen: Profile, row: Row) -> pd.DataFrame:
    """The held-out comparison in one row."""
    one = seen.held_out
    return pd.DataFrame(
        [
            {
                "difference": one.difference,
                "ci_low": one.interval.low,
                "ci_high": one.interval.high,
                "twoway_low": one.two_way.low,
                "twoway_high": one.two_way.high,
                "boot_low": one.boot.low,
                "boot_high": one.boot.high,
                "p_value": one.p_value,
                "p_bonferroni": row.p_raw,
                "cohen_d": one.cohen_d,
                "equivalence": one.equivalence,
                "margin": row.margin,
                "minimum_detectable": one.minimum_detectable,
                "n_units": one.n_units,
                "n_layers": len(seen.contrasts),
                "n_chosen": len(seen.chosen),
                "status": row.status,
            }
        ]
    ).astype({"equivalence": object, "status": object})


def bonferroni(p_value: float, n: int) -> float:
    """`p_value` for the best of n; NaN stays NaN."""
    return min(1.0, p_value * n) if np.isfinite(p_value) else np.nan
