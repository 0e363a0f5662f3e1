"""Edges among responders and others that are alike in what their genes show."""

from __future__ import annotations

import logging
from time import perf_counter
from typing import TYPE_CHECKING, get_args

import numpy as np

from scepsis._core._registry import Evidence, updated_tests
from scepsis._core._resolve import resolve
from scepsis._core._rng import resolve_seed
from scepsis._core._screen_pairs import read_pairs
from scepsis._core._store import record, write
from scepsis._core._types import Direction
from scepsis._core._validate import require_choice, require_key, require_positive
from scepsis.stats._matched_models import rank_all
from scepsis.stats._matched_study import MODELLED, MODELS, REGISTERED, Settings, Study
from scepsis.tl._confounds import _matched_tables as tables

if TYPE_CHECKING:
    from typing import Any

    from scepsis._core._screen_pairs import ScreenPairs
    from scepsis._core._types import BoolArray, Data, EdgesLike, Seed

logger = logging.getLogger(__name__)


def matched_evaluation(
    adata: Data,
    *,
    edges: EdgesLike,
    effects: str = "perturbation",
    direction: Direction = "source",
    k: int = 5,
    caliper: float = 0.2,
    smd_threshold: float = 0.1,
    n_folds: int = 5,
    margin: float = 0.005,
    min_candidates: int = 10,
    min_positives: int = 2,
    min_units: int = 6,
    allow_different_cells: bool = False,
    key_added: str = "matched_evaluation",
    mod: str | None = None,
    rng: Seed = 0,
    copy: bool = False,
) -> Data | None:
    r"""
    Score edges among responders and others that are as likely to respond by what they show alone.

    Responders are highly expressed, variable, often detected, and respond to many perturbations. Any score that knows
    genes like these looks good. Here every responder is compared with targets of the same *propensity*, the chance to
    respond given the target's mean, variance, detection rate and how often it responds to other perturbations
    (Kendiukhov (2026), analysis A11 :cite:p:`kendiukhov2026`). How alike the two groups have become is measured, and
    what still differs goes wherever the result goes.

    Parameters
    ----------
    adata
        Cells x genes, with edges, effects and gene features (`scepsis.pp.gene_features`).
    edges
        What is scored: keys of ``varp``, a table with columns ``source``, ``target``, ``weight``, or a dict from
        names to keys or tables. All share the pairs that all of them score, and the matches.
    effects
        Label set: ``varm["<effects>_target"]`` and ``uns["<effects>_effects"]``.
    direction
        Edge that scores target t of perturbation g: ``source`` takes that from g to t, ``target`` that from t to g,
        ``mean`` and ``max`` both.
    k
        Partners of a responder.
    caliper
        Largest distance of a partner within a perturbation, in standard deviations of the log odds.
    smd_threshold
        Standardised mean difference from which on a covariate counts as unbalanced.
    n_folds
        Folds of perturbations, for propensities and for models.
    margin
        Largest gain in AUROC that counts as none, for the test of equivalence.
    min_candidates
        Candidates below which a perturbation is not counted.
    min_positives
        Responders below which a perturbation is not counted, before matching and after.
    min_units
        Perturbations below which there are means but no intervals or p-values.
    allow_different_cells
        Score edges and features that are recorded to be from different cells.
    key_added
        Name of the result.
    mod
        Modality, for MuData.
    rng
        Seed of the folds, and of the order in which equal propensities are matched.
    copy
        Return a changed copy instead of writing into `adata`.

    Returns
    -------
    None, or the copy. Sets ``uns[key_added]``, a dict of frames and parameters, and rows of ``uns["tests"]``
    (``A11``, ``gain/matched``). There are three designs. ``within`` (registered): partners of the same perturbation
    within the caliper, weighted by their share in the matches. ``balanced``: the same rows, partners weighted anew so
    that all four means agree. ``global``, the paper's: partners from all perturbations without a caliper, each
    counted once.

    ``["balance"]``
        ``design, covariate, smd_before, smd_after, threshold, balanced``.
    ``["samples"]``
        One row for each design: ``n_units`` (perturbations), ``n_responders, n_matched, n_unmatched, n_partners,
        n_effective`` (partners by their weights), ``residual_imbalance``, ``unbalanced`` (covariates, joined by
        ``;``), ``status``.
    ``["summary"]``
        One row for each design and set of edges: mean AUROC of the edges in the sample (``auroc, auroc_sd``; two-way
        95 % interval ``ci_low, ci_high``) and among all candidates of the same perturbations (``auroc_before``),
        ``n_units, residual_imbalance, status, reason``.
    ``["gains"]``
        One row for each set of edges and ``features`` in the designs ``within`` and ``global``: held-out AUROC of a
        logistic model of these features alone and with the edge (``auroc_gene_only, auroc_augmented``), their
        difference ``gain`` with its two-way interval, ``cohen_d, equivalence, margin, minimum_detectable, n_units,
        residual_imbalance, status, reason``.
        ``gene`` are the target's mean, variance and detection rate; ``gene+frequency`` adjusts for the frequency
        too. ``p_value`` (Wilcoxon over perturbations) is given for the registered test alone.
    ``["per_perturbation"]``
        ``perturbation, design, edges, auroc_before, auroc, auroc_gene_only, auroc_augmented, gain, n_pos`` (matched
        responders), ``n_neg`` (partners), ``n_unmatched, status``.
    ``["matches"]``
        One row for each match of ``within``: ``perturbation, target, partner, distance`` (log odds).
    ``["detection"]``
        The registered gain where a signal of ``delta`` standard deviations was planted in the edges of a random half
        of the responders: ``edges, design, delta, statistic, ci_low, ci_high, detected`` (the interval lies above 0).
    ``["params"]``
        Parameters, ``caliper_logit`` (the caliper in log odds), seed and hashes.

    Raises
    ------
    KeyError
        Edges, effects or gene features do not exist.
    ValueError
        Edges or features are from different cells, a parameter is out of range, or a table does not fit `adata`.
    TypeError
        `edges` or weights are of a wrong type.

    Warns
    -----
    UserWarning
        The registered design is not balanced; edges have no record of their cells.

    Notes
    -----
    **Propensities** are those of a ridge-penalised logistic regression of standardised covariates that was fitted
    without the perturbation: within a fold of perturbations a target has one propensity, whatever its labels there.
    The frequency is counted in the perturbations that are fitted on, whose own rows carry the frequency in the other
    four of five inner folds. Leaving out just the row's own perturbation would tell its label: of a target that
    responds n times, responders would carry n - 1 and others n.

    **Balance** of a covariate is :math:`(m_1 - m_0) / \sqrt{(s_1^2 + s_0^2) / 2}`, with means and variances weighted
    as the rows are. Where any is at least `smd_threshold`, the result carries ``residual_imbalance``, and the reason
    in the registry begins with these words: such a result is no evidence. In the paper no covariate was balanced.
    ``balanced`` reweights by entropy (Hainmueller 2012), within each perturbation and so that all means agree.

    **AUROC** is the chance that a responder stands above a partner of its perturbation, both drawn by their weights.
    Intervals are those of `scepsis.tl.perturbation_auroc`, with weighted influence values.

    **Statuses.** ``no_positives``: no perturbation counts, or no responder has a partner in the caliper.
    ``too_few_units``: fewer than `min_units` perturbations; there is no interval. ``constant_score``: all edges are
    the same. ``label_leak``: edges or features have seen perturbed cells.

    For P perturbations and T candidates the cost is that of `n_folds` logistic regressions of P T pairs, a sort of
    P T propensities, and a few regressions of the matched rows for each set of edges.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.pp.select_cells(adata)
    >>> sps.pp.gene_features(adata)
    >>> sps.tl.correlation_edges(adata)
    >>> sps.tl.perturbation_effects(adata)
    >>> sps.tl.matched_evaluation(adata, edges="spearman")
    >>> adata.uns["matched_evaluation"]["samples"]["design"].tolist()
    ['within', 'balanced', 'global']
    """
    begun = perf_counter()
    data = adata.copy() if copy else adata
    target = resolve(data, mod)
    _check(direction, k, caliper, smd_threshold, n_folds, margin, min_candidates, min_positives, min_units, key_added)
    seed = resolve_seed(rng)
    pairs = read_pairs(target, edges, effects=effects, direction=direction, allow_different_cells=allow_different_cells)
    counted = pairs.counted(min_positives=int(min_positives), min_candidates=int(min_candidates))
    settings = Settings(
        k=int(k), caliper=float(caliper), n_folds=int(n_folds), margin=float(margin),
        min_positives=int(min_positives), min_units=int(min_units), seed=seed,
    )  # fmt: skip
    names = [str(name) for name in target.var_names[pairs.genes]]
    found = _evaluate(pairs, names, counted, settings, float(smd_threshold))
    params = record(
        effects=effects,
        direction=direction,
        k=int(k),
        caliper=float(caliper),
        smd_threshold=float(smd_threshold),
        n_folds=int(n_folds),
        margin=float(margin),
        min_candidates=int(min_candidates),
        min_positives=int(min_positives),
        min_units=int(min_units),
        allow_different_cells=allow_different_cells,
        seed=seed,
    )
    result = {
        "params": params | _provenance(pairs) | {"caliper_logit": found.study.caliper},
        "balance": tables.balance(found),
        "samples": tables.samples(found),
        "summary": tables.summary(found),
        "gains": tables.gains(found),
        "per_perturbation": tables.per_perturbation(found),
        "matches": tables.matches(found),
        "detection": tables.detection(found),
    }
    rows = tables.registry_rows(found)
    evidence = Evidence(
        key=key_added, params=params, edges=pairs.records, effects=effects,
        labels_hash=str(pairs.screen.params.get("labels_hash", "")), seed=seed, wall_s=perf_counter() - begun,
    )  # fmt: skip
    tables.say(rows)
    write(target, uns={key_added: result} | updated_tests(target, rows, evidence))
    return data if copy else None


def _check(
    direction: str,
    k: int,
    caliper: float,
    smd_threshold: float,
    n_folds: int,
    margin: float,
    min_candidates: int,
    min_positives: int,
    min_units: int,
    key_added: str,
) -> None:
    require_choice(direction, get_args(Direction), argument="direction")
    require_key(key_added, argument="key_added")
    for argument, value, minimum in (
        ("k", k, 1),
        ("n_folds", n_folds, 2),
        ("min_candidates", min_candidates, 1),
        ("min_positives", min_positives, 1),
        ("min_units", min_units, 2),
        ("caliper", caliper, 0),
        ("smd_threshold", smd_threshold, 0),
        ("margin", margin, 0),
    ):
        require_positive(value, argument=argument, minimum=minimum)


def _evaluate(
    pairs: ScreenPairs, names: list[str], counted: BoolArray, settings: Settings, smd_threshold: float
) -> tables.Evaluation:
    """Match once, and score every set of edges in every design."""
    labels = np.where(counted[:, None], pairs.labels, np.int8(-1))
    study = Study(labels, pairs.features, pairs.screen.group(), settings)
    columns = [pairs.scores(one) for one in pairs.sets]
    before = [rank_all(labels, scores) for scores in columns]
    scored, detection = [], {}
    for sample in study.samples:
        models = MODELS if sample.design in MODELLED else ()
        gains = {model: study.gains(sample, columns, model) for model in models}
        for index, (one, scores) in enumerate(zip(pairs.sets, columns, strict=True)):
            ranked = study.ranked(sample, scores)
            chance, used = study.against_chance(sample, ranked)
            own = {model: gains[model][index] for model in models}
            leaks = pairs.leaks[one.name] or pairs.features_leak
            scored.append(tables.Scored(one.name, sample, before[index], ranked, chance, used, own, leaks))
            if sample.design == REGISTERED:
                detection[one.name] = study.detection(sample, scores, one.name)
    return tables.Evaluation(pairs, names, counted, study, smd_threshold, scored, detection)


def _provenance(pairs: ScreenPairs) -> dict[str, Any]:
    return {
        "edges": [one.name for one in pairs.sets],
        "edges_slot": [one.slot for one in pairs.sets],
        "cells_hash": next((one.cells_hash for one in pairs.sets if one.cells_hash), ""),
        "genes_hash": next((str(one.params["genes_hash"]) for one in pairs.sets if one.params.get("genes_hash")), ""),
        "labels_hash": str(pairs.screen.params.get("labels_hash", "")),
        "n_candidates": len(pairs.genes),
    }
