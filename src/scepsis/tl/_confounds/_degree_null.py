from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, get_args

from scepsis._core._network import Directed
from scepsis._core._network_pairs import read_network_pairs
from scepsis._core._progress import progress_bar
from scepsis._core._registry import Evidence, updated_tests
from scepsis._core._resolve import resolve
from scepsis._core._rng import resolve_seed
from scepsis._core._store import record, write
from scepsis._core._validate import require_choice, require_key, require_positive
from scepsis.stats._rewire import MIN_CHAINS
from scepsis.tl._confounds import _null_tables as tables
from scepsis.tl._confounds._model_free import model_free_scores
from scepsis.tl._confounds._null_draws import compared, draw_networks, line_up

if TYPE_CHECKING:
    import pandas as pd

    from scepsis._core._types import Data, EdgesLike, Seed


def degree_null(
    adata: Data,
    reference: pd.DataFrame,
    *,
    edges: EdgesLike = ("attention", "spearman"),
    universe: Directed = "regulators",
    min_targets: int = 3,
    n_null: int = 1000,
    n_label: int = 1000,
    max_doublings: int = 5,
    min_units: int = 6,
    reference_name: str = "reference",
    gene_symbols: str | None = None,
    allow_different_cells: bool = False,
    n_jobs: int = 1,
    show_progress_bar: bool = True,
    key_added: str = "degree_null",
    mod: str | None = None,
    rng: Seed = 0,
    copy: bool = False,
) -> Data | None:
    r"""
    Ask whether edges know more of a reference than how popular its genes are :cite:p:`kendiukhov2026`.

    Some genes are listed as targets of many regulators, and some regulators with many targets. A score that merely
    ranks popular targets high has a good AUROC on the reference, and just as good a one on any network with the same
    degrees. Such networks are drawn by trading targets between edges, and the scores, which stay as they are, are
    evaluated on each: what the reference has above their mean is what degrees do not explain (analysis A09).

    Parameters
    ----------
    adata
        Cells x genes, with edges in ``varp``.
    reference
        Frame with the columns ``source`` and ``target``; a ``weight`` of 0 lists no edge.
    edges
        What is scored: keys of ``varp``, a table with columns ``source``, ``target``, ``weight``, or a dict from
        names to keys or tables. All sets share the pairs that each of them has, and the networks that are drawn.
    universe
        Pairs that could have been listed: ``regulators``, from genes with at least `min_targets` evaluated targets to
        all other genes; ``all_pairs`` of two different genes.
    min_targets
        Evaluated targets that make a gene a regulator, for ``regulators``.
    n_null
        Networks of the same degrees (200 in the paper, which makes 0.005 the smallest p).
    n_label
        Draws of either shuffle of labels.
    max_doublings
        How often the length of the chains (10 steps for each listed pair, at first) may be doubled until they have
        mixed.
    min_units
        Regulators below which there is no p-value.
    reference_name
        Name of the reference in the registry of tests.
    gene_symbols
        Column of ``var`` that `reference` is written in; None means ``var_names``.
    allow_different_cells
        Score edges and features that are recorded to be from different cells.
    n_jobs
        Threads; the result does not depend on it.
    show_progress_bar
        Show how many chains have come to their end.
    key_added
        Name of the result.
    mod
        Modality, for MuData.
    rng
        Seed; every chain and draw has a generator of its own.
    copy
        Return a changed copy instead of writing into `adata`.

    Returns
    -------
    None, or the copy. Sets ``uns[key_added]``, a dict of frames and parameters, and four rows of ``uns["tests"]`` for
    every set of edges (analysis A09: ``degree/pooled``, which is the primary one, ``degree/per_regulator``,
    ``label_shuffle/pooled``, ``row_only/pooled``). ``kind`` is ``edges`` or ``model_free``: absolute ``spearman``
    correlation, ``proximity`` (minus the difference of both genes' means) and ``codetection`` (lift), where the data
    have them.

    ``["summary"]``
        One row for each score, null (``degree``, ``label_shuffle``, ``row_only``: every regulator keeps its number of
        targets) and statistic (``pooled``, ``per_regulator``: mean over those with at least two targets):
        ``observed, null_mean, null_sd, z, p_value, n_null``; its parts ``chance`` (0.5), ``degree`` (mean of the
        null above that; named so for all nulls) and ``residual`` (observed above the mean); the strongest model-free
        score ``baseline_name`` and its z ``baseline_z``; ``n, n_pos, n_units, status``.
    ``["draws"]``
        One row for each score, null and ``draw``: ``pooled``, ``per_regulator``.
    ``["per_regulator"]``
        ``edges, kind, regulator, n_pos, n_neg, auroc, ci_low, ci_high, above, ci_above``: the interval is over the
        regulator's own pairs (DeLong's variance, t); whether the AUROC, and its interval, are above 0.5.
    ``["mixing"]``
        ``n_steps, overlap, standard_error``: mean share of the listed pairs that are still there, and the standard
        error of its change, for every length of the chains.
    ``["network"]``
        ``step, n``: rows of the reference on their way to evaluated pairs.
    ``["detection"]``
        ``edges, delta, statistic, ci_low, ci_high, p_value, detected``: z of the pooled AUROC against the degree null
        when ``delta`` standard deviations are added to a random half of the listed pairs (no interval).
    ``["params"]``
        All parameters; ``mixed``, ``n_steps``, ``overlap`` and ``n_unchanged`` (networks equal to the reference).

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
        Edges have no record of their cells; a table looks truncated.

    Notes
    -----
    A step takes two listed pairs at random and lets them trade targets, unless that gives a pair that is listed
    already, a gene with itself, or a pair that some edges lack. All networks that such steps lead to are equally
    likely in the end. Every network comes from a chain of its own that begins at the reference; chains are as long as
    it takes until the mean overlap with the reference after n and after 2n steps agrees within two standard errors,
    over at least 50 chains. (The usual five Curveball trades for each regulator keep half of a network whose degrees
    are heavy-tailed.) The test is one-sided: with B draws, b of them at least as high as observed,

    .. math:: z = \frac{A - \bar A_0}{s_0}, \qquad p = \frac{1 + b}{1 + B}, \qquad
       A = \tfrac12 + (\bar A_0 - \tfrac12) + (A - \bar A_0).

    ``minimum_detectable`` in the registry is 2.49 standard deviations of the null (power 80 %, one-sided 5 %).

    **Statuses.** ``no_positives``, ``no_negatives``; ``constant_score``; ``single_stratum``: no two pairs can trade;
    ``null_not_mixed``: no p-value; ``too_few_units``: fewer than `min_units` regulators, no p-value;
    ``underpowered``: fewer than 20 listed pairs, all numbers, but no evidence; ``not_run``: a model-free score that
    the data do not have.

    About 20 ns for each step of each chain, and 10 ns for each listed pair, draw and score; memory 8 bytes for each
    listed pair and draw, 16 for each pair.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.pp.select_cells(adata)
    >>> sps.pp.gene_features(adata)
    >>> sps.tl.correlation_edges(adata)
    >>> truth = sps.get.edges(adata, "regulation")
    >>> sps.tl.degree_null(adata, truth[truth["weight"] != 0], edges="spearman", n_null=50, n_label=50)
    >>> bool(adata.uns["degree_null"]["params"]["mixed"])
    True
    """
    start = perf_counter()
    data = adata.copy() if copy else adata
    target = resolve(data, mod)
    require_choice(universe, get_args(Directed), argument="universe")
    require_key(key_added, argument="key_added")
    require_key(reference_name, argument="reference_name")
    for argument, value, minimum in (
        ("n_null", n_null, 2), ("n_label", n_label, 2), ("max_doublings", max_doublings, 1),
        ("min_units", min_units, 2), ("n_jobs", n_jobs, 1),
    ):  # fmt: skip
        require_positive(value, argument=argument, minimum=minimum)
    seed = resolve_seed(rng)
    pairs = read_network_pairs(
        target,
        reference,
        edges,
        universe=universe,
        min_targets=min_targets,
        gene_symbols=gene_symbols,
        allow_different_cells=allow_different_cells,
    )
    scores = line_up(pairs, model_free_scores(target, pairs))
    total = 2 * max(int(n_null), MIN_CHAINS)
    with progress_bar(total=total, desc="rewired networks", unit="chain", show=show_progress_bar) as bar:
        networks = draw_networks(
            pairs, n_null=int(n_null), n_label=int(n_label), seed=seed,
            max_doublings=int(max_doublings), n_jobs=int(n_jobs), advance=bar.update,
        )  # fmt: skip
    found = compared(pairs, scores, networks, seed=seed, min_units=int(min_units))
    params = record(
        universe=universe,
        min_targets=int(min_targets),
        n_null=int(n_null),
        n_label=int(n_label),
        max_doublings=int(max_doublings),
        min_units=int(min_units),
        reference_name=reference_name,
        gene_symbols=gene_symbols,
        allow_different_cells=allow_different_cells,
        same_cells=pairs.same_cells,
        seed=seed,
        labels_hash=pairs.network.hash,
        **pairs.edges_record(),
    )
    summary = tables.summary(found)
    result = {
        "params": params | networks.record(),
        "summary": summary,
        "draws": tables.draws(found),
        "per_regulator": tables.per_regulator(found, target.var_names.to_numpy(dtype=object)),
        "mixing": networks.frame(),
        "network": pairs.frame(),
        "detection": tables.detection(found),
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
    write(target, uns={key_added: result} | updated_tests(target, tables.rows(summary), evidence))
    return data if copy else None
