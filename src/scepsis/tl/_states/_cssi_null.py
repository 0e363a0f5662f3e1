from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd

from scepsis._core._progress import progress_bar
from scepsis._core._registry import Evidence, Row, updated_tests
from scepsis._core._resolve import resolve
from scepsis._core._rng import child, resolve_seed
from scepsis._core._store import record, write
from scepsis._core._validate import require_choice, require_key, require_positive
from scepsis.tl._states._recovery import Recovery
from scepsis.tl._states._regulators import DETECTED_BELOW, DETECTION, Gain
from scepsis.tl._states._stored import StoredStates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from scepsis._core._network import Universe
    from scepsis._core._types import BoolArray, Data, FloatArray, IntArray, Seed
    from scepsis.models import AttentionModel
    from scepsis.tl._states._measures import Measure, Networks

Null = Literal["size_matched", "shuffled", "random", "genes"]
NULLS: tuple[Null, ...] = get_args(Null)


def cssi_null(
    adata: Data,
    reference: pd.DataFrame,
    *,
    key: str = "cssi",
    nulls: Null | Sequence[Null] = NULLS,
    n_null: int = 100,
    model: AttentionModel | None = None,
    score: Callable[[FloatArray], Any] | None = None,
    reference_name: str = "reference",
    universe: Universe = "regulators",
    min_targets: int = 3,
    gene_symbols: str | None = None,
    memory_limit: int | None = None,
    show_progress_bar: bool = True,
    key_added: str = "cssi_null",
    mod: str | None = None,
    rng: Seed = 0,
    copy: bool = False,
) -> Data | None:
    r"""
    Ask whether states, or only small groups of cells, are what made an aggregate better :cite:p:`kendiukhov2026`.

    The aggregate of :func:`scepsis.tl.cssi` is made anew with strata that mean nothing, and scored against a
    reference by the AUROC :math:`A` of all candidate pairs in one ranking:

    ``"size_matched"``
        for each state as many cells, drawn at random from all chosen cells, those of no state included. What is left
        of a gain then came from the number of cells alone. **This control separates state from sample size.**
    ``"shuffled"``
        labels permuted among the cells of the states; sizes stay.
    ``"random"``
        a state for every cell, all equally likely.
    ``"genes"``
        the true states, with genes exchanged for each other within each; what is shared between states is lost.

    With :math:`b` of :math:`B` draws at least as good as the true states, :math:`p = (1 + b) / (1 + B)`, one-sided.

    Parameters
    ----------
    adata
        Cells x genes, with a result of :func:`scepsis.tl.cssi`.
    reference
        Known edges: a frame ``source, target``, with ``weight`` and ``mode`` if it has them.
    key
        Name of that result.
    nulls
        Which.
    n_null
        Draws of each.
    model
        For attention, which has to be read anew: **one pass over the cells for each draw**, but for ``"genes"``.
        Without it only ``"genes"`` is run.
    score
        The function, for networks that a function of one's own made.
    reference_name
        Name of the reference in the registry.
    universe
        Candidate pairs: ``"regulators"`` (sources with `min_targets` targets, all other genes as targets),
        ``"all_pairs"``, or ``"unordered"``.
    min_targets
        Targets that a regulator must have in the panel.
    gene_symbols
        Column of ``var`` that the reference is written in; ``var_names`` when not given.
    memory_limit
        Bytes that networks, and a pass of the model, may take; a quarter of the machine's memory when not given.
    show_progress_bar
        Show a progress bar.
    key_added
        Name of the result.
    mod
        Modality, for MuData.
    rng
        Seed; every draw has a generator of its own.
    copy
        Return a changed copy instead of writing into `adata`.

    Returns
    -------
    None, or the copy. Sets ``uns[key_added]`` with

    ``nulls``
        one row per null: ``observed`` and ``pooled`` (AUROC of the true states and of all these cells together),
        ``gain`` (their difference), ``null_mean``, ``null_sd``, ``null_low``, ``null_high`` (central 95 %), ``z``,
        ``p_value``, ``above_pooled`` (share of draws above pooled), ``n_null``, ``status``.
    ``draws``
        one row per draw: ``null``, ``draw``, ``auroc``, ``f1`` (of as many pairs as are listed).
    ``detection``
        ``edges, test, delta, statistic, ci_low, ci_high, p_value, detected``: what each test says when ``delta``
        standard deviations of the aggregate's scores are added to a random half of the listed pairs. ``statistic`` is
        the AUROC above the mean of the null, with what is above its central 95 %, or the mean difference over
        regulators with Student's interval. Fewer than 20 draws detect nothing.
    ``params``

    and rows of ``uns["tests"]``: ``null/<name>`` (``size_matched`` is primary) and ``vs_pooled`` (signed ranks over
    regulators), analysis A24.

    Raises
    ------
    KeyError
        There is no such result, or `reference` lacks a column.
    ValueError
        Cells or genes have changed since; a reference without pairs of these genes; networks of a function without
        `score`.
    MemoryError
        The networks of all states, or a pass of `model`, would not fit; nothing is computed.

    Notes
    -----
    All draws, and the pooled network, are scored on the pairs that pooled and the aggregate both have. Time is that
    of :func:`scepsis.tl.cssi` for each draw; ``"genes"`` exchanges rows and columns of the networks that are there.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.simulate_cssi(n_states=6, rng=1)
    >>> sps.tl.cssi(adata, groupby="cell_state")
    >>> sps.tl.cssi_null(adata, adata.uns["simulate_cssi"]["network"], min_targets=1, n_null=19, nulls="size_matched")
    >>> adata.uns["cssi_null"]["nulls"]["p_value"].round(2).tolist()
    [0.05]
    """
    data = adata.copy() if copy else adata
    target = resolve(data, mod)
    require_key(key_added, argument="key_added")
    wanted: tuple[Null, ...] = (nulls,) if isinstance(nulls, str) else tuple(nulls)
    for one in wanted:
        require_choice(one, NULLS, argument="nulls")
    require_positive(n_null, argument="n_null")
    seed = resolve_seed(rng)
    states = StoredStates.read(target, key)
    observed, genes = states.aggregate
    recovery = Recovery.of(
        target, reference, genes, signed=states.signed, universe=universe, min_targets=min_targets,
        gene_symbols=gene_symbols,
    )  # fmt: skip
    states.require_function(score)
    n_states = len(states.strata.members)
    states.require_fit(n_states * (1 + (states.aggregation == "median")), memory_limit)
    start = time.perf_counter()
    test = _Test.of(states, recovery, observed, model, score, memory_limit)
    with progress_bar(total=len(wanted) * n_null, desc="nulls", unit="draw", show=show_progress_bar) as bar:
        draws = pd.concat([test.draws(null, n_null, seed, bar.update) for null in wanted], ignore_index=True)
    table = pd.DataFrame([test.row(null, draws, n_null) for null in wanted])
    params = record(
        key=key, nulls=list(wanted), n_null=n_null, seed=seed, aggregation=states.aggregation,
        cells_hash_of=states.params["cells_hash"], **recovery.record(reference_name, universe, min_targets),
    )  # fmt: skip
    evidence = Evidence(
        key=key_added, params=params, edges={key: states.params}, reference=reference_name,
        labels_hash=recovery.network.hash, seed=seed, wall_s=time.perf_counter() - start,
    )  # fmt: skip
    rows = [*(_null_row(key, row) for _, row in table.iterrows()), test.by_regulator(key)]
    result = {"params": params, "nulls": table, "draws": draws, "detection": test.detection(key, table, draws, seed)}
    write(target, uns={key_added: result} | updated_tests(target, rows, evidence))
    return data if copy else None


class _Test:
    """Draws from the nulls, and what they are compared with."""

    def __init__(
        self,
        states: StoredStates,
        recovery: Recovery,
        measure: Measure | None,
        pooled: FloatArray | None,
        networks: list[FloatArray],
        observed: FloatArray,
    ) -> None:
        self.states, self.recovery, self.measure = states, recovery, measure
        self.pooled, self.networks = pooled, networks
        self.observed_scores = recovery.scores(observed)
        self.pooled_scores = np.full_like(self.observed_scores, np.nan) if pooled is None else recovery.scores(pooled)
        self.valid: BoolArray = ~np.isnan(self.observed_scores)
        if pooled is not None:
            self.valid &= ~np.isnan(self.pooled_scores)
        self.observed = recovery.auroc(self.observed_scores, self.valid)
        self.area_pooled = recovery.auroc(self.pooled_scores, self.valid)

    @classmethod
    def of(
        cls,
        states: StoredStates,
        recovery: Recovery,
        observed: FloatArray,
        model: AttentionModel | None,
        score: Callable[[FloatArray], Any] | None,
        memory_limit: int | None,
    ) -> _Test:
        measure = None
        if states.can_be_made_anew(model):
            n_states = len(states.strata.members)
            measure = states.measure(model=model, score=score, memory_limit=memory_limit, n_sets=n_states)
        networks = [states.network(slug) for slug in states.strata.slugs]
        if measure is not None:
            pooled: FloatArray | None = states.keep(measure.within([states.strata.rows]).pooled(), measure.genes)
        else:
            pooled = states.pooled()
        return cls(states, recovery, measure, pooled, networks, observed)

    def draws(self, null: Null, n_null: int, seed: int, tick: Callable[[int], object]) -> pd.DataFrame:
        """Scores of every draw; none where the networks cannot be made anew."""
        found = []
        for draw in range(n_null if null == "genes" or self.measure is not None else 0):
            scores = self.recovery.scores(self._aggregate(null, child(seed, "cssi_null", null, draw)))
            f1 = self.recovery.top(scores, [self.recovery.n_listed]).f1[0] if self.recovery.n_listed else np.nan
            found.append({"null": null, "draw": draw, "auroc": self.recovery.auroc(scores, self.valid), "f1": f1})
            tick(1)
        kinds = {"null": object, "draw": np.int64, "auroc": np.float64, "f1": np.float64}
        return pd.DataFrame(found, columns=list(kinds)).astype(kinds)

    def _aggregate(self, null: Null, rng: np.random.Generator) -> FloatArray:
        from scepsis.edges._cssi import aggregate

        sizes = self.states.strata.sizes
        if null == "genes":
            networks: Iterator[FloatArray] = iter(_exchanged(network, rng) for network in self.networks)
        else:
            members = self._members(null, rng)
            sizes = [len(rows) for rows in members]
            measure = self._measure
            made: Networks = measure.within(members)
            networks = (self.states.keep(network, measure.genes) for network in made.each())
        found = aggregate(
            zip(sizes, networks, strict=True), self.states.aggregation, signed=self.states.signed, pooled=self.pooled
        )
        return np.full_like(self.networks[0], np.nan) if found is None else found

    @property
    def _measure(self) -> Measure:
        if self.measure is None:
            msg = "Networks of other strata cannot be made."
            raise RuntimeError(msg)
        return self.measure

    def _members(self, null: Null, rng: np.random.Generator) -> list[IntArray]:
        """Cells of strata that mean nothing."""
        strata = self.states.strata
        if null == "random":
            code = rng.integers(len(strata.members), size=len(strata.rows))
            members = [strata.rows[code == k] for k in range(len(strata.members))]
            return [rows for rows in members if len(rows) > 1]
        cells = strata.rows if null == "shuffled" else self.states.cells.index
        if null == "size_matched" and self.states.params["score"] != "attention":
            return [np.sort(rng.choice(cells, size=size, replace=False)) for size in strata.sizes]
        order = rng.permutation(cells)  # attention is read in one pass, in which a cell is of one stratum
        return [np.sort(rows) for rows in np.split(order[: sum(strata.sizes)], np.cumsum(strata.sizes)[:-1])]

    def row(self, null: Null, draws: pd.DataFrame, n_null: int) -> dict[str, Any]:
        """One null beside the truth."""
        values = draws["auroc"][draws["null"] == null].to_numpy()
        values = values[~np.isnan(values)]
        status = self.recovery.status
        if status == "ok":
            single = len(self.states.strata.members) < 2
            status = "single_stratum" if single else "ok" if len(values) else "not_run"
        ran = status == "ok"
        sd = float(values.std(ddof=1)) if ran and len(values) > 1 else np.nan
        mean = float(values.mean()) if ran else np.nan
        low, high = np.quantile(values, [0.025, 0.975]) if ran else (np.nan, np.nan)
        return {
            "null": null,
            "observed": self.observed,
            "pooled": self.area_pooled,
            "gain": self.observed - self.area_pooled,
            "null_mean": mean,
            "null_sd": sd,
            "null_low": low,
            "null_high": high,
            "z": (self.observed - mean) / sd if sd > 1e-12 else np.nan,
            "p_value": _p_value(self.observed, values) if ran else np.nan,
            "above_pooled": float((values > self.area_pooled).mean()) if ran else np.nan,
            "n_null": len(values) if ran else 0,
            "status": status,
        }

    def gain(self, scores: FloatArray) -> Gain:
        """What `scores` are above pooled, over regulators."""
        areas = [self.recovery.by_source(one, self.valid) for one in (scores, self.pooled_scores)]
        return Gain.of(areas[0] - areas[1], self.recovery.status)

    def by_regulator(self, key: str) -> Row:
        """The aggregate against pooled, over regulators."""
        from scepsis.stats._paired import cohen_d

        gain = self.gain(self.observed_scores)
        return gain.row(
            "vs_pooled",
            "The aggregate over states ranks the reference's edges of a regulator better than all cells do",
            key,
            self.recovery,
            effect_type=f"difference of AUROC (d = {cohen_d(gain.differences):.2f})",
            pooled=self.area_pooled,
        )

    def detection(self, key: str, table: pd.DataFrame, draws: pd.DataFrame, seed: int) -> pd.DataFrame:
        """What every test says when a signal of known strength is planted in the aggregate, and in nothing else."""
        from scepsis.stats._planted import DELTAS, planted

        scores = np.where(self.valid, self.observed_scores, np.nan)
        rows = []
        for delta in DELTAS:
            signal = planted(scores, self.recovery.network.listed, delta, child(seed, "cssi_null", "planted"))
            area = self.recovery.auroc(signal, self.valid)
            for _, row in table[table["status"] == "ok"].iterrows():
                values = draws["auroc"][draws["null"] == row["null"]].dropna().to_numpy()
                p_value = _p_value(area, values)
                rows.append(
                    {
                        "edges": key, "test": f"null/{row['null']}", "delta": delta,
                        "statistic": area - row["null_mean"], "ci_low": area - row["null_high"],
                        "ci_high": area - row["null_low"], "p_value": p_value, "detected": p_value < DETECTED_BELOW,
                    }
                )  # fmt: skip
            if self.recovery.status == "ok" and self.pooled is not None:
                rows.append(self.gain(signal).seen(key, "vs_pooled", delta))
        return pd.DataFrame(rows, columns=list(DETECTION))


def _p_value(observed: float, drawn: FloatArray) -> float:
    return (1 + int((drawn >= observed).sum())) / (1 + len(drawn))


def _exchanged(network: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Genes in another order; those with edges out, and those without, among themselves."""
    order = np.arange(len(network))
    has_row = ~np.isnan(network).all(axis=1)
    for some in (np.flatnonzero(has_row), np.flatnonzero(~has_row)):
        order[some] = rng.permutation(some)
    return network[np.ix_(order, order)]


def _null_row(key: str, row: pd.Series[Any]) -> Row:
    return Row(
        analysis="A24",
        name=f"null/{row['null']}",
        hypothesis=f"The states recover the reference better than strata of the null {row['null']!r}",
        test_type="permutation",
        role="confirmatory",
        direction="greater",
        edges=key,
        statistic=float(row["z"]),
        p_raw=float(row["p_value"]),
        effect_size=float(row["observed"] - row["null_mean"]),
        effect_type="difference of AUROC",
        unit="stratum",
        n=int(row["n_null"]),
        null_mean=float(row["null_mean"]),
        null_sd=float(row["null_sd"]),
        null_family=str(row["null"]),
        baseline_name="pooled",
        baseline_value=float(row["pooled"]),
        is_primary=row["null"] == "size_matched",
        status=str(row["status"]),
    )
