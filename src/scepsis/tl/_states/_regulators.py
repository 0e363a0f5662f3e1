"""Whether an aggregate ranks the targets of regulators better than all cells together do: one test over regulators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scepsis._core._registry import Row

if TYPE_CHECKING:
    from scepsis._core._types import FloatArray
    from scepsis.tl._states._recovery import Recovery

#: Regulators that a test over regulators needs.
MIN_UNITS = 6
#: Level at which a planted signal counts as seen.
DETECTED_BELOW = 0.05


@dataclass(frozen=True)
class Gain:
    """Differences of AUROC, one for each regulator that has one, and their signed ranks (one-sided: above zero)."""

    differences: FloatArray
    status: str
    statistic: float
    p_value: float

    @classmethod
    def of(cls, differences: FloatArray, status: str) -> Gain:
        """`status` is what is known of them so far; ``ok`` becomes ``too_few_units`` below six regulators."""
        from scipy.stats import wilcoxon

        known = differences[~np.isnan(differences)]
        if status == "ok" and len(known) < MIN_UNITS:
            status = "too_few_units"
        moved = known[np.abs(known) > 1e-12]
        tested = wilcoxon(moved, alternative="greater") if status == "ok" and len(moved) else None
        p_value = np.nan if status != "ok" else 1.0 if tested is None else float(tested.pvalue)
        return cls(known, status, np.nan if tested is None else float(tested.statistic), p_value)

    @property
    def mean(self) -> float:
        return float(self.differences.mean()) if len(self.differences) else np.nan

    def row(
        self, name: str, hypothesis: str, edges: str, recovery: Recovery, *, effect_type: str, pooled: float
    ) -> Row:
        """Its row of the registry."""
        n = len(self.differences)
        return Row(
            analysis="A24",
            name=name,
            hypothesis=hypothesis,
            test_type="Wilcoxon signed-rank",
            role="confirmatory",
            direction="greater",
            edges=edges,
            statistic=self.statistic,
            p_raw=self.p_value,
            effect_size=self.mean,
            effect_type=effect_type,
            unit="regulator",
            n=n,
            n_units=n,
            n_pos=recovery.n_listed,
            baseline_name="pooled",
            baseline_value=pooled,
            status=self.status,
        )

    def seen(self, edges: str, test: str, delta: float) -> dict[str, Any]:
        """A row of a frame ``detection``; the interval is Student's over regulators."""
        from scipy.stats import t

        n = len(self.differences)
        half = np.nan
        if n > 1:
            half = float(t.ppf(0.975, n - 1) * self.differences.std(ddof=1) / np.sqrt(n))
        return {
            "edges": edges,
            "test": test,
            "delta": delta,
            "statistic": self.mean,
            "ci_low": self.mean - half,
            "ci_high": self.mean + half,
            "p_value": self.p_value,
            "detected": bool(self.p_value < DETECTED_BELOW),
        }


#: Columns of a frame ``detection``.
DETECTION = ("edges", "test", "delta", "statistic", "ci_low", "ci_high", "p_value", "detected")
