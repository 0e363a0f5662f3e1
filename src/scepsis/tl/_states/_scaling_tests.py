"""What a scaling curve says: signs of changes, and the tests of them."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scepsis._core._registry import Row
from scepsis._core._rng import child
from scepsis.tl._states._regulators import DETECTED_BELOW, DETECTION

if TYPE_CHECKING:
    from scepsis._core._types import FloatArray
    from scepsis.tl._states._recovery import Recovery
    from scepsis.tl._states._samples import Composition, Sample

MIN_RUNS = 6
N_PERMUTATIONS = 9999
#: What is kept of a sample with a signal.
POINT = ["seed", "n_cells", "entropy", "k", "metric", "delta", "value"]


def changes(curve: pd.DataFrame) -> pd.DataFrame:
    """Signs of the change of every metric between neighbouring numbers of cells, and between first and last."""
    rows: list[dict[str, Any]] = []
    for (metric, k), part in curve.groupby(["metric", "k"], sort=False):
        table = part.pivot_table(index="seed", columns="n_cells", values="value", dropna=False)
        sizes = sorted(table.columns)
        pairs = list(pairwise(sizes))
        for first, last in pairs + ([(sizes[0], sizes[-1])] if len(sizes) > 2 else []):
            difference = (table[last] - table[first]).dropna().to_numpy()
            up, down = int((difference > 0).sum()), int((difference < 0).sum())
            mean = float(difference.mean()) if len(difference) else np.nan
            rows.append(
                {
                    "metric": metric, "k": k, "from_cells": first, "to_cells": last, "n_up": up, "n_down": down,
                    "n_same": len(difference) - up - down, "mean_change": mean,
                    "sign": 0 if up == down else 1 if up > down else -1,
                }
            )  # fmt: skip
    names = ["metric", "k", "from_cells", "to_cells", "n_up", "n_down", "n_same", "mean_change", "sign"]
    return pd.DataFrame(rows, columns=names)


def scaling_rows(
    edges: str,
    curve: pd.DataFrame,
    moved: pd.DataFrame,
    recovery: Recovery,
    composition: Composition,
    seed: int,
) -> list[Row]:
    """Rows of the registry."""
    rows = []
    if composition != "varied":
        rows += [*_top_rows(edges, curve, recovery), _sign_row(edges, moved, recovery)]
    if composition != "random":
        part = curve[(curve["metric"] == "auroc") & curve["value"].notna()]
        rows.append(_composition_row(edges, part, recovery, composition, seed))
    return rows


class Signals:
    """Scores of all samples with a signal planted that the tests should see."""

    def __init__(self, runs: list[list[Sample]], composition: Composition, recovery: Recovery, seed: int) -> None:
        self.composition, self.recovery, self.seed = composition, recovery, seed
        self.places = sorted({self._place(one) for samples in runs for one in samples})
        self.points: list[dict[str, Any]] = []

    def _place(self, one: Sample) -> int:
        return one.n_types if self.composition == "varied" else one.n_cells

    def see(self, run: int, one: Sample, scores: FloatArray) -> None:
        """Plant in the scores of a sample, in the same half of the listed pairs of every sample."""
        from scepsis.stats._planted import DELTAS, planted

        place = self.places.index(self._place(one))
        point = {"seed": run, "n_cells": one.n_cells, "entropy": one.entropy, "k": self.recovery.n_listed}
        listed = self.recovery.network.listed
        for delta in DELTAS if self.recovery.status == "ok" else ():
            generators = (child(self.seed, "scaling_curve", "planted") for _ in range(2))
            if self.composition != "varied":
                signal = planted(scores, listed, delta * (place == 0), next(generators))
                f1 = float(self.recovery.top(signal, [self.recovery.n_listed]).f1[0])
                self.points.append(point | {"metric": "top_k", "delta": delta, "value": f1})
            if self.composition != "random":
                signal = planted(scores, listed, delta * place / max(len(self.places) - 1, 1), next(generators))
                area = self.recovery.auroc(signal)
                self.points.append(point | {"metric": "auroc", "delta": delta, "value": area})

    def detection(self, edges: str) -> pd.DataFrame:
        """What the tests say."""
        rows = []
        planted = pd.DataFrame(self.points, columns=POINT)
        for (metric, delta), part in planted.groupby(["metric", "delta"], sort=False):
            row = (
                _top_rows(edges, part, self.recovery)[0]
                if metric == "top_k"
                else _composition_row(edges, part, self.recovery, self.composition, self.seed)
            )
            seen = bool(row.p_raw < DETECTED_BELOW and (metric == "top_k" or row.effect_size > 0))
            rows.append(
                {
                    "edges": edges, "test": row.name, "delta": delta, "statistic": row.effect_size, "ci_low": np.nan,
                    "ci_high": np.nan, "p_value": row.p_raw, "detected": seen,
                }
            )  # fmt: skip
        return pd.DataFrame(rows, columns=list(DETECTION))


def _top_rows(edges: str, curve: pd.DataFrame, recovery: Recovery) -> list[Row]:
    """Does F1 fall from the first to the second number of cells?"""
    from scipy.stats import binomtest, wilcoxon

    part = curve[(curve["metric"] == "top_k") & (curve["k"] == recovery.n_listed)]
    sizes = sorted(part["n_cells"].unique())
    difference = np.zeros(0)
    if len(sizes) > 1:
        table = part.pivot_table(index="seed", columns="n_cells", values="value", dropna=False)
        difference = (table[sizes[1]] - table[sizes[0]]).dropna().to_numpy()
    moved = difference[np.abs(difference) > 1e-12]
    enough = len(difference) >= MIN_RUNS
    status = recovery.status if recovery.status != "ok" else "ok" if enough else "too_few_units"
    span = f" from {sizes[0]} to {sizes[1]} cells" if len(sizes) > 1 else ""
    common: dict[str, Any] = {
        "analysis": "A21", "role": "confirmatory", "direction": "less", "edges": edges, "unit": "run",
        "hypothesis": f"F1 of as many pairs as are listed falls{span}", "n": len(difference),
        "n_units": len(difference), "n_pos": recovery.n_listed,
        "effect_size": float(difference.mean()) if len(difference) else np.nan, "effect_type": "difference of F1",
        "status": status, "reason": "runs share the cells they are drawn from",
    }  # fmt: skip
    down = int((moved < 0).sum())
    sign = binomtest(down, len(moved), alternative="greater").pvalue if len(moved) else 1.0
    signed = wilcoxon(moved, alternative="less") if len(moved) else None
    known = status == "ok"
    return [
        Row(
            name="top_k/sign", test_type="sign test", statistic=float(down), is_primary=True,
            p_raw=float(sign) if known else np.nan, **common,
        ),
        Row(
            name="top_k/wilcoxon", test_type="Wilcoxon signed-rank",
            statistic=np.nan if signed is None else float(signed.statistic),
            p_raw=np.nan if not known else 1.0 if signed is None else float(signed.pvalue), **common,
        ),
    ]  # fmt: skip


def _sign_row(edges: str, moved: pd.DataFrame, recovery: Recovery) -> Row:
    """How many metrics rise with the number of cells."""
    signs = moved["sign"].to_numpy()
    up, down = int((signs > 0).sum()), int((signs < 0).sum())
    return Row(
        analysis="A22", name="sign_matrix", hypothesis="Metrics agree on the direction of the change with more cells",
        test_type="count of signs", role="descriptive", edges=edges, statistic=float(up), unit="metric x step",
        n=len(signs), n_units=up + down, n_pos=recovery.n_listed,
        effect_size=up / (up + down) if up + down else np.nan, effect_type="share of changes that are rises",
        status=recovery.status,
    )  # fmt: skip


def _composition_row(edges: str, part: pd.DataFrame, recovery: Recovery, composition: Composition, seed: int) -> Row:
    """Spearman's correlation of AUROC with the number of cells, or of types; p by permutation over runs and points."""
    from scipy.stats import rankdata

    rng = child(seed, "scaling_curve", "permutation")
    column = "n_cells" if composition == "fixed" else "entropy"
    x, y = part[column].to_numpy(dtype=float), part["value"].to_numpy(dtype=float)
    status = recovery.status
    if status == "ok" and (len(x) < MIN_RUNS or np.ptp(x) == 0 or np.ptp(y) == 0):
        status = "too_few_units"
    rho = p = np.nan
    if status == "ok":
        ranks_x, ranks_y = _standard(rankdata(x)), _standard(rankdata(y))
        rho = float(ranks_x @ ranks_y)
        draws = np.array([ranks_x @ rng.permutation(ranks_y) for _ in range(N_PERMUTATIONS)])
        p = (1 + int((np.abs(draws) >= abs(rho) - 1e-12).sum())) / (1 + N_PERMUTATIONS)
    what = "number of cells at fixed composition" if composition == "fixed" else "entropy of types at a fixed number"
    return Row(
        analysis="A23", name=f"composition/{composition}", hypothesis=f"AUROC changes with the {what}",
        test_type="Spearman correlation, permutation", role="confirmatory", edges=edges, statistic=rho, p_raw=p,
        effect_size=rho, effect_type="Spearman correlation", unit="run x sample", n=len(x), n_units=len(x),
        n_pos=recovery.n_listed, null_family="permutation", is_primary=composition == "varied", status=status,
    )  # fmt: skip


def _standard(ranks: FloatArray) -> FloatArray:
    centred: FloatArray = ranks - ranks.mean()
    return centred / np.sqrt(centred @ centred)
