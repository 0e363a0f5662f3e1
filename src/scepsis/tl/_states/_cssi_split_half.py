from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scepsis._core._progress import progress_bar
from scepsis._core._registry import Evidence, updated_tests
from scepsis._core._resolve import resolve
from scepsis._core._rng import child, resolve_seed
from scepsis._core._store import record, write
from scepsis._core._validate import require_choice, require_key, require_positive
from scepsis.stats._planted import DELTAS, planted
from scepsis.tl._states._recovery import Recovery
from scepsis.tl._states._regulators import DETECTION, Gain
from scepsis.tl._states._request import CORRELATIONS
from scepsis.tl._states._stored import StoredStates

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scepsis._core._network import Universe
    from scepsis._core._types import Data, FloatArray, IntArray, Seed
    from scepsis.edges._cssi import Aggregation
    from scepsis.models import AttentionModel
    from scepsis.tl._states._measures import Measure

#: Cells that each half of a state must have.
MIN_HALF = 4
#: Name of the test in the registry.
ROW = "split_half/vs_pooled"


def cssi_split_half(
    adata: Data,
    reference: pd.DataFrame,
    *,
    key: str = "cssi",
    variants: Sequence[Aggregation] | None = None,
    n_splits: int = 10,
    alpha: float = 0.05,
    model: AttentionModel | None = None,
    score: Callable[[FloatArray], Any] | None = None,
    reference_name: str = "reference",
    universe: Universe = "regulators",
    min_targets: int = 3,
    gene_symbols: str | None = None,
    memory_limit: int | None = None,
    show_progress_bar: bool = True,
    key_added: str = "cssi_split_half",
    mod: str | None = None,
    rng: Seed = 0,
    copy: bool = False,
) -> Data | None:
    r"""
    Choose aggregation and layer on one half of the cells, and score them on the other :cite:p:`kendiukhov2026`.

    The best of many aggregations on the same cells is better than all cells together by being the best of many. Here
    every state is cut into two random halves; whichever aggregation (and layer of a model) has the highest AUROC on
    the first is scored on the second, beside all cells of the second together. What the choice loses on the way is its
    ``optimism``. Halving cells does not halve the reference: a variant that suits these labels by chance suits
    them in both halves.

    For correlations it also asks which edges are real. In the first half a pair's p is that of its strongest
    state by Fisher's transform (:math:`\sqrt{(n_k - 3)/v}\,\operatorname{atanh}\rho`, v = 1.06 for Spearman), corrected
    for the number of states (Sidak) and over pairs (Benjamini-Hochberg); called pairs are then looked for in the second
    half, in the same state and with the same sign.

    Parameters
    ----------
    adata
        Cells x genes, with a result of :func:`scepsis.tl.cssi`, whose states and settings are taken.
    reference
        Known edges: a frame ``source, target``, with ``weight`` and ``mode`` if it has them.
    key
        Name of that result.
    variants
        Aggregations to choose among; all of them when not given.
    n_splits
        Random halvings.
    alpha
        False discovery rate of called pairs, and level at which they are found again.
    model
        For attention: one pass over the cells for each split. Each of the recorded layers is a variant.
    score
        The function, for networks that a function of one's own made.
    reference_name
        Name of the reference in the registry.
    universe
        Candidate pairs, as for :func:`scepsis.tl.cssi_null`.
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
        Seed; every split has a generator of its own.
    copy
        Return a changed copy instead of writing into `adata`.

    Returns
    -------
    None, or the copy. Sets ``uns[key_added]`` with

    ``variants``
        one row per split, layer and variant, ``"pooled"`` among them: ``split``, ``layer`` (``""`` for none),
        ``variant``, ``auroc_first``, ``auroc_second``, ``f1_second``.
    ``splits``
        one row per split: ``layer`` and ``variant`` chosen, ``auroc_first``, ``held_out`` (second half), ``pooled``
        (second half, same layer), ``gain``, ``optimism``, ``f1`` and ``pooled_f1`` on the second half, ``n_strata``,
        ``status``.
    ``edges``
        for correlations, one row per split: ``n_pairs``, ``n_called``, ``n_found_again``, ``share``.
    ``detection``
        ``edges, test, delta, statistic, ci_low, ci_high, p_value, detected``: what the test over regulators says when
        ``delta`` standard deviations are added to a random half of the listed pairs in the held-out scores of what was
        chosen (the choice is not made anew).
    ``params``

    and the row ``split_half/vs_pooled`` of ``uns["tests"]`` (signed ranks over regulators of the held-out difference,
    averaged over splits), analysis A24.

    Raises
    ------
    KeyError
        There is no such result.
    ValueError
        Cells or genes have changed since; attention without `model`; a function that is not given again.
    MemoryError
        The networks of all halves, or a pass of `model`, would not fit; nothing is computed.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.simulate_cssi(n_states=6, rng=1)
    >>> sps.tl.cssi(adata, groupby="cell_state")
    >>> sps.tl.cssi_split_half(adata, adata.uns["simulate_cssi"]["network"], min_targets=1, n_splits=2)
    >>> bool((adata.uns["cssi_split_half"]["splits"]["gain"] > 0).all())
    True
    """
    from scepsis.edges._cssi import AGGREGATIONS

    data = adata.copy() if copy else adata
    target = resolve(data, mod)
    require_key(key_added, argument="key_added")
    chosen = AGGREGATIONS if variants is None else tuple(variants)
    for one in chosen or ("",):
        require_choice(one, AGGREGATIONS, argument="variants")
    require_positive(n_splits, argument="n_splits")
    require_positive(alpha, argument="alpha", minimum=0)
    seed = resolve_seed(rng)
    states = StoredStates.read(target, key)
    n_halves = 2 * len(states.strata.members)
    states.require_fit(n_halves, memory_limit)
    measure = states.measure(model=model, score=score, memory_limit=memory_limit, n_sets=n_halves)
    recovery = Recovery.of(
        target, reference, measure.genes, signed=states.signed, universe=universe, min_targets=min_targets,
        gene_symbols=gene_symbols,
    )  # fmt: skip
    start = time.perf_counter()
    halving = _Halving(states, measure, recovery, chosen, alpha, seed)
    with progress_bar(total=n_splits, desc="splits", unit="split", show=show_progress_bar) as bar:
        splits = []
        for number in range(n_splits):
            splits.append(halving.split(number, child(seed, "cssi_split_half", number)))
            bar.update()
    frames = {
        "variants": pd.concat([one.variants for one in splits], ignore_index=True),
        "splits": pd.DataFrame([one.row for one in splits]),
    }
    if states.params["score"] in CORRELATIONS and not states.is_function:
        frames["edges"] = pd.DataFrame([one.edges for one in splits])
    params = record(
        key=key, variants=list(chosen), n_splits=n_splits, alpha=float(alpha), seed=seed,
        cells_hash_of=states.params["cells_hash"], **recovery.record(reference_name, universe, min_targets),
    )  # fmt: skip
    evidence = Evidence(
        key=key_added, params=params, edges={key: states.params}, reference=reference_name,
        labels_hash=recovery.network.hash, seed=seed, wall_s=time.perf_counter() - start,
    )  # fmt: skip
    frames["detection"] = _detection(key, splits, recovery)
    row = _held_out(splits, recovery).row(
        ROW, "What was chosen on one half of the cells is better than all cells together on the other", key, recovery,
        effect_type="difference of AUROC on held-out cells",
        pooled=float(np.mean([one.row["pooled"] for one in splits])),
    )  # fmt: skip
    write(target, uns={key_added: {"params": params} | frames} | updated_tests(target, [row], evidence))
    return data if copy else None


class _Split:
    """What one halving gave."""

    def __init__(
        self, variants: pd.DataFrame, row: dict[str, Any], edges: dict[str, Any], by_source: dict[float, FloatArray]
    ) -> None:
        self.variants, self.row, self.edges, self.by_source = variants, row, edges, by_source


class _Halving:
    """States cut into halves, their networks, and what is chosen by the first."""

    def __init__(
        self,
        states: StoredStates,
        measure: Measure,
        recovery: Recovery,
        variants: Sequence[Aggregation],
        alpha: float,
        seed: int,
    ) -> None:
        self.states, self.measure, self.recovery, self.alpha, self.seed = states, measure, recovery, alpha, seed
        self.variants = variants
        layers = list(states.params.get("layers", []))
        self.parts: dict[str, int | None] = {f"L{number}": place for place, number in enumerate(layers)}
        if len(layers) < 2:
            self.parts = {"": None}

    def split(self, number: int, rng: np.random.Generator) -> _Split:
        """Halve, score everything on both halves, and choose."""
        halves: tuple[list[IntArray], list[IntArray]] = ([], [])
        for rows in self.states.strata.members:
            if len(rows) >= 2 * MIN_HALF:
                order = rng.permutation(rows)
                for half, some in zip(halves, (order[: len(rows) // 2], order[len(rows) // 2 :]), strict=True):
                    half.append(np.sort(some))
        n_strata = len(halves[0])
        empty = {"split": number, "layer": "", "variant": "", "n_strata": n_strata, "status": "single_stratum"}
        if n_strata < 2:
            columns = ("auroc_first", "held_out", "pooled", "gain", "optimism", "f1", "pooled_f1")
            none = np.full(len(self.recovery.network.sources), np.nan)
            nothing = {"split": number, "n_pairs": 0, "n_called": 0, "n_found_again": 0, "share": np.nan}
            return _Split(
                pd.DataFrame(), empty | dict.fromkeys(columns, np.nan), nothing, dict.fromkeys((0.0, *DELTAS), none)
            )
        made = self.measure.within([*halves[0], *halves[1]])
        sizes = [[len(rows) for rows in half] for half in halves]
        found: list[dict[str, Any]] = []
        scores: dict[tuple[str, str], FloatArray] = {}
        edges: dict[str, Any] = {}
        for name, part in self.parts.items():
            networks = list(made.each(part))
            pooled = [made.pooled(part, range(start, start + n_strata)) for start in (0, n_strata)]
            cut = (networks[:n_strata], networks[n_strata:])
            for variant in ("pooled", *self.variants):
                first, second = (self._scores(variant, cut[half], sizes[half], pooled[half]) for half in (0, 1))
                scores[name, variant] = second
                found.append(
                    {
                        "split": number, "layer": name, "variant": variant, "auroc_first": self.recovery.auroc(first),
                        "auroc_second": self.recovery.auroc(second), "f1_second": self._f1(second),
                    }
                )  # fmt: skip
            edges = edges or self._edges(number, cut, sizes)
        return self._chosen(number, pd.DataFrame(found), scores, edges, n_strata)

    def _scores(self, variant: str, networks: list[FloatArray], sizes: list[int], pooled: FloatArray) -> FloatArray:
        from scepsis.edges._cssi import aggregate

        if variant == "pooled":
            return self.recovery.scores(pooled)
        how: Any = variant
        found = aggregate(zip(sizes, networks, strict=True), how, signed=self.states.signed, pooled=pooled)
        return self.recovery.scores(pooled if found is None else found)

    def _f1(self, scores: FloatArray) -> float:
        n = self.recovery.n_listed
        return float(self.recovery.top(scores, [n]).f1[0]) if n else np.nan

    def _chosen(
        self,
        number: int,
        table: pd.DataFrame,
        scores: dict[tuple[str, str], FloatArray],
        edges: dict[str, Any],
        n_strata: int,
    ) -> _Split:
        status = self.recovery.status
        own = table[table["variant"] != "pooled"]
        best = own.iloc[int(np.argmax(own["auroc_first"].fillna(-1).to_numpy()))]
        layer, variant = str(best["layer"]), str(best["variant"])
        base = table[(table["layer"] == layer) & (table["variant"] == "pooled")].iloc[0]
        row = {
            "split": number,
            "layer": layer,
            "variant": variant,
            "n_strata": n_strata,
            "status": status,
            "auroc_first": best["auroc_first"],
            "held_out": best["auroc_second"],
            "pooled": base["auroc_second"],
            "gain": best["auroc_second"] - base["auroc_second"],
            "optimism": best["auroc_first"] - best["auroc_second"],
            "f1": best["f1_second"],
            "pooled_f1": base["f1_second"],
        }
        pair = scores[layer, variant], scores[layer, "pooled"]
        return _Split(table, row, edges, self._by_source(*pair))

    def _by_source(self, scores: FloatArray, pooled: FloatArray) -> dict[float, FloatArray]:
        """Differences of AUROC of every regulator, by what was planted in the held-out scores of the choice."""
        valid = ~np.isnan(scores) & ~np.isnan(pooled)
        base = self.recovery.by_source(pooled, valid)
        found: dict[float, FloatArray] = {0.0: self.recovery.by_source(scores, valid) - base}
        for delta in DELTAS:  # in the same half of the listed pairs for all splits
            generator = child(self.seed, "cssi_split_half", "planted")
            signal = planted(np.where(valid, scores, np.nan), self.recovery.network.listed, delta, generator)
            found[delta] = self.recovery.by_source(signal, valid) - base
        return found

    def _edges(
        self, number: int, cut: tuple[list[FloatArray], list[FloatArray]], sizes: list[list[int]]
    ) -> dict[str, Any]:
        """Pairs called in the first half, and those of them found again in the second."""
        from scipy.special import ndtr

        from scepsis.stats._fisher import correlation_z, strongest_state
        from scepsis.stats._multiplicity import benjamini_hochberg

        spearman = self.states.params["score"] == "spearman"
        upper = np.triu_indices(len(self.measure.genes), 1)
        first = strongest_state(zip(sizes[0], (network[upper] for network in cut[0]), strict=True), spearman=spearman)
        if first is None:
            return {}
        called = np.flatnonzero(benjamini_hochberg(first.p_value) < self.alpha)
        again = np.full(len(called), np.nan)
        for state, (network, n_cells) in enumerate(zip(cut[1], sizes[1], strict=True)):
            here = first.state[called] == state
            again[here] = correlation_z(network[upper][called[here]], n_cells, spearman=spearman)
        one_sided = ndtr(-again * np.sign(first.z[called]))
        n_again = int((one_sided < self.alpha).sum())
        return {
            "split": number,
            "n_pairs": int((~np.isnan(first.p_value)).sum()),
            "n_called": len(called),
            "n_found_again": n_again,
            "share": n_again / len(called) if len(called) else np.nan,
        }


def _held_out(splits: list[_Split], recovery: Recovery, delta: float = 0.0) -> Gain:
    """The held-out difference of each regulator, averaged over splits; with a signal planted, if `delta` is given."""
    values = np.stack([one.by_source[delta] for one in splits])
    known = ~np.isnan(values)
    n_known = known.sum(axis=0)
    means = np.divide(
        np.where(known, values, 0).sum(axis=0), n_known, out=np.full(len(n_known), np.nan), where=n_known > 0
    )
    nothing = recovery.status == "ok" and not known.any()
    return Gain.of(means, "single_stratum" if nothing else recovery.status)


def _detection(key: str, splits: list[_Split], recovery: Recovery) -> pd.DataFrame:
    found = [_held_out(splits, recovery, delta).seen(key, ROW, delta) for delta in DELTAS]
    return pd.DataFrame(found, columns=list(DETECTION))
