from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scepsis._core._gene_table import FEATURES, gene_features
from scepsis._core._network_pairs import read_network_pairs
from scepsis._core._registry import Evidence, updated_tests
from scepsis._core._resolve import resolve
from scepsis._core._rng import child, resolve_seed
from scepsis._core._store import record, write
from scepsis._core._validate import listing, require_key, require_positive
from scepsis.stats._planted import DELTAS, planted
from scepsis.stats._pooled import MIN_TARGETS, of_sources
from scepsis.tl._biology._tf_tests import DETECTION, detection, regulator_tests, rows

if TYPE_CHECKING:
    from anndata import AnnData

    from scepsis._core._network_pairs import NetworkPairs
    from scepsis._core._types import Data, EdgesLike, Seed


def tf_profile(
    adata: Data,
    reference: pd.DataFrame,
    *,
    edges: EdgesLike = ("attention", "spearman"),
    classes: Mapping[str, str] | pd.Series[str] | None = None,
    min_targets: int = 3,
    min_regulators: int = 50,
    n_null: int = 10_000,
    reference_name: str = "reference",
    gene_symbols: str | None = None,
    allow_different_cells: bool = False,
    key_added: str = "tf_profile",
    mod: str | None = None,
    rng: Seed = 0,
    copy: bool = False,
) -> Data | None:
    r"""
    Describe how well edges rank the targets of each regulator, and what that goes with :cite:p:`kendiukhov2026`.

    Every regulator has an AUROC of its own. Whether those of one class (master regulators, say) are higher, and
    whether the AUROC goes with a regulator's mean, variance, detection rate, or number of targets, is tested over
    regulators (analysis A27). The AUROC of a single target is the rank of one gene, and most networks list few
    targets for most regulators, so that these tests are inference only where at least `min_regulators` regulators have
    `min_targets` targets; else every test is ``underpowered``.

    Parameters
    ----------
    adata
        Cells x genes, with edges in ``varp`` and gene features in ``var`` (`scepsis.pp.gene_features`).
    reference
        Frame with the columns ``source`` and ``target``; a ``weight`` of 0 lists no edge.
    edges
        What is scored: keys of ``varp``, a table with columns ``source``, ``target``, ``weight``, or a dict from
        names to keys or tables.
    classes
        Class of regulators, by the name that `reference` has for them: a dict or a series. Each class is compared
        with all other regulators. None compares no classes.
    min_targets
        Evaluated targets that make a regulator part of the tests.
    min_regulators
        Such regulators below which all tests are ``underpowered``.
    n_null
        Permutations of class labels.
    reference_name
        Name of the reference in the registry of tests.
    gene_symbols
        Column of ``var`` that `reference` and `classes` are written in; None means ``var_names``.
    allow_different_cells
        Score edges and features that are recorded to be from different cells.
    key_added
        Name of the result.
    mod
        Modality, for MuData.
    rng
        Seed of the permutations and of the planted signals.
    copy
        Return a changed copy instead of writing into `adata`.

    Returns
    -------
    None, or the copy. Sets ``uns[key_added]``, a dict of frames and parameters, and rows of ``uns["tests"]``
    (analysis A27: ``class/<name>``, the first of which is the primary one, and ``property/<name>``; with ``/all``
    behind the name, the same over regulators with a single target too, descriptive).

    ``["per_regulator"]``
        One row for each set of edges and regulator with an evaluated target: ``edges, regulator, tf_class, auroc,
        ci_low, ci_high`` (over its own pairs; NaN with one target), ``n_listed`` (targets in the panel),
        ``n_targets`` (evaluated), ``mean, variance, detection_rate`` of the regulator, ``status``.
    ``["tests"]``
        One row for each set of edges, test and ``subset`` of regulators (``several_targets``, ``all``):
        ``statistic`` (difference of mean AUROCs, or Spearman correlation), ``p_value``, ``q_value``
        (Benjamini-Hochberg over the tests of the set and the subset), ``n_units, minimum_detectable, status``.
    ``["detection"]``
        What each test over ``several_targets`` says when the edges of a random half of the listed pairs are raised by
        ``delta`` standard deviations of all edges, for regulators of the class, or for those above the median of the
        property (a signal in all regulators alike would change nothing): ``edges, test, delta, statistic``,
        ``ci_low, ci_high`` (the statistic, less and more what is just not significant at 5 %), and ``detected``: it is
        above 0.
    ``["network"]``
        ``step, n``: rows of the reference on their way to evaluated pairs.
    ``["params"]``
        All parameters, ``n_several`` (regulators with `min_targets` targets), hashes.

    Raises
    ------
    KeyError
        Edges, gene features, a column of `reference`, or `gene_symbols` do not exist.
    ValueError
        The reference is of another namespace or lists no pair of two different genes; `classes` names no regulator;
        edges and features are from different cells; a parameter is out of range.
    TypeError
        `edges`, `reference` or `classes` are of a wrong type.

    Warns
    -----
    UserWarning
        Edges have no record of their cells; a table looks truncated.

    Notes
    -----
    With k of n regulators in a class, the difference of the two means is compared with those of `n_null` random
    choices of k, two-sided: :math:`p = (1 + b)/(1 + B)`.

    **Statuses.** Of regulators: ``too_few_units`` (one target: an AUROC without interval), ``constant_score``. Of
    tests: ``underpowered`` (all numbers, no evidence), ``too_few_units`` (a class with fewer than two regulators on
    either side, or a property that does not vary: no number).

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.pp.select_cells(adata)
    >>> sps.pp.gene_features(adata)
    >>> sps.tl.correlation_edges(adata)
    >>> network = adata.uns["simulate_screen"]["network"]
    >>> sps.tl.tf_profile(adata, network, edges="spearman", n_null=100)
    >>> adata.uns["tf_profile"]["tests"]["status"].unique().tolist()
    ['underpowered']
    """
    start = perf_counter()
    data = adata.copy() if copy else adata
    target = resolve(data, mod)
    require_key(key_added, argument="key_added")
    require_key(reference_name, argument="reference_name")
    for argument, value, minimum in (
        ("min_targets", min_targets, 2), ("min_regulators", min_regulators, 1), ("n_null", n_null, 2),
    ):  # fmt: skip
        require_positive(value, argument=argument, minimum=minimum)
    seed = resolve_seed(rng)
    pairs = read_network_pairs(
        target, reference, edges, universe="regulators", min_targets=1, gene_symbols=gene_symbols,
        allow_different_cells=allow_different_cells,
    )  # fmt: skip
    units = _per_regulator(target, pairs, _class_of(target, pairs, classes, gene_symbols))
    tests = pd.concat(
        [
            regulator_tests(
                units[units["edges"] == one.name], min_targets=int(min_targets),
                min_regulators=int(min_regulators), n_null=int(n_null), key=key_added, seed=seed,
            )
            for one in pairs.sets
        ]
        if len(units) else [pd.DataFrame(columns=TESTS)],
        ignore_index=True,
    )  # fmt: skip
    params = record(
        min_targets=int(min_targets), min_regulators=int(min_regulators), n_null=int(n_null),
        n_several=int((pairs.listed.sum(axis=1) >= min_targets).sum()), reference_name=reference_name,
        gene_symbols=gene_symbols, allow_different_cells=allow_different_cells, same_cells=pairs.same_cells,
        seed=seed, labels_hash=pairs.network.hash, **pairs.edges_record(),
    )  # fmt: skip
    evidence = Evidence(
        key=key_added, params=params, edges=pairs.records, reference=reference_name,
        labels_hash=pairs.network.hash, seed=seed, wall_s=perf_counter() - start,
    )  # fmt: skip
    registered = updated_tests(target, rows(tests, int(pairs.listed.sum())), evidence)
    result = {
        "params": params,
        "per_regulator": units,
        "tests": tests,
        "network": pairs.frame(),
        "detection": _detection(pairs, units, int(min_targets), int(n_null), seed),
    }
    write(target, uns={key_added: result} | registered)
    return data if copy else None


TESTS = ["edges", "test", "subset", "statistic", "p_value", "n_units", "minimum_detectable", "status", "q_value"]


def _detection(pairs: NetworkPairs, units: pd.DataFrame, min_targets: int, n_null: int, seed: int) -> pd.DataFrame:
    """What tests say of every set of edges with signals planted in it."""
    parts = [pd.DataFrame(columns=DETECTION)]
    for one in pairs.sets if len(units) else []:
        scores = pairs.scores(one)
        lifted = {}
        for delta in DELTAS:
            generator = child(seed, "tf_profile", "planted", one.name)  # the same half, whatever is added to it
            raised = planted(scores, pairs.listed, delta, generator)
            lifted[delta] = of_sources(raised, pairs.listed, pairs.candidate)["auroc"]
        own = units[units["edges"] == one.name]
        parts.append(detection(own, lifted, min_targets=min_targets, n_null=n_null, seed=seed))
    filled = [part for part in parts if len(part)]
    return pd.concat(filled, ignore_index=True) if filled else parts[0]


def _class_of(adata: AnnData, pairs: NetworkPairs, classes: Any, gene_symbols: str | None) -> list[str]:
    """Class of every regulator; "" for those without."""
    names = adata.var_names if gene_symbols is None else pd.Index(adata.var[gene_symbols].astype(object))
    regulators = [str(name) for name in names[pairs.sources]]
    if classes is None:
        return [""] * len(regulators)
    if not isinstance(classes, Mapping | pd.Series):
        msg = f"`classes` must be a dict or a series from regulators to classes, not {type(classes).__name__}."
        raise TypeError(msg)
    known = {str(name): "" if pd.isna(one) else str(one) for name, one in classes.items()}
    found = [known.get(name, "") for name in regulators]
    if regulators and not any(found):
        msg = (
            f"`classes` names none of the {len(regulators)} regulators, such as {listing(regulators[:3])}; it names "
            f"{listing(known, limit=3)}."
        )
        raise ValueError(msg)
    return found


def _per_regulator(adata: AnnData, pairs: NetworkPairs, classes: list[str]) -> pd.DataFrame:
    features = gene_features(adata)[pairs.sources]
    parts = []
    for one in pairs.sets:
        found = of_sources(pairs.scores(one), pairs.listed, pairs.candidate)
        n_pos = found["n_pos"].astype(np.int64)
        status: Any = np.select(
            [n_pos < MIN_TARGETS, np.isnan(found["ci_low"])], ["too_few_units", "constant_score"], "ok"
        )
        parts.append(
            pd.DataFrame(
                {
                    "edges": np.full(len(n_pos), one.name, dtype=object),
                    "regulator": adata.var_names.to_numpy(dtype=object)[pairs.sources],
                    "tf_class": np.array(classes, dtype=object),
                    "auroc": found["auroc"],
                    "ci_low": found["ci_low"],
                    "ci_high": found["ci_high"],
                    "n_listed": pairs.network.listed[pairs.kept].sum(axis=1).astype(np.int64),
                    "n_targets": n_pos,
                }
                | {name: features[:, index] for index, name in enumerate(FEATURES)}
                | {"status": status.astype(object)}
            )
        )
    return pd.concat(parts, ignore_index=True)
