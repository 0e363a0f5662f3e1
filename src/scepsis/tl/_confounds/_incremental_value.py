from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from scepsis._core._hashing import hash_array
from scepsis._core._progress import progress_bar
from scepsis._core._registry import Evidence, updated_tests
from scepsis._core._resolve import resolve
from scepsis._core._rng import resolve_seed
from scepsis._core._screen_pairs import read_pairs
from scepsis._core._store import record, write
from scepsis._core._validate import require_key, require_positive
from scepsis.stats._increment import Baselines, Comparison, Design, increment
from scepsis.stats._learners import BOOSTING, Pairs
from scepsis.tl._confounds import _increment_tables as tables
from scepsis.tl._confounds._increment_inputs import (
    check_choices,
    listed,
    status_of,
    strata_of,
    units_of,
    which_regulate,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scepsis._core._screen_pairs import ScreenPairs
    from scepsis._core._types import BoolArray, Data, Direction, EdgesLike, Seed
    from scepsis.stats._learners import Learner
    from scepsis.stats._splits import JointMode, Split

logger = logging.getLogger(__name__)
#: Model fits times pairs from which a bar is shown.
SHOWN_FROM = 5e7
#: Smallest values that are accepted, where that is not 1.
LEAST = {"n_folds": 2, "min_units": 2, "margin": 0}


def incremental_value(  # noqa: PLR0913
    adata: Data,
    *,
    edges: EdgesLike,
    splits: Split | Sequence[Split] = ("perturbation", "gene", "joint"),
    learners: Learner | Sequence[Learner] = ("logistic", "gbdt"),
    metrics: str | Sequence[str] = ("auroc", "auprc", "recall@10", "recall@50", "recall@100"),
    n_folds: int = 5,
    joint_mode: JointMode = "full",
    n_placebo: int = 5,
    effects: str = "perturbation",
    direction: Direction = "source",
    regulators: str | Sequence[str] | None = None,
    gene_symbols: str | None = None,
    margin: float = 0.005,
    min_candidates: int = 10,
    min_positives: int = 2,
    min_units: int = 6,
    n_boot: int = 10_000,
    n_jobs: int = 1,
    allow_different_cells: bool = False,
    key_added: str = "incremental_value",
    mod: str | None = None,
    rng: Seed = 0,
    copy: bool = False,
) -> Data | None:
    r"""
    Ask whether edges add anything to gene features in predicting who responds :cite:p:`kendiukhov2026`.

    A model is given the variance, mean and detection rate of the target alone, and the same with the edge from the
    perturbed gene to it; both predict which targets respond, for pairs that neither was fitted on. If the second
    ranks responders no better, the edges know nothing that the gene features do not (Kendiukhov (2026), analyses A05
    and A06). A flexible learner pays for any further column, useful or not: so the same edges, permuted within each
    perturbation, are fitted too (placebos), and gains are given against both.

    Parameters
    ----------
    adata
        Cells x genes, with edges in ``varp``, effects in ``varm`` and gene features in ``var``.
    edges
        What is scored: keys of ``varp``, a table with columns ``source``, ``target``, ``weight``, or a dict from
        names to keys or tables. All sets are compared on the pairs that each of them has, with the same folds. Signed
        edges enter by their absolute value.
    splits
        What is held out: ``perturbation`` (all pairs of a fifth of the perturbed genes), ``gene`` (of a fifth of the
        targets) or ``joint`` (pairs of both, fitted on pairs of neither).
    learners
        ``logistic`` (L2 penalty with C = 1, features standardised on the pairs fitted on) and ``gbdt`` (histogram
        gradient boosting as in scikit-learn, 50 trees of 15 leaves, learning rate 0.2, no early stopping: that would
        hold out random pairs, which share genes and perturbations with those fitted on). Features enter as they are,
        as in the paper, not on a log scale; to trees that makes no difference.
    metrics
        ``auroc``, ``auprc`` (average precision) and ``recall@<k>``, the share of a perturbation's responders among
        its k highest candidates.
    n_folds
        Blocks of perturbations, and of targets.
    joint_mode
        ``full`` tests every block of perturbations against every block of targets (25 fits with 5 folds, every pair
        once), ``diagonal`` only those of the same number, a fifth of the pairs, for a fifth of the time.
    n_placebo
        Permutations of the edges within each perturbation, each fitted as the edges are.
    effects
        Label set: ``varm["<effects>_target"]`` and ``uns["<effects>_effects"]``.
    direction
        Edge that stands for target t of perturbation g: ``source`` takes that from g to t, ``target`` that from t to
        g, ``mean`` and ``max`` both.
    regulators
        Names of transcription factors, or a boolean column of ``var``: gains are then also given among perturbed
        regulators and among the other perturbed genes.
    gene_symbols
        Column of ``var`` in which listed `regulators` are written; None means ``var_names``.
    margin
        Largest gain that counts as none, for the test of equivalence.
    min_candidates
        Candidates below which a perturbation is left out.
    min_positives
        Responders below which a perturbation is left out.
    min_units
        Perturbations below which there are gains but no intervals or p-values.
    n_boot
        Replicates of the bootstrap over perturbations.
    n_jobs
        Processes over which folds are spread. The result does not depend on it.
    allow_different_cells
        Compare edges and features that are recorded to be from different cells.
    key_added
        Name of the result.
    mod
        Modality, for MuData.
    rng
        Seed of folds, placebos and bootstrap.
    copy
        Return a changed copy instead of writing into `adata`.

    Returns
    -------
    None, or the copy. Appends rows to ``uns["tests"]`` and sets ``uns[key_added]``, a dict of frames and parameters.

    ``["gains"]``
        One row for each set of edges, split, learner and metric: means over perturbations of ``gene_only`` and
        ``augmented``, and their difference, ``gain``, with the registered 95 % interval ``ci_low, ci_high,
        ci_method``, a t interval over perturbations (``t_low, t_high``), a percentile interval (``boot_low,
        boot_high``) and Wilcoxon's ``p_value`` over perturbations; ``gain_placebo``, augmented less the mean placebo,
        with ``placebo_low, placebo_high, placebo_boot_low, placebo_boot_high, p_value_placebo``, and ``placebo_sd``
        between draws; ``gain_strongest`` (``strongest_low, strongest_high``), augmented less the gene-only model of
        ``strongest``, the learner that is best without edges in this split; ``gain_de_frequency``
        (``de_frequency_low, de_frequency_high``; logistic, split by perturbation only): what the edge adds where how
        often the target responds to *other* perturbations is known too; ``gain_pooled``, the difference of AUROCs of
        all pairs in one ranking. ``decided_by`` is ``gene_only`` for the logistic learner and ``placebo`` for
        trees; of that difference are ``equivalence`` within ``margin``, ``minimum_detectable`` (80 % power) and
        ``material`` (at least 0.005). ``saturated``: recall without edges is at least 0.95. ``worst_of_three``: the
        smallest of three splits. Then ``n_units, n_genes, n_pairs, n_pos``, folds fitted and skipped (``n_folds,
        n_skipped``), ``status, reason``.
    ``["gene_only"]``
        One row for each split, learner, metric and ``features`` (``gene``, ``gene+de_frequency``): ``value, sd,
        pooled, n_units, n_folds, n_skipped, strongest, saturated``.
    ``["per_perturbation"]``
        ``edges, split, learner, metric, perturbation, gene_only, augmented, placebo, gain, gain_placebo, n_pos,
        n_neg, status``.
    ``["strata"]``
        ``gain`` and ``gain_placebo`` with intervals by ``stratum`` (``regulator``, ``other``) of the perturbed gene.
        Empty without `regulators`.
    ``["detection"]``
        The gain in AUROC (``statistic, ci_low, ci_high``) that the same edges have with a signal planted: ``delta``
        standard deviations added for a random half of the responders. ``detected`` if the interval is above 0. One
        split and learner, those that cost least (``split, learner``; perturbations and logistic when asked for).
    ``["params"]``
        All parameters, numbers of blocks, and hashes.

    Raises
    ------
    KeyError
        Edges, effects, gene features or a column do not exist.
    ValueError
        Edges or features are from different cells; a table lists a pair twice or names genes of another namespace;
        none of the regulators is known; a parameter is out of range.
    TypeError
        `edges`, weights or the column of regulators are of a wrong type.

    Warns
    -----
    UserWarning
        Edges have no record of their cells; a table looks truncated.

    Notes
    -----
    **Folds.** Perturbed genes are dealt into blocks of about equal numbers of pairs, and so are targets. With fewer
    groups than `n_folds` there are fewer blocks (``params["folds_reduced"]``). A fold in which the pairs fitted on,
    or those tested, lack a class is skipped and counted.

    **Metrics** are taken within a perturbation. In the splits by gene, different models score the targets of one
    perturbation: AUROC and average precision are taken among the targets that one model scored, then averaged. Recall
    counts among all tested candidates of the perturbation, so with ``joint_mode="diagonal"`` among a fifth of them.
    At the cut, tied candidates are taken at random, in expectation.

    **Intervals.** For AUROC two-way clustered by perturbation and by gene on influence values
    (`scepsis.tl.perturbation_auroc`), with the influence of a pair divided by the number of models that scored its
    perturbation; otherwise Student's over perturbations. Models are taken as they were fitted: what another training
    set would have given is not in the intervals.

    **DE frequency** of a target among the perturbations fitted on; for these themselves it is taken over inner folds,
    because leaving out only the perturbation in question gives its label away. Held-out targets have none.

    **Statuses.** ``label_leak``: perturbed cells are behind the edges or the features (numbers support nothing).
    ``constant_score``: all edges are the same; nothing is fitted. ``missing_vocab``: no perturbed gene has an edge.
    ``no_positives``, ``no_negatives``, ``too_few_units``: too few responders, other genes or perturbations. Rows with
    the reason ``saturated`` are at the ceiling: no gain is possible there.

    Each set of edges costs ``1 + n_placebo`` fits for each fold (35 with 5 folds and ``full``) and learner; gene
    features are fitted once. On 560,000 pairs a set of edges takes about three minutes of one core, on 8,000 with
    ``joint_mode="diagonal"`` about four seconds. Only the order of predictions counts: log odds of trees can be
    extreme where hardly any pair responds.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.pp.select_cells(adata)
    >>> sps.pp.gene_features(adata)
    >>> sps.tl.correlation_edges(adata)
    >>> sps.tl.perturbation_effects(adata)
    >>> sps.tl.incremental_value(adata, edges="spearman", splits="perturbation", learners="logistic", metrics=["auroc"])
    >>> adata.uns["incremental_value"]["gains"][["edges", "split", "status"]].values.tolist()
    [['spearman', 'perturbation', 'ok']]
    """
    started = time.perf_counter()
    data = adata.copy() if copy else adata
    target = resolve(data, mod)
    splits, learners, metrics = (listed(one) for one in (splits, learners, metrics))
    check_choices(splits, learners, metrics, joint_mode, direction)
    require_key(key_added, argument="key_added")
    numbers = {
        "n_folds": int(n_folds),
        "n_placebo": int(n_placebo),
        "min_candidates": int(min_candidates),
        "min_positives": int(min_positives),
        "min_units": int(min_units),
        "n_boot": int(n_boot),
    }
    for argument, value in (numbers | {"margin": margin}).items():
        require_positive(value, argument=argument, minimum=LEAST.get(argument, 1))
    seed = resolve_seed(rng)
    regulates = which_regulate(target, regulators, gene_symbols)
    pairs = read_pairs(target, edges, effects=effects, direction=direction, allow_different_cells=allow_different_cells)
    counted = pairs.counted(min_positives=numbers["min_positives"], min_candidates=numbers["min_candidates"])
    design = Design(
        data=Pairs(pairs.labels[counted], pairs.features, pairs.screen.group()[counted]),
        splits=splits,
        learners=learners,
        metrics=metrics,
        n_folds=numbers["n_folds"],
        joint_mode=joint_mode,
        seed=seed,
        n_jobs=int(n_jobs),
    )
    comparison = Comparison(
        float(margin), numbers["min_units"], numbers["n_boot"], strata_of(pairs, regulates, counted)
    )
    baselines, outcomes = _fit(design, pairs, counted, comparison, numbers["n_placebo"])
    frames = tables.frames(outcomes, baselines, design, comparison, units_of(pairs, counted))
    params = record(
        splits=splits,
        learners=learners,
        metrics=metrics,
        joint_mode=joint_mode,
        **numbers,
        margin=float(margin),
        effects=effects,
        direction=direction,
        regulators=regulators if regulates is None or isinstance(regulators, str) else hash_array(regulates),
        gene_symbols=gene_symbols,
        allow_different_cells=allow_different_cells,
        seed=seed,
        edges=[one.name for one in pairs.sets],
        n_perturbations=int(counted.sum()),
        n_candidates=len(pairs.genes),
        labels_hash=str(pairs.screen.params.get("labels_hash", "")),
        **_described(design),
    )
    evidence = Evidence(
        key=key_added,
        params=params,
        edges=pairs.records,
        effects=effects,
        labels_hash=params["labels_hash"],
        seed=seed,
        wall_s=time.perf_counter() - started,
    )
    rows = tables.registry_rows(frames["gains"])
    write(target, uns={key_added: {"params": params} | frames} | updated_tests(target, rows, evidence))
    return data if copy else None


def _described(design: Design) -> dict[str, Any]:
    """What came of the folds that were asked for, and what the learners are."""
    blocks = design.blocks
    reduced = min(blocks.n_units, blocks.n_genes) < design.n_folds
    if reduced:
        logger.warning(
            "%d blocks of perturbations and %d of targets could be made: fewer folds than `n_folds=%d`",
            *(blocks.n_units, blocks.n_genes, design.n_folds),
        )
    return {
        "n_pairs": len(design.data.rows),
        "n_blocks_perturbation": blocks.n_units,
        "n_blocks_gene": blocks.n_genes,
        "folds_reduced": reduced,
        "logistic": "C=1, standardised on the pairs fitted on",
        "gbdt": "{max_iter} trees of {max_leaf_nodes} leaves, learning rate {learning_rate}, no early stopping".format(
            **BOOSTING
        ),
    }


def _fit(
    design: Design, pairs: ScreenPairs, counted: BoolArray, comparison: Comparison, n_placebo: int
) -> tuple[Baselines, list[tables.Outcome]]:
    """Fit gene features alone, and then every set of edges."""
    n_models = len(design.tasks) * (1 + len(pairs.sets) * (1 + n_placebo))
    total = design.n_tasks(with_edge=False) + len(pairs.sets) * design.n_tasks(with_edge=True)
    show = n_models * len(design.data.rows) > SHOWN_FROM
    outcomes = []
    with progress_bar(total=total, desc="incremental value", unit="fold", show=show) as bar:
        design = design.advancing(bar.update)
        baselines = Baselines.fit(design)
        for one in pairs.sets:
            scores = pairs.scores(one)
            status, reason = status_of(pairs, one, scores, counted)
            found = None
            if status in {"ok", "label_leak"}:
                found = increment(
                    design, baselines, scores[counted], one.name, n_placebo=n_placebo, comparison=comparison
                )
            outcomes.append(tables.Outcome(one.name, found, status, reason))
    return baselines, outcomes
