"""From guides in cells to what was done to each cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from scipy import sparse

from scepsis._core._values import lognorm
from scepsis.stats._efficacy import OwnExpression
from scepsis.stats._guide_mixture import fit_guides

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anndata import AnnData

    from scepsis._core._guides import GuideCounts
    from scepsis._core._types import BoolArray, IntArray

Crispr = Literal["interference", "activation", "knockout", "unknown"]
#: Expected expressing cells that make the efficacy of a guide measurable, as for responders.
MIN_EXPECTED = 5
#: Control cells from which on they alone are compared with.
MIN_CONTROLS = 30
STATES = ("perturbed", "control", "several_targets", "no_guide", "ineffective_guide", "no_counts")


@dataclass(frozen=True)
class Calls:
    """Cells x guides: which cell has which guide, and how that was told."""

    has: sparse.csc_matrix
    #: Smallest count that counts, of each guide.
    threshold: Any
    table: pd.DataFrame


def call_guides(guides: GuideCounts, method: str, min_counts: int, min_share: float) -> Calls:
    """Call guides by the mixture of each, or by one count for all; `min_share` of a cell's counts must be its."""
    counts = guides.counts
    fits = pd.DataFrame(index=range(len(guides.names)))
    if guides.are_calls:
        threshold = np.ones(len(guides.names))
    elif method == "mixture":
        fits = pd.DataFrame(list(fit_guides(counts, min_counts)))
        threshold = fits["threshold"].to_numpy()
        fits = fits.rename(columns={"size": "background_size", "mean": "log_mean", "sd": "log_sd"})
        fits = fits[["background", "background_size", "log_mean", "log_sd", "share"]]
    else:
        threshold = np.full(len(guides.names), float(min_counts))
    column = np.repeat(np.arange(counts.shape[1]), np.diff(counts.indptr))
    kept = (counts.data >= threshold[column]) & (counts.data > 0)
    if min_share > 0 and not guides.are_calls:
        totals = np.asarray(counts.sum(axis=1)).ravel()
        kept &= counts.data >= min_share * totals[counts.indices]
    has = sparse.csc_matrix((kept[kept].astype(np.int8), (counts.indices[kept], column[kept])), shape=counts.shape)
    return Calls(has, threshold, fits)


def own_efficacy(
    adata: AnnData, has: sparse.csc_matrix, targets: pd.Series[str], position: Mapping[str, int]
) -> pd.DataFrame:
    """
    Expression of each guide's target with it and without.

    Control cells are those with guides without a target alone; where they are too few, all cells without a guide
    against the same target.
    """
    frame = pd.DataFrame(
        {
            "n_control": np.zeros(len(targets), dtype=np.int64),
            "remaining": np.nan,
            "p_value": np.nan,
            "is_measurable": False,
        }
    )
    gene = np.array([position.get(name, -1) for name in targets])
    measured = np.flatnonzero(gene >= 0)
    if not len(measured):
        return frame
    columns, place = np.unique(gene[measured], return_inverse=True)
    of_target = sparse.csr_matrix((np.ones(len(place), dtype=np.int8), (np.arange(len(place)), place)))
    guides = has[:, measured].tocsr()
    member = sparse.hstack([guides, (guides @ of_target).astype(bool).astype(np.int8)], format="csr")
    control = control_cells(has, targets.to_numpy())
    chosen = np.ones(adata.n_obs, dtype=bool) if control is None else control
    genes = np.concatenate([place, np.arange(len(columns))])
    own = OwnExpression(genes, chosen)
    for rows, block in lognorm(adata).log_blocks(np.arange(adata.n_obs)):
        part = member[rows].tocoo()
        own.add(rows, block[:, columns].toarray(), part.row, part.col)
    n_cells = np.asarray(member.sum(axis=0)).ravel().astype(np.int64)
    # the groups after the guides are the targets, in the order of their genes
    found = own.result(n_cells, MIN_EXPECTED, genes + len(measured) if control is None else None)
    n_guides = len(measured)
    for name, values in (
        ("n_control", found.n_control), ("remaining", found.remaining), ("p_value", found.p_value),
        ("is_measurable", found.testable),
    ):  # fmt: skip
        frame.loc[measured, name] = values[:n_guides]
    return frame


def control_cells(has: sparse.csc_matrix, targets: Any) -> BoolArray | None:
    """Cells that have guides without a target and no others; None where these are too few."""
    n_guides = np.asarray(has.sum(axis=1)).ravel()
    n_targeting = np.asarray(has[:, np.flatnonzero(targets != "")].sum(axis=1)).ravel()
    alone: BoolArray = (n_guides > 0) & (n_targeting == 0)
    return alone if alone.sum() >= MIN_CONTROLS else None


def ineffective(remaining: Any, testable: BoolArray, crispr: Crispr, min_efficacy: float) -> BoolArray:
    """Guides that leave too much of their target (interference) or add too little (activation)."""
    change = 1 - remaining if crispr == "interference" else remaining - 1
    found: BoolArray = testable & (change < min_efficacy)
    return found


@dataclass(frozen=True)
class Assignment:
    """What was done to each cell."""

    #: Targets that cells have, ascending, and which cell has which.
    targets: list[str]
    members: sparse.csr_matrix
    labels: pd.Categorical
    #: Names of the guides of each cell, joined by ``;``.
    guides: list[str]
    state: Any


def assign(
    guides: GuideCounts, has: sparse.csc_matrix, dropped: BoolArray, targets: Any, control: str, max_targets: int | None
) -> Assignment:
    """Put guides together to targets, and targets to labels; `dropped` guides are as if they had not been seen."""
    effective = has[:, np.flatnonzero(~dropped)]
    of_guide = targets[~dropped]
    names = sorted({name for name, n in zip(of_guide, _column_sums(effective), strict=True) if name and n})
    number = {name: position for position, name in enumerate(names)}
    pairs = [(row, number[name]) for row, name in enumerate(of_guide) if name in number]
    index = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    together = sparse.csr_matrix(
        (np.ones(len(index), dtype=np.int32), (index[:, 0], index[:, 1])), shape=(len(of_guide), len(names))
    )
    members = (effective.tocsr().astype(np.int32) @ together).tocsr()
    members.sort_indices()
    n_targets = np.diff(members.indptr)
    n_guides = np.diff(effective.tocsr().indptr)
    several = n_targets > (np.inf if max_targets is None else max_targets)
    lost = (n_guides == 0) & (np.diff(has.tocsr().indptr) > 0)
    state = np.select(
        [~guides.known, several, n_targets > 0, n_guides > 0, lost],
        ["no_counts", "several_targets", "perturbed", "control", "ineffective_guide"],
        default="no_guide",
    )
    labels = np.full(len(state), "", dtype=object)
    labels[state == "control"] = control
    for cell in np.flatnonzero(state == "perturbed"):
        labels[cell] = "+".join(names[one] for one in members.indices[members.indptr[cell] : members.indptr[cell + 1]])
    keep = sparse.diags_array((state == "perturbed").astype(np.int8), dtype=np.int8)
    kept = sparse.csr_matrix(keep @ members.astype(bool).astype(np.int8))
    kept.eliminate_zeros()
    categories = sorted(set(labels) - {"", control})
    if (state == "control").any():
        categories = [control, *categories]
    categorical = pd.Categorical(pd.Series(labels).where(labels != ""), categories=categories)
    return Assignment(names, kept, categorical, _joined(has.tocsr(), guides.names), state)


def _column_sums(matrix: sparse.csc_matrix) -> IntArray:
    sums: IntArray = np.diff(matrix.indptr)
    return sums


def _joined(has: sparse.csr_matrix, names: list[str]) -> list[str]:
    """Names of the guides of each cell."""
    has.sort_indices()
    return [
        ";".join([names[one] for one in has.indices[start:end]])
        for start, end in zip(has.indptr[:-1], has.indptr[1:], strict=True)
    ]
