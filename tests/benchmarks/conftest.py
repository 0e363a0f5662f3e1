"""Benchmarks are scripts; their parts are imported from where they lie."""

from __future__ import annotations

import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
# at the end, so that no script hides a package of its name
sys.path += [str(BENCHMARKS), str(BENCHMARKS / "operating_characteristics")]
