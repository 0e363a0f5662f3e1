"""What was done to each cell, and which gene of ``var`` each perturbation is about."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from scepsis._core._keys import AssignmentKeys
from scepsis._core._validate import listing, require_column, require_label

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

    from scepsis._core._types import BoolArray, IntArray

logger = logging.getLogger(__name__)
#: Stands for all cells without the perturbation, in place of the label of control cells.
COMPLEMENT = "complement"
#: On record for ``max_targets=None``: a cell has as many perturbations as it has.
ANY_NUMBER = -1


@dataclass(frozen=True)
class Labels:
    """Perturbations of a screen and their cells."""

    #: Names of the perturbations, control excepted, in the order of the categories.
    names: list[str]
    #: Position of each cell's perturbation in `names`; -1 for control cells, -2 for cells without a label.
    codes: IntArray
    #: Cells x perturbations, where a cell may have several; None where `codes` says it all.
    members: sparse.csc_matrix | None = None

    @property
    def is_control(self) -> BoolArray:
        mask: BoolArray = self.codes == -1
        return mask

    def cells(self, position: int) -> IntArray:
        """Cells of one perturbation, ascending."""
        if self.members is not None:
            start, end = self.members.indptr[position : position + 2]
            return np.sort(self.members.indices[start:end]).astype(np.int64)
        return np.flatnonzero(self.codes == position)


def read_labels(adata: AnnData, groupby: str, control: str) -> Labels:
    """Labels from ``obs[groupby]``; cells without one are left out, and their number is logged."""
    column = require_column(adata.obs, groupby, slot="obs", remedy="Pass the column of labels as `groupby=`.")
    slot = f"adata.obs[{groupby!r}]"
    _require_strings(column, slot)
    grouped = column.astype("category").cat.remove_unused_categories().cat
    found = [label for label in grouped.categories if label]
    if control == COMPLEMENT and control not in found:
        msg = (
            f"`control={COMPLEMENT!r}` goes with `overlapping=True`: the complement of a perturbation is all cells "
            f"without it, and `{slot}` alone gives every cell one label."
        )
        raise ValueError(msg)
    require_label(found, control, slot=slot, argument="control")
    names = [str(label) for label in found if label != control]
    if not names:
        msg = (
            f"`{slot}` holds no label other than the control {control!r}: there is no perturbation to compare with it."
        )
        raise ValueError(msg)
    position = {name: index for index, name in enumerate(names)} | {control: -1}
    code = np.array([*(position.get(label, -2) for label in grouped.categories), -2])  # the last for a missing label
    codes = code[grouped.codes.to_numpy()]
    unlabelled = int((codes == -2).sum())
    if unlabelled:
        logger.info("%d cells without a label in %s are left out", unlabelled, slot)
    return Labels(names, codes)


def read_overlapping(adata: AnnData, groupby: str, control: str) -> tuple[Labels, str]:
    """
    Labels of cells that may have several perturbations, as `scepsis.pp.assign_perturbations` stored them.

    Also the label of unperturbed cells. With ``control="complement"``, all labelled cells are control cells.
    """
    keys = AssignmentKeys(groupby)
    if groupby not in adata.obsm or groupby not in adata.obs or keys.uns not in adata.uns:
        msg = (
            f"`overlapping=True` needs `adata.obsm[{groupby!r}]` and `adata.uns[{keys.uns!r}]`. Call "
            f"`scepsis.pp.assign_perturbations(adata, guides, max_targets=None, key_added={groupby!r})` first."
        )
        raise KeyError(msg)
    stored = adata.uns[keys.uns]
    names = [str(name) for name in stored["targets"]["target"]]
    members = sparse.csc_matrix(adata.obsm[groupby])
    members.eliminate_zeros()
    if members.shape[1] != len(names) or not names:
        msg = (
            f"`adata.obsm[{groupby!r}]` has {members.shape[1]} columns, and `adata.uns[{keys.uns!r}]['targets']` "
            f"{len(names)} rows. Call `scepsis.pp.assign_perturbations` anew."
        )
        raise ValueError(msg)
    labels = adata.obs[groupby].astype(object)
    labelled = labels.notna().to_numpy()
    if control != COMPLEMENT:
        require_label(
            list(labels[labelled].unique()), control, slot=f"adata.obs[{groupby!r}]", argument="control",
            remedy="Or compare with all cells without the perturbation: `control='complement'`.",
        )  # fmt: skip
        labelled = (labels == control).to_numpy(dtype=bool)
    return Labels(names, np.where(labelled, -1, -2), members), str(stored["params"]["control"])


def assignment_slots(groupby: str) -> dict[str, list[str]]:
    """Where `read_overlapping` reads, beside ``obs``."""
    return {"uns": [AssignmentKeys(groupby).uns], "obsm": [groupby]}


def require_unperturbed(adata: AnnData, groupby: str, control: str, *, overlapping: bool) -> str:
    """
    Label of the cells that edges can be made from: `control`, or that of unperturbed cells beside a complement.

    Raises what the readers of labels raise, and `ValueError` where no cell has that label.
    """
    if not overlapping:
        read_labels(adata, groupby, control)
        return control
    unperturbed = read_overlapping(adata, groupby, control)[1]
    if control != COMPLEMENT:
        return control
    if not (adata.obs[groupby] == unperturbed).any():
        msg = (
            f"No cell of `adata.obs[{groupby!r}]` is {unperturbed!r}: every cell has guides against some target. Edges "
            "made from these cells have seen the labels that they are scored against, and there are no others to "
            "choose among. Score edges from other cells by `scepsis.tl.perturbation_auroc(adata, edges=...)`."
        )
        raise ValueError(msg)
    return unperturbed


def _require_strings(column: pd.Series[Any], slot: str) -> None:
    """Labels are words: numbers are more likely a score or a cluster than a perturbation."""
    distinct = column.dropna().unique()
    if all(isinstance(label, str) for label in distinct):
        return
    msg = (
        f"`{slot}` must hold labels as strings, not {column.dtype} values such as "
        f"{next(label for label in distinct if not isinstance(label, str))!r}. If these are labels, "
        f"write `{slot} = {slot}.astype(str).astype('category')`."
    )
    raise TypeError(msg)


@dataclass(frozen=True)
class PerturbedGenes:
    """Which gene each perturbation is about."""

    #: Name of the gene in ``var_names``; "" when it is not there, or when several genes were perturbed at once.
    genes: list[str]
    #: Whether several genes were perturbed at once.
    is_multiple: BoolArray


def perturbed_genes(adata: AnnData, labels: Labels, *, control: str, gene_symbols: str | None = None) -> PerturbedGenes:
    """
    Map labels onto genes; `gene_symbols` is the column of ``var`` that they are written in, None means ``var_names``.

    ``A+B`` perturbs two genes, unless a gene is called that or one half is `control`. Labels without a gene are
    listed in the log, and warned about when no label has one.
    """
    symbols = adata.var_names if gene_symbols is None else require_column(adata.var, gene_symbols, slot="var")
    lookup, ambiguous = _lookup(symbols.to_numpy(), adata.var_names.to_numpy())
    genes, multiple = [], np.zeros(len(labels.names), dtype=bool)
    for index, name in enumerate(labels.names):
        parts = [part.strip() for part in name.split("+")]
        parts = [part for part in parts if part and part != control]
        multiple[index] = name not in lookup and len(parts) > 1
        genes.append("" if multiple[index] else lookup.get(name, lookup.get(parts[0] if parts else name, "")))
    where = "adata.var_names" if gene_symbols is None else f"adata.var[{gene_symbols!r}]"
    _say(labels.names, genes, multiple, ambiguous, where)
    return PerturbedGenes(genes, multiple)


def _lookup(symbols: NDArray[Any], var_names: NDArray[Any]) -> tuple[dict[str, str], set[str]]:
    """Symbol -> name of the gene, and the symbols that stand for several genes (they stand for none)."""
    lookup: dict[str, str] = {}
    ambiguous: set[str] = set()
    for symbol, gene in zip(symbols, var_names, strict=True):
        if not isinstance(symbol, str) or not symbol:
            continue
        if symbol in lookup:
            ambiguous.add(symbol)
        lookup[symbol] = str(gene)
    return {symbol: gene for symbol, gene in lookup.items() if symbol not in ambiguous}, ambiguous


def _say(names: list[str], genes: list[str], multiple: BoolArray, ambiguous: set[str], where: str) -> None:
    missing = [name for name, gene, many in zip(names, genes, multiple, strict=True) if not gene and not many]
    unclear = [name for name in missing if name in ambiguous]
    if unclear:
        logger.warning("%s stand for several genes of %s, and are mapped to none", listing(unclear), where)
    if missing and not any(genes):
        warnings.warn(
            f"None of the perturbations ({listing(missing)}) is a gene of `{where}`, so none can be scored as a source "
            "of edges. Pass `gene_symbols=`, the column of `adata.var` that holds the names used in the labels.",
            UserWarning,
            stacklevel=4,
        )
    elif missing:
        logger.info("perturbations without a gene in %s: %s", where, listing(missing, limit=50))
