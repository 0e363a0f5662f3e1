from __future__ import annotations

from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, get_args

from scepsis._core._network import Directed
from scepsis._core._progress import progress_bar
from scepsis._core._references import read_references
from scepsis._core._registry import Evidence, updated_tests_of
from scepsis._core._resolve import resolve
from scepsis._core._rng import resolve_seed
from scepsis._core._store import record, write
from scepsis._core._validate import require_choice, require_key, require_positive
from scepsis.tl._biology import _layer_tables as tables
from scepsis.tl._biology._layer_partial import partial_frames
from scepsis.tl._biology._layer_rows import rows
from scepsis.tl._biology._layer_scores import curves_of, score_layers
from scepsis.tl._biology._layer_sets import all_layers, curve_record, line_up

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pandas as pd
    from anndata import AnnData

    from scepsis._core._references import ReferenceKind, References
    from scepsis._core._registry import Row
    from scepsis._core._types import Data, EdgesLike, Seed
    from scepsis.tl._biology._layer_scores import OnReference, Predictor


def characterize_layers(  # noqa: PLR0913 - several questions of the same ranking
    adata: Data,
    references: Mapping[str, pd.DataFrame | Mapping[str, Iterable[str]]],
    *,
    edges: EdgesLike | None = None,
    versus: str = "spearman",
    kinds: Mapping[str, ReferenceKind] | None = None,
    universe: Directed = "regulators",
    min_targets: int = 3,
    max_pairs: int = 5_000,
    top: int = 1_000,
    n_null: int = 1_000,
    margin: float = 0.02,
    min_units: int = 6,
    gene_symbols: str | None = None,
    allow_different_cells: bool = False,
    show_progress_bar: bool = True,
    key_added: str = "characterize_layers",
    mod: str | None = None,
    rng: Seed = 0,
    copy: bool = False,
) -> Data | None:
    r"""
    Ask what each layer of a model knows, and at what depth :cite:p:`kendiukhov2026`.

    Every layer is scored on every reference beside correlation. Four questions follow (analysis A25): whether the
    AUROC changes with depth; whether references agree on which layers they are found in; whether listed pairs still
    stand out once the co-expression of the pair, or mean, variance and detection rate of both its genes, are
    taken into account; and whether they are among the strongest edges. What does not survive the third question is
    a property of genes, or of co-expression, and not knowledge of pairs.

    Parameters
    ----------
    adata
        Cells x genes, with edges in ``varp`` and gene features in ``var`` (`scepsis.pp.gene_features`).
    references
        Name -> reference: a frame with the columns ``source`` and ``target`` (a ``weight`` of 0 lists no edge), or
        gene sets, as a mapping from names of sets to genes or a frame with sets as sources. Two genes of one set are
        a listed pair.
    edges
        What is scored: keys of ``varp``, a table with columns ``source``, ``target``, ``weight``, or a dict from
        names to keys or tables. A name such as ``attention_L3`` makes it layer 3 of ``attention``. None takes all
        layers of ``attention`` and, where it is there, of its twin with random weights.
    versus
        Key of the co-expression that layers are compared with, and that partial correlations are given.
    kinds
        Reference -> ``directed``, ``undirected`` or ``gene_sets``, where it should not be seen from the reference
        itself: a column ``directed`` says it, as frames of ``scepsis.references`` have it; without it, a frame without
        ``mode`` that lists most of its pairs in both directions is undirected. A frame whose sources are no genes
        holds gene sets.
    universe
        Pairs that a directed reference could have listed: ``regulators``, from genes with at least `min_targets`
        evaluated targets to all other genes; ``all_pairs`` of two different genes. Undirected references and gene
        sets could have listed every unordered pair, scored by the mean of both directions.
    min_targets
        Evaluated targets that make a gene a regulator.
    max_pairs
        Listed pairs, and as many others, that partial correlations are taken over.
    top
        Strongest edges of a layer that listed pairs are counted in.
    n_null
        Permutations of gene names, for the strongest edges.
    margin
        Largest difference of AUROCs that counts as none, for the test of equivalence.
    min_units
        Regulators (genes, where pairs have no direction) below which there are numbers but no intervals.
    gene_symbols
        Column of ``var`` that `references` are written in; None means ``var_names``.
    allow_different_cells
        Score edges and features that are recorded to be from different cells.
    show_progress_bar
        Show how many layers have been ranked.
    key_added
        Name of the result.
    mod
        Modality, for MuData.
    rng
        Seed of samples, permutations and planted signals.
    copy
        Return a changed copy instead of writing into `adata`.

    Returns
    -------
    None, or the copy. Sets ``uns[key_added]``, a dict of frames and parameters, and rows of ``uns["tests"]``
    (analysis A25) for every reference and set of layers: ``trend``; and of the strongest layer, corrected for how
    many there are, ``vs_<versus>``, ``partial/pair``, ``partial/genes``, ``partial/pair_and_genes`` (the primary
    one), ``enrichment/greater`` and ``enrichment/less``. ``kind`` is ``edges``, ``control`` (random weights) or
    ``baseline``; ``curve`` and ``layer`` say what a set is a layer of (-1: of nothing).

    ``["profile"]``
        One row for each reference and score (layers, `versus`, and features of the target or their product in both
        genes): ``auroc, ci_low, ci_high``; ``difference`` from `versus` with ``difference_low, difference_high,
        p_value, equivalence, margin, minimum_detectable``; ``n, n_pos, n_units, status``.
    ``["trends"]``
        One row for each reference and curve of at least two layers: ``rho`` (Spearman of layer and AUROC) with
        ``p_layers`` (layers as if independent), ``p_shift`` (circular shifts) and ``q_layers``; ``slope`` of the AUROC
        per layer with ``slope_low, slope_high, p_slope, q_slope``; ``monotone_r2``; ``highest_layer, lowest_layer``.
        q-values are corrected over the references (Benjamini-Hochberg).
    ``["agreement"]``
        ``curve, first, second, rho, p_layers, p_shift``: Spearman over layers of the AUROCs of two references.
    ``["partial"]``
        One row for each reference, layer, ``scale`` (``rank``: normal scores, ``value``) and ``given`` (``nothing``,
        ``pair``: `versus`; ``genes``: mean, variance and detection rate of both; ``pair_and_genes``): ``r`` of edges
        with being listed, ``partial``, ``ci_low, ci_high, p_value`` (clustered by gene), ``p_pairs`` (pairs as if
        independent), ``retained`` (``partial / r``; NaN where `r` is not significant at 5 %),
        ``minimum_detectable, n_pairs, status``.
    ``["enrichment"]``
        One row for each reference and layer: ``hits`` listed pairs among the ``top`` strongest, the number
        ``expected``, ``odds_ratio``; Fisher's exact tests ``p_greater, p_less`` with ``q_greater, q_less`` over all of
        them; the same against permuted gene names, ``p_genes_greater, p_genes_less``; ``n_genes`` that the top
        consists of (targets, where pairs have a direction).
    ``["references"]``
        What each reference is and how much of it is evaluated: ``kind, universe, n_rows, n_sets, n_in_panel,
        n_evaluated, n_pairs, prevalence, n_regulators, n_genes, largest_set`` (share of listed pairs that the largest
        gene set has), ``labels_hash, status``.
    ``["detection"]``
        ``reference, edges, delta, statistic, ci_low, ci_high, detected``: the partial correlation, pair and genes
        given, when ``delta`` standard deviations are added to the edges of a random half of the sampled listed pairs.
    ``["params"]``
        All parameters, one entry per set of edges in ``edges`` and so on, hashes.

    Raises
    ------
    KeyError
        Edges, gene features, a column of a reference, or `gene_symbols` do not exist; ``attention`` has no layers.
    ValueError
        A reference is of another namespace; edges and features are from
        different cells; two sets are the same layer, or all are `versus`; a parameter is out of range.
    TypeError
        `edges` or `references` are of a wrong type.

    Warns
    -----
    UserWarning
        Edges have no record of their cells; a table looks truncated.

    Notes
    -----
    Pairs are complete cases: those that all layers and `versus` have, of genes with features.

    **Intervals.** Pairs share genes, and a few large gene sets make up most of the pairs of a pathway database.
    Influence values are therefore summed by gene before squaring, in either place for unordered pairs, by regulator and
    by target for directed ones (see `scepsis.tl.reference_auroc`). The same holds for slopes,
    whose influence is the weighted sum of those of the layers, and for partial correlations.

    **Depth.** Layers are alike their neighbours, so that p-values that take them as independent are too small. The
    slope treats the layers of this model as given and the genes as drawn: whether it would be there with other genes.
    The circular shifts treat layers as a sequence; with L of them p is at least 1/L.

    **Partial correlation.** With residuals of edges and of membership on the covariates,
    :math:`r = \tilde y^\top \tilde m / (|\tilde y| |\tilde m|)`, over all listed pairs, at most `max_pairs`, and as
    many others. Features of genes enter by sums, products, squares and absolute differences of the two genes' normal
    scores, products of different features, and sums and products of what their ranks have above five knots (54
    columns; 78 where pairs have a direction): references are often about genes at one end of expression, where a
    straight line, or a polynomial, leaves behind what looks like knowledge of pairs. `versus` alone enters as it is,
    with features by its rank too. References with fewer listed pairs than half the columns have no number here.

    **Statuses.** ``no_positives``, ``no_negatives``; ``too_few_units``: fewer than `min_units` regulators (genes), or
    fewer than 5 listed pairs (then no numbers either); ``constant_score``; ``not_applicable``: `versus` given itself.

    Each layer of N pairs is sorted once, by counting, in 10 ns for each pair, and takes 5 ns more for each reference;
    18 layers of 2,000 genes on six references take about 5 s. Memory is that of the layers and about 10 bytes for each
    pair and reference.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata, model = sps.datasets.demo(), sps.models.load("demo")
    >>> sps.pp.select_cells(adata, n_cells=200)
    >>> sps.pp.gene_features(adata)
    >>> sps.tl.attention_edges(adata, model, show_progress_bar=False)
    >>> sps.tl.correlation_edges(adata)
    >>> network = adata.uns["simulate_screen"]["network"]
    >>> programs = {"first": list(adata.var_names[adata.varm["responsiveness"][:, 0] > 0.3])}
    >>> sps.tl.characterize_layers(adata, {"network": network, "programs": programs}, n_null=100)
    >>> adata.uns["characterize_layers"]["references"]["universe"].tolist()
    ['regulators', 'unordered']
    """
    start = perf_counter()
    data = adata.copy() if copy else adata
    target = resolve(data, mod)
    require_choice(universe, get_args(Directed), argument="universe")
    require_key(key_added, argument="key_added")
    for argument, value, minimum in (
        ("min_targets", min_targets, 1), ("max_pairs", max_pairs, 10), ("top", top, 1), ("n_null", n_null, 2),
        ("margin", margin, 0), ("min_units", min_units, 2),
    ):  # fmt: skip
        require_positive(value, argument=argument, minimum=minimum)
    seed = resolve_seed(rng)
    found = read_references(
        target, references, all_layers(target) if edges is None else edges, versus=versus, kinds=kinds,
        universe=universe, min_targets=int(min_targets), gene_symbols=gene_symbols,
        allow_different_cells=allow_different_cells,
    )  # fmt: skip
    predictors = line_up(target, found, versus)
    with progress_bar(total=len(predictors), desc="layers", unit="layer", show=show_progress_bar) as bar:
        studies = score_layers(
            found, predictors, versus=versus, top=int(top), max_pairs=int(max_pairs), min_units=int(min_units),
            margin=float(margin), seed=seed, advance=bar.update,
        )  # fmt: skip
    params = record(
        versus=versus, universe=universe, min_targets=int(min_targets), max_pairs=int(max_pairs), top=int(top),
        n_null=int(n_null), margin=float(margin), min_units=int(min_units), references=list(references),
        kinds=[one.kind for one in found.references], gene_symbols=gene_symbols,
        allow_different_cells=allow_different_cells, same_cells=found.same_cells, seed=seed,
        edges=[one.name for one in found.sets], edges_slot=[one.slot for one in found.sets],
        edges_signed=[one.is_signed for one in found.sets],
        edges_cells_hash=[one.cells_hash for one in found.sets],
        edges_genes_hash=[str(one.params.get("genes_hash", "")) for one in found.sets],
    )  # fmt: skip
    partial, detection = partial_frames(studies, found, predictors, versus, seed)
    frames = {
        "profile": tables.profile(studies, predictors, versus, float(margin)),
        "trends": tables.trends(studies, predictors),
        "agreement": tables.agreement(studies, predictors),
        "partial": partial,
        "enrichment": tables.enrichment(studies, predictors, int(n_null), seed),
        "references": tables.described(studies),
        "detection": detection,
    }
    parts = _registered(
        target, studies, predictors, found, frames, versus,
        Evidence(key=key_added, params=params, seed=seed, wall_s=perf_counter() - start),
    )  # fmt: skip
    write(target, uns={key_added: {"params": params} | frames} | updated_tests_of(target, parts))
    return data if copy else None


def _registered(
    adata: AnnData,
    studies: list[OnReference],
    predictors: list[Predictor],
    found: References,
    frames: dict[str, pd.DataFrame],
    versus: str,
    evidence: Evidence,
) -> list[tuple[list[Row], Evidence]]:
    """Rows of every reference, with what they rest on; random weights are beside, not tested."""
    curves = {name: own for name, own in curves_of(predictors).items() if own[0].kind == "edges"}
    records = {name: curve_record(adata, own, found.sets) for name, own in curves.items()}
    return [
        (
            [row for name, own in curves.items() for row in rows(study, name, own, frames, versus)],
            replace(evidence, edges=records, reference=study.reference.name, labels_hash=study.reference.network.hash),
        )
        for study in studies
    ]
