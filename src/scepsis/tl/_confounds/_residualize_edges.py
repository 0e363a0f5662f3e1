from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scepsis._core._edge_pairs import read_edge_pairs
from scepsis._core._edge_slots import pack, superseded
from scepsis._core._keys import RESIDUALIZERS
from scepsis._core._network import read_network
from scepsis._core._progress import progress_bar
from scepsis._core._registry import Evidence, updated_tests
from scepsis._core._resolve import resolve
from scepsis._core._rng import resolve_seed
from scepsis._core._store import record, write
from scepsis._core._validate import listing, require_choice, require_key, require_positive
from scepsis.stats._boosted import Trees
from scepsis.tl._confounds import _residual_tables as tables
from scepsis.tl._confounds._residuals import Plan, Target, columns_of, residualize

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from scepsis._core._edge_pairs import EdgePairs
    from scepsis._core._network import Network, Universe
    from scepsis._core._types import Data, EdgesLike, Seed
    from scepsis.tl._confounds._residuals import Column


def residualize_edges(  # noqa: PLR0913 - options of a network and of fits
    adata: Data,
    *,
    edges: EdgesLike = ("attention", "spearman"),
    reference: pd.DataFrame | None = None,
    residualizers: Sequence[str] = RESIDUALIZERS,
    universe: Universe = "regulators",
    min_targets: int = 3,
    reference_name: str = "reference",
    gene_symbols: str | None = None,
    pair_folds: bool = True,
    n_seeds: int = 10,
    max_train: int = 100_000,
    margin: float = 0.02,
    min_units: int = 6,
    n_boot: int = 10_000,
    allow_different_cells: bool = False,
    n_jobs: int = 1,
    show_progress_bar: bool = True,
    key_added: str = "residualize_edges",
    mod: str | None = None,
    rng: Seed = 0,
    copy: bool = False,
) -> Data | None:
    r"""
    Take away from edges what single genes explain, and ask what is left :cite:p:`kendiukhov2026`.

    An edge that is high because its target is variable, or its source well detected, tells of genes and not of pairs.
    Each pair is predicted by models that have not seen it, and what is left, its residual, is stored as edges of their
    own, which every other tool can score. With a reference network, the AUROC of residual edges is set beside that of
    the edges (Kendiukhov (2026), analysis A08).

    Parameters
    ----------
    adata
        Cells x genes, with edges in ``varp`` and gene features in ``var`` (`scepsis.pp.gene_features`).
    edges
        What is taken apart: keys of ``varp``, a table with columns ``source``, ``target``, ``weight``, or a dict from
        names to keys or tables. Several sets share genes, folds and training pairs: the pairs that all of them have.
        Of signed edges the magnitude is taken, here as in every headline; the signed value stands beside it.
    reference
        Network with columns ``source``, ``target`` and, if it has them, ``weight`` and ``mode``. Without it there are
        residual edges and no scores.
    residualizers
        ``ols``: linear regression on variance and mean of the source and variance, mean and detection rate of the
        target. ``gbdt``: boosted trees on all six. ``node``: an effect of the source and one of the target, estimated
        from their other pairs.
    universe
        Pairs that are scored: ``regulators``, from each gene with at least `min_targets` listed targets to all genes of
        the panel; ``all_pairs``; or ``unordered``, each pair once, by the mean of both directions.
    min_targets
        Listed targets that make a gene a regulator.
    reference_name
        Name of the reference in the registry of tests.
    gene_symbols
        Column of ``var`` that `reference` names genes by; ``var_names`` when not given.
    pair_folds
        Score residuals from five random folds of pairs, the paper's, as well. Both genes of a pair are then known from
        other pairs. They are not stored.
    n_seeds
        Seeds of blocks and folds, over which the AUROC has a mean and a standard deviation. Residuals of the first are
        stored and tested. Only with a reference, and only of magnitudes.
    max_train
        Pairs that one model of boosted trees learns from at most.
    margin
        Largest distance of an AUROC from 0.5, and largest difference of two, that counts as none.
    min_units
        Regulators with a listed pair below which there are numbers but no intervals and no p-values.
    n_boot
        Replicates of the bootstrap over regulators.
    allow_different_cells
        Use edges and features that are recorded to be from different cells.
    n_jobs
        Models of boosted trees fitted at a time. The result does not depend on it.
    show_progress_bar
        Show how many models are fitted.
    key_added
        Name of the result.
    mod
        Modality, for MuData.
    rng
        Seed of blocks, folds, training pairs, planted signals and the bootstrap.
    copy
        Return a changed copy instead of writing into `adata`.

    Returns
    -------
    None, or the copy. Sets

    ``varp["<edges>_residual_<residualizer>"]``, and its record in ``uns``
        Residual edges, float32, sources in rows, of ``ols`` and ``gbdt`` from gene-disjoint blocks; NaN where a pair
        is not in all sets, or cannot be predicted. The record says ``signed=False``: a residual below 0 is an edge
        weaker than expected and no repression, so that every tool scores it by its value.
    ``uns[key_added]["summary"]``
        One row for each set of edges, ``variant`` (``magnitude``, or ``signed`` for the value of signed edges),
        ``residualizer`` and ``split`` (``gene``, ``pair``, or ``own_pair`` for node effects): ``edges_key`` (where the
        residuals are stored), ``r2`` (out-of-fold share of the variance explained), ``auroc_raw`` and ``auroc`` (all
        pairs in one ranking, on the pairs that the edges and all their residuals have), ``raw_low, raw_high`` and
        ``ci_low, ci_high`` (t, clustered by regulator and gene), ``boot_low, boot_high`` (percentile over resampled
        regulators), ``auroc_mean, auroc_sd`` over ``n_seeds``, ``retention`` with ``retention_low, retention_high``
        (percentile over regulators) and ``retention_twoway_low, retention_twoway_high``, ``is_smallest`` (the
        smallest retention of these edges among what is stored: the one that counts), ``equivalence`` of the
        residual's AUROC and 0.5, ``margin, minimum_detectable, n_pairs, n_pos, n_units, status``.
    ``uns[key_added]["per_regulator"]``
        ``edges, residualizer, regulator, auroc_raw, auroc, n_pos, n_neg``.
    ``uns[key_added]["detection"]``
        What would have been seen: AUROC (``statistic``) of residuals of the same edges with ``delta`` of their standard
        deviations added to a random half of the listed pairs, and whether its interval is above 0.5. ``ols`` and
        ``node`` are fitted anew to the planted edges, boosted trees are not.
    ``uns["tests"]``
        ``residual/<residualizer>``, ``retention/<residualizer>`` and ``residual_minus_raw/<residualizer>`` (Wilcoxon
        over regulators), of stored residuals.

    Raises
    ------
    KeyError
        Edges, features or columns of the reference do not exist.
    TypeError
        `edges` is neither of what it can be.
    ValueError
        Edges and features are from different cells, the reference names no pair of genes of `adata`, an option is out
        of its range, or residual edges would overwrite what they are made from.

    Notes
    -----
    With :math:`\hat f^{(-)}` a model that has not seen the pair, :math:`r_{ij} = e_{ij} - \hat f^{(-)}_{ij}`, and

    .. math:: \mathrm{retention} = \frac{\mathrm{AUROC}_r - 0.5}{\mathrm{AUROC}_e - 0.5},

    NaN where :math:`\mathrm{AUROC}_e \le 0.52`: there is nothing that could be kept.

    **What a model may know.** For ``ols`` and ``gbdt`` genes are dealt into seven blocks, and each of seven models
    predicts the pairs among three blocks and learns from those among the other four: it has seen neither gene. The
    triples are the lines of the projective plane of order 2, so that any two blocks meet in exactly one triple and
    every pair is predicted exactly once. Folds of pairs let a flexible model recognise genes, and take away more. The
    node effects :math:`e_{ij} = a_i + b_j + \varepsilon_{ij}` are least squares over all *other* pairs, exact for
    any pattern of missing pairs: a left-out residual is the residual over one less its leverage. They take away all
    that a gene has by itself, measured or not; if a gene's true number of targets is biology, that goes too, so
    read them with the degree null. No single one is the truth: the smallest retention counts.

    **Intervals** hold the fitted models fixed. Pairs share regulators and targets, so that the interval of an AUROC is
    clustered by both; the interval of the retention resamples regulators, and the one clustered by both is the delta
    method on influence values.

    Trees are 50, of up to 15 leaves, at a learning rate of 0.2, without early stopping: the paper's 200 of 31 at 0.1
    predict genes that were not seen no better. For G genes, ``ols`` and ``node`` cost ``G^2`` (``node`` ``G^3`` once
    when pairs besides the diagonal are missing); trees cost a second or two for each model of 100,000 pairs, and there
    are 7 or 12 for each set of edges and seed.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.pp.select_cells(adata)
    >>> sps.pp.gene_features(adata)
    >>> sps.tl.correlation_edges(adata)
    >>> network = adata.uns["simulate_screen"]["network"]
    >>> sps.tl.residualize_edges(adata, edges="spearman", reference=network, residualizers=["ols", "node"], n_seeds=2)
    >>> summary = adata.uns["residualize_edges"]["summary"]
    >>> bool((summary["auroc_raw"] > 0.7).any())
    True
    >>> sps.get.edge_matrix(adata, "spearman_residual_node").shape
    (300, 300)
    """
    data = adata.copy() if copy else adata
    target = resolve(data, mod)
    names = _residualizers(residualizers)
    _check(n_seeds, max_train, margin, min_units, n_boot, n_jobs, key_added)
    seed = resolve_seed(rng)
    pairs = read_edge_pairs(target, edges, allow_different_cells=allow_different_cells)
    _require_new_keys(pairs, names)
    network = None
    if reference is not None:
        network = read_network(
            target, reference, pairs.genes, universe=universe, min_targets=min_targets, gene_symbols=gene_symbols
        )
    plan = Plan(
        residualizers=names,
        splits=("gene", "pair") if pair_folds else ("gene",),
        n_seeds=int(n_seeds),
        trees=Trees(max_train=int(max_train)),
        margin=float(margin),
        min_units=int(min_units),
        n_boot=int(n_boot),
        n_jobs=int(n_jobs),
        seed=seed,
    )
    columns = columns_of(pairs)
    against = None if network is None else Target(network, pairs)
    with progress_bar(total=plan.n_fits(against), desc="residuals", unit="fit", show=show_progress_bar) as bar:
        residualize(columns, pairs, against, plan, bar.update)

    params = record(
        residualizers=names,
        pair_folds=pair_folds,
        n_seeds=plan.n_seeds,
        n_trees=plan.trees.n_trees,
        learning_rate=plan.trees.learning_rate,
        max_leaf_nodes=plan.trees.max_leaf_nodes,
        max_train=plan.trees.max_train,
        margin=plan.margin,
        min_units=plan.min_units,
        n_boot=plan.n_boot,
        allow_different_cells=allow_different_cells,
        same_cells=pairs.same_cells,
        seed=seed,
        edges=[one.name for one in pairs.sets],
        n_pairs=int(pairs.mask.sum()),
        **({} if network is None else _reference_record(network, reference_name, min_targets)),
    )
    result: dict[str, Any] = {"params": params, "summary": tables.summary(columns, against, plan)}
    uns: dict[str, Any] = {key_added: result}
    if network is not None and against is not None:
        result["per_regulator"] = tables.per_regulator(columns, target.var_names[network.sources].tolist())
        result["detection"] = tables.detection(columns, plan)
        evidence = Evidence(
            key=key_added,
            params=params,
            edges=pairs.records,
            reference=reference_name,
            labels_hash=network.hash,
            seed=seed,
        )
        uns |= updated_tests(target, tables.registry_rows(columns, against, plan), evidence)
    varp, records = _residual_edges(columns, pairs, target.n_vars, key_added)
    write(target, drop=superseded(target, *varp), varp=varp, uns=uns | records)
    return data if copy else None


def _residualizers(given: Sequence[str] | str) -> list[str]:
    names = [given] if isinstance(given, str) else list(dict.fromkeys(given))
    for name in names:
        require_choice(name, RESIDUALIZERS, argument="residualizers")
    if not names:
        msg = f"`residualizers` is empty; it takes {listing(RESIDUALIZERS)}."
        raise ValueError(msg)
    return names


def _check(
    n_seeds: int, max_train: int, margin: float, min_units: int, n_boot: int, n_jobs: int, key_added: str
) -> None:
    require_key(key_added, argument="key_added")
    for argument, value, minimum in (
        ("n_seeds", n_seeds, 1),
        ("max_train", max_train, 100),
        ("min_units", min_units, 2),
        ("n_boot", n_boot, 1),
        ("n_jobs", n_jobs, 1),
    ):
        require_positive(value, argument=argument, minimum=minimum)
    require_positive(margin, argument="margin", minimum=0)


def _require_new_keys(pairs: EdgePairs, names: list[str]) -> None:
    """Residual edges must not overwrite what they are made from, and their key must be readable from disk."""
    for one in pairs.sets:
        require_key(one.name, argument="edges")
    read = {one.key for one in pairs.sets if one.key}
    taken = read & {tables.key_of(one.name, name) for one in pairs.sets for name in names}
    if taken:
        msg = (
            f"`edges` holds {listing(sorted(taken))}, which residuals of other edges in the same call would "
            "overwrite. Leave it out, or copy it to another key of `adata.varp` first."
        )
        raise ValueError(msg)


def _residual_edges(
    columns: list[Column], pairs: EdgePairs, n_vars: int, made_by: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Residual edges, and their records: scored by value, for a residual's sign is no direction of regulation."""
    varp, records = {}, {}
    inherited = ("layer_rule", "cells", "genes", "n_cells", "n_genes", "cells_hash", "genes_hash")
    for one in (one for one in columns if not one.signed):
        for (name, kind), residual in one.residuals.items():
            if tables.STORED[name] != kind:
                continue
            key = tables.key_of(one.one.name, name)
            own = {field: one.one.params[field] for field in inherited if field in one.one.params}
            params = {"layer_rule": "single", "cells": "", "genes": "", "cells_hash": "", "genes_hash": ""} | own
            params |= {
                "method": "residual",
                "scale": "residual",
                "signed": False,
                "residualizer": name,
                "residual_of": one.one.name,
                "magnitudes": one.one.is_signed,
                "made_by": made_by,
            }
            varp[key] = pack(residual, pairs.genes, n_vars)
            records[key] = {"params": record(**params), "edges_keys": [key]}
    return varp, records


def _reference_record(network: Network, name: str, min_targets: int) -> dict[str, Any]:
    return {
        "reference": name,
        "universe": network.universe,
        "min_targets": int(min_targets),
        "labels_hash": network.hash,
        "network": dict(network.counts),
    }
