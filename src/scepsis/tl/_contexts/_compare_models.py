from __future__ import annotations

from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pandas as pd

from scepsis._core._edge_slots import pack, superseded
from scepsis._core._gene_table import FEATURES
from scepsis._core._hashing import hash_strings
from scepsis._core._keys import EdgeKeys
from scepsis._core._model_runs import warn_of_few_genes
from scepsis._core._network import Universe
from scepsis._core._network_pairs import lay_over, require_frame
from scepsis._core._registry import Evidence, updated_tests
from scepsis._core._resolve import choose_cells, choose_genes, resolve
from scepsis._core._rng import child, resolve_seed
from scepsis._core._store import record, write
from scepsis._core._validate import require_choice, require_key, require_positive
from scepsis.stats._meta_analysis import error_of_interval
from scepsis.tl._contexts._compared_models import Common
from scepsis.tl._shared import _reference_tables as tables
from scepsis.tl._shared._reference_scores import line_up, scored

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from anndata import AnnData

    from scepsis._core._edge_sets import EdgeSet
    from scepsis._core._network_pairs import NetworkPairs
    from scepsis._core._registry import Row
    from scepsis._core._types import BoolArray, Data, Mask, Scale, Seed
    from scepsis.models import AttentionModel
    from scepsis.tl._shared._reference_scores import Scored

#: Columns of ``curve`` after the number of cells.
CURVE = [
    "predictor", "kind", "statistic", "auroc", "ci_low", "ci_high", "minimum_detectable", "n", "n_pos", "n_units",
    "status",
]  # fmt: skip


def compare_models(  # noqa: PLR0913 - a run, a reference and a comparison in one
    adata: Data,
    models: Mapping[str, AttentionModel | str | pd.DataFrame],
    reference: pd.DataFrame,
    *,
    layers: int | Mapping[str, int | Sequence[int]] | None = None,
    scale: Scale = "probability",
    randomized: bool = True,
    universe: Universe = "regulators",
    min_targets: int = 3,
    margin: float = 0.02,
    min_units: int = 6,
    n_boot: int = 10_000,
    n_cells: Sequence[int] | None = None,
    reference_name: str = "reference",
    gene_symbols: str | None = None,
    mask_obs: Mask = None,
    mask_var: Mask = None,
    batch_size: int | None = None,
    memory_limit: int | None = None,
    show_progress_bar: bool = True,
    key_added: str = "compare_models",
    mod: str | None = None,
    rng: Seed = 0,
    copy: bool = False,
) -> Data | None:
    r"""
    Score several models, and edges from elsewhere, on one reference: the same cells, genes and pairs for all.

    Models know different genes, and cut cells off at different lengths. Attention of each is therefore read in the
    same cells, over the genes of the panel that every model knows, and only pairs that every model (and every further
    set of edges) has are ranked (Kendiukhov (2026), analysis A28). Beside each model stands the same architecture
    with random weights, and beside all what the target's own features reach :cite:p:`kendiukhov2026`.

    Parameters
    ----------
    adata
        Cells x genes with raw counts.
    models
        What is compared, by name: a model (`scepsis.models.load`), a key of ``varp``
        (`scepsis.tl.baseline_edges`), or a table with columns ``source``, ``target``, ``weight``. At least two.
    reference
        Frame with the columns ``source`` and ``target``.
    layers
        Layers of the models; None reads all of each, and a dict names those of some models.
    scale
        ``"probability"``, ``"uniform_fold"`` or ``"centered"``, as for `scepsis.tl.attention_edges`.
    randomized
        Read every model with random weights as well, which takes as long once more.
    universe
        Pairs that could have been listed, as for `scepsis.tl.reference_auroc`.
    min_targets
        Evaluated targets that make a gene a regulator.
    margin
        Largest difference of AUROCs that counts as none.
    min_units
        Regulators below which there are numbers but no intervals.
    n_boot
        Replicates of the bootstrap over regulators.
    n_cells
        Numbers of cells at which models are scored as well, (200, 500, 1000) in analysis A28: on nested samples of
        the cells, the same for all models. Numbers beyond what there is are left out and listed.
    reference_name
        Name of the reference in the registry of tests.
    gene_symbols
        Column of ``var`` that `reference` is written in; None means ``var_names``.
    mask_obs
        Cells: a boolean array or ``obs`` column. ``obs["edge_cells"]`` when not given and present, else all.
    mask_var
        Panel genes, likewise with ``var["edge_panel"]``.
    batch_size
        Cells per forward pass.
    memory_limit
        Bytes that the sums of one model may take.
    show_progress_bar
        Show a progress bar for each model.
    key_added
        Name of the result.
    mod
        Modality, for MuData.
    rng
        Seed of the bootstrap, of random weights, and of families that sample genes.
    copy
        Return a changed copy instead of writing into `adata`.

    Returns
    -------
    None, or the copy. Sets

    ``varp["<key_added>_<slug>"]``
        edges of each model that was read, source x target, with a record of their own, for every tool that scores
        edges; ``varp["<key_added>_<slug>_randomized"]`` with random weights.
    ``uns[key_added]``
        ``models``: one row for each: ``model, kind`` (``model`` or ``edges``), ``edges_key, family, n_vocabulary``
        (genes of `adata` that it knows), ``n_panel`` (of the panel), ``n_common``. ``summary, per_regulator,
        contrasts, top_k, network``: as `scepsis.tl.reference_auroc` makes them, with the models as predictors.
        With `n_cells`, ``curve``: columns of ``summary`` and ``n_cells``, the number of cells that models have read;
        edges that are there already and gene features, which have one number, stand at that of all cells.
        ``params``, among them ``n_cells`` (of ``curve``) and ``left_out``.

    ``uns["tests"]`` has rows of A28: ``pooled`` (AUROC of all pairs against one half, t of the clustered interval),
    ``per_regulator`` and ``vs_<other>``.

    Raises
    ------
    ValueError
        Fewer than two models, a name that cannot be part of a slot, no two genes that all know, edges from other
        cells, a reference of another namespace, `n_cells` without a model or all beyond what there is, or a parameter
        out of range.
    KeyError
        Edges, or a column of `reference`, do not exist.
    TypeError
        A model or the reference is of a wrong type.
    MemoryError
        The sums of a model would not fit; nothing is computed.

    Notes
    -----
    Every model tokenises all genes of `adata` that it knows: only what is compared is common. AUROCs, their intervals
    and statuses are those of `scepsis.tl.reference_auroc`. ``curve`` keeps to the pairs that every model has at every
    number of cells, so that what changes along it is the edges and not which pairs are ranked; it is descriptive, and
    nothing of it is a test. Costs one pass over the cells for each model, two with `randomized`, however many
    `n_cells` there are, and keeps one matrix of panel x panel for each (and each number).

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.pp.select_cells(adata, n_cells=60)
    >>> sps.tl.correlation_edges(adata)
    >>> truth = sps.get.edges(adata, "regulation")
    >>> models = {"demo": sps.models.load("demo"), "correlation": "spearman"}
    >>> sps.tl.compare_models(
    ...     adata, models, truth[truth["weight"] != 0], randomized=False, n_boot=100, show_progress_bar=False
    ... )
    >>> adata.uns["compare_models"]["models"][["model", "kind"]].to_numpy().tolist()
    [['demo', 'model'], ['correlation', 'edges']]
    """
    begun = perf_counter()
    data = adata.copy() if copy else adata
    target = resolve(data, mod)
    require_choice(universe, get_args(Universe), argument="universe")
    require_key(key_added, argument="key_added")
    require_key(reference_name, argument="reference_name")
    for argument, value, minimum in (("margin", margin, 0), ("min_units", min_units, 2), ("n_boot", n_boot, 1)):
        require_positive(value, argument=argument, minimum=minimum)
    require_frame(reference)
    seed = resolve_seed(rng)
    common = Common.of(target, models, choose_cells(target, mask_obs), choose_genes(target, mask_var), key_added)
    runs = common.runs(layers, scale, randomized=randomized, seed=seed, limits=(batch_size, memory_limit))
    samples, left_out = common.samples(n_cells, seed)
    options: dict[str, Any] = {"universe": universe, "min_targets": min_targets, "gene_symbols": gene_symbols}
    lay_over(target, reference, common.given, common.panel, **options)  # a reference of no use raises before any work
    for one in runs:
        if one.kind == "edges":
            warn_of_few_genes(one.run.match, one.run.model)

    growing = [one.extract(common, samples, show=show_progress_bar) for one in runs]
    read = [sets[-1] for sets in growing]
    order = {name: place for place, name in enumerate(models)}
    sets = sorted([*read, *common.given], key=lambda one: (one.kind != "edges", order.get(one.name, 0)))
    pairs = lay_over(target, reference, sets, common.panel, **options)
    score = partial(_scored, target, margin=float(margin), min_units=int(min_units), n_boot=int(n_boot), seed=seed)
    found = score(pairs, FEATURES)
    overall, compared = tables.summary(found), tables.contrasts(found)
    params = record(
        models=list(models), scale=scale, randomized=randomized, universe=universe, min_targets=int(min_targets),
        margin=float(margin), min_units=int(min_units), n_boot=int(n_boot), reference_name=reference_name,
        gene_symbols=gene_symbols, n_common=len(common.panel), seed=seed, labels_hash=pairs.network.hash,
        n_cells=[] if n_cells is None else [int(one.sum()) for one in samples], left_out=left_out,
        cells_hash=hash_strings(target.obs_names[common.cells.mask]), **pairs.edges_record(),
    )  # fmt: skip
    result = {
        "params": params,
        "models": common.frame(read),
        "summary": overall,
        "per_regulator": tables.per_regulator(found, target.var_names.to_numpy(dtype=object)),
        "contrasts": compared,
        "top_k": tables.top_k(found),
        "network": pairs.frame(),
    }
    if n_cells is not None:
        every = [*common.given, *(one for sets in growing for one in sets)]
        same = lay_over(target, reference, every, common.panel, **options)
        result["curve"] = _curve(same, samples, growing, common.given, score)
    evidence = Evidence(
        key=key_added, params=params, edges=pairs.records, reference=reference_name, labels_hash=pairs.network.hash,
        seed=seed, wall_s=perf_counter() - begun,
    )  # fmt: skip
    rows = [_row(one) for one in tables.rows(found, overall, compared)]
    tests = updated_tests(target, rows, evidence)
    keys = [one.key for one in read]
    write(
        target,
        drop=superseded(target, *keys),
        varp={one.key: pack(one.edges.values, one.edges.genes, target.n_vars) for one in read},
        uns={one.key: {"params": one.params, "edges_keys": [one.key]} for one in read} | {key_added: result} | tests,
        obs={EdgeKeys(key_added).cells: common.cells.mask} if common.cells.name is None else {},
        var={EdgeKeys(key_added).genes: common.genes},
    )
    return data if copy else None


def _scored(
    adata: AnnData,
    pairs: NetworkPairs,
    baselines: Sequence[str],
    *,
    margin: float,
    min_units: int,
    n_boot: int,
    seed: int,
) -> Scored:
    return scored(
        pairs, line_up(adata, pairs, list(baselines)), sizes=[20, 50, 100, 200, 500, 10_000], margin=margin,
        min_units=min_units, n_boot=n_boot, generator=child(seed, "compare_models", "bootstrap"),
    )  # fmt: skip


def _curve(
    pairs: NetworkPairs,
    samples: list[BoolArray],
    growing: list[list[EdgeSet]],
    given: list[EdgeSet],
    score: Callable[[NetworkPairs, Sequence[str]], Scored],
) -> pd.DataFrame:
    """One row for each number of cells, score and statistic, all on the same pairs."""
    parts = []
    for place, cells in enumerate(samples):
        last = place == len(samples) - 1
        own = [sets[place] for sets in growing]
        found = score(replace(pairs, sets=[*own, *given] if last else own), FEATURES if last else ())
        frame = tables.summary(found)[CURVE]
        frame.insert(0, "n_cells", int(cells.sum()))
        parts.append(frame)
    return pd.concat(parts, ignore_index=True)


def _row(row: Row) -> Row:
    """A row of the comparison: as against a reference, and, for all pairs, a test against one half."""
    from scipy.special import stdtr

    if row.name != "pooled":
        return replace(row, analysis="A28")
    error = error_of_interval(row.ci_low, row.ci_high, row.n_units)
    t = (row.effect_size - 0.5) / error
    return replace(
        row, analysis="A28", role="confirmatory", test_type="t of the clustered interval", statistic=t, is_primary=True,
        p_raw=2 * float(stdtr(row.n_units - 1, -abs(t))) if np.isfinite(t) else np.nan, null_mean=0.5,
        null_family="chance",
        hypothesis=f"{row.edges} ranks listed pairs as chance does (AUROC of one half)",
    )  # fmt: skip
