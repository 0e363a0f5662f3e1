from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from scepsis._core._edge_sets import gather_edges
from scepsis._core._edge_slots import edge_owner, read_edges, recorded_mask
from scepsis._core._keys import EDGE_CELLS, EDGE_PANEL, EffectKeys
from scepsis._core._labels import assignment_slots, require_unperturbed
from scepsis._core._layers import layers_behind
from scepsis._core._progress import progress_bar
from scepsis._core._registry import Evidence, updated_tests
from scepsis._core._resolve import resolve
from scepsis._core._rng import resolve_seed
from scepsis._core._scratch import place_edges, scratch
from scepsis._core._store import record, write
from scepsis._core._types import Direction
from scepsis._core._validate import require_choice, require_key
from scepsis.pp import gene_features, select_cells, select_panel
from scepsis.tl import attention_edges, correlation_edges, perturbation_auroc, perturbation_effects
from scepsis.tl._response import _sensitivity_tables as tables
from scepsis.tl._response._sensitivity_tables import MIN_EXPECTED, Outcome, Setting

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from anndata import AnnData

    from scepsis._core._edge_sets import EdgeSet
    from scepsis._core._edge_slots import EdgeArray
    from scepsis._core._types import BoolArray, Data, EdgesLike, Seed
    from scepsis.models import AttentionModel
    from scepsis.tl._response._sensitivity_tables import Grid, Rules, Test

logger = logging.getLogger(__name__)
CORRELATIONS = ("spearman", "pearson")
FALSE_CALL_SPLITS = 20
#: Slots of a scratch object.
EDGES, SCORES = "scan_edges", "scan_scores"


def sensitivity_scan(  # noqa: PLR0913 - every axis and every rule of scoring is a parameter
    adata: Data,
    model: AttentionModel | None = None,
    *,
    edges: EdgesLike = ("attention", "spearman"),
    lfc_thresholds: Sequence[float] = (0.25, 0.5, 1.0),
    n_cells: Sequence[int] = (500, 2000, 10_000),
    n_genes: Sequence[int] = (1000, 2000, 5000),
    tests: Sequence[Test] = ("student", "welch"),
    baselines: Sequence[str] = tables.BASELINES,
    reextract: bool = False,
    groupby: str = "perturbation",
    control: str = "non-targeting",
    overlapping: bool = False,
    layer: str | None = None,
    gene_symbols: str | None = None,
    force: Sequence[str] | Literal["perturbed"] | None = None,
    direction: Direction = "source",
    min_cells: int = 50,
    min_candidates: int = 10,
    min_positives: int = 2,
    min_units: int = 6,
    key_added: str = "sensitivity_scan",
    mod: str | None = None,
    show_progress_bar: bool = True,
    rng: Seed = 0,
    copy: bool = False,
) -> Data | None:
    """
    Score edges under many settings of the analysis, and see whether the conclusion is one of a setting.

    Which genes respond, which cells and genes edges are made from: all of it was chosen. The scan makes every choice
    that is listed, and runs the public tools under each combination (Kendiukhov (2026), analysis A02
    :cite:p:`kendiukhov2026`: thresholds of the fold change x control cells x genes; the test is a further axis, and
    ``welch``, with every gene testable, gives the paper's labels). The settings share cells, genes and labels: they
    show how far a number moves, and are not that many replications.

    Parameters
    ----------
    adata
        Cells x genes with counts or log-normalised values, labels of perturbations, and edges.
    model
        From :func:`scepsis.models.load`, to extract attention anew (``reextract=True``).
    edges
        What is scored. Correlations (`scepsis.tl.correlation_edges`) are made anew in every choice of cells. What
        cannot be made anew, tables and attention without `reextract`, is the same in all settings but for the genes
        that it is scored on; that is said, and recorded (``extracted_anew``).
    lfc_thresholds
        Absolute log2 fold changes above which a gene may be a responder.
    n_cells
        Control cells, the first of one random order, so that smaller choices are part of larger ones. Numbers beyond
        what there is stand for all control cells, and are tried once.
    n_genes
        Most variable genes among these cells. Numbers beyond what there is are tried once, too.
    tests
        ``"student"`` and ``"mannwhitney"`` (at least 5 expected expressing cells), ``"welch"`` (no such rule).
    baselines
        Which of ``variance``, ``mean``, ``detection_rate`` and ``de_frequency`` are scored beside.
    reextract
        Extract attention anew in every choice of cells: as many cells pass through `model` as `n_cells` sums to, for
        each set of attention. That number is logged first.
    groupby
        Column of ``obs`` with the perturbed gene of each cell.
    control
        Label of the control cells; with `overlapping`, ``"complement"`` as for
        :func:`scepsis.tl.perturbation_effects`.
    overlapping
        Whether cells have several perturbations and count for each of them, as assigned by
        :func:`scepsis.pp.assign_perturbations`. Edges are made from cells without any: beside a complement, from those
        with guides without a target alone.
    layer
        Layer with log-normalised values; ``layers["lognorm"]``, ``X`` or counts when not given.
    gene_symbols
        Column of ``var`` that labels are written in.
    force
        Genes that every panel has, as for :func:`scepsis.pp.select_panel`; ``"perturbed"`` keeps all perturbed genes.
    direction
        Edge that scores a target, as for :func:`scepsis.tl.perturbation_auroc`.
    min_cells
        Cells below which a perturbation is not tested.
    min_candidates
        Candidates below which a perturbation is not counted.
    min_positives
        Responders below which a perturbation is not counted.
    min_units
        Perturbations below which a setting has no numbers.
    key_added
        Name of the result.
    mod
        Modality, for MuData.
    show_progress_bar
        Whether to show progress.
    rng
        Seed of the order of control cells.
    copy
        Return a changed copy instead of writing into `adata`.

    Returns
    -------
    None, or the copy. Sets ``uns[key_added]`` and nothing else of `adata`, and one row of ``uns["tests"]`` for each
    set of edges (``A02``, ``reference_setting``); no other setting is a test that counts.

    ``["settings"]``
        One row for each setting and predictor: ``lfc_threshold, n_cells, n_genes, test, is_reference, predictor,
        kind, n_units``, mean ``auroc``, ``auroc_sd``, 95 % t interval ``ci_low, ci_high`` and ``p_value`` against
        0.5 over perturbations, ``rank`` among the ``n_ranked`` sets of edges and baselines (1 is the highest AUROC),
        ``n_candidates``, ``false_calls`` (largest share of control-against-control splits in which the test called
        any gene), ``extracted_anew, status``. With fewer than `min_units` perturbations the numbers are NaN.
    ``["params"]``
        Parameters, the axes as they were run, and the number of settings.

    Raises
    ------
    KeyError
        Edges, a column or a layer do not exist.
    ValueError
        An axis is empty or out of range; `control` does not occur; no cell is unperturbed, beside a complement;
        ``reextract=True`` without a model; `adata` is backed.
    TypeError
        `edges` are of a wrong type.

    Notes
    -----
    The setting of reference is a fold change of 0.5, 2,000 cells, 2,000 genes and ``student`` where these are among
    the values tried; else the first threshold, the largest numbers and the first test.

    The perturbed cells are read once for each choice of cells, test and threshold. Edges are made once for each
    choice of cells, in the largest panel. ``X`` is not copied.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.pp.select_cells(adata)
    >>> sps.tl.correlation_edges(adata)
    >>> sps.tl.sensitivity_scan(
    ...     adata, edges="spearman", lfc_thresholds=[0.5], n_cells=[500], n_genes=[300], tests=["student"]
    ... )
    >>> frame = adata.uns["sensitivity_scan"]["settings"]
    >>> frame.loc[frame["predictor"] == "spearman", "rank"].tolist()
    [5.0]
    """
    begun = perf_counter()
    data = adata.copy() if copy else adata
    target = resolve(data, mod)
    require_choice(direction, get_args(Direction), argument="direction")
    require_key(key_added, argument="key_added")
    if reextract and model is None:
        msg = "`reextract=True` needs a model: `scepsis.tl.sensitivity_scan(adata, scepsis.models.load(...), ...)`."
        raise ValueError(msg)
    rules = tables.Rules(
        groupby=groupby,
        control=control,
        overlapping=overlapping,
        unperturbed=require_unperturbed(target, groupby, control, overlapping=overlapping),
        layer=layer,
        gene_symbols=gene_symbols,
        force=force,
        direction=direction,
        baselines=tuple(tables.known_baselines(baselines)),
        min_cells=int(min_cells),
        min_candidates=int(min_candidates),
        min_positives=int(min_positives),
        min_units=int(min_units),
        seed=resolve_seed(rng),
    )
    rules.check()
    grid = tables.grid_of(target, rules, lfc_thresholds, n_cells, n_genes, tests)
    sets = gather_edges(target, edges, companions=False).sets
    scan = _Scan(target, sets, grid, rules, model if reextract else None)
    scan.say()
    outcomes = _run(scan, show=show_progress_bar)
    names = [one.name for one in sets]
    settings = tables.frame(outcomes, {one.name: scan.extracts(one) for one in sets}, grid, rules.min_units)
    params = record(**tables.params_of(rules, grid), reextract=reextract, edges=names)
    reference = next(one for one in outcomes if one.setting == grid.reference)
    evidence = Evidence(
        key=key_added, params=params, edges=reference.records, effects=groupby, labels_hash=reference.labels_hash,
        seed=rules.seed, wall_s=perf_counter() - begun,
    )  # fmt: skip
    rows = [tables.reference_row(settings, name, grid.size) for name in names]
    write(target, uns={key_added: {"params": params, "settings": settings}} | updated_tests(target, rows, evidence))
    return data if copy else None


def _run(scan: _Scan, *, show: bool) -> list[Outcome]:
    """Run all settings; what single settings warn of is in the frame, or was said before."""
    found = []
    with (
        warnings.catch_warnings(),
        progress_bar(total=scan.grid.size, desc="sensitivity scan", unit="setting", show=show) as bar,
    ):
        warnings.simplefilter("ignore", UserWarning)
        for one in scan.outcomes():
            found.append(one)
            bar.update()
    return found


@dataclass(frozen=True)
class _Scan:
    """Everything that all settings share."""

    adata: AnnData
    sets: Sequence[EdgeSet]
    grid: Grid
    rules: Rules
    #: Extracts attention anew; None leaves it as it is.
    model: AttentionModel | None

    def say(self) -> None:
        """What cannot be made anew, and what the model will have to read."""
        fixed = [one.slot for one in self.sets if not self.extracts(one)]
        if fixed:
            logger.warning(
                "%s: the same edges in every setting, whatever its cells (only correlations, and attention with "
                "`model=` and `reextract=True`, are made anew)",
                ", ".join(fixed),
            )
        n_sets = sum(self.layers_of(one) is not None for one in self.sets)
        if n_sets:
            logger.warning(
                "attention is extracted anew: %d cells pass through the model", n_sets * sum(self.grid.n_cells)
            )

    def extracts(self, one: EdgeSet) -> bool:
        """Whether a set is made anew in every choice of cells."""
        return self.correlates(one) or self.layers_of(one) is not None

    @staticmethod
    def correlates(one: EdgeSet) -> bool:
        return bool(one.key) and one.params.get("method") in CORRELATIONS

    def layers_of(self, one: EdgeSet) -> list[int] | None:
        """Layers that a set of attention is the mean of; None where it is not to be, or cannot be, extracted anew."""
        if self.model is None or not one.is_attention or not one.key:
            return None
        return layers_behind(one.key, edge_owner(self.adata, one.key), one.params)

    def outcomes(self) -> Iterator[Outcome]:
        """Run the settings; those that share cells follow each other."""
        cells_of, rules = [recorded_mask(self.adata, one.params, "obs") for one in self.sets], self.rules
        for n_cells in self.grid.n_cells:
            data = scratch(self.adata, **(assignment_slots(rules.groupby) if rules.overlapping else {}))
            select_cells(data, groupby=rules.groupby, control=rules.unperturbed, n_cells=n_cells, rng=rules.seed)
            gene_features(data, layer=self.rules.layer)
            false_calls = {test: self._call(data, test) for test in self.grid.tests}
            made = self._edges(data)
            for n_genes in self.grid.n_genes:
                self._panel(data, n_genes)
                panel = data.var[EDGE_PANEL].to_numpy(dtype=bool)
                left = [
                    place_edges(data, f"edges{index}", edges, panel, own)
                    for index, (edges, own) in enumerate(zip(made, self._cells(data, cells_of), strict=True))
                ]
                for test in self.grid.tests:
                    for threshold in self.grid.lfc_thresholds:
                        setting = Setting(threshold, n_cells, n_genes, test)
                        yield self._score(data, setting, min(left), false_calls[test])

    def _panel(self, data: AnnData, n_genes: int) -> None:
        rules = self.rules
        select_panel(data, n_top_genes=n_genes, force=rules.force, gene_symbols=rules.gene_symbols, layer=rules.layer)

    def _call(self, data: AnnData, test: Test) -> float:
        """Label sets at all thresholds; the share of false calls is the same for each."""
        worst = np.nan
        for number, threshold in enumerate(self.grid.lfc_thresholds):
            key = Setting(threshold, 0, 0, test).labels
            perturbation_effects(
                data, groupby=self.rules.groupby, control=self.rules.control, overlapping=self.rules.overlapping,
                layer=self.rules.layer, test=test, min_expected=MIN_EXPECTED[test], lfc_threshold=threshold,
                min_cells=self.rules.min_cells, gene_symbols=self.rules.gene_symbols, key_added=key,
                n_null_splits=1 if number else FALSE_CALL_SPLITS, show_progress_bar=False, rng=self.rules.seed,
            )  # fmt: skip
            if not number:
                worst = float(data.uns[EffectKeys(key).uns]["false_calls"]["share_of_splits"].max())
        return worst

    def _edges(self, data: AnnData) -> list[EdgeArray]:
        """Every set in the largest panel: a pair of genes has the same edge in any panel that holds both."""
        self._panel(data, max(self.grid.n_genes))
        result = []
        for one in self.sets:
            if self.correlates(one):
                method = one.params["method"]
                correlation_edges(data, method=method, layer=self.rules.layer, key_added=EDGES)
            elif (layers := self.layers_of(one)) is not None and self.model is not None:
                attention_edges(
                    data, self.model, layers=layers, scale=one.params["scale"], key_added=EDGES,
                    show_progress_bar=False, rng=int(one.params.get("seed", 0)),
                )  # fmt: skip
            else:
                result.append(one.edges)
                continue
            found = read_edges(data, EDGES)
            rule = one.params.get("layer_rule", "single")
            result.append(type(found)(found.values, found.genes, found.params | {"layer_rule": rule}))
        return result

    def _cells(self, data: AnnData, recorded: list[BoolArray | None]) -> list[BoolArray | None]:
        chosen = data.obs[EDGE_CELLS].to_numpy(dtype=bool)
        return [chosen if self.extracts(one) else own for one, own in zip(self.sets, recorded, strict=True)]

    def _score(self, data: AnnData, setting: Setting, n_left: int, false_calls: float) -> Outcome:
        keys = {one.name: f"edges{index}" for index, one in enumerate(self.sets)}
        summary, n_candidates = None, 0
        if n_left:
            rules = self.rules
            perturbation_auroc(
                data, edges=keys, baselines=rules.baselines, effects=setting.labels, direction=rules.direction,
                min_candidates=rules.min_candidates, min_positives=rules.min_positives, min_units=rules.min_units,
                n_boot=1, allow_different_cells=True, key_added=SCORES, rng=rules.seed,
            )  # fmt: skip
            summary, n_candidates = data.uns[SCORES]["summary"], int(data.uns[SCORES]["params"]["n_candidates"])
        return Outcome(
            setting=setting,
            summary=summary,
            n_candidates=n_candidates,
            n_controls=int(data.obs[EDGE_CELLS].sum()),
            false_calls=false_calls,
            records={name: dict(data.uns[key]["params"]) if key in data.uns else {} for name, key in keys.items()},
            labels_hash=str(data.uns[EffectKeys(setting.labels).uns]["params"].get("labels_hash", "")),
        )
