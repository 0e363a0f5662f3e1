from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pandas as pd

from scepsis._core._network import Directed
from scepsis._core._network_pairs import read_network_pairs
from scepsis._core._registry import Evidence, Row, updated_tests
from scepsis._core._resolve import resolve
from scepsis._core._rng import child, resolve_seed
from scepsis._core._store import record, write
from scepsis._core._validate import require_choice, require_key, require_positive
from scepsis.stats._contrasts import Contrast
from scepsis.stats._pooled import PooledScore, Resampled, pooled_contrast, source_contrast

if TYPE_CHECKING:
    from scepsis._core._edge_sets import EdgeSet
    from scepsis._core._network_pairs import NetworkPairs
    from scepsis._core._types import Data, EdgesLike, FloatArray, Seed
    from scepsis.stats._intervals import Interval

CI_METHOD = "t, clustered by regulator and target"


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
        Seed of the bootstrap.
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
        restricted = _restricted(pairs, one, margin=float(margin), min_units=int(min_units))
        found.append(restricted.resampled(int(n_boot), generator))
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
        "per_regulator": _per_regulator(found, pairs, target.var_names.to_numpy(dtype=object)),
        "network": pairs.frame(),
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


@dataclass(frozen=True)
class _Restricted:
    """One set of edges on the whole reference, and on the part of known mode."""

    name: str
    #: On all rows; on the rows with a target of known mode; on these and targets of known mode. None: nothing to rank.
    full: PooledScore | None
    shared: PooledScore | None
    known: PooledScore | None
    contrasts: dict[str, Contrast]
    boot: dict[str, Interval]

    def resampled(self, n_boot: int, generator: np.random.Generator) -> _Restricted:
        """With the percentile intervals of the difference over resampled regulators."""
        if self.known is None or self.shared is None:
            return self
        replicates = Resampled.of([self.known, self.shared], n_boot, generator)
        self.boot["pooled"] = replicates.interval("pooled", 0, 1)
        self.boot["per_regulator"] = replicates.interval("by_source", 0, 1)
        return self

    def rows(self, margin: float, min_units: int) -> list[dict[str, Any]]:
        """Rows of the summary."""
        result = []
        for statistic in ("pooled", "per_regulator"):
            full, known = (_reached(one, statistic, np.mean) for one in (self.full, self.known))
            found = self.contrasts.get(statistic, Contrast(np.nan, 0))
            enough = found.n_units >= min_units
            boot = self.boot.get(statistic, found.boot)
            medians = [_reached(one, "per_regulator", np.median) for one in (self.full, self.known)]
            status = "ok" if enough else "too_few_units"
            if self.known is None:
                status = "no_positives"
            elif self.known.constant:
                status = "constant_score"
            result.append(
                {
                    "edges": self.name,
                    "statistic": statistic,
                    "full": full,
                    "known": known,
                    "difference": known - full,
                    "difference_shared": found.difference,
                    "ci_low": found.two_way.low,
                    "ci_high": found.two_way.high,
                    "ci_method": CI_METHOD,
                    "boot_low": boot.low if enough else np.nan,
                    "boot_high": boot.high if enough else np.nan,
                    "equivalence": found.equivalence,
                    "margin": margin,
                    "minimum_detectable": found.minimum_detectable,
                    "median_full": medians[0] if statistic == "per_regulator" else np.nan,
                    "median_known": medians[1] if statistic == "per_regulator" else np.nan,
                    "n": 0 if self.known is None else self.known.n,
                    "n_full": 0 if self.full is None else self.full.n_pos,
                    "n_known": 0 if self.known is None else self.known.n_pos,
                    "n_regulators_full": _counted(self.full, statistic),
                    "n_regulators_known": _counted(self.known, statistic),
                    "status": status,
                }
            )
        return result


def _reached(one: PooledScore | None, statistic: str, average: Any) -> float:
    """AUROC of all pairs, or an average over regulators; NaN where there is none."""
    if one is None:
        return np.nan
    if statistic == "pooled":
        return one.auroc
    return float(average(one.sources["auroc"][one.used])) if one.used.any() else np.nan


def _counted(one: PooledScore | None, statistic: str) -> int:
    if one is None:
        return 0
    return int(((one.sources["n_pos"] > 0) if statistic == "pooled" else one.used).sum())


def _restricted(pairs: NetworkPairs, one: EdgeSet, *, margin: float, min_units: int) -> _Restricted:
    scores, listed, candidate = pairs.scores(one), pairs.listed, pairs.candidate
    if not listed.any():
        return _Restricted(one.name, None, None, None, {}, {})
    full = PooledScore.of(scores, listed, candidate)
    of_known_mode = pairs.known_mode
    if of_known_mode is None or not of_known_mode.any():
        return _Restricted(one.name, full, None, None, {}, {})
    rows = np.any(of_known_mode, axis=1, keepdims=True) | ~np.any(listed, axis=1, keepdims=True)
    shared = PooledScore.of(scores, listed & rows, candidate & rows)
    known = PooledScore.of(scores, of_known_mode, candidate & rows & ~(listed & ~of_known_mode))
    contrasts = {
        "pooled": pooled_contrast(known, shared, "crossed", margin=margin, min_units=min_units),
        "per_regulator": source_contrast(known, shared, margin=margin, min_units=min_units),
    }
    return _Restricted(one.name, full, shared, known, contrasts, {})


def _per_regulator(found: list[_Restricted], pairs: NetworkPairs, genes: Any) -> pd.DataFrame:
    rows = np.flatnonzero(pairs.listed.any(axis=1))

    def column(one: PooledScore | None, name: str, missing: float) -> FloatArray:
        return np.full(len(rows), missing) if one is None else one.sources[name][rows]

    parts = [
        pd.DataFrame(
            {
                "edges": np.full(len(rows), one.name, dtype=object),
                "regulator": genes[pairs.sources[rows]],
                "n_full": column(one.full, "n_pos", 0).astype(np.int64),
                "n_known": column(one.known, "n_pos", 0).astype(np.int64),
                "full": column(one.full, "auroc", np.nan),
                "known": column(one.known, "auroc", np.nan),
            }
        )
        for one in found
    ]
    return pd.concat(parts, ignore_index=True)


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
