from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from scepsis._core._edge_sets import gather_edges, panel_of
from scepsis._core._gene_table import FEATURES, require_same_cells
from scepsis._core._keys import MEAN
from scepsis._core._registry import Evidence, updated_tests
from scepsis._core._resolve import resolve
from scepsis._core._rng import child, resolve_seed
from scepsis._core._screen import read_screen
from scepsis._core._store import record, write
from scepsis._core._types import Direction
from scepsis._core._validate import require_choice, require_key, require_positive
from scepsis.stats._contrasts import contrasts as compare
from scepsis.stats._ranking import Responders, mean_deciles, rank_responders
from scepsis.tl._response import _auroc_tables as tables
from scepsis.tl._response._auroc_rows import auroc_rows
from scepsis.tl._response._predictors import BASELINES, line_up, require_known

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scepsis._core._edge_sets import EdgeSet
    from scepsis._core._types import Data, EdgesLike, Seed
    from scepsis.stats._row_scores import RowScores


def perturbation_auroc(
    adata: Data,
    *,
    edges: EdgesLike = ("attention", "spearman"),
    baselines: Sequence[str] = BASELINES,
    effects: str = "perturbation",
    direction: Direction = "source",
    margin: float = 0.02,
    min_candidates: int = 10,
    min_positives: int = 2,
    min_units: int = 6,
    n_boot: int = 10_000,
    allow_different_cells: bool = False,
    key_added: str = "perturbation_auroc",
    mod: str | None = None,
    rng: Seed = 0,
    copy: bool = False,
) -> Data | None:
    r"""
    Score how well edges rank the genes that respond to each perturbation :cite:p:`kendiukhov2026`.

    For every perturbed gene g, the other genes are ranked by the edge from g to them; the AUROC is the probability
    that a gene that responds to perturbing g stands above one that does not (0.5 is chance). The same is done for
    scores that know nothing of g, the baselines: if a gene's own variance ranks responders as well as edges do, the
    edges have not shown any regulation. Every set of edges is then compared with every other predictor, over the
    same perturbations and the same pairs of genes (Kendiukhov (2026), analyses A01 and A04).

    Parameters
    ----------
    adata
        Cells x genes, with edges in ``varp`` and effects in ``varm``.
    edges
        What is scored: keys of ``varp``, a table with columns ``source``, ``target``, ``weight`` (and ``group``, if
        it holds several networks), or a dict from names to keys or tables. Where attention of a model is asked for,
        its further scales (``<key>_uniform_fold``, ``<key>_centered``) and its twin with random weights
        (``<key>_randomized``) are scored with it when they are there, and named in a warning when not. Signed edges
        are scored by their absolute value, with the signed value in a row ``<name>_signed``.
    baselines
        Which of these are scored beside: ``variance``, ``mean`` and ``detection_rate`` of the target
        (`scepsis.pp.gene_features`); ``de_frequency``, how often the target responds to perturbations of other
        genes; ``position``, minus the mean rank of the target's token, and ``coverage``, the cells behind the pair,
        both of the first attention in `edges`. One that has nothing to be read from is a row ``not_run``.
    effects
        Label set: ``varm["<effects>_target"]`` and ``uns["<effects>_effects"]``.
    direction
        Edge that scores target t of perturbation g: ``source`` takes that from g to t, ``target`` that from t to g,
        ``mean`` and ``max`` both.
    margin
        Largest difference of AUROCs that counts as none, for the test of equivalence.
    min_candidates
        Candidates below which a perturbation is not counted.
    min_positives
        Responders below which a perturbation is not counted.
    min_units
        Perturbations below which there are means but no intervals or p-values.
    n_boot
        Replicates of the bootstrap over perturbations.
    allow_different_cells
        Score edges and features that are recorded to be from different cells.
    key_added
        Name of the result.
    mod
        Modality, for MuData.
    rng
        Seed of the bootstrap and of the planted signals.
    copy
        Return a changed copy instead of writing into `adata`.

    Returns
    -------
    None, or the copy. Sets ``uns[key_added]``, a dict of frames and parameters. ``kind`` is ``edges`` (asked for),
    ``scale`` (a further scale of these), ``control`` (random weights), ``signed`` or ``baseline``.

    ``["per_perturbation"]``
        One row for each perturbation and predictor: ``perturbation, predictor, kind, auroc`` (complete cases),
        ``auroc_own`` (all pairs that this predictor has), ``auroc_filled`` (0 for pairs that it lacks, ``n_filled``
        of them), ``auprc`` (average precision), ``lift`` (that over the share of responders), ``partial_auroc``
        (false-positive rate up to 0.05, standardised so that chance is 0.5), ``bedroc`` (early recognition,
        alpha 20), ``n_pos, n_neg, n_filled, status``.
    ``["summary"]``
        One row for each predictor: ``predictor, kind, n_units``, mean ``auroc`` with ``auroc_sd``, the 95 % t
        interval ``ci_low, ci_high`` and ``p_value`` against 0.5 over perturbations, ``auroc_pooled`` (all pairs in
        one ranking), mean ``auprc, prevalence, lift``, ``status``.
    ``["contrasts"]``
        One row for each set of edges and each other predictor (``edges, versus, versus_kind``): mean ``difference``
        of AUROCs, edges less the other; its 95 % interval over perturbations (``ci_low, ci_high, ci_method``),
        clustered by perturbation and gene (``twoway_low, twoway_high``) and by bootstrap (``boot_low, boot_high``);
        ``p_value`` of Wilcoxon's signed-rank test and ``q_value`` (Benjamini-Hochberg over all distinct comparisons
        of the call); ``cohen_d``; ``equivalence`` within ``margin``; ``minimum_detectable`` difference;
        ``n_units, status``.
    ``["by_mean_decile"]``
        ``predictor, kind, decile`` (1 is the lowest tenth of candidates by ``var["mean"]``), ``auroc`` among the
        targets of that tenth, ``n_units``. Empty without ``var["mean"]``.
    ``["detection"]``
        What the same tests say of edges with a planted signal: the scores of a random half of the responders, raised
        by ``delta`` standard deviations of the scores of all candidates. ``edges, versus`` (``chance``, or another
        predictor), ``delta``, mean AUROC or mean difference (``statistic``) with its t interval over perturbations
        (``ci_low, ci_high``), ``p_value`` of the test on record (t against chance, signed ranks against another), and
        ``detected``: the mean is above and p < 0.05, uncorrected. The other predictors stay as they are.
    ``["params"]``
        All parameters, hashes of cells, genes and labels, one entry per set of edges in ``edges``, ``edges_kind``,
        ``edges_scale`` and so on, and ``missing_companions``.

    Every test is a row of ``uns["tests"]``: ``above_chance`` and ``vs_<other>`` of A01 (other edges, scales, twins;
    each pair of edges once, under the first of them, or under the one that is not the correlation) and
    ``vs_<baseline>`` of A04, with the p-value of the signed-rank test and the two-way interval.

    Raises
    ------
    KeyError
        Edges, effects or a column of a table do not exist.
    ValueError
        Edges or features are from different cells; a table lists a pair twice or names genes of another namespace;
        no perturbed gene is in ``var_names``; a parameter is out of range; names of predictors collide.
    TypeError
        `edges` or weights are of a wrong type.

    Warns
    -----
    UserWarning
        Companions of attention are missing; edges have no record of their cells; a table looks truncated.

    Notes
    -----
    **Candidates** of a perturbation are the genes of the panel that are testable and have an edge in every set
    scored, less the perturbed gene itself. A baseline that lacks a value loses that pair alone. Ties share their
    average rank:

    .. math:: \mathrm{AUROC}_g = \frac{1}{n_+ n_-} \sum_{p, n} \left( [s_p > s_n] + \tfrac12 [s_p = s_n] \right)

    **Three intervals.** The t interval takes perturbations as independent, as does the percentile interval of the
    bootstrap (too narrow below 25 units). But perturbations share genes: one gene that stands high for all of them
    counts in every AUROC. The two-way interval allows for that. With :math:`\phi_{gt}` the influence of a pair on
    the difference (that of DeLong, zero-sum within a perturbation), its variance is

    .. math:: V = \max(V_\mathrm{unit} + V_\mathrm{gene} - V_\mathrm{pair}, V_\mathrm{unit}, V_\mathrm{gene}), \quad
       V_\mathrm{gene} \propto \sum_t \Big( \sum_g \phi_{gt} \Big)^2, \quad
       V_\mathrm{pair} \propto \sum_{g, t} \phi_{gt}^2

    with as many degrees of freedom as there are perturbations or genes, whichever are fewer, less one.

    **No difference is a claim too.** ``equivalent``: the 90 % two-way interval lies within the margin.
    ``different``: not that, and the 95 % interval excludes 0. ``inconclusive``: neither, and ``minimum_detectable``
    says which difference would have been found with a probability of 80 %.

    **Statuses.** ``missing_vocab``: the perturbed gene has no edges. ``no_positives``, ``no_negatives``,
    ``too_few_units``: too few candidates or responders (numbers stay where defined, but do not count).
    ``constant_score``: 0.5, left out of tests with its partner. ``label_leak``: perturbed cells are among those
    behind the predictor; its numbers support nothing. Others are those of the effects.

    For P perturbations, T candidates and K predictors the cost is ``K P T log T``; extra memory is the labels, one
    boolean of their size, and one block of rows for every predictor.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.pp.select_cells(adata)
    >>> sps.pp.gene_features(adata)
    >>> sps.tl.correlation_edges(adata)
    >>> sps.tl.perturbation_effects(adata)
    >>> sps.tl.perturbation_auroc(adata, edges="spearman", baselines=("variance", "mean"))
    >>> adata.uns["perturbation_auroc"]["summary"]["predictor"].tolist()
    ['spearman', 'spearman_signed', 'variance', 'mean']
    """
    start = time.perf_counter()
    data = adata.copy() if copy else adata
    target = resolve(data, mod)
    names = require_known(baselines)
    _check(direction, margin, min_candidates, min_positives, min_units, n_boot, key_added)
    seed = resolve_seed(rng)
    found = gather_edges(target, edges)
    features = any(name in FEATURES and name in target.var for name in names)
    same = require_same_cells(target, found.sets, features=features, allow=allow_different_cells)
    panel = panel_of(target, found.sets)
    screen = read_screen(target, effects, panel)
    predictors = line_up(target, found, names, screen, panel, direction)

    means = target.var[MEAN].to_numpy(dtype=np.float64)[panel] if MEAN in target.var else None
    responders = Responders(
        labels=np.where(screen.scorable[:, None], screen.labels, np.int8(-1)),
        usable=screen.scorable,
        min_candidates=int(min_candidates),
        min_positives=int(min_positives),
        deciles=None if means is None else mean_deciles(means),
    )
    scores: list[RowScores] = [one.scores for one in predictors if one.scores is not None]
    ranking = rank_responders(scores, responders, tables.comparisons(predictors))
    generator = child(seed, "perturbation_auroc", "bootstrap")
    compared = compare(ranking, margin=margin, min_units=int(min_units), n_boot=int(n_boot), rng=generator)
    scored = tables.Scored(predictors, ranking, responders, screen, int(min_units))
    summary = tables.summary(scored)
    params = record(
        effects=effects,
        direction=direction,
        margin=float(margin),
        min_candidates=int(min_candidates),
        min_positives=int(min_positives),
        min_units=int(min_units),
        n_boot=int(n_boot),
        baselines=names,
        allow_different_cells=allow_different_cells,
        same_cells=same,
        missing_companions=found.missing,
        seed=seed,
        n_candidates=len(panel),
        labels_hash=str(screen.params.get("labels_hash", "")),
        **_edges_record(found.sets),
    )
    result = {
        "params": params,
        "per_perturbation": tables.per_perturbation(scored),
        "summary": summary,
        "contrasts": tables.contrasts(scored, compared, summary["status"].tolist(), float(margin)),
        "by_mean_decile": tables.by_mean_decile(scored),
        "detection": tables.detection(scored, seed),
    }
    evidence = Evidence(
        key=key_added,
        params=params,
        edges={one.name: one.params for one in found.sets},
        effects=effects,
        labels_hash=params["labels_hash"],
        seed=seed,
        wall_s=time.perf_counter() - start,
    )
    rows = auroc_rows(scored, compared, summary, found.sets, float(margin))
    write(target, uns={key_added: result} | updated_tests(target, rows, evidence))
    return data if copy else None


def _check(
    direction: str,
    margin: float,
    min_candidates: int,
    min_positives: int,
    min_units: int,
    n_boot: int,
    key_added: str,
) -> None:
    require_choice(direction, get_args(Direction), argument="direction")
    require_key(key_added, argument="key_added")
    for argument, value, minimum in (
        ("min_candidates", min_candidates, 1),
        ("min_positives", min_positives, 1),
        ("min_units", min_units, 2),
        ("n_boot", n_boot, 1),
    ):
        require_positive(value, argument=argument, minimum=minimum)
    require_positive(margin, argument="margin", minimum=0)


def _edges_record(sets: list[EdgeSet]) -> dict[str, Any]:
    """What the edges are, one entry for each set, and the hashes that the first of them has."""

    def listed(name: str) -> list[str]:
        return [str(one.params.get(name, "")) for one in sets]

    return {
        "edges": [one.name for one in sets],
        "edges_kind": [one.kind for one in sets],
        "edges_slot": [one.slot for one in sets],
        "edges_signed": [one.is_signed for one in sets],
        "edges_scale": listed("scale"),
        "edges_layer_rule": [str(one.params.get("layer_rule", "single")) for one in sets],
        "edges_cells_hash": listed("cells_hash"),
        "edges_genes_hash": listed("genes_hash"),
        "cells_hash": next((one.cells_hash for one in sets if one.cells_hash), ""),
        "genes_hash": next((str(one.params["genes_hash"]) for one in sets if one.params.get("genes_hash")), ""),
    }
