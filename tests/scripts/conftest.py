"""Scripts are imported from where they lie."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "scripts"))  # at the end, so that no script hides a package of its name
