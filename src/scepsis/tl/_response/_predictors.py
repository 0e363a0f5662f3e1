"""Everything that scores candidates, lined up over the same perturbations and candidates."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scepsis._core._edge_sets import require_told_apart
from scepsis._core._edge_slots import edge_owner, unpack
from scepsis._core._gene_table import FEATURES, feature_params
from scepsis._core._keys import RANDOMIZED, EdgeKeys
from scepsis._core._screen import saw_perturbed_cells
from scepsis._core._validate import listing, require_choice
from scepsis.stats._row_scores import EdgeRows, FrequencyRows, GeneRows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

    from scepsis._core._edge_sets import EdgeSets, Kind
    from scepsis._core._screen import Screen
    from scepsis._core._types import Direction, FloatArray, IntArray
    from scepsis.stats._row_scores import RowScores

logger = logging.getLogger(__name__)
#: Endings of a key whose positions and counts are those of another.
COMPANIONS = ("uniform_fold", "centered", RANDOMIZED)
BASELINES = (*FEATURES, "de_frequency", "position", "coverage")


@dataclass(frozen=True)
class Predictor:
    """A named score of candidates."""

    name: str
    kind: Kind
    #: None when what it would be read from does not exist.
    scores: RowScores | None
    #: Whether it was made from perturbed cells.
    leaks: bool = False


def require_known(baselines: Sequence[str] | str) -> list[str]:
    """Names of baselines, each once."""
    names = [baselines] if isinstance(baselines, str) else list(baselines)
    for name in names:
        require_choice(name, BASELINES, argument="baselines")
    return list(dict.fromkeys(names))


def line_up(
    adata: AnnData, found: EdgeSets, baselines: list[str], screen: Screen, panel: IntArray, direction: Direction
) -> list[Predictor]:
    """Edges asked for, their scales, controls and signed values, then baselines."""
    edges: list[Predictor] = []
    signed: list[Predictor] = []
    for one in found.sets:
        leaks = saw_perturbed_cells(adata, one.params, screen)
        rows = _edge_rows(one.edges.values, one.edges.genes, screen, panel, direction, absolute=one.is_signed)
        edges.append(Predictor(one.name, one.kind, rows, leaks))
        if one.is_signed:
            raw = _edge_rows(one.edges.values, one.edges.genes, screen, panel, direction)
            signed.append(Predictor(f"{one.name}_signed", "signed", raw, leaks))
    result = edges + signed + [_baseline(adata, name, found, screen, panel, direction) for name in baselines]
    require_told_apart([one.name for one in result])
    absent = [one.name for one in result if one.scores is None]
    if set(absent) & set(FEATURES):
        logger.warning(
            "%s not scored: call `scepsis.pp.gene_features(adata)` first", listing(set(absent) & set(FEATURES))
        )
    return result


def _edge_rows(
    values: FloatArray,
    genes: IntArray,
    screen: Screen,
    panel: IntArray,
    direction: Direction,
    *,
    absolute: bool = False,
    narrows: bool = True,
) -> EdgeRows:
    # one entry more than there are genes, for perturbations without one (-1)
    place = np.full(max(int(genes.max(initial=-1)), int(panel.max()), int(screen.gene.max())) + 2, -1)
    place[genes] = np.arange(len(genes))
    return EdgeRows(values, place[screen.gene], place[panel], direction, absolute, narrows)


def _baseline(
    adata: AnnData, name: str, found: EdgeSets, screen: Screen, panel: IntArray, direction: Direction
) -> Predictor:
    n_units = len(screen.names)
    if name in FEATURES:
        if name not in adata.var:
            return Predictor(name, "baseline", None)
        values = adata.var[name].to_numpy(dtype=np.float64)[panel]
        leaks = saw_perturbed_cells(adata, feature_params(adata), screen)
        return Predictor(name, "baseline", GeneRows(values, n_units), leaks)
    if name == "de_frequency":
        labels = screen.labels.copy()
        labels[np.array(screen.status) == "multi_target"] = -1
        return Predictor(name, "baseline", FrequencyRows(labels, screen.group()))
    of_model = found.of_model
    if of_model is None or not of_model.key:
        return Predictor(name, "baseline", None)
    leaks = saw_perturbed_cells(adata, of_model.params, screen)
    bases = _bases(adata, of_model.key)
    if name == "position":
        position = next((base.position for base in bases if base.position in adata.var), None)
        if position is None:
            return Predictor(name, "baseline", None)
        values = -adata.var[position].to_numpy(dtype=np.float64)[panel]
        return Predictor(name, "baseline", GeneRows(values, n_units), leaks)
    n_cells = next((base.n_cells for base in bases if base.n_cells in adata.varp), None)
    if n_cells is None:
        return Predictor(name, "baseline", None)
    genes = np.union1d(panel, screen.gene[screen.gene >= 0])
    counts, genes = unpack(adata.varp[n_cells], genes)
    if counts.max(initial=0) < 2**24:  # as exact in 32 bits, and sorted faster
        counts = counts.astype(np.float32)
    rows = _edge_rows(counts, genes, screen, panel, direction, narrows=False)
    return Predictor(name, "baseline", rows, leaks)


def _bases(adata: AnnData, key: str) -> list[EdgeKeys]:
    """Keys whose counts and positions are those of `key`: its own, its record's, those of the unscaled attention."""
    owner = edge_owner(adata, key)
    plain = next((owner.removesuffix(f"_{name}") for name in COMPANIONS if owner.endswith(f"_{name}")), owner)
    return [EdgeKeys(base) for base in dict.fromkeys((key, owner, plain))]
