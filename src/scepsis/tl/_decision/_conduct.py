"""Steps in their order, with progress, what was skipped and why; what a step warns of is said once."""

from __future__ import annotations

import logging
import time
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pandas as pd

from scepsis._core._progress import progress_bar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Step:
    """A call of a tool, or why it is not made."""

    name: str
    call: Callable[[], object]
    #: Why there is nothing to do; "" when there is.
    why_not: str = ""
    #: Whether that is because it is there already.
    present: bool = False


@dataclass
class Log:
    """What was done."""

    rows: list[tuple[str, str, str, float]] = field(default_factory=list)
    warned: set[str] = field(default_factory=set)

    def frame(self) -> pd.DataFrame:
        """One row for each step."""
        types = {"step": object, "status": object, "reason": object, "seconds": float}
        return pd.DataFrame(self.rows, columns=list(types)).astype(types)

    def run(self, steps: Sequence[Step], *, show: bool) -> None:
        """Make the calls one after the other."""
        with progress_bar(total=len(steps), desc="audit", unit="step", show=show) as bar:
            for step in steps:
                bar.set_postfix_str(step.name)
                if step.why_not:
                    self.rows.append((step.name, "present" if step.present else "skipped", step.why_not, 0.0))
                    logger.info("%s: %s", step.name, step.why_not)
                else:
                    start = time.perf_counter()
                    self._call(step)
                    seconds = time.perf_counter() - start
                    self.rows.append((step.name, "run", "", seconds))
                    logger.info("%s (%.1f s)", step.name, seconds)
                bar.update()

    def _call(self, step: Step) -> None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            step.call()
        for one in caught:
            if str(one.message) not in self.warned:
                self.warned.add(str(one.message))
                warnings.warn(one.message, one.category, stacklevel=5)
