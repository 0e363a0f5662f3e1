from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd

from scepsis._core._edge_slots import provenance
from scepsis._core._groups import Groups
from scepsis._core._keys import EdgeKeys
from scepsis._core._progress import progress_bar
from scepsis._core._registry import Evidence, updated_tests
from scepsis._core._resolve import choose_cells, choose_genes, resolve
from scepsis._core._rng import child, resolve_seed
from scepsis._core._store import record, write
from scepsis._core._validate import require_choice, require_key, require_positive
from scepsis.tl._states._recovery import Recovery
from scepsis.tl._states._request import ATTENTION, CORRELATIONS, make_measure, require_pass, require_score
from scepsis.tl._states._samples import Composition, growing, more_types
from scepsis.tl._states._scaling_tests import Signals, changes, scaling_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scepsis._core._network import Universe
    from scepsis._core._types import Data, IntArray, Mask, Seed
    from scepsis.models import AttentionModel
    from scepsis.tl._states._measures import Measure
    from scepsis.tl._states._samples import Sample

Metric = Literal["top_k", "auroc", "average_precision"]
METRICS: tuple[Metric, ...] = get_args(Metric)
KS = (20, 50, 100, 200, 500)


def scaling_curve(  # noqa: PLR0913 - samples, networks and references each have their own
    adata: Data,
    model: AttentionModel | None = None,
    *,
    reference: pd.DataFrame,
    n_cells: Sequence[int] = (200, 1000, 3000),
    composition: Composition = "random",
    groupby: str | None = None,
    score: Literal["spearman", "pearson"] = "spearman",
    layers: int | Sequence[int] | None = None,
    n_seeds: int = 6,
    metrics: Sequence[Metric] = METRICS,
    ks: Sequence[int] = KS,
    layer: str | None = None,
    mask_obs: Mask = None,
    mask_var: Mask = None,
    reference_name: str = "reference",
    universe: Universe = "regulators",
    min_targets: int = 3,
    gene_symbols: str | None = None,
    memory_limit: int | None = None,
    show_progress_bar: bool = True,
    key_added: str = "scaling_curve",
    mod: str | None = None,
    rng: Seed = 0,
    copy: bool = False,
) -> Data | None:
    r"""
    Score edges from more and more cells, by every family of metrics :cite:p:`kendiukhov2026`.

    Whether more cells help depends on what is asked: the strongest K pairs and the ranking of all pairs can move in
    opposite directions, so both are given, and a result with one family alone is flagged ``single_metric``. For each
    seed the samples are nested: each holds the smaller ones.

    ``composition`` says of which cells: ``"random"`` ones; with the types of `groupby` in the proportions of all
    cells, ``"fixed"``, so that the number of cells alone changes; or, ``"varied"``, as many cells (the first of
    `n_cells`) of 1, 2, ... types in equal parts, so that the number of types alone does.

    Parameters
    ----------
    adata
        Cells x genes.
    model
        Reads attention, one pass for each sample; correlations without it.
    reference
        Known edges: a frame ``source, target``, with ``weight`` and ``mode`` if it has them.
    n_cells
        Numbers of cells, of which those beyond what there is are left out and listed.
    composition
        See above.
    groupby
        Column of ``obs`` with the types; of MuData also one of another modality. Without it they are not on record.
    score
        Correlation, without `model`.
    layers
        Layers whose mean is taken, with `model`.
    n_seeds
        Runs; six are the fewest for a p-value.
    metrics
        Families of metrics.
    ks
        Numbers of strongest pairs; the number of listed pairs is added, and four from there to all pairs, evenly on a
        logarithmic scale.
    layer
        Log-normalised values, as for :func:`scepsis.tl.cssi`.
    mask_obs
        Cells: a boolean array or ``obs`` column. ``obs["edge_cells"]`` when not given and present, else all.
    mask_var
        Panel genes, likewise with ``var["edge_panel"]``.
    reference_name
        Name of the reference in the registry.
    universe
        Candidate pairs, as for :func:`scepsis.tl.cssi_null`.
    min_targets
        Targets that a regulator must have in the panel.
    gene_symbols
        Column of ``var`` that the reference is written in; ``var_names`` when not given.
    memory_limit
        Bytes that the computation may take; a quarter of the machine's memory when not given.
    show_progress_bar
        Show a progress bar.
    key_added
        Name of the result.
    mod
        Modality, for MuData.
    rng
        Seed; every run has a generator of its own.
    copy
        Return a changed copy instead of writing into `adata`.

    Returns
    -------
    None, or the copy. Sets ``uns[key_added]`` with

    ``curve``
        one row per run, sample and metric: ``seed``, ``n_cells``, ``n_types``, ``entropy`` (of the types, nats),
        ``metric`` (``top_k``, ``auroc``, ``average_precision``), ``k`` (0 for the others), ``value`` (F1 of ``top_k``),
        ``true_positives``, ``expected``, ``chance_low``, ``chance_high`` (hypergeometric, central 95 %), ``status``.
    ``changes``
        one row per metric and neighbouring numbers of cells (and the first against the last): ``n_up``, ``n_down``,
        ``n_same``, ``mean_change``, ``sign``.
    ``fits``
        mean AUROC against the number of cells as :math:`a (1 - e^{-bn}) + c`, :math:`a \ln n + c` and
        :math:`a n + c`: parameters, standard errors, ``r_squared``.
    ``overlap``
        one row per number of cells: mean Jaccard index between seeds of the strongest pairs (as many as are listed).
    ``detection``
        ``edges, test, delta, statistic, ci_low, ci_high, p_value, detected``: what the tests below say when ``delta``
        standard deviations of the scores are added to a random half of the listed pairs: for ``top_k/sign`` at the
        first number of cells alone, so that F1 falls; for the composition in proportion to the place of a sample
        between the first and the last. ``statistic`` is the mean difference of F1, or the correlation (no interval).
    ``params``
        among them ``single_metric`` and ``left_out`` (points for which there were too few cells).

    and rows of ``uns["tests"]``: ``top_k/sign`` (primary), ``top_k/wilcoxon`` (A21, does F1 of as many pairs as are
    listed fall from the first to the second number of cells), ``sign_matrix`` (A22, descriptive) and, with a controlled
    composition, ``composition/fixed`` or ``composition/varied`` (A23, Spearman's correlation with AUROC, p by
    permutation over runs; ``varied`` is primary).

    Raises
    ------
    ValueError
        `groupby` is missing for a controlled composition, no number of cells fits, or a reference without pairs of
        these genes.
    MemoryError
        The networks would not fit; nothing is computed.

    Notes
    -----
    Runs share the cells they are drawn from, so their number is not a number of independent samples.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.simulate_cssi(n_states=6, rng=1)
    >>> network = adata.uns["simulate_cssi"]["network"]
    >>> sps.tl.scaling_curve(adata, reference=network, n_cells=[100, 200, 400], n_seeds=2, min_targets=1)
    >>> sorted(adata.uns["scaling_curve"]["curve"]["n_cells"].unique().tolist())
    [100, 200, 400]
    """
    data = adata.copy() if copy else adata
    target = resolve(data, mod)
    require_key(key_added, argument="key_added")
    require_choice(composition, get_args(Composition), argument="composition")
    for one in metrics or ("",):
        require_choice(one, METRICS, argument="metrics")
    require_choice(score, CORRELATIONS, argument="score")
    require_score(score if model is None else ATTENTION, model, layers)
    require_positive(n_seeds, argument="n_seeds")
    sizes = sorted({int(n) for n in n_cells})
    for number in sizes or [0]:
        require_positive(number, argument="n_cells", minimum=4)
    if composition != "random" and groupby is None:
        msg = f"`composition={composition!r}` needs `groupby=`, the column of `adata.obs` with the types of cells."
        raise ValueError(msg)
    seed = resolve_seed(rng)
    cells, genes = choose_cells(target, mask_obs), choose_genes(target, mask_var)
    types = None if groupby is None else Groups.find(data, target, groupby).codes[cells.mask]
    runs, left_out = _samples(cells.index, types, sizes, composition, n_seeds, seed)
    if not any(runs):
        msg = f"None of the points fits: there are {len(cells.index)} chosen cells. Pass smaller `n_cells=`."
        raise ValueError(msg)
    name = score if model is None else ATTENTION
    require_pass(name, cells, genes, n_held=0, memory_limit=memory_limit)
    start = time.perf_counter()
    measure = make_measure(
        target, name, cells, genes, None, model=model, layers=layers, layer=layer, seed=seed,
        memory_limit=memory_limit, n_sets=1,
    )  # fmt: skip
    recovery = Recovery.of(
        target, reference, measure.genes, signed=measure.signed, universe=universe, min_targets=min_targets,
        gene_symbols=gene_symbols,
    )  # fmt: skip
    signals = Signals(runs, composition, recovery, seed)
    curve, tops = _curve(measure, recovery, runs, _ks(recovery, ks), metrics, signals, show=show_progress_bar)
    families = {"top_k"} & set(metrics), {"auroc", "average_precision"} & set(metrics)
    keys = EdgeKeys(key_added)
    params = record(
        score=name, composition=composition, groupby=groupby, sizes=sizes, n_seeds=n_seeds, metrics=list(metrics),
        ks=_ks(recovery, ks), single_metric=not all(families), left_out=left_out,
        **measure.record() | {"seed": seed} | recovery.record(reference_name, universe, min_targets),
        **provenance(target, cells, genes, cells_name=keys.cells, genes_name=keys.genes),
    )  # fmt: skip
    evidence = Evidence(
        key=key_added, params=params, edges={name: params}, reference=reference_name,
        labels_hash=recovery.network.hash, seed=seed, wall_s=time.perf_counter() - start,
    )  # fmt: skip
    moved = changes(curve)
    rows = scaling_rows(name, curve, moved, recovery, composition, seed)
    frames = {
        "curve": curve, "changes": moved, "fits": _fits(curve), "overlap": _overlap(tops),
        "detection": signals.detection(name),
    }  # fmt: skip
    write(target, uns={key_added: {"params": params} | frames} | updated_tests(target, rows, evidence))
    return data if copy else None


def _samples(
    rows: IntArray, types: IntArray | None, sizes: list[int], composition: Composition, n_seeds: int, seed: int
) -> tuple[list[list[Sample]], list[str]]:
    """Samples of every run, and the points that none or not every run has."""
    runs, left_out = [], {f"{n} cells": None for n in sizes if n > len(rows)}
    for number in range(n_seeds):
        rng = child(seed, "scaling_curve", number)
        if composition == "varied" and types is not None:
            samples, missing = more_types(rows, types, sizes[0], rng)
            left_out |= {f"{n} types (seed {number})": None for n in missing}
        else:
            samples = growing(rows, types, sizes, rng, fixed=composition == "fixed")
        runs.append(samples)
    return runs, list(left_out)


def _ks(recovery: Recovery, ks: Sequence[int]) -> list[int]:
    """Numbers of strongest pairs, ascending."""
    n_pairs, n_listed = int(recovery.network.candidate.sum()), max(recovery.n_listed, 1)
    spaced = np.geomspace(n_listed, max(n_pairs, n_listed), 5).round().astype(int)
    return sorted({int(k) for k in (*ks, *spaced) if 0 < int(k) <= max(n_pairs, 1)})


def _curve(
    measure: Measure,
    recovery: Recovery,
    runs: list[list[Sample]],
    ks: list[int],
    metrics: Sequence[Metric],
    signals: Signals,
    *,
    show: bool,
) -> tuple[pd.DataFrame, dict[int, list[set[int]]]]:
    """All metrics of all samples, and the strongest pairs by the number of cells."""
    found: list[dict[str, Any]] = []
    tops: dict[int, list[set[int]]] = {}
    status = recovery.status
    with progress_bar(total=sum(map(len, runs)), desc="samples", unit="sample", show=show) as bar:
        for number, samples in enumerate(runs):
            for one in samples:
                scores = recovery.scores(next(measure.within([one.rows]).each()))
                signals.see(number, one, scores)
                point = {"seed": number, "n_cells": one.n_cells, "n_types": one.n_types, "entropy": one.entropy}
                nothing = dict.fromkeys(("true_positives", "expected", "chance_low", "chance_high"), np.nan)
                if "top_k" in metrics:
                    top = recovery.top(scores, ks)
                    for place, k in enumerate(ks):
                        values = {name: float(getattr(top, name)[place]) for name in nothing}
                        value = {"metric": "top_k", "k": k, "value": float(top.f1[place])}
                        found.append(point | value | values | {"status": status})
                for metric, score in (("auroc", recovery.auroc), ("average_precision", recovery.average_precision)):
                    if metric in metrics:
                        value = {"metric": metric, "k": 0, "value": score(scores)}
                        found.append(point | value | nothing | {"status": status})
                strongest = np.argsort(-np.nan_to_num(scores.ravel(), nan=-np.inf), kind="stable")
                tops.setdefault(one.n_cells, []).append(set(strongest[: max(recovery.n_listed, 1)].tolist()))
                bar.update()
    return pd.DataFrame(found), tops


def _fits(curve: pd.DataFrame) -> pd.DataFrame:
    from scepsis.stats._saturation import saturation_fits

    points = curve[curve["metric"] == "auroc"].groupby("n_cells")["value"].mean()
    fits = saturation_fits(points.index.to_numpy(dtype=float), points.to_numpy(dtype=float))
    return pd.DataFrame(
        [
            {"fit": fit.name, "formula": fit.formula}
            | dict(zip("abc", fit.values, strict=True))
            | dict(zip(("a_se", "b_se", "c_se"), fit.errors, strict=True))
            | {"r_squared": fit.r_squared, "converged": fit.converged}
            for fit in fits
        ]
    )


def _overlap(tops: dict[int, list[set[int]]]) -> pd.DataFrame:
    """Mean Jaccard index of the strongest pairs between runs."""
    rows = []
    for n_cells, sets in sorted(tops.items()):
        shared = [len(a & b) / len(a | b) for at, a in enumerate(sets) for b in sets[at + 1 :] if a | b]
        rows.append({"n_cells": n_cells, "n_runs": len(sets), "jaccard": float(np.mean(shared)) if shared else np.nan})
    return pd.DataFrame(rows)
