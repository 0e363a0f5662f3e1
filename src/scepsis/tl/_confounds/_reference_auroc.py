from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, get_args

from scepsis._core._network import Universe
from scepsis._core._network_pairs import read_network_pairs
from scepsis._core._registry import Evidence, updated_tests
from scepsis._core._resolve import resolve
from scepsis._core._rng import child, resolve_seed
from scepsis._core._store import record, write
from scepsis._core._validate import require_choice, require_key, require_positive
from scepsis.tl._shared import _reference_tables as tables
from scepsis.tl._shared._reference_scores import BASELINES, line_up, require_known, scored

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from scepsis._core._types import Data, EdgesLike, Seed


def reference_auroc(
    adata: Data,
    reference: pd.DataFrame,
    *,
    edges: EdgesLike = ("attention", "spearman"),
    baselines: Sequence[str] = BASELINES,
    universe: Universe = "regulators",
    min_targets: int = 3,
    top_k: Sequence[int] = (20, 50, 100, 200, 500, 10_000),
    margin: float = 0.02,
    min_units: int = 6,
    n_boot: int = 10_000,
    reference_name: str = "reference",
    gene_symbols: str | None = None,
    allow_different_cells: bool = False,
    key_added: str = "reference_auroc",
    mod: str | None = None,
    rng: Seed = 0,
    copy: bool = False,
) -> Data | None:
    r"""
    Score how well edges rank the pairs of genes that a reference network lists :cite:p:`kendiukhov2026`.

    All pairs that the reference could have listed are ranked by their edges; the pooled AUROC is the probability that
    a listed pair stands above one that is not. Beside it stand the mean over regulators of the AUROC of each, the
    top of the list, what the target's own variance, mean and detection rate reach on the same pairs, and intervals
    that allow for regulators that share targets. Whether more than the popularity of targets is in it is for
    `scepsis.tl.degree_null` to say.

    Parameters
    ----------
    adata
        Cells x genes, with edges in ``varp``.
    reference
        Frame with the columns ``source`` and ``target``; a ``weight`` of 0 lists no edge. Repeated rows and pairs of
        a gene with itself do not count.
    edges
        What is scored: keys of ``varp``, a table with columns ``source``, ``target``, ``weight``, or a dict from
        names to keys or tables. The further scales of attention and its twin with random weights are scored with it
        when they are there. Signed edges are scored by their absolute value.
    baselines
        Which features of genes are scored beside, from ``variance``, ``mean`` and ``detection_rate``
        (`scepsis.pp.gene_features`): of the target; for ``all_pairs`` also the product of both genes'; for
        ``unordered`` that alone.
    universe
        Pairs that could have been listed: ``regulators``, from genes with at least `min_targets` evaluated targets to
        all other genes; ``all_pairs`` of two different genes; ``unordered``, each pair once, scored by the mean of
        both directions.
    min_targets
        Evaluated targets that make a gene a regulator, for ``regulators``.
    top_k
        Numbers of first pairs that are scored as predictions.
    margin
        Largest difference of AUROCs that counts as none, for the test of equivalence.
    min_units
        Regulators (genes, for ``unordered``) below which there are numbers but no intervals.
    n_boot
        Replicates of the bootstrap over regulators.
    reference_name
        Name of the reference in the registry of tests.
    gene_symbols
        Column of ``var`` that `reference` is written in; None means ``var_names``.
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
    None, or the copy. Sets ``uns[key_added]``, a dict of frames and parameters, and rows of ``uns["tests"]``
    (analysis R: ``pooled``, ``per_regulator`` and ``vs_<other>`` for every set of edges, all descriptive). ``kind`` is
    ``edges`` (asked for), ``scale``, ``control`` (random weights) or ``baseline``.

    ``["summary"]``
        One row for each predictor and statistic (``pooled``, ``per_regulator``): ``auroc``; its 95 % interval
        ``ci_low, ci_high`` by ``ci_method``, clustered by regulator and target; ``oneway_low, oneway_high`` clustered
        by regulator alone, ``boot_low, boot_high`` the percentile interval over resampled regulators;
        ``minimum_detectable``; for ``pooled`` also ``average_precision, prevalence, lift, partial_auroc, bedroc``;
        ``n, n_pos, n_units, status``.
    ``["per_regulator"]``
        One row for each regulator and predictor: ``auroc`` with an interval over its own pairs (DeLong's variance, t
        with one degree of freedom less than there are targets), ``average_precision, prevalence, lift``,
        ``n_pos, n_neg, status``. A regulator with one target has an AUROC but no interval, and is in no mean. Empty
        for ``unordered``.
    ``["contrasts"]``
        One row for each set of edges, other predictor and statistic: ``difference`` (edges less the other) with the
        same intervals, ``p_value`` (Wilcoxon over regulators, for ``per_regulator``), ``equivalence`` within
        ``margin``, ``minimum_detectable``, ``n_units, status``.
    ``["top_k"]``
        ``predictor, kind, k, hits, precision, recall, f1``. Recall is of all listed pairs in the panel, those that
        lack an edge included.
    ``["network"]``
        ``step, n``: rows of the reference on their way to evaluated pairs, and what they stand among.
    ``["detection"]``
        ``edges, delta, statistic, ci_low, ci_high, detected``: the pooled AUROC when ``delta`` standard deviations
        are added to the edges of a random half of the listed pairs, and whether its interval is above 0.5.
    ``["params"]``
        All parameters, one entry per set of edges in ``edges`` and so on, hashes, ``missing_companions``.

    Raises
    ------
    KeyError
        Edges, a column of `reference`, or `gene_symbols` do not exist.
    ValueError
        The reference is of another namespace or lists no pair of two different genes; edges and features are from
        different cells; a parameter is out of range.
    TypeError
        `edges` or `reference` are of a wrong type.

    Warns
    -----
    UserWarning
        Companions of attention are missing; edges have no record of their cells; a table looks truncated.

    Notes
    -----
    Pairs are complete cases: those that every set of edges has. A baseline that lacks a value loses that pair alone.

    **Intervals.** With :math:`\phi_{st}` the influence of a pair on the AUROC (that of DeLong), the variance is
    :math:`V = \max(V_s + V_t - V_{st}, V_s, V_t)`, where :math:`V_s` sums influence by regulator before squaring,
    :math:`V_t` by target, and :math:`V_{st}` not at all (Cameron, Gelbach and Miller 2011), with t at the smaller
    number of clusters less one. For ``unordered`` a gene is a cluster in either place, and there is no interval
    over regulators. The bootstrap over regulators needs the wins of the positives of each regulator over the
    negatives of each, U, once: weights w of regulators have the AUROC
    :math:`w^\top U w / (w^\top p \, w^\top n)`.

    **Statuses.** ``no_positives``, ``no_negatives``; ``constant_score`` (0.5); ``too_few_units``: fewer than
    `min_units` regulators; ``not_run``: a baseline without its column.

    ``K N log N`` for K predictors and N pairs, ``n_boot R^2 K`` for R regulators; memory 16 bytes for each predictor
    and pair.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.pp.select_cells(adata)
    >>> sps.pp.gene_features(adata)
    >>> sps.tl.correlation_edges(adata)
    >>> truth = sps.get.edges(adata, "regulation")
    >>> sps.tl.reference_auroc(adata, truth[truth["weight"] != 0], edges="spearman", n_boot=200)
    >>> adata.uns["reference_auroc"]["summary"].query("statistic == 'pooled'")["predictor"].tolist()
    ['spearman', 'variance', 'mean', 'detection_rate']
    """
    start = perf_counter()
    data = adata.copy() if copy else adata
    target = resolve(data, mod)
    names = require_known(baselines)
    require_choice(universe, get_args(Universe), argument="universe")
    require_key(key_added, argument="key_added")
    require_key(reference_name, argument="reference_name")
    for argument, value, minimum in (("margin", margin, 0), ("min_units", min_units, 2), ("n_boot", n_boot, 1)):
        require_positive(value, argument=argument, minimum=minimum)
    for size in top_k:
        require_positive(size, argument="top_k")
    seed = resolve_seed(rng)
    pairs = read_network_pairs(
        target, reference, edges, universe=universe, min_targets=min_targets, gene_symbols=gene_symbols,
        companions=True, allow_different_cells=allow_different_cells,
    )  # fmt: skip
    predictors = line_up(target, pairs, names)
    found = scored(
        pairs,
        predictors,
        sizes=[int(size) for size in top_k],
        margin=float(margin),
        min_units=int(min_units),
        n_boot=int(n_boot),
        generator=child(seed, "reference_auroc", "bootstrap"),
    )
    params = record(
        universe=universe,
        min_targets=int(min_targets),
        top_k=[int(size) for size in top_k],
        margin=float(margin),
        min_units=int(min_units),
        n_boot=int(n_boot),
        baselines=names,
        reference_name=reference_name,
        gene_symbols=gene_symbols,
        allow_different_cells=allow_different_cells,
        same_cells=pairs.same_cells,
        missing_companions=pairs.missing,
        seed=seed,
        labels_hash=pairs.network.hash,
        **pairs.edges_record(),
    )
    genes = target.var_names.to_numpy(dtype=object)
    overall, compared = tables.summary(found), tables.contrasts(found)
    result = {
        "params": params,
        "summary": overall,
        "per_regulator": tables.per_regulator(found, genes),
        "contrasts": compared,
        "top_k": tables.top_k(found),
        "network": pairs.frame(),
        "detection": tables.detection(found, seed),
    }
    evidence = Evidence(
        key=key_added,
        params=params,
        edges=pairs.records,
        reference=reference_name,
        labels_hash=pairs.network.hash,
        seed=seed,
        wall_s=perf_counter() - start,
    )
    tests = updated_tests(target, tables.rows(found, overall, compared), evidence)
    write(target, uns={key_added: result} | tests)
    return data if copy else None
