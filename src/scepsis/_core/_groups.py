"""Groups of cells: labels of an ``obs`` column, as codes and as slot-safe names."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scepsis._core._keys import slugs
from scepsis._core._validate import listing, require_column

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from scepsis._core._types import BoolArray, Data, IntArray

logger = logging.getLogger(__name__)


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
        return cls._of(_labels(require_column(adata.obs, groupby, slot="obs"), groupby))

    @classmethod
    def find(cls, data: Data, adata: AnnData, groupby: str) -> Groups:
        """
        Labels of ``obs[groupby]`` of `adata`, or, of MuData, of another modality (``"prot:leiden"``) or of all.

        Cells that the other modality does not have get no label.
        """
        if groupby in adata.obs or data is adata:
            return cls.read(adata, groupby)
        mods: Any = getattr(data, "mod", {})
        name, _, column = groupby.partition(":")
        if name in mods and column:
            found = require_column(mods[name].obs, column, slot="obs", remedy=f"(The modality is {name!r}.)")
        else:
            remedy = f"Columns of other modalities are called `'<modality>:<column>'`, of {listing(mods)}."
            found = require_column(data.obs, groupby, slot="obs", remedy=remedy)
        return cls._of(_labels(found, groupby).reindex(adata.obs_names))

    @classmethod
    def _of(cls, column: pd.Series[Any]) -> Groups:
        categories = column.cat
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


def _labels(column: pd.Series[Any], groupby: str) -> pd.Series[Any]:
    """Categorical labels; continuous columns are refused."""
    if column.dtype.kind == "f":
        msg = f"`adata.obs[{groupby!r}]` is continuous; `groupby` takes labels (a categorical or strings)."
        raise TypeError(msg)
    return column.astype("category")


@dataclass(frozen=True)
class Strata:
    """Groups of chosen cells that are large enough to be looked at one by one."""

    #: Rows of each stratum that is kept, in ``adata.obs``, ascending.
    members: tuple[IntArray, ...]
    #: Labels and slugs of those.
    labels: tuple[str, ...]
    slugs: tuple[str, ...]
    #: ``group``, ``slug``, ``n_obs`` and ``status`` of all groups that occur among the chosen cells.
    table: pd.DataFrame

    @classmethod
    def of(cls, groups: Groups, cells: BoolArray, min_cells: int, *, where: str) -> Strata:
        """
        Keep groups of at least `min_cells` of the chosen cells; the others are listed as ``too_few_units``.

        Raises `ValueError` when no cell has a label or no group is large enough.
        """
        table = groups.strata(cells)
        codes = np.flatnonzero(table["n_obs"] > 0)
        table = table.iloc[codes].reset_index(drop=True)
        n_unlabelled = int((cells & (groups.codes < 0)).sum())
        if table.empty:
            msg = (
                f"None of the {int(cells.sum())} chosen cells has a label in {where}: strata and edges would be of "
                "different cells. Choose cells that have one (`mask_obs=`), or label these."
            )
            raise ValueError(msg)
        kept = (table["n_obs"] >= min_cells).to_numpy()
        if not kept.any():
            msg = (
                f"No group of {where} has {min_cells} of the chosen cells; the largest has {table['n_obs'].max()}. "
                "Pass a smaller `min_cells=` or coarser labels."
            )
            raise ValueError(msg)
        if n_unlabelled:
            logger.info("%d chosen cells without a label in %s belong to no stratum", n_unlabelled, where)
        if not kept.all():
            small = listing(table["group"][~kept])
            logger.warning("strata with fewer than %d cells are left out: %s", min_cells, small)
        return cls(
            tuple(np.flatnonzero(cells & (groups.codes == code)) for code in codes[kept]),
            tuple(table["group"][kept]),
            tuple(table["slug"][kept]),
            table.assign(status=np.where(kept, "ok", "too_few_units").astype(object)),
        )

    @property
    def sizes(self) -> list[int]:
        return [len(rows) for rows in self.members]

    @property
    def rows(self) -> IntArray:
        """Cells of all strata that are kept, ascending."""
        return np.sort(np.concatenate(self.members))

    def column(self, n_obs: int) -> Any:
        """Stratum of every cell; missing for cells of none."""
        import pandas as pd

        codes = np.full(n_obs, -1)
        for code, rows in enumerate(self.members):
            codes[rows] = code
        return pd.Categorical.from_codes(codes, categories=pd.Index(self.labels))
