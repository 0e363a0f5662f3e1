from __future__ import annotations

import time
from typing import TYPE_CHECKING, get_args

import numpy as np

from scepsis._core._keys import EffectKeys
from scepsis._core._progress import progress_bar
from scepsis._core._registry import Evidence, updated_tests
from scepsis._core._resolve import resolve
from scepsis._core._rng import resolve_seed
from scepsis._core._screen_pairs import read_pairs
from scepsis._core._store import record, write
from scepsis._core._types import Direction
from scepsis._core._validate import require_choice, require_key, require_positive
from scepsis.tl._causes._effect_tables import (
    Effects,
    agreement,
    baselines,
    correlations,
    effect_rows,
    main_comparison,
    per_source,
)

if TYPE_CHECKING:
    from anndata import AnnData

    from scepsis._core._screen_pairs import ScreenPairs
    from scepsis._core._types import Data, EdgesLike, FloatArray, Seed

NAME = "model_effects"


def model_effects(
    adata: Data,
    *,
    edges: EdgesLike = "insilico",
    effects: str = "perturbation",
    direction: Direction = "source",
    loss_of_function: bool = True,
    min_candidates: int = 10,
    min_units: int = 6,
    n_boot: int = 1000,
    allow_different_cells: bool = False,
    show_progress_bar: bool = True,
    key_added: str = NAME,
    mod: str | None = None,
    rng: Seed = 0,
    copy: bool = False,
) -> Data | None:
    r"""
    Compare what happens in a model when a gene is perturbed there with what happened in cells :cite:p:`kendiukhov2026`.

    For every pair of a perturbed gene and a target, the counterfactual effect in the model (an edge) and the measured
    one (a log2 fold change) are ranked over all pairs and correlated (Spearman; Kendiukhov (2026), analysis A20): once
    as they are, and once with what the ranks of the target's variance, mean and detection rate and of the number of
    perturbed cells say taken from both. Effects in a model are larger where a target is highly expressed, and so are
    measured ones; only the second number is about pairs.

    Parameters
    ----------
    adata
        Cells x genes, with directed edges in ``varp``, effects (`scepsis.tl.perturbation_effects`) and gene features
        (`scepsis.pp.gene_features`).
    edges
        Effects in the model: keys of ``varp``, such as what `scepsis.tl.insilico_perturbation` writes, a table with
        columns ``source``, ``target``, ``weight``, or a dict from names to keys or tables. Several (seeds, models) are
        compared on the pairs that all of them have.
    effects
        Measured effects, by the ``key_added`` of `scepsis.tl.perturbation_effects`.
    direction
        ``"source"`` reads the edge from the perturbed gene, ``"target"`` that to it, ``"mean"`` and ``"max"`` both.
    loss_of_function
        Whether perturbations take their gene away (interference, knock-out). Signed edges are above 0 where the source
        raises the target, which falls when the source does: their sign is then held against that of the fold change
        turned round, so that agreement is above 0. Turn it off for a screen by activation.
    min_candidates
        Targets that a perturbation needs to take part.
    min_units
        Perturbed genes that a p-value and an interval need.
    n_boot
        Resamples of perturbed genes for the percentile interval.
    allow_different_cells
        Use edges and features that are recorded to be from different cells.
    show_progress_bar
        Show a progress bar.
    key_added
        Name of the result.
    mod
        Modality, for MuData.
    rng
        Seed of the resamples.
    copy
        Return a changed copy instead of writing into `adata`.

    Returns
    -------
    None, or the copy. Sets

    ``uns[key_added]``
        ``params`` and four frames. ``correlations``, one row for each set of edges, ``compared`` (``magnitude``: the
        sizes of both; ``signed``, where edges have a sign: in their directions) and ``adjustment`` (``raw``,
        ``adjusted``, and ``within``: the mean over perturbed genes of the correlation over each one's targets):
        ``rho``; ``ci_low``, ``ci_high``, ``p_value`` clustered by perturbed gene and by target; the same by perturbed
        gene alone (``_source``); ``boot_low``, ``boot_high``; ``minimum_detectable``, the correlation that would have
        been found with a probability of 80 %; ``sign_agreement`` beside the share that independent signs would agree
        in (``sign_expected``); numbers of pairs, sources and targets; ``status``. ``per_source``: the raw correlation
        of each perturbed gene. ``baselines``: the correlation of measured effects with what is known of the target
        alone. ``agreement``: of every two sets of edges with each other.
    ``uns["tests"]``
        ``spearman/raw`` and ``spearman/adjusted`` for each set, by sign where edges have one.

    Raises
    ------
    KeyError
        Edges, effects or features do not exist.
    TypeError
        `edges` is neither of what it can be.
    ValueError
        Edges and features are from different cells, or an option is out of its range.

    Notes
    -----
    Pairs share their sources and their targets. A model that knew nothing but which targets respond at all would
    repeat one correlation for every source, and resampling sources would take that for certainty; hence the two-way
    variance of `scepsis.tl.perturbation_auroc`, here of the influence of each pair on the correlation, which for
    ranks that move with the data is exact. The mean of correlations within perturbed genes has it from the influence of
    each pair on its own gene's. ``label_leak``: perturbed cells are among those that edges or features were
    made from.

    Time is that of sorting the pairs, and of one pass over them for every resample and column.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.pp.select_cells(adata, groupby="perturbation", control="non-targeting")
    >>> sps.pp.gene_features(adata)
    >>> sps.tl.perturbation_effects(adata)
    >>> sps.tl.correlation_edges(adata)
    >>> sps.tl.model_effects(adata, edges="spearman", n_boot=100)
    >>> found = adata.uns["model_effects"]["correlations"].set_index(["compared", "adjustment"])
    >>> found.loc[("signed", "raw"), "status"]
    'ok'
    """
    start = time.perf_counter()
    data = adata.copy() if copy else adata
    target = resolve(data, mod)
    _check(direction, min_candidates, min_units, n_boot, key_added)
    seed = resolve_seed(rng)
    pairs = read_pairs(target, edges, effects=effects, direction=direction, allow_different_cells=allow_different_cells)
    lfc, n_cells = _measured(target, effects, pairs)
    made = Effects.of(pairs, lfc, n_cells, int(min_candidates), sign=-1 if loss_of_function else 1)
    sets = pairs.sets
    n_columns = sum(2 if not one.is_signed else 4 for one in sets)
    with progress_bar(
        total=n_columns * int(n_boot), desc="model effects", unit="resample", show=show_progress_bar
    ) as bar:
        frame = correlations(made, sets, min_units=int(min_units), n_boot=int(n_boot), seed=seed, bar=bar)

    trivial = baselines(made, sets)
    params = record(
        effects=effects,
        direction=direction,
        loss_of_function=loss_of_function,
        min_candidates=int(min_candidates),
        min_units=int(min_units),
        n_boot=int(n_boot),
        allow_different_cells=allow_different_cells,
        seed=seed,
        edges=[one.name for one in sets],
        compared=[main_comparison(one) for one in sets],
        labels_hash=str(pairs.screen.params.get("labels_hash", "")),
    )
    evidence = Evidence(
        key=key_added,
        params=params,
        edges=pairs.records,
        effects=effects,
        labels_hash=params["labels_hash"],
        seed=seed,
        wall_s=time.perf_counter() - start,
    )
    result = {
        "params": params,
        "correlations": frame,
        "per_source": per_source(made, sets),
        "baselines": trivial,
        "agreement": agreement(made, sets),
    }
    rows = effect_rows(frame, trivial, sets, int(min_units))
    write(target, uns={key_added: result} | updated_tests(target, rows, evidence))
    return data if copy else None


def _check(direction: str, min_candidates: int, min_units: int, n_boot: int, key_added: str) -> None:
    require_choice(direction, get_args(Direction), argument="direction")
    require_key(key_added, argument="key_added")
    limits = (("min_candidates", min_candidates, 3), ("min_units", min_units, 2), ("n_boot", n_boot, 1))
    for argument, value, minimum in limits:
        require_positive(value, argument=argument, minimum=minimum)


def _measured(adata: AnnData, effects: str, pairs: ScreenPairs) -> tuple[FloatArray, FloatArray]:
    """Fold changes, perturbations x candidates, and the number of cells of each perturbation."""
    keys = EffectKeys(effects)
    if keys.lfc not in adata.varm:
        msg = (
            f"`adata.varm[{keys.lfc!r}]` does not exist: effects are compared by their size. "
            f"Call `scepsis.tl.perturbation_effects(adata, key_added={effects!r})` first."
        )
        raise KeyError(msg)
    lfc = np.asarray(adata.varm[keys.lfc], dtype=np.float64)
    if lfc.shape != (adata.n_vars, len(pairs.screen.names)):
        msg = (
            f"`adata.varm[{keys.lfc!r}]` has shape {lfc.shape}; {adata.n_vars} genes and {len(pairs.screen.names)} "
            f"perturbations are needed. Call `scepsis.tl.perturbation_effects(adata)` anew."
        )
        raise ValueError(msg)
    table = adata.uns[keys.uns]["perturbations"]
    return lfc[pairs.genes].T, table["n_cells"].to_numpy(dtype=np.float64)
