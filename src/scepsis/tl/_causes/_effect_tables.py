"""Effects that a model has against effects that were measured: correlations, their intervals, and their rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scepsis._core._gene_table import FEATURES
from scepsis._core._registry import Row
from scepsis._core._rng import child
from scepsis._core._screen_pairs import oriented
from scepsis.stats._bootstrap import draw_counts, percentile_interval
from scepsis.stats._equivalence import minimum_detectable
from scepsis.stats._influence import ClusterSums, pooled_variance, two_way_variance
from scepsis.stats._intervals import one_sample_t, t_interval
from scepsis.stats._partial_spearman import RankCorrelation

if TYPE_CHECKING:
    from scepsis._core._edge_sets import EdgeSet
    from scepsis._core._screen_pairs import ScreenPairs
    from scepsis._core._types import BoolArray, FloatArray, IntArray

SIGNED, MAGNITUDE = "signed", "magnitude"
RAW, ADJUSTED, WITHIN = "raw", "adjusted", "within"
CORRELATIONS = [
    "edges", "compared", "adjustment", "rho", "ci_low", "ci_high", "p_value", "ci_low_source", "ci_high_source",
    "p_value_source", "boot_low", "boot_high", "minimum_detectable", "sign_agreement", "sign_expected", "n_pairs",
    "n_sources", "n_targets", "status",
]  # fmt: skip
#: Targets below which a source has no correlation of its own.
MIN_TARGETS = 3


@dataclass(frozen=True)
class Effects:
    """Pairs of a perturbation and a target, what a screen measured for them, and what could explain that trivially."""

    #: Position of the perturbation in the screen, number of its gene, and position among the targets, for each pair.
    unit: IntArray
    source: IntArray
    target: IntArray
    #: Log2 fold change of the target.
    measured: FloatArray
    #: Pairs x covariates: variance, mean and detection rate of the target, cells of the perturbation.
    covariates: FloatArray
    pairs: ScreenPairs
    #: Sign of the fold change that a source which raises its target is to have.
    sign: int = 1

    @classmethod
    def of(
        cls, pairs: ScreenPairs, lfc: FloatArray, n_cells: FloatArray, min_candidates: int, sign: int = 1
    ) -> Effects:
        """Take the pairs of every perturbation that has enough of them; `lfc` is perturbations x candidates."""
        taken = (pairs.labels >= 0) & np.isfinite(lfc)
        taken &= (taken.sum(axis=1) >= min_candidates)[:, None]
        unit, target = np.nonzero(taken)
        covariates = np.column_stack([pairs.features[target], n_cells[unit]])
        source = np.unique(pairs.screen.group()[unit], return_inverse=True)[1]
        return cls(unit, source, target, lfc[taken].astype(np.float64), covariates, pairs, sign)

    @property
    def n_sources(self) -> int:
        return len(np.unique(self.source))

    @property
    def n_targets(self) -> int:
        return len(np.unique(self.target))

    def of_model(self, one: EdgeSet) -> FloatArray:
        """What a set of edges says of every pair, with its sign."""
        plain = replace(one, edges=replace(one.edges, params=one.params | {"signed": False}))
        pairs = self.pairs
        values = oriented(plain, pairs.screen.gene, pairs.genes, pairs.direction)
        return np.asarray(values[self.unit, self.target])

    def compared(self, one: EdgeSet, how: str) -> tuple[FloatArray, FloatArray]:
        """Model and measurement, both signed or both by magnitude."""
        model = self.of_model(one)
        return (np.abs(model) if how == MAGNITUDE else model), self.measured_as(how)

    def measured_as(self, how: str) -> FloatArray:
        """Fold changes, in the direction that a source which raises its target is to have, or by magnitude."""
        return np.abs(self.measured) if how == MAGNITUDE else self.sign * self.measured


def main_comparison(one: EdgeSet) -> str:
    """How a set is compared in the registry: by sign where its edges have one."""
    return SIGNED if one.is_signed else MAGNITUDE


def correlations(
    effects: Effects, sets: list[EdgeSet], *, min_units: int, n_boot: int, seed: int, bar: Any
) -> pd.DataFrame:
    """One row for each set, comparison and adjustment."""
    rows = []
    for one in sets:
        for how in (SIGNED, MAGNITUDE) if one.is_signed else (MAGNITUDE,):
            model, measured = effects.compared(one, how)
            signs = _signs(model, measured) if how == SIGNED else {}
            for adjustment, covariates in ((RAW, None), (ADJUSTED, effects.covariates)):
                correlation = RankCorrelation(model, measured, covariates)
                found = _correlated(effects, correlation, min_units)
                if found["status"] == "ok":
                    found |= _bootstrapped(effects, correlation, n_boot, seed, bar)
                rows.append({"edges": one.name, "compared": how, "adjustment": adjustment} | found | signs)
            within = _within(effects, model, measured, min_units)
            rows.append({"edges": one.name, "compared": how, "adjustment": WITHIN} | within | signs)
            if effects.pairs.leaks[one.name] or effects.pairs.features_leak:
                rows[-3:] = [row | {"status": "label_leak"} for row in rows[-3:]]
    frame = pd.DataFrame(rows, columns=CORRELATIONS)
    floats = [name for name in CORRELATIONS[3:] if not name.startswith("n_") and name != "status"]
    return frame.astype(dict.fromkeys(floats, "float64") | {"status": object})


def _sizes(effects: Effects) -> dict[str, int]:
    return {"n_pairs": len(effects.unit), "n_sources": effects.n_sources, "n_targets": effects.n_targets}


def _correlated(effects: Effects, correlation: RankCorrelation, min_units: int) -> dict[str, Any]:
    sizes = _sizes(effects)
    rho = correlation.rho() if sizes["n_pairs"] > 1 else np.nan
    if not np.isfinite(rho):
        status = "constant_score" if sizes["n_pairs"] > 1 else "too_few_units"
        return sizes | {"rho": np.nan, "status": status}
    if sizes["n_sources"] < min_units:
        return sizes | {"rho": rho, "status": "too_few_units"}
    influence = np.zeros((sizes["n_sources"], int(effects.target.max()) + 1))
    took_part: BoolArray = np.zeros(influence.shape, dtype=bool)
    np.add.at(influence, (effects.source, effects.target), correlation.influence())
    took_part[effects.source, effects.target] = True
    variance = pooled_variance(influence, took_part)
    two_way = _tested(rho, variance.two_way, variance.df)
    by_source = _tested(rho, variance.by_unit, variance.df_unit)
    return sizes | {
        "rho": rho,
        "ci_low": two_way[0],
        "ci_high": two_way[1],
        "p_value": two_way[2],
        "ci_low_source": by_source[0],
        "ci_high_source": by_source[1],
        "p_value_source": by_source[2],
        "minimum_detectable": minimum_detectable(float(np.sqrt(variance.two_way)), variance.df),
        "status": "ok",
    }


def _tested(rho: float, variance: float, df: float) -> tuple[float, float, float]:
    """Interval within -1 and 1, and the p of no correlation."""
    from scipy.special import stdtr

    error = float(np.sqrt(variance))
    if not error > 0 or df < 1:
        return np.nan, np.nan, np.nan
    low, high = t_interval(rho, error, df)
    return max(low, -1.0), min(high, 1.0), 2 * float(stdtr(df, -abs(rho) / error))


def _bootstrapped(effects: Effects, correlation: RankCorrelation, n_boot: int, seed: int, bar: Any) -> dict[str, float]:
    """Percentile interval over resampled sources; the draws are the same for everything that is compared."""
    counts = draw_counts(n_boot, effects.n_sources, child(seed, "model_effects", "bootstrap"))
    replicates = np.full((n_boot, 1), np.nan)
    for index, weight in enumerate(counts):
        replicates[index] = correlation.rho(weight[effects.source])
        bar.update()
    low, high = percentile_interval(replicates)
    return {"boot_low": float(low[0]), "boot_high": float(high[0])}


def _within(effects: Effects, model: FloatArray, measured: FloatArray, min_units: int) -> dict[str, Any]:
    """
    Mean over sources of the correlation over each one's targets: nothing that sources differ by is in it.

    Clustered like the others: sources share their targets, and what one does by accident counts in all of them.
    """
    each = _by_source(effects, model, measured)
    known = {source: one for source, one in each.items() if np.isfinite(one.rho())}
    own = np.array([one.rho() for one in known.values()])
    sizes = _sizes(effects) | {"n_sources": len(own)}
    if not len(own):
        return sizes | {"rho": np.nan, "status": "too_few_units"}
    tested = one_sample_t(own)
    if len(own) < min_units:
        return sizes | {"rho": tested.mean, "status": "too_few_units"}
    sums = ClusterSums.zeros(int(effects.target.max()) + 1)
    for source, one in known.items():
        members = effects.target[effects.source == source]
        influence = np.zeros(len(sums.by_gene))
        np.add.at(influence, members, one.influence())
        sums.add(influence[None], np.isin(np.arange(len(influence)), members))
    variance, df = two_way_variance(own, sums)
    two_way = _tested(tested.mean, variance, df)
    return sizes | {
        "rho": tested.mean,
        "ci_low": two_way[0],
        "ci_high": two_way[1],
        "p_value": two_way[2],
        "ci_low_source": tested.interval.low,
        "ci_high_source": tested.interval.high,
        "p_value_source": tested.p_value,
        "minimum_detectable": minimum_detectable(float(np.sqrt(variance)), df),
        "status": "ok",
    }


def _by_source(effects: Effects, model: FloatArray, measured: FloatArray) -> dict[int, RankCorrelation]:
    """Correlation over the targets of every source that has a few."""
    result = {}
    for source in range(effects.n_sources):
        rows = effects.source == source
        if int(rows.sum()) >= MIN_TARGETS:
            result[source] = RankCorrelation(model[rows], measured[rows])
    return result


def _signs(model: FloatArray, measured: FloatArray) -> dict[str, float]:
    """Share of pairs with the same sign, and the share that independent signs would have."""
    both = (model != 0) & (measured != 0)
    if not both.any():
        return {}
    up, rises = (model[both] > 0), (measured[both] > 0)
    first, second = float(up.mean()), float(rises.mean())
    return {
        "sign_agreement": float((up == rises).mean()),
        "sign_expected": first * second + (1 - first) * (1 - second),
    }


def per_source(effects: Effects, sets: list[EdgeSet]) -> pd.DataFrame:
    """Correlation over the targets of each source, for each set."""
    names = np.array(effects.pairs.screen.names, dtype=object)
    rows = []
    for one in sets:
        model, measured = effects.compared(one, main_comparison(one))
        each = _by_source(effects, model, measured)
        for source in range(effects.n_sources):
            members = effects.source == source
            rho = each[source].rho() if source in each else np.nan
            label = ";".join(str(name) for name in names[np.unique(effects.unit[members])])
            status = "ok" if np.isfinite(rho) else "constant_score" if members.sum() >= MIN_TARGETS else "too_few_units"
            rows.append((one.name, label, int(members.sum()), rho, status))
    frame = pd.DataFrame(rows, columns=["edges", "perturbation", "n_targets", "rho", "status"])
    return frame.astype({"edges": object, "perturbation": object, "status": object, "rho": "float64"})


def baselines(effects: Effects, sets: list[EdgeSet]) -> pd.DataFrame:
    """What features of single targets, and the number of cells, say of measured effects on the same pairs."""
    names = (*FEATURES, "perturbed_cells")
    rows = []
    for how in dict.fromkeys(main_comparison(one) for one in sets):
        measured = effects.measured_as(how)
        for name, values in zip(names, effects.covariates.T, strict=True):
            rho = RankCorrelation(values, measured).rho() if len(measured) > 1 else np.nan
            rows.append((how, name, rho))
    return pd.DataFrame(rows, columns=["compared", "feature", "rho"]).astype({"compared": object, "feature": object})


def agreement(effects: Effects, sets: list[EdgeSet]) -> pd.DataFrame:
    """Correlation of every two sets over the pairs: seeds of one model, or two models."""
    rows = [
        (one.name, other.name, RankCorrelation(effects.of_model(one), effects.of_model(other)).rho())
        for first, one in enumerate(sets)
        for other in sets[first + 1 :]
        if len(effects.unit) > 1
    ]
    frame = pd.DataFrame(rows, columns=["edges", "other", "rho"])
    return frame.astype({"edges": object, "other": object, "rho": "float64"})


def effect_rows(frame: pd.DataFrame, trivial: pd.DataFrame, sets: list[EdgeSet], min_units: int) -> list[Row]:
    """The raw and the adjusted correlation of every set, compared as its edges are."""
    rows = []
    for one in sets:
        how = main_comparison(one)
        strongest = trivial[(trivial["compared"] == how) & trivial["rho"].notna()]
        best: dict[str, Any] = {}
        if len(strongest):
            top = strongest.iloc[int(strongest["rho"].abs().to_numpy().argmax())]
            best = {"baseline_name": str(top["feature"]), "baseline_value": float(top["rho"])}
        own = frame[(frame["edges"] == one.name) & (frame["compared"] == how)]
        for _, found in own[own["adjustment"] != WITHIN].iterrows():
            adjustment = str(found["adjustment"])
            rows.append(
                Row(
                    analysis="A20",
                    name=f"spearman/{adjustment}",
                    hypothesis=f"Effects in the model ({one.name}) do not rank like measured ones"
                    + (" of targets that are alike" if adjustment == ADJUSTED else ""),
                    test_type="Spearman" if adjustment == RAW else "partial Spearman",
                    role="confirmatory",
                    edges=one.name,
                    statistic=float(found["rho"]),
                    p_raw=float(found["p_value"]),
                    effect_size=float(found["rho"]),
                    effect_type=f"Spearman rho ({how})",
                    ci_low=float(found["ci_low"]),
                    ci_high=float(found["ci_high"]),
                    ci_method="t, clustered by source and target",
                    unit="source x target",
                    n=int(found["n_pairs"]),
                    n_units=int(found["n_sources"]),
                    minimum_detectable=float(found["minimum_detectable"]),
                    is_primary=adjustment == ADJUSTED,
                    status=str(found["status"]),
                    reason=_reason(str(found["status"]), int(found["n_sources"]), min_units),
                    **best,
                )
            )
    return rows


def _reason(status: str, n_sources: int, min_units: int) -> str:
    return {
        "too_few_units": f"{n_sources} sources have enough targets, and {min_units} are needed",
        "constant_score": "nothing varies once covariates are taken away",
        "label_leak": "perturbed cells are among those that edges or features were made from",
    }.get(status, "")
