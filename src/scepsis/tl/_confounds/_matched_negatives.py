from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from scepsis._core._edge_sets import require_told_apart
from scepsis._core._gene_table import FEATURES, gene_features
from scepsis._core._keys import DETECTION_RATE, MEAN
from scepsis._core._network_pairs import read_network_pairs
from scepsis._core._registry import Evidence, updated_tests
from scepsis._core._resolve import resolve
from scepsis._core._rng import child, resolve_seed
from scepsis._core._store import record, write
from scepsis._core._validate import require_between, require_key, require_positive
from scepsis.stats._matched_negatives import Rule, match_negatives
from scepsis.tl._confounds import _negative_tables as tables

if TYPE_CHECKING:
    from anndata import AnnData

    from scepsis._core._network_pairs import NetworkPairs
    from scepsis._core._types import Data, EdgesLike, FloatArray, Seed
    from scepsis.stats._matched_negatives import Matches


def matched_negatives(
    adata: Data,
    reference: pd.DataFrame,
    *,
    edges: EdgesLike = ("attention", "spearman"),
    tolerance: float = 0.2,
    wider: float = 0.4,
    n_matched: int = 50,
    min_matched: int = 5,
    min_targets: int = 1,
    margin: float = 0.02,
    min_units: int = 6,
    reference_name: str = "reference",
    gene_symbols: str | None = None,
    allow_different_cells: bool = False,
    key_added: str = "matched_negatives",
    mod: str | None = None,
    rng: Seed = 0,
    copy: bool = False,
) -> Data | None:
    r"""
    Score listed pairs against pairs whose genes are expressed alike :cite:p:`kendiukhov2026`.

    For every listed pair of a regulator i and a target j, up to `n_matched` pairs that are not listed are drawn from
    those whose regulator is like i and whose target is like j: means within a share `tolerance` of each other, and
    detection rates within ``tolerance * max(rate, 0.05)``; a mean below 1e-6 is like all up to 1e-5. Where fewer than
    `min_matched` are found the tolerance is `wider`; where none is found the pair is left out (analysis L3).

    Pairs within a tolerance are not the same. Where listed pairs are the expressed ones, there are fewer genes above
    than below them, negatives lie lower within the window, and a part of the confound stays: the product of both means
    is scored on the same pairs to show how much. Beside the paper's statistic stands one, ``balanced``, in which
    negatives with a larger product of means weigh as much as those with a smaller one; that product has 0.5 in it.

    Parameters
    ----------
    adata
        Cells x genes, with edges in ``varp`` and ``var["mean"]`` and ``var["detection_rate"]`` of the same cells
        (:func:`scepsis.pp.gene_features`).
    reference
        Frame with the columns ``source`` and ``target``; a ``weight`` of 0 lists no edge.
    edges
        What is scored: keys of ``varp``, a table with columns ``source``, ``target``, ``weight``, or a dict from
        names to keys or tables. The further scales of attention and its twin with random weights are scored with it.
    tolerance
        Share by which means and detection rates may differ.
    wider
        The same, where too few pairs are found.
    n_matched
        Negatives of a listed pair, drawn without replacement.
    min_matched
        Negatives below which the tolerance is widened.
    min_targets
        Evaluated targets that make a gene a regulator; negatives are pairs of a regulator too.
    margin
        Largest difference of AUROCs that counts as none, for the test of equivalence.
    min_units
        Regulators below which there are numbers but no intervals.
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
        Seed of the draws and of the planted signals.
    copy
        Return a changed copy instead of writing into `adata`.

    Returns
    -------
    None, or the copy. Sets ``uns[key_added]``, a dict of frames and parameters, and rows of ``uns["tests"]`` (analysis
    L3: ``matched``, ``balanced``, ``pooled``, ``matched_vs_<other>`` and ``balanced_vs_<other>`` for every set of
    edges, all descriptive).

    ``["summary"]``
        One row for each predictor and statistic: ``matched``, the share of its own negatives that a listed pair stands
        above, in the mean over listed pairs; ``balanced``, the same with the weights above; ``pooled``, all listed
        pairs against all negatives together, as the paper has it. ``auroc`` with its 95 % interval ``ci_low, ci_high``
        by ``ci_method``, ``equivalence`` to 0.5 within ``margin``, ``minimum_detectable``, ``n_pos, n_neg``,
        ``n_units`` (regulators), ``status``. Baselines are the variance, mean and detection rate of the target and the
        product of both genes'.
    ``["contrasts"]``
        One row for each set of edges, other predictor and statistic (``matched``, ``balanced``): ``difference`` on the
        same pairs, with the same.
    ``["balance"]``
        ``covariate, before, after``: standardised differences, listed pairs less all pairs that are not listed, and
        less their negatives, each listed pair counting once.
    ``["pairs"]``
        One row for each listed pair: ``source, target, n_negatives, tolerance, wins_<edges>``.
    ``["network"]``
        ``step, n``: rows of the reference on their way to evaluated pairs, and how many of these have negatives.
    ``["detection"]``
        ``edges, delta, statistic, ci_low, ci_high, detected``: ``matched`` when ``delta`` standard deviations are added
        to the edges of a random half of the listed pairs, and whether its interval is above 0.5.
    ``["params"]``
        All parameters and hashes.

    Raises
    ------
    KeyError
        Edges, gene features, a column of `reference`, or `gene_symbols` do not exist.
    ValueError
        The reference is of another namespace, has no direction or lists no pair of two different genes; edges and
        features are from different cells; edges have the name of a baseline; a parameter is out of range.
    TypeError
        `edges` or `reference` are of a wrong type.

    Warns
    -----
    UserWarning
        Companions of attention are missing; edges have no record of their cells; a table looks truncated.

    Notes
    -----
    The interval sums, by regulator and by target of the listed pair, what each listed pair with its negatives does to
    the mean (Cameron, Gelbach and Miller 2011). A negative may be drawn for several listed pairs; that they share it is
    not in the interval.

    Matching takes away what the two genes' own expression says, and no more: co-expression is still in it.

    **Statuses.** ``no_positives``, ``no_negatives``: no listed pair is evaluated, or none has a negative;
    ``constant_score`` (0.5); ``too_few_units``: fewer than `min_units` regulators; ``not_run``.

    Each listed pair looks at all pairs of like genes: seconds for some thousand listed pairs among 2,000 genes.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.pp.select_cells(adata)
    >>> sps.pp.gene_features(adata)
    >>> sps.tl.correlation_edges(adata)
    >>> truth = adata.uns["simulate_screen"]["network"]
    >>> sps.tl.matched_negatives(adata, truth, edges="spearman")
    >>> adata.uns["matched_negatives"]["balance"]["covariate"].tolist()
    ['source_mean', 'source_detection_rate', 'target_mean', 'target_detection_rate']
    """
    start = perf_counter()
    data = adata.copy() if copy else adata
    target = resolve(data, mod)
    require_key(key_added, argument="key_added")
    require_key(reference_name, argument="reference_name")
    require_between(tolerance, 0, 10, argument="tolerance")
    for argument, value, minimum in (
        ("wider", wider, tolerance), ("n_matched", n_matched, 1), ("min_matched", min_matched, 1),
        ("margin", margin, 0), ("min_units", min_units, 2),
    ):  # fmt: skip
        require_positive(value, argument=argument, minimum=minimum)
    seed = resolve_seed(rng)
    gene_features(target)
    pairs = read_network_pairs(
        target, reference, edges, min_targets=min_targets, gene_symbols=gene_symbols, companions=True,
        allow_different_cells=allow_different_cells,
    )  # fmt: skip
    scores = _scores(target, pairs)
    require_told_apart([one.name for one in scores])
    features = np.stack([target.var[name].to_numpy(dtype=np.float64) for name in (MEAN, DETECTION_RATE)], axis=1)
    both = features[pairs.sources], features[pairs.targets]
    names = target.var_names.to_numpy(dtype=object)
    sources, targets = names[pairs.sources], names[pairs.targets]
    unlisted = pairs.candidate & ~pairs.listed
    matches = match_negatives(
        pairs.listed, unlisted, both, Rule(float(tolerance), float(wider), int(n_matched), int(min_matched)),
        lambda row, column: child(seed, "matched_negatives", sources[row], targets[column]),
    )  # fmt: skip
    params = record(
        tolerance=float(tolerance),
        wider=float(wider),
        n_matched=int(n_matched),
        min_matched=int(min_matched),
        min_targets=int(min_targets),
        margin=float(margin),
        min_units=int(min_units),
        reference_name=reference_name,
        gene_symbols=gene_symbols,
        allow_different_cells=allow_different_cells,
        same_cells=pairs.same_cells,
        missing_companions=pairs.missing,
        seed=seed,
        labels_hash=pairs.network.hash,
        **pairs.edges_record(),
    )
    means = features[:, 0]
    by = tables.statistics(matches, np.outer(means[pairs.sources], means[pairs.targets]))
    overall = tables.summary(scores, by, float(margin), int(min_units))
    compared = tables.contrasts(scores, by, float(margin), int(min_units))
    result = {
        "params": params,
        "summary": overall,
        "contrasts": compared,
        "balance": tables.balance(matches, unlisted, both),
        "pairs": tables.listed_pairs(scores, matches, sources, targets),
        "network": _network(pairs, matches, float(tolerance)),
        "detection": tables.detection(scores, matches, seed, int(min_units)),
    }
    evidence = Evidence(
        key=key_added, params=params, edges=pairs.records, reference=reference_name, labels_hash=pairs.network.hash,
        seed=seed, wall_s=perf_counter() - start,
    )  # fmt: skip
    tests = updated_tests(target, tables.rows(overall, compared, float(margin)), evidence)
    write(target, uns={key_added: result} | tests)
    return data if copy else None


def _scores(adata: AnnData, pairs: NetworkPairs) -> list[tables.Scores]:
    """Edges and their companions, then what the target, or both genes together, say."""
    result = [tables.Scores(one.name, one.kind, pairs.scores(one)) for one in pairs.sets]
    for name in FEATURES:
        values: FloatArray = adata.var[name].to_numpy(dtype=np.float64)
        of_target = np.broadcast_to(values[pairs.targets], pairs.listed.shape)
        result.append(tables.Scores(name, "baseline", of_target))
        product = np.outer(values[pairs.sources], values[pairs.targets])
        result.append(tables.Scores(f"{name}_product", "baseline", product))
    return result


def _network(pairs: NetworkPairs, matches: Matches, tolerance: float) -> pd.DataFrame:
    further = {
        "n_matched": len(matches.row),
        "n_widened": int((matches.tolerance > tolerance).sum()),
        "n_skipped": matches.n_skipped,
    }
    extra = pd.DataFrame(list(further.items()), columns=["step", "n"]).astype({"step": object, "n": np.int64})
    return pd.concat([pairs.frame(), extra], ignore_index=True)
