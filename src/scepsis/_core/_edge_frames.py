"""Edges that arrive as a table ``source, target, weight``, turned into the matrix that every tool reads."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scepsis._core._edge_slots import EdgeArray
from scepsis._core._match import VAR_NAMES, columns_with, looks_like, same_but_case, slot_of, unversioned
from scepsis._core._memory import require_memory
from scepsis._core._validate import listing, require_column

if TYPE_CHECKING:
    from anndata import AnnData

    from scepsis._core._types import BoolArray, FloatArray, IntArray

logger = logging.getLogger(__name__)
SOURCE, TARGET, WEIGHT, GROUP = "source", "target", "weight", "group"
#: Below this share of pairs with a weight, a weighted table cannot be all there was.
_DENSE = 0.5
#: A number of targets that so many sources share is a top-k even when k is large, unless the rows are complete.
_SOURCES, _COMPLETE = 5, 0.95


@dataclass(frozen=True)
class EdgeTable:
    """Rows of a table that join two different genes of `adata` by a weight."""

    #: Positions in ``adata.var``.
    source: IntArray
    target: IntArray
    weight: FloatArray
    #: Value of the column ``group``; "" without one.
    group: Any
    #: Names of the table that `adata` does not have.
    unmapped: list[str]
    n_rows: int

    def of_group(self, group: str) -> EdgeTable:
        """Rows of one group."""
        rows = self.group == group
        return EdgeTable(
            self.source[rows], self.target[rows], self.weight[rows], self.group[rows], self.unmapped, self.n_rows
        )

    @property
    def density(self) -> float:
        """Share of the pairs among the table's sources and targets that have a weight other than 0."""
        sources, targets = np.unique(self.source), np.unique(self.target)
        possible = len(sources) * len(targets) - len(np.intersect1d(sources, targets))
        return int((self.weight != 0).sum()) / max(possible, 1)

    @property
    def truncation(self) -> str:
        """
        Give the sign that the table was cut to the strongest edges; "" when there is none.

        Weights that differ are a method's scores, and a method scores all pairs. A table of equal weights is a list
        of known edges, of which nothing was cut.
        """
        scored = self.weight != 0
        if len(np.unique(np.abs(self.weight[scored]))) < 2:
            return ""
        if 2 * int(scored.sum()) < len(scored):
            return f"{int((~scored).sum())} of {len(scored)} weights are exactly zero"
        sources, n_targets = np.unique(self.source[scored], return_counts=True)
        possible = len(np.unique(self.target))
        if len(sources) >= _SOURCES and len(np.unique(n_targets)) == 1 and n_targets[0] < _COMPLETE * (possible - 1):
            return f"every source has {n_targets[0]} of {possible} targets"
        if self.density < _DENSE:
            return f"a typical source has {np.median(n_targets):.0f} of {possible} targets"
        return ""

    def warn_if_truncated(self, where: str, *, stacklevel: int) -> None:
        """Cutting moves every AUROC towards 0.5, and what was cut cannot be known."""
        if self.truncation:
            warnings.warn(
                f"`{where}` looks truncated to the strongest edges: {self.truncation}. Only listed pairs can be "
                "compared, and ranks among them alone are closer to chance; export the full rows if you can.",
                UserWarning,
                stacklevel=stacklevel + 1,
            )

    def matrix(
        self,
        where: str,
        *,
        panel: BoolArray | None = None,
        fill_value: float = np.nan,
        memory_limit: int | None = None,
    ) -> EdgeArray:
        """
        Matrix among the genes of the table and of `panel`.

        `fill_value` stands for pairs that are not listed, from listed sources to genes of `panel`; without a panel
        they were never evaluated.
        """
        genes = np.union1d(self.source, self.target)
        filled = np.flatnonzero(panel) if panel is not None else genes[:0]
        genes = np.union1d(genes, filled)
        n = len(genes)
        require_memory(
            4 * n * n,
            memory_limit,
            what=f"`{where}` as a matrix of {n} genes",
            remedy="Leave out genes that are not scored.",
        )
        row, column = np.searchsorted(genes, self.source), np.searchsorted(genes, self.target)
        values = np.full((n, n), np.nan, dtype=np.float32)
        values[np.ix_(np.unique(row), np.searchsorted(genes, filled))] = fill_value
        values[row, column] = self.weight
        np.fill_diagonal(values, np.nan)
        return EdgeArray(values, genes, {})


def edges_from_frame(adata: AnnData, frame: pd.DataFrame, *, argument: str = "edges") -> dict[str, EdgeArray]:
    """
    Edges of a table, one set for each value of its column ``group`` (without one: a single set under "").

    Names that are not in ``var_names`` and edges from a gene to itself are left out and counted in the log; a pair
    that is listed twice, a weight that is no number and a table in another namespace raise. A pair that is not
    listed was not evaluated, and a table that lists less than half of the pairs of its genes is warned about.
    """
    table = read_table(adata, frame, argument=argument)
    result = {}
    for group in dict.fromkeys(table.group.tolist()):
        where = f"{argument}, group {group!r}" if group else argument
        part = table.of_group(group)
        result[group] = part.matrix(where)
        part.warn_if_truncated(where, stacklevel=3)
    return result


def read_table(
    adata: AnnData,
    frame: pd.DataFrame,
    *,
    argument: str = "edges",
    gene_symbols: str | None = None,
    default_weight: float | None = None,
) -> EdgeTable:
    """Check a table and find its genes in ``var_names``, or in the column `gene_symbols` of ``var``."""
    weight = _weights(frame, argument, default_weight)
    place = VAR_NAMES if gene_symbols is None else gene_symbols
    index = name_index(adata, frame, gene_symbols, place, argument)
    source, target = (
        gene_positions(adata, index, frame[side], f"{argument}[{side!r}]", place) for side in (SOURCE, TARGET)
    )
    group = frame[GROUP].astype(str).to_numpy() if GROUP in frame else np.full(len(frame), "", dtype=object)
    known = (source >= 0) & (target >= 0)
    loops = known & (source == target)
    kept = known & ~loops & ~np.isnan(weight)
    if not kept.any():
        msg = f"`{argument}` has no edge between two different genes of {slot_of(place)}."
        raise ValueError(msg)
    unmapped = _unmapped(frame, source, target)
    if unmapped:
        names = listing(unmapped, limit=50)
        logger.warning("%s: %d genes are not in %s: %s", argument, len(unmapped), slot_of(place), names)
    if not kept.all():
        logger.info(
            "%s: left out are %d of %d rows that name a gene outside %s, %d that join a gene to itself and %d without "
            "a weight",
            argument,
            int((~known).sum()),
            len(frame),
            slot_of(place),
            int(loops.sum()),
            int(np.isnan(weight).sum()),
        )
    table = EdgeTable(source[kept], target[kept], weight[kept], group[kept], unmapped, len(frame))
    _require_once(adata, table, argument)
    return table


def _weights(frame: pd.DataFrame, argument: str, default_weight: float | None) -> FloatArray:
    needed = (SOURCE, TARGET, WEIGHT) if default_weight is None else (SOURCE, TARGET)
    missing = [name for name in needed if name not in frame.columns]
    if missing:
        msg = (
            f"`{argument}` lacks {listing(missing)}; its columns are {listing(frame.columns)}. "
            "An edge table has the columns 'source', 'target' and 'weight', and 'group' if it holds several networks."
        )
        raise KeyError(msg)
    if WEIGHT not in frame:
        return np.full(len(frame), default_weight, dtype=np.float32)
    column = frame[WEIGHT]
    if not pd.api.types.is_numeric_dtype(column):
        msg = f"`{argument}['weight']` must be numeric, not {column.dtype}."
        raise TypeError(msg)
    weights: FloatArray = column.to_numpy(dtype=np.float32, na_value=np.nan)
    if np.isinf(weights).any():
        msg = (
            f"`{argument}['weight']` holds infinite values (in 32 bits). Rescale the weights; ranks are all that count."
        )
        raise ValueError(msg)
    return weights


def name_index(
    adata: AnnData, frame: pd.DataFrame, gene_symbols: str | None, place: str, argument: str
) -> dict[str, int]:
    """Name -> position in ``var``; a name that the table uses must stand for one gene."""
    names = adata.var_names if gene_symbols is None else require_column(adata.var, gene_symbols, slot="var")
    symbols = pd.Index(names.astype(object))
    known = symbols.notna()
    repeated = symbols[symbols.duplicated() & known].unique()
    used = repeated[repeated.isin(frame[SOURCE]) | repeated.isin(frame[TARGET])]
    if len(used):
        msg = f"{slot_of(place)} has several genes called {listing(used)}, which `{argument}` names: rename them first."
        raise ValueError(msg)
    return {str(name): position for position, name in enumerate(symbols) if known[position]}


def gene_positions(
    adata: AnnData,
    index: dict[str, int],
    column: pd.Series[Any],
    where: str,
    place: str,
    *,
    remedy: str = "call `scepsis.pp.add_edges(adata, frame, key_added=...{argument})`",
) -> IntArray:
    """
    Position of every name, -1 for those that are not there.

    `remedy` is what to do when another column of ``var`` has the names, with a place for ``, gene_symbols="..."``.
    """
    codes, names = pd.factorize(column, use_na_sentinel=True)
    wanted = [str(name) for name in names]
    if not wanted:
        msg = f"`{where}` has no names: is there anything left of the table?"
        raise ValueError(msg)
    found = np.array([index.get(name, -1) for name in wanted], dtype=np.int64)
    n_found = int((found >= 0).sum())
    n_same = same_but_case(wanted, index) if 2 * n_found < len(wanted) else 0
    if n_same or not n_found:
        raise ValueError(_two_namespaces(adata, index, wanted, n_found, n_same, where, place, remedy))
    return np.append(found, -1)[codes]  # a missing name has code -1, the last entry


def _two_namespaces(
    adata: AnnData, index: dict[str, int], wanted: list[str], n_found: int, n_same: int, where: str, place: str,
    remedy: str,
) -> str:  # fmt: skip
    """Say how names of a table could be those of genes; `n_same` of them are, but for capitals."""
    few = f"{n_found} of the {len(wanted)} names" if n_found else f"None of the {len(wanted)} names"
    text = (
        f"{few} in `{where}` (such as {listing(wanted[:3])}) {'are' if n_found else 'is'} in {slot_of(place)} "
        f"(such as {listing(list(index)[:3])}): two namespaces. The former look like {looks_like(wanted)}. "
    )
    better = [name for name, number in columns_with(adata.var, wanted) if name != place and number > n_found]
    versions = {unversioned(name) for name in index} & {unversioned(name) for name in wanted}
    if better:
        argument = "" if better[0] == VAR_NAMES else f", gene_symbols={better[0]!r}"
        return text + f"{slot_of(better[0])} has them: {remedy.format(argument=argument)}."
    if n_same:
        return text + (
            f"{n_same} of them differ in capitals alone, as between mouse and human: translate them by "
            "`scepsis.references.convert_ids(frame, orthologs)`."
        )
    if versions:
        return text + (
            f"{len(versions)} of them differ in the version behind the dot alone: take it off on either side, for "
            "example by `names.str.replace(r'\\.\\d+$', '', regex=True)`."
        )
    return text + "No column of `adata.var` has any of them: translate one of the two first."


def _unmapped(frame: pd.DataFrame, source: IntArray, target: IntArray) -> list[str]:
    names = pd.concat([frame[SOURCE][source < 0], frame[TARGET][target < 0]]).dropna()
    return [str(name) for name in pd.unique(names)]


def _require_once(adata: AnnData, table: EdgeTable, argument: str) -> None:
    pairs = pd.DataFrame({SOURCE: table.source, TARGET: table.target, GROUP: table.group})
    repeated = pairs[pairs.duplicated()].drop_duplicates()
    if len(repeated):
        names = adata.var_names
        shown = [f"{names[row.source]} -> {names[row.target]}" for row in repeated.itertuples()]
        msg = (
            f"`{argument}` lists {len(repeated)} pair(s) of genes more than once: {listing(shown)}. "
            "Merge them first, for example `frame.groupby(['source', 'target'], as_index=False)['weight'].max()`."
        )
        raise ValueError(msg)


def better_named(adata: AnnData, frame: pd.DataFrame, gene_symbols: str | None) -> str | None:
    """Column that names more of a table's genes: `gene_symbols`, or None for ``var_names``."""
    if gene_symbols is None or gene_symbols not in adata.var or not {SOURCE, TARGET} <= set(frame):
        return gene_symbols
    named = {*frame[SOURCE], *frame[TARGET]}
    by_name, by_symbol = (int(names.isin(named).sum()) for names in (adata.var_names, adata.var[gene_symbols]))
    return gene_symbols if by_symbol > by_name else None
