from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, get_args

import numpy as np

from scepsis._core._edge_sets import gather_edges
from scepsis._core._edge_slots import recorded_mask
from scepsis._core._gene_table import require_same_cells
from scepsis._core._keys import GENE_FEATURES, RESIDUALIZERS, EffectKeys
from scepsis._core._labels import assignment_slots
from scepsis._core._progress import progress_bar
from scepsis._core._resolve import resolve
from scepsis._core._rng import resolve_seed
from scepsis._core._scratch import place_edges, scratch
from scepsis._core._store import record, write
from scepsis._core._types import Direction
from scepsis._core._validate import listing, require_key
from scepsis.tl import incremental_value, perturbation_auroc, perturbation_effects, reference_auroc, residualize_edges
from scepsis.tl._response import _specification_tables as tables
from scepsis.tl._response._specification_forks import Forks, Rules, as_read, check, chosen
from scepsis.tl._response._specification_tables import NONE, Turned

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    import pandas as pd
    from anndata import AnnData

    from scepsis._core._edge_sets import EdgeSet
    from scepsis._core._types import Data, EdgesLike, FloatArray, Seed

logger = logging.getLogger(__name__)
#: Slots of a scratch object; label sets of other thresholds are named after the threshold.
SCORES, RECALLED = "curve_scores", "curve_labels"


def specification_curve(  # noqa: PLR0913 - every fork is a parameter
    adata: Data,
    reference: pd.DataFrame | None = None,
    *,
    edges: EdgesLike,
    effects: str | None = "perturbation",
    directions: Sequence[Direction] = ("source", "target", "mean", "max"),
    residualizers: Sequence[str] = (NONE, *RESIDUALIZERS),
    min_targets: Sequence[int] = (1, 3, 5),
    lfc_thresholds: Sequence[float] = (),
    gene_models: Sequence[str] = tables.GENE_MODELS,
    gene_symbols: str | None = None,
    min_candidates: int = 10,
    min_positives: int = 2,
    min_units: int = 6,
    n_jobs: int = 1,
    allow_different_cells: bool = False,
    key_added: str = "specification_curve",
    mod: str | None = None,
    show_progress_bar: bool = True,
    rng: Seed = 0,
    copy: bool = False,
) -> Data | None:
    """
    Score edges in every way that could have been chosen, and show all of them.

    From the edge from g to t or from t to g, pooled or by regulator, with regulators of one target or of five, with
    what genes explain taken away or not, against chance or against what genes say: each of these forks has been
    taken one way or another, and the answer may hang on it. Either they are fixed before anyone looks, or all are
    shown (the forking paths of Kendiukhov (2026) :cite:p:`kendiukhov2026`). The curve is descriptive: it adds no
    row to the registry of tests, and its specifications are not independent.

    Parameters
    ----------
    adata
        Cells x genes, with edges, gene features (`scepsis.pp.gene_features`) and effects.
    reference
        Network with the columns ``source`` and ``target``; without it there are specifications of the screen alone.
    edges
        What is scored: keys of ``varp``, a table with columns ``source``, ``target``, ``weight``, or a dict from
        names to keys or tables. Of signed edges the magnitude is taken. Each set has curves of its own.
    effects
        Label set of the screen. None leaves the screen out.
    directions
        Edge that scores the pair of g and t: ``source`` that from g to t, ``target`` that from t to g, ``mean`` and
        ``max`` of both. Symmetric edges have one direction.
    residualizers
        ``none``, or what is taken away from the edges so read (`scepsis.tl.residualize_edges`).
    min_targets
        Listed targets that make a gene a regulator. Of the reference.
    lfc_thresholds
        Absolute log2 fold changes above which a gene may be a responder, beside that of the label set. Labels are
        called anew as they are recorded to have been, those of overlapping perturbations from their assignment; where
        that does not give the labels that are stored (other cells, another layer), these thresholds are left out, with
        a warning.
    gene_models
        What edges are compared with: ``chance``; ``variance``, ``mean``, ``detection_rate`` of the target;
        ``de_frequency`` (screen alone); and what they add to a model fitted to the first three, ``logistic`` or
        ``gbdt`` (screen alone, edges of which nothing was taken away, responders of held-out perturbations).
    gene_symbols
        Column of ``var`` that `reference` names genes by.
    min_candidates
        Candidates below which a perturbation is not counted.
    min_positives
        Responders below which a perturbation is not counted.
    min_units
        Perturbations or regulators below which there is no interval.
    n_jobs
        Models fitted at a time. The result does not depend on it.
    allow_different_cells
        Score edges and features that are recorded to be from different cells.
    key_added
        Name of the result.
    mod
        Modality, for MuData.
    show_progress_bar
        Whether to show progress.
    rng
        Seed of folds and fits.
    copy
        Return a changed copy instead of writing into `adata`.

    Returns
    -------
    None, or the copy. Sets ``uns[key_added]`` and nothing else of `adata`.

    ``["specifications"]``
        One row for each specification, ascending within ``edges`` and ``endpoint`` (``screen`` or ``reference``):
        ``direction, residualizer, statistic`` (``per_perturbation``, ``pooled``, ``per_regulator``),
        ``lfc_threshold`` and ``min_targets`` (NaN where it is no fork), ``gene_model``; ``estimate``, the AUROC less
        that of ``gene_model`` (of fitted models: AUROC with the edge less that without, of ``gbdt`` less that of a
        placebo), its 95 % interval ``ci_low, ci_high``, ``auroc`` (of the edges, or of the model with them),
        ``n_units, status, order``.
    ``["summary"]``
        One row for each set of edges, endpoint and gene model: ``n_specifications, n_with_interval``, the ``lowest``,
        ``median`` and ``highest`` estimate, and how many intervals lie above 0 (``n_above``) and below (``n_below``).
    ``["params"]``
        Parameters, and ``thresholds_left_out``.

    Raises
    ------
    KeyError
        Edges, effects, gene features or columns of the reference do not exist.
    ValueError
        There is neither a reference nor effects; a fork is empty or unknown; edges and features are from different
        cells; `adata` is backed.
    TypeError
        `edges` are of a wrong type.

    Warns
    -----
    UserWarning
        Labels cannot be called anew.

    Notes
    -----
    Intervals are those of the tools: clustered by perturbation or regulator and by gene, but for the AUROC of a
    screen against chance, which is Student's over perturbations. All directions and residuals of one set of edges
    are scored on the same pairs, those that have all of them.

    Residuals are taken from edges as they are read: of ``mean``, say, from the mean of both directions.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.pp.select_cells(adata)
    >>> sps.pp.gene_features(adata)
    >>> sps.tl.correlation_edges(adata)
    >>> sps.tl.perturbation_effects(adata)
    >>> sps.tl.specification_curve(
    ...     adata,
    ...     edges="spearman",
    ...     directions=["source", "max"],
    ...     residualizers=["none"],
    ...     gene_models=["chance", "mean"],
    ... )
    >>> len(adata.uns["specification_curve"]["specifications"])
    2
    """
    data = adata.copy() if copy else adata
    target = resolve(data, mod)
    require_key(key_added, argument="key_added")
    forks = Forks(
        directions=chosen(directions, get_args(Direction), "directions"),
        residualizers=chosen(residualizers, (NONE, *RESIDUALIZERS), "residualizers"),
        gene_models=chosen(gene_models, tables.GENE_MODELS, "gene_models"),
        min_targets=tuple(sorted({int(value) for value in min_targets})),
        lfc_thresholds=tuple(sorted({float(value) for value in lfc_thresholds})),
    )
    rules = Rules(
        effects, reference, gene_symbols, int(min_candidates), int(min_positives), int(min_units), int(n_jobs),
        resolve_seed(rng),
    )  # fmt: skip
    check(target, forks, rules)
    sets = gather_edges(target, edges, companions=False).sets
    require_same_cells(target, sets, features=True, allow=allow_different_cells)
    curve = _Curve(target, forks, rules)
    rows, left_out = curve.run(sets, show=show_progress_bar)
    frame = tables.ordered(rows)
    params = record(
        edges=[one.name for one in sets],
        effects=effects,
        directions=forks.directions,
        residualizers=forks.residualizers,
        gene_models=forks.gene_models,
        min_targets=forks.min_targets,
        lfc_thresholds=forks.lfc_thresholds,
        thresholds_left_out=left_out,
        has_reference=reference is not None,
        gene_symbols=gene_symbols,
        min_candidates=rules.min_candidates,
        min_positives=rules.min_positives,
        min_units=rules.min_units,
        allow_different_cells=allow_different_cells,
        seed=rules.seed,
    )
    write(target, uns={key_added: {"params": params, "specifications": frame, "summary": tables.summary(frame)}})
    return data if copy else None


class _Curve:
    """All specifications, run by the public tools on a second object over the same values."""

    def __init__(self, adata: AnnData, forks: Forks, rules: Rules) -> None:
        self._adata, self._forks, self._rules = adata, forks, rules

    def run(self, sets: list[EdgeSet], *, show: bool) -> tuple[list[dict[str, Any]], list[float]]:
        """Rows of all sets of edges, and thresholds that labels could not be called at."""
        effects = self._rules.effects
        keys = None if effects is None else EffectKeys(effects)
        called = {} if keys is None else self._adata.uns[keys.uns]["params"]
        assigned = assignment_slots(called["groupby"]) if called.get("overlapping") else {"uns": [], "obsm": []}
        data = scratch(
            self._adata,
            uns=[GENE_FEATURES, *([keys.uns] if keys else []), *assigned["uns"]],
            varm=[keys.target] if keys else [],
            obsm=assigned["obsm"],
        )
        rows: list[dict[str, Any]] = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # single specifications say what was said before
            labels, left_out = self._labels(data)
            n_steps = bool(self._residualizers) + len(labels) * (1 + bool(self._forks.learners)) + self._n_references
            with progress_bar(total=n_steps * len(sets), desc="specification curve", unit="step", show=show) as bar:
                for one in sets:
                    for found in self._rows(data, one, labels):
                        rows += found
                        bar.update()
        if left_out:
            warnings.warn(
                f"`lfc_thresholds` {listing(left_out)} are left out: calling the labels {effects!r} anew does not give "
                "those that are stored. Call `scepsis.tl.perturbation_effects(adata, ...)` on this object first.",
                UserWarning,
                stacklevel=3,
            )
        return rows, left_out

    @property
    def _residualizers(self) -> list[str]:
        return [name for name in self._forks.residualizers if name != NONE]

    @property
    def _n_references(self) -> int:
        return 0 if self._rules.reference is None else len(self._forks.min_targets)

    def _labels(self, data: AnnData) -> tuple[dict[float, str], list[float]]:
        """Label set of every threshold, and thresholds that are left out."""
        effects = self._rules.effects
        if effects is None:
            return {}, []
        params = self._adata.uns[EffectKeys(effects).uns]["params"]
        stored = float(params.get("lfc_threshold", np.nan))
        found = {stored: effects}
        others = [value for value in self._forks.lfc_thresholds if value != stored]
        if not others:
            return found, []
        groupby = params.get("groupby")
        needed = assignment_slots(groupby) if params.get("overlapping") else {}
        there = all(name in getattr(data, slot) for slot, names in needed.items() for name in names)
        if not np.isfinite(stored) or groupby not in data.obs or not there:
            return found, others
        self._call(data, params, stored)
        again = data.uns[EffectKeys(f"{RECALLED}_{stored:g}").uns]["params"]
        if again["labels_hash"] != params.get("labels_hash"):
            return found, others
        for value in others:
            self._call(data, params, value)
            found[value] = f"{RECALLED}_{value:g}"
        return dict(sorted(found.items())), []

    @staticmethod
    def _call(data: AnnData, params: dict[str, Any], threshold: float) -> None:
        names = ("groupby", "control", "overlapping", "test", "min_expected", "fdr", "min_cells", "gene_symbols")
        perturbation_effects(
            data, **{name: params[name] for name in names if name in params}, lfc_threshold=threshold,
            n_null_splits=1, key_added=f"{RECALLED}_{threshold:g}", show_progress_bar=False, rng=params.get("seed", 0),
        )  # fmt: skip

    def _rows(self, data: AnnData, one: EdgeSet, labels: dict[float, str]) -> Iterator[list[dict[str, Any]]]:
        """Rows of one set of edges, a step at a time."""
        forks, rules = self._forks, self._rules
        read = self._turned(data, one)
        kept = read if NONE in forks.residualizers else {}
        sets = dict(kept)
        if self._residualizers:
            sets |= self._residuals(data, read)
            yield []
        own = {"edges": one.name, "lfc_threshold": np.nan, "min_targets": np.nan}
        baselines = [*forks.features, *[name for name in forks.gene_models if name == tables.DE_FREQUENCY]]
        for threshold, effects in labels.items():
            told = own | {"endpoint": "screen", "statistic": "per_perturbation", "lfc_threshold": threshold}
            perturbation_auroc(
                data, edges=list(sets), baselines=baselines, effects=effects, min_candidates=rules.min_candidates,
                min_positives=rules.min_positives, min_units=rules.min_units, n_boot=1, allow_different_cells=True,
                key_added=SCORES, rng=rules.seed,
            )  # fmt: skip
            found, interval = data.uns[SCORES], ("twoway_low", "twoway_high")
            yield tables.scored_rows(sets, found["summary"], found["contrasts"], forks.gene_models, told, interval)
            if forks.learners:
                yield self._gains(data, kept, effects, told)
        if rules.reference is None:
            return
        for size in forks.min_targets:
            reference_auroc(
                data, rules.reference, edges=list(sets), baselines=forks.features, min_targets=size, top_k=(1,),
                min_units=rules.min_units, n_boot=1, gene_symbols=rules.gene_symbols, allow_different_cells=True,
                key_added=SCORES, rng=rules.seed,
            )  # fmt: skip
            yield self._against_reference(data.uns[SCORES], sets, own | {"endpoint": "reference", "min_targets": size})

    def _turned(self, data: AnnData, one: EdgeSet) -> dict[str, Turned]:
        """Place the edges as they are read in every direction, of directions that read the same the first."""
        cells = recorded_mask(self._adata, one.params, "obs")
        everything = np.ones(data.n_vars, dtype=bool)
        result: dict[str, Turned] = {}
        seen: list[FloatArray] = []
        for direction in self._forks.directions:
            edges = as_read(one, direction)
            if any(np.array_equal(edges.values, other, equal_nan=True) for other in seen):
                continue
            key = f"curve_{direction}"
            place_edges(data, key, edges, everything, cells)
            result[key] = Turned(direction, NONE)
            seen.append(edges.values)
        if len(result) < len(self._forks.directions):
            logger.info("%s is the same in some directions, which are counted once", one.slot)
        return result

    def _residuals(self, data: AnnData, read: dict[str, Turned]) -> dict[str, Turned]:
        residualize_edges(
            data, edges=list(read), residualizers=self._residualizers, pair_folds=False, n_seeds=1, n_boot=1,
            n_jobs=self._rules.n_jobs, allow_different_cells=True, show_progress_bar=False, key_added=SCORES,
            rng=self._rules.seed,
        )  # fmt: skip
        summary = data.uns[SCORES]["summary"]
        stored = summary[(summary["variant"] == "magnitude") & (summary["edges_key"] != "")]
        return {
            str(key): Turned(read[str(name)].direction, str(residualizer))
            for name, residualizer, key in stored[["edges", "residualizer", "edges_key"]].itertuples(index=False)
        }

    def _gains(
        self, data: AnnData, sets: dict[str, Turned], effects: str, told: dict[str, Any]
    ) -> list[dict[str, Any]]:
        if not sets:
            return []
        rules = self._rules
        incremental_value(
            data, edges=list(sets), splits="perturbation", learners=self._forks.learners, metrics=["auroc"],
            effects=effects, min_candidates=rules.min_candidates, min_positives=rules.min_positives,
            min_units=rules.min_units, n_boot=1, n_jobs=rules.n_jobs, allow_different_cells=True, key_added=SCORES,
            rng=rules.seed,
        )  # fmt: skip
        return tables.gain_rows(sets, data.uns[SCORES]["gains"], told)

    def _against_reference(
        self, found: dict[str, Any], sets: dict[str, Turned], told: dict[str, Any]
    ) -> list[dict[str, Any]]:
        rows = []
        for statistic in ("pooled", "per_regulator"):
            summary, contrasts = (
                found[name][found[name]["statistic"] == statistic] for name in ("summary", "contrasts")
            )
            own = told | {"statistic": statistic}
            rows += tables.scored_rows(sets, summary, contrasts, self._forks.gene_models, own)
        return rows
