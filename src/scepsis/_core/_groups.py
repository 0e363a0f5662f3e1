"""Groups of cells: labels of an ``obs`` column, as codes and as slot-safe names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scepsis._core._keys import slugs
from scepsis._core._validate import require_column

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from scepsis._core._types import BoolArray, IntArray


@dataclass(frozen=True)
class Groups:
    """Group of every cell, and the groups."""

    #: Position of each cell's group in `labels`, -1 for cells without one.
    codes: IntArray
    labels: tuple[str, ...]

    @classmethod
    def none(cls, n_obs: int) -> Groups:
        """All cells together."""
        return cls(np.zeros(n_obs, dtype=np.int64), ())

    @classmethod
    def read(cls, adata: AnnData, groupby: str) -> Groups:
        """Labels of ``obs[groupby]``; continuous columns are refused."""
        column = require_column(adata.obs, groupby, slot="obs")
        if column.dtype.kind == "f":
            msg = f"`adata.obs[{groupby!r}]` is continuous; `groupby` takes labels (a categorical or strings)."
            raise TypeError(msg)
        categories = column.astype("category").cat
        return cls(categories.codes.to_numpy().astype(np.int64), tuple(map(str, categories.categories)))

    @property
    def n_with_rest(self) -> int:
        """Groups, and one more for cells without a label, so that these count towards the whole."""
        return len(self.labels) + bool((self.codes < 0).any()) if self.labels else 1

    def strata(self, cells: BoolArray) -> pd.DataFrame:
        """Group, slug and number of the chosen cells."""
        import pandas as pd

        codes = self.codes[cells & (self.codes >= 0)]
        return pd.DataFrame(
            {
                "group": list(self.labels),
                "slug": list(slugs(self.labels).values()),
                "n_obs": np.bincount(codes, minlength=len(self.labels))[: len(self.labels)].astype(np.int64),
            }
        )
