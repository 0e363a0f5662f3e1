from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, get_args

import pandas as pd

from scepsis._core._network import Directed
from scepsis._core._network_pairs import read_network_pairs
from scepsis._core._registry import Evidence, Row, updated_tests
from scepsis._core._resolve import resolve
from scepsis._core._rng import child, resolve_seed
from scepsis._core._store import record, write
from scepsis._core._validate import require_choice, require_key, require_positive
from scepsis.tl._confounds._known_mode import detection, per_regulator, restricted

if TYPE_CHECKING:
    from scepsis._core._types import Data, EdgesLike, Seed


def circularity(
    adata: Data,
    reference: pd.DataFrame,
    *,
    edges: EdgesLike = ("attention", "spearman"),
    universe: Directed = "regulators",
    min_targets: int = 3,
    margin: float = 0.02,
    min_units: int = 6,
    n_boot: int = 10_000,
    reference_name: str = "reference",
    gene_symbols: str | None = None,
    allow_different_cells: bool = False,
    key_added: str = "circularity",
    mod: str | None = None,
    rng: Seed = 0,
    copy: bool = False,
) -> Data | None:
    r"""
    Ask whether edges do as well on the part of a reference that rests on direct evidence :cite:p:`kendiukhov2026`.

    Some entries of curated networks were put there because the genes are co-expressed, which is what edges are made
    from. Entries whose mode (activation or repression) is known are more likely to rest on an experiment. The AUROC
    is computed again on these alone: listed pairs of unknown mode are *removed*, they do not become negatives
    (analysis A10). A known mode is a proxy, and what is studied much stays listed more.

    Parameters
    ----------
    adata
        Cells x genes, with edges in ``varp``.
    reference
        Frame with the columns ``source``, ``target`` and ``mode`` (``Activation`` or ``Repression``, in any case, are
        known); without ``mode``, a ``weight`` of both signs tells it. A pair with any row of known mode is known.
    edges
        What is scored: keys of ``varp``, a table with columns ``source``, ``target``, ``weight``, or a dict from
        names to keys or tables. All sets share the pairs that each of them has.
    universe
        Pairs that could have been listed: ``regulators``, from genes with at least `min_targets` evaluated targets to
        all other genes; ``all_pairs`` of two different genes.
    min_targets
        Evaluated targets, of any mode, that make a gene a regulator, for ``regulators``.
    margin
        Largest difference of AUROCs that counts as none, for the test of equivalence.
    min_units
        Regulators below which there are numbers but no intervals.
    n_boot
        Replicates of the bootstrap over regulators.
    reference_name
        Name of the reference in the registry of tests.
    gene_symbols
        Column of ``var`` that `reference` is written in; None means ``var_names``.
    allow_different_cells
        Score edges that are recorded to be from different cells.
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
    (analysis A10: ``known_mode/pooled`` and ``known_mode/per_regulator``, descriptive).

    ``["summary"]``
        One row for each set of edges and statistic (``pooled``; ``per_regulator``, the mean over those with at least
        two targets): AUROC on all listed pairs (``full``) and on those of known mode (``known``), their
        ``difference``; ``difference_shared``, over the regulators that have a target of known mode, with the 95 %
        interval ``ci_low, ci_high`` by ``ci_method`` (clustered by regulator and target) and the percentile interval
        ``boot_low, boot_high`` over resampled regulators; ``equivalence`` within ``margin``,
        ``minimum_detectable``; for ``per_regulator`` also medians; ``n_full, n_known`` listed pairs,
        ``n_regulators_full, n_regulators_known, status``.
    ``["per_regulator"]``
        ``edges, regulator, n_full, n_known, full, known``: AUROC of every regulator, NaN without a target.
    ``["network"]``
        ``step, n``: rows of the reference on their way to evaluated pairs.
    ``["detection"]``
        What ``pooled`` says of edges that were made circular: the scores of a random half of the listed pairs of
        *unknown* mode, raised by ``delta`` standard deviations of all scores (a signal in all listed pairs alike would
        change nothing). ``edges, delta``, ``difference_shared`` (``statistic``) with its interval ``ci_low, ci_high``,
        and ``detected``: the interval is below 0. Empty where no listed pair is of unknown mode, or all are.
    ``["params"]``
        All parameters, and hashes.

    Raises
    ------
    KeyError
        Edges, a column of `reference`, or `gene_symbols` do not exist.
    ValueError
        The reference is of another namespace or lists no pair of two different genes; edges are from different cells;
        a parameter is out of range.
    TypeError
        `edges` or `reference` are of a wrong type.

    Warns
    -----
    UserWarning
        Edges have no record of their cells; a table looks truncated.

    Notes
    -----
    Regulators without a target of known mode are dropped from ``known`` with all their pairs. The interval is that of
    the difference on the remaining ones, from the influence of every pair on both AUROCs
    (`scepsis.tl.reference_auroc`).

    **Statuses.** ``no_positives``: the reference tells no modes, or no pair of known mode is evaluated;
    ``constant_score``; ``too_few_units``: fewer than `min_units` regulators.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.pp.select_cells(adata)
    >>> sps.tl.correlation_edges(adata)
    >>> truth = sps.get.edges(adata, "regulation")
    >>> truth = truth[truth["weight"] != 0].assign(mode=["Activation", "Unknown", "Repression"] * 119 + ["Unknown"] * 2)
    >>> sps.tl.circularity(adata, truth, edges="spearman", n_boot=200)
    >>> adata.uns["circularity"]["summary"]["statistic"].tolist()
    ['pooled', 'per_regulator']
    """
    start = perf_counter()
    data = adata.copy() if copy else adata
    target = resolve(data, mod)
    require_choice(universe, get_args(Directed), argument="universe")
    require_key(key_added, argument="key_added")
    require_key(reference_name, argument="reference_name")
    for argument, value, minimum in (("margin", margin, 0), ("min_units", min_units, 2), ("n_boot", n_boot, 1)):
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
    generator = child(seed, "circularity", "bootstrap")
    state = generator.bit_generator.state
    found = []
    for one in pairs.sets:
        generator.bit_generator.state = state  # all sets see the same draws
        one_set = restricted(pairs, one, margin=float(margin), min_units=int(min_units))
        found.append(one_set.resampled(int(n_boot), generator))
    params = record(
        universe=universe,
        min_targets=int(min_targets),
        margin=float(margin),
        min_units=int(min_units),
        n_boot=int(n_boot),
        reference_name=reference_name,
        gene_symbols=gene_symbols,
        allow_different_cells=allow_different_cells,
        same_cells=pairs.same_cells,
        seed=seed,
        labels_hash=pairs.network.hash,
        **pairs.edges_record(),
    )
    summary = pd.DataFrame([row for one in found for row in one.rows(float(margin), int(min_units))])
    result = {
        "params": params,
        "summary": summary,
        "per_regulator": per_regulator(found, pairs, target.var_names.to_numpy(dtype=object)),
        "network": pairs.frame(),
        "detection": detection(pairs, min_units=int(min_units), seed=seed),
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
    write(target, uns={key_added: result} | updated_tests(target, _registry(summary), evidence))
    return data if copy else None


def _registry(summary: pd.DataFrame) -> list[Row]:
    return [
        Row(
            analysis="A10",
            name=f"known_mode/{row['statistic']}",
            edges=row["edges"],
            hypothesis="The AUROC is another on listed pairs of known mode alone, over the same regulators",
            test_type="difference of AUROCs with clustered interval",
            role="descriptive",
            statistic=row["difference_shared"],
            effect_size=row["difference_shared"],
            effect_type="difference of AUROC",
            ci_low=row["ci_low"],
            ci_high=row["ci_high"],
            ci_method=row["ci_method"],
            unit="TF x gene",
            n=row["n"],
            n_pos=row["n_known"],
            n_units=row["n_regulators_known"],
            equivalence=row["equivalence"],
            margin=row["margin"],
            minimum_detectable=row["minimum_detectable"],
            status=row["status"],
        )
        for row in summary.to_dict("records")
    ]
