"""Counts of guides in the cells of a screen, or guides that somebody else has called."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from scepsis._core._resolve import resolve
from scepsis._core._validate import check_counts, listing, require_unique_names
from scepsis._core._values import counts as raw_counts

if TYPE_CHECKING:
    from anndata import AnnData

    from scepsis._core._types import BoolArray, Data

#: Between the guides of one cell, in a column of called guides.
SEPARATOR = r"[+;]"
#: What stands for no guide, in lower case.
NO_GUIDE = ("", "*", "nan", "none", "na", "n/a", "unassigned", "unknown", "negative", "doublet", "multiplet")
#: Share of the cells that must have a row in the matrix of guides.
MIN_FRACTION = 0.5


@dataclass(frozen=True)
class GuideCounts:
    """Cells of `adata` x guides."""

    counts: sparse.csc_matrix
    names: list[str]
    #: Cells that the matrix of guides has a row for.
    known: BoolArray
    #: Whether counts are calls: 1 for each guide that a cell was said to have.
    are_calls: bool
    slot: str
    #: Table of the guides, where there is one.
    table: pd.DataFrame | None = None


def read_guides(
    data: Data, adata: AnnData, guides: str | AnnData | pd.DataFrame, separator: str | None = None
) -> GuideCounts:
    """
    Find guides, and line their cells up with those of `adata` by name.

    `guides` is a modality of MuData, a key of ``obsm``, a column of ``obs`` with guides that were called before, or
    an AnnData or frame of cells x guides.
    """
    if not isinstance(guides, str):
        return _aligned(adata, *_matrix_of(guides, "guides"))
    modalities = getattr(data, "mod", {})
    if guides in modalities:
        return _aligned(adata, *_matrix_of(resolve(data, guides), f"mdata.mod[{guides!r}]"))
    if guides in adata.obsm:
        return _aligned(adata, *_matrix_of(adata.obsm[guides], f"adata.obsm[{guides!r}]"))
    if guides in adata.obs:
        return _called(adata.obs[guides], SEPARATOR if separator is None else re.escape(separator), guides)
    there = [f"obsm[{key!r}]" for key in adata.obsm] + [f"mod[{key!r}]" for key in modalities]
    msg = (
        f"`guides={guides!r}` is no modality, no key of `adata.obsm` and no column of `adata.obs`; there are: "
        f"{', '.join(there) or 'none'}, and the columns {listing(adata.obs.columns)}."
    )
    raise KeyError(msg)


def _matrix_of(guides: Any, slot: str) -> tuple[sparse.csc_matrix, pd.Index[Any], list[str], str, pd.DataFrame | None]:
    """Counts, names of cells, names of guides, where they are from, and the table of guides."""
    if isinstance(guides, pd.DataFrame):
        kinds = guides.dtypes
        wrong = [name for name, kind in kinds.items() if not pd.api.types.is_numeric_dtype(kind)]
        if wrong:
            msg = f"`{slot}` must hold counts; its columns {listing(wrong)} are not numeric."
            raise TypeError(msg)
        matrix = sparse.csc_matrix(guides.to_numpy(dtype=np.float32))
        cells, names, table = guides.index, [str(name) for name in guides], None
    elif hasattr(guides, "var_names"):
        require_unique_names(guides, "obs")
        try:
            blocks = [block for _, block in raw_counts(guides).blocks(np.arange(guides.n_obs))]
        except ValueError as error:
            error.add_note(f"This is of `{slot}`, not of the genes.")
            raise
        matrix = sparse.vstack(blocks, format="csc") if blocks else sparse.csc_matrix(guides.shape)
        cells, names, table = guides.obs_names, [str(name) for name in guides.var_names], guides.var
    else:
        msg = (
            f"`{slot}` must be an AnnData or a frame, whose columns have the names of the guides, not "
            f"{type(guides).__name__}."
        )
        raise TypeError(msg)
    check_counts(matrix.data, slot=slot, remedy="Pass guides as they were counted.")
    repeated = pd.Index(names)[pd.Index(names).duplicated()].unique()
    if len(repeated) or not cells.is_unique:
        what = f"guides called {listing(repeated)}" if len(repeated) else "cells of one name"
        msg = f"`{slot}` has several {what}. Rename or merge them first."
        raise ValueError(msg)
    return matrix, cells, names, slot, table


def _aligned(
    adata: AnnData,
    matrix: sparse.csc_matrix,
    cells: pd.Index[Any],
    names: list[str],
    slot: str,
    table: pd.DataFrame | None,
) -> GuideCounts:
    place = cells.get_indexer(adata.obs_names)
    known = place >= 0
    if known.sum() < MIN_FRACTION * adata.n_obs:
        msg = (
            f"{known.sum()} of the {adata.n_obs} cells of `adata` (such as {listing(adata.obs_names[:2])}) have a row "
            f"in `{slot}`, which has {len(cells)} (such as {listing(cells[:2])}). {_hint(adata.obs_names, cells)}"
        )
        raise ValueError(msg)
    rows = sparse.csr_matrix(
        (np.ones(known.sum(), dtype=np.float32), (np.flatnonzero(known), place[known])),
        shape=(adata.n_obs, len(cells)),
    )
    return GuideCounts((rows @ matrix).tocsc(), names, known, are_calls=False, slot=slot, table=table)


def _hint(cells: pd.Index[Any], others: pd.Index[Any]) -> str:
    """How the names would meet, if there is a simple way."""

    def barcodes(names: pd.Index[Any]) -> set[str]:
        found = (re.search(r"[ACGT]{10,}", str(name)) for name in names)
        return {one.group() for one in found if one}

    common = barcodes(cells) & barcodes(others)
    if len(common) >= MIN_FRACTION * len(cells):
        return (
            f"{len(common)} barcodes are in both, with other prefixes or suffixes: give both the same names first, for "
            "example by `names.str.extract('([ACGT]{10,})')`, if barcodes are unique."
        )
    return "Cells are matched by name, never by position: give the cells of both the same names first."


def _called(column: pd.Series[Any], separator: str, name: str) -> GuideCounts:
    """Guides that are named in a column of labels."""
    labels = column.astype(object).where(column.notna(), "").astype(str)
    codes, distinct = pd.factorize(labels)
    parts = [
        sorted({part.strip() for part in re.split(separator, label)} - {""}) if label.lower() not in NO_GUIDE else []
        for label in distinct
    ]
    parts = [[part for part in one if part.lower() not in NO_GUIDE] for one in parts]
    names = sorted({part for one in parts for part in one})
    if not names:
        msg = f"`adata.obs[{name!r}]` names no guide."
        raise ValueError(msg)
    number = {part: position for position, part in enumerate(names)}
    rows = np.repeat(np.arange(len(parts)), [len(one) for one in parts])
    columns = np.array([number[part] for one in parts for part in one], dtype=np.int64)
    of_label = sparse.csr_matrix(
        (np.ones(len(rows), dtype=np.float32), (rows, columns)), shape=(len(parts), len(names))
    )
    return GuideCounts(
        of_label[codes].tocsc(), names, np.ones(len(column), dtype=bool), are_calls=True, slot=f"adata.obs[{name!r}]"
    )
