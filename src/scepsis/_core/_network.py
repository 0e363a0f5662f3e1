"""A reference network over the genes of a panel: which pairs it lists, and which it could have listed."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd

from scepsis._core._edge_frames import SOURCE, TARGET, WEIGHT, gene_positions, name_index
from scepsis._core._hashing import hash_array, hash_strings
from scepsis._core._match import VAR_NAMES, slot_of
from scepsis._core._screen_pairs import oriented
from scepsis._core._validate import listing, require_choice, require_positive

if TYPE_CHECKING:
    from anndata import AnnData

    from scepsis._core._edge_sets import EdgeSet
    from scepsis._core._types import BoolArray, Direction, FloatArray, IntArray

logger = logging.getLogger(__name__)
Universe = Literal["regulators", "all_pairs", "unordered"]
#: Universes in which a pair has a source.
Directed = Literal["regulators", "all_pairs"]
MODE = "mode"
#: Whether the order of a pair means something; a reference without this column is taken to be directed.
DIRECTED = "directed"
#: What the sign of a pair of CollecTRI rests on.
SIGN_DECISION = "sign_decision"
#: Spellings of a known direction of regulation, in lower case.
KNOWN_MODES = (
    "activation", "repression", "activation;repression", "stimulation", "inhibition", "+", "-", "1", "-1", "1.0",
    "-1.0",
)  # fmt: skip


@dataclass(frozen=True)
class Network:
    """
    Pairs of genes that a reference lists, among those it could have listed.

    ``regulators``: rows are the genes with at least `min_targets` listed targets in the panel, columns the panel;
    ``all_pairs``: both are the panel; ``unordered``: likewise, each pair once (above the diagonal).
    """

    universe: Universe
    #: Positions in ``adata.var``, ascending.
    sources: IntArray
    targets: IntArray
    #: Sources x targets: listed pairs, and pairs that take part (never a gene with itself).
    listed: BoolArray
    candidate: BoolArray
    #: Listed pairs whose direction of regulation is known; None where the reference does not tell.
    known_mode: BoolArray | None
    #: Rows of the reference, then unique pairs: all, those that are no self-pair, within the panel, listed here.
    counts: dict[str, int]
    hash: str

    def scores(self, one: EdgeSet) -> FloatArray:
        """What a set of edges says of every pair, sources x targets; NaN outside the candidates and where it lacks."""
        way: Direction = "mean" if self.universe == "unordered" else "source"
        scores = oriented(one, self.sources, self.targets, way)
        scores[~self.candidate] = np.nan
        return scores


def read_network(
    adata: AnnData,
    frame: pd.DataFrame,
    panel: IntArray,
    *,
    universe: Universe = "regulators",
    min_targets: int = 3,
    gene_symbols: str | None = None,
    argument: str = "reference",
    allow_empty: bool = False,
) -> Network:
    """
    Clean a reference and lay it over a panel.

    A frame ``source, target`` with, if it has them, ``weight`` (0 lists no edge) and ``mode``. Rows that repeat a
    pair count once, a pair of a gene with itself not at all. Raises `KeyError` for missing columns and `ValueError`
    for names of another namespace or, unless `allow_empty`, a reference without any pair of two different genes of
    `adata`.
    """
    require_choice(universe, get_args(Universe), argument="universe")
    require_positive(min_targets, argument="min_targets")
    missing = [name for name in (SOURCE, TARGET) if name not in frame.columns]
    if missing:
        msg = (
            f"`{argument}` lacks {listing(missing)}; its columns are {listing(frame.columns)}. "
            "A network has the columns 'source' and 'target', and may have 'weight' and 'mode'."
        )
        raise KeyError(msg)
    directed = _with_direction(frame, argument)
    if universe != "unordered" and len(frame) and not directed.any():
        msg = (
            f"`{argument}` lists pairs without a direction (its column 'directed' is False throughout), each once, in "
            "alphabetical order: which gene is the source says nothing. Pass `universe='unordered'` to a tool that "
            "takes it (`scepsis.tl.reference_auroc`); `scepsis.tl.characterize_layers` sees it by itself. Questions "
            "about regulators need a directed network, such as `scepsis.references.trrust()`."
        )
        raise ValueError(msg)
    weight = _weights(frame, argument)
    place = VAR_NAMES if gene_symbols is None else gene_symbols
    index = name_index(adata, frame, gene_symbols, place, argument)
    remedy = f"pass `{argument}` to the same call{{argument}}"
    source, target = (
        gene_positions(adata, index, frame[side], f"{argument}[{side!r}]", place, remedy=remedy)
        for side in (SOURCE, TARGET)
    )
    known = (weight != 0) & (source >= 0) & (target >= 0)
    if universe != "unordered" and not directed.all():
        known &= directed
        logger.info("%s: %d rows have no direction, and are left out", argument, int((~directed).sum()))
    if not allow_empty and not (known & (source != target)).any():
        msg = f"`{argument}` lists no pair of two different genes of {slot_of(place)}."
        raise ValueError(msg)
    unmapped = pd.unique(pd.concat([frame[SOURCE][source < 0], frame[TARGET][target < 0]]).dropna())
    if len(unmapped):
        logger.info("%s: %d genes are not in %s", argument, len(unmapped), slot_of(place))
    modes = _known_modes(frame, weight)
    return _laid_out(
        (source[known], target[known]), None if modes is None else modes[known], panel, universe, min_targets,
        counts=_hygiene(frame, ordered=universe != "unordered"), names=hash_strings(adata.var_names[panel]),
    )  # fmt: skip


def listed_both_ways(frame: pd.DataFrame) -> tuple[int, int]:
    """Pairs of two different genes that are listed in both directions, and all of these pairs."""
    numbers: dict[str, int] = {}
    source, target = (_numbered(frame[side], numbers) for side in (SOURCE, TARGET))
    pairs = np.unique((source * (len(numbers) + 1) + target)[(source != target) & (source >= 0) & (target >= 0)])
    first, second = np.divmod(pairs, len(numbers) + 1)
    return int(np.isin(second * (len(numbers) + 1) + first, pairs).sum()), len(pairs)


def _with_direction(frame: pd.DataFrame, argument: str) -> BoolArray:
    """Rows whose order means something: all of them where no column says."""
    if DIRECTED not in frame:
        return np.ones(len(frame), dtype=bool)
    column = frame[DIRECTED]
    if not column.dropna().isin([True, False]).all():
        msg = f"`{argument}[{DIRECTED!r}]` must be boolean, not {column.dtype} such as {column.dropna().iloc[0]!r}."
        raise TypeError(msg)
    directed: BoolArray = column.isin([True]).to_numpy(dtype=bool)
    return directed


def _weights(frame: pd.DataFrame, argument: str) -> FloatArray:
    """Weight of every row, 1 where no column says."""
    if WEIGHT not in frame:
        return np.ones(len(frame))
    if not pd.api.types.is_numeric_dtype(frame[WEIGHT]):
        msg = f"`{argument}[{WEIGHT!r}]` must be numeric, not {frame[WEIGHT].dtype}."
        raise TypeError(msg)
    weights: FloatArray = frame[WEIGHT].to_numpy(dtype=np.float64, na_value=np.nan)
    return weights


def _hygiene(frame: pd.DataFrame, *, ordered: bool) -> dict[str, int]:
    numbers: dict[str, int] = {}
    sides = np.stack([_numbered(frame[side], numbers) for side in (SOURCE, TARGET)], axis=1)
    pairs = pd.DataFrame(sides if ordered else np.sort(sides, axis=1), columns=[SOURCE, TARGET]).drop_duplicates()
    return {
        "n_rows": len(frame),
        "n_unique": len(pairs),
        "n_non_self": int((pairs[SOURCE] != pairs[TARGET]).sum()),
    }


def _numbered(column: pd.Series[Any], numbers: dict[str, int]) -> IntArray:
    """Names as numbers that several columns share; a missing one is -1. Millions of rows are a matter of moments."""
    codes, names = pd.factorize(column)
    found = np.array([numbers.setdefault(str(name), len(numbers)) for name in names], dtype=np.int64)
    return np.append(found, -1)[codes]


def _known_modes(frame: pd.DataFrame, weight: FloatArray) -> BoolArray | None:
    """Rows whose direction of regulation is known: by the column ``mode``, else by a weight of both signs."""
    known: BoolArray
    if MODE in frame:
        known = frame[MODE].astype(str).str.lower().isin(KNOWN_MODES).to_numpy(dtype=bool)
        return known
    if (weight < 0).any():
        known = weight != 0
        return known & ~guessed_signs(frame[SIGN_DECISION]) if SIGN_DECISION in frame else known
    return None


def guessed_signs(column: pd.Series[Any]) -> BoolArray:
    """Signs of CollecTRI that nothing speaks for: +1 by default."""
    guessed: BoolArray = column.astype(str).str.contains("default", case=False).to_numpy(dtype=bool)
    return guessed


def _laid_out(
    pairs: tuple[IntArray, IntArray],
    modes: BoolArray | None,
    panel: IntArray,
    universe: Universe,
    min_targets: int,
    *,
    counts: dict[str, int],
    names: str,
) -> Network:
    n_vars = max(int(part.max(initial=-1)) for part in (panel, *pairs)) + 1
    place = np.full(n_vars, -1)
    place[panel] = np.arange(len(panel))
    row, column = place[pairs[0]], place[pairs[1]]
    inside = (row >= 0) & (column >= 0) & (row != column)
    listed = np.zeros((len(panel), len(panel)), dtype=bool)
    listed[row[inside], column[inside]] = True
    known = None
    if modes is not None:
        known = np.zeros_like(listed)
        known[row[inside & modes], column[inside & modes]] = True
    if universe == "unordered":
        listed = np.triu(listed | listed.T)
        known = None if known is None else np.triu(known | known.T)
    n_in_panel = int(listed.sum())
    candidate = np.triu(np.ones_like(listed), 1) if universe == "unordered" else ~np.eye(len(panel), dtype=bool)
    enough = min_targets if universe == "regulators" else 0
    kept = listed.sum(axis=1) >= enough
    listed, candidate = listed[kept], candidate[kept]
    return Network(
        universe=universe,
        sources=panel[kept],
        targets=panel,
        listed=listed,
        candidate=candidate,
        known_mode=None if known is None else known[kept],
        counts=counts | {"n_in_panel": n_in_panel, "n_listed": int(listed.sum()), "n_sources": int(kept.sum())},
        hash=hash_strings([names, universe, str(min_targets), hash_array(listed)]),
    )
