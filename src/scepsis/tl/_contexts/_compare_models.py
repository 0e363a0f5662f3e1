from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pandas as pd

from scepsis._core._edge_sets import EdgeSet, gather_edges
from scepsis._core._edge_slots import pack, superseded
from scepsis._core._gene_table import FEATURES, chosen_cells, require_same_cells
from scepsis._core._hashing import hash_strings
from scepsis._core._keys import RANDOMIZED, EdgeKeys, slugs
from scepsis._core._match import tokens_for
from scepsis._core._model_runs import warn_of_few_genes
from scepsis._core._network import Universe
from scepsis._core._network_pairs import lay_over, require_frame
from scepsis._core._registry import Evidence, updated_tests
from scepsis._core._resolve import Choice, choose_cells, choose_genes, resolve
from scepsis._core._rng import child, resolve_seed
from scepsis._core._store import record, write
from scepsis._core._validate import listing, require_choice, require_key, require_positive
from scepsis.stats._meta_analysis import error_of_interval
from scepsis.tl._shared import _reference_tables as tables
from scepsis.tl._shared._mean_attention import attention_run, mean_attention
from scepsis.tl._shared._reference_scores import line_up, scored

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

    from scepsis._core._registry import Row
    from scepsis._core._types import BoolArray, Data, IntArray, Mask, Scale, Seed
    from scepsis.models import AttentionModel
    from scepsis.tl._shared._run import Run


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
        ``params``.

    ``uns["tests"]`` has rows of A28: ``pooled`` (AUROC of all pairs against one half, t of the clustered interval),
    ``per_regulator`` and ``vs_<other>``.

    Raises
    ------
    ValueError
        Fewer than two models, a name that cannot be part of a slot, no two genes that all know, edges from other
        cells, a reference of another namespace, or a parameter out of range.
    KeyError
        Edges, or a column of `reference`, do not exist.
    TypeError
        A model or the reference is of a wrong type.
    MemoryError
        The sums of a model would not fit; nothing is computed.

    Notes
    -----
    Every model tokenises all genes of `adata` that it knows: only what is compared is common. AUROCs, their intervals
    and statuses are those of `scepsis.tl.reference_auroc`. Costs one pass over the cells for each model, two with
    `randomized`, and keeps one matrix of panel x panel for each.

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
    common = _Common.of(target, models, choose_cells(target, mask_obs), choose_genes(target, mask_var), key_added)
    runs = common.runs(layers, scale, randomized=randomized, seed=seed, limits=(batch_size, memory_limit))
    options: dict[str, Any] = {"universe": universe, "min_targets": min_targets, "gene_symbols": gene_symbols}
    lay_over(target, reference, common.given, common.panel, **options)  # a reference of no use raises before any work
    for one in runs:
        if one.kind == "edges":
            warn_of_few_genes(one.run.match, one.run.model)

    read = [one.extract(common, show=show_progress_bar) for one in runs]
    order = {name: place for place, name in enumerate(models)}
    sets = sorted([*read, *common.given], key=lambda one: (one.kind != "edges", order.get(one.name, 0)))
    pairs = lay_over(target, reference, sets, common.panel, **options)
    found = scored(
        pairs, line_up(target, pairs, list(FEATURES)), sizes=[20, 50, 100, 200, 500, 10_000], margin=float(margin),
        min_units=int(min_units), n_boot=int(n_boot), generator=child(seed, "compare_models", "bootstrap"),
    )  # fmt: skip
    overall, compared = tables.summary(found), tables.contrasts(found)
    params = record(
        models=list(models), scale=scale, randomized=randomized, universe=universe, min_targets=int(min_targets),
        margin=float(margin), min_units=int(min_units), n_boot=int(n_boot), reference_name=reference_name,
        gene_symbols=gene_symbols, n_common=len(common.panel), seed=seed, labels_hash=pairs.network.hash,
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


@dataclass(frozen=True)
class _Reading:
    """A model about to be read."""

    name: str
    kind: Any
    key: str
    run: Run

    def extract(self, common: _Common, *, show: bool) -> EdgeSet:
        own = EdgeKeys(common.key)
        chosen = Choice(common.genes, own.genes)
        edges = mean_attention(self.run, chosen, cells_name=own.cells, genes_name=own.genes, show=show)
        return EdgeSet(self.name, self.kind, edges, f"adata.varp[{self.key!r}]", self.key)


@dataclass(frozen=True)
class _Common:
    """What all models have in common."""

    adata: AnnData
    models: dict[str, AttentionModel]
    #: Sets of edges that are there already.
    given: list[EdgeSet]
    cells: Choice
    #: Genes of the panel that all know.
    genes: BoolArray
    key: str
    slugs: dict[str, str]
    #: Genes of `adata`, and of the panel, that each knows.
    known: dict[str, tuple[int, int]]

    @property
    def panel(self) -> IntArray:
        return np.flatnonzero(self.genes)

    @classmethod
    def of(cls, adata: AnnData, models: Any, cells: Choice, genes: Choice, key: str) -> _Common:
        if not isinstance(models, Mapping) or len(models) < 2:
            msg = (
                "`models` must be a dict of at least two: `{'name': scepsis.models.load(...), 'correlation': "
                "'spearman'}`."
            )
            raise (ValueError if isinstance(models, Mapping) else TypeError)(msg)
        edges = {name: one for name, one in models.items() if isinstance(one, str | pd.DataFrame)}
        read = {name: one for name, one in models.items() if name not in edges}
        for name, one in read.items():
            require_key(name, argument="models")
            if not hasattr(one, "vocabulary") or not hasattr(one, "fingerprint"):
                msg = f"`models[{name!r}]` must be a model, a key of `adata.varp` or a table, not {type(one).__name__}."
                raise TypeError(msg)
        given = gather_edges(adata, edges, companions=False).sets if edges else []
        mask = genes.mask.copy()
        known = {}
        for name, model in read.items():
            own = tokens_for(adata, model).owner
            known[name] = int(own.sum()), int((own & genes.mask).sum())
            mask &= own
        for one in given:
            own = np.isin(np.arange(adata.n_vars), one.edges.genes)
            known[one.name] = int(own.sum()), int((own & genes.mask).sum())
            mask &= own
        if mask.sum() < 2:
            each = ", ".join(f"{name} {n_panel}" for name, (_, n_panel) in known.items())
            msg = (
                f"Of the {int(genes.mask.sum())} genes of the panel, {listing(models)} have {int(mask.sum())} in "
                f"common (alone: {each}). Choose a panel of genes that all know, "
                "`scepsis.pp.select_panel(adata, model)`, and make edges anew."
            )
            raise ValueError(msg)
        result = cls(adata, read, given, cells, mask, key, slugs(read), known)
        result.require_same_cells()
        return result

    def require_same_cells(self) -> None:
        """Edges that are there must be from the cells that the models will read."""
        expected = hash_strings(self.adata.obs_names[self.cells.mask])
        other = [one.slot for one in self.given if one.cells_hash and chosen_cells(one.params) != expected]
        if other:
            msg = (
                f"`{other[0]}` is from other cells than the {int(self.cells.mask.sum())} that models are to read. Make "
                "it anew from these, or pass the column that chose its cells as `mask_obs=`."
            )
            raise ValueError(msg)
        require_same_cells(self.adata, self.given, features=False, allow=False)

    def runs(
        self, layers: Any, scale: Scale, *, randomized: bool, seed: int, limits: tuple[int | None, int | None]
    ) -> list[_Reading]:
        """One reading of each model, and one of its twin."""
        from scepsis.models import randomize

        chosen = layers if isinstance(layers, Mapping) else dict.fromkeys(self.models, layers)
        unknown = [name for name in chosen if name not in self.models]
        if unknown:
            msg = f"`layers` names no model {listing(unknown)}; there are: {listing(self.models)}."
            raise ValueError(msg)
        result = []
        for name, model in self.models.items():
            keys = EdgeKeys(self.key).group(self.slugs[name])
            common: dict[str, Any] = {
                "layers": chosen.get(name), "scale": scale, "seed": seed, "batch_size": limits[0],
                "memory_limit": limits[1],
            }  # fmt: skip
            genes = Choice(self.genes, None)
            run = attention_run(self.adata, model, self.cells, genes, **common)
            result.append(_Reading(name, "edges", keys.key, run))
            if randomized:
                twin = replace(run, model=randomize(model, rng=seed))
                result.append(_Reading(f"{name}_{RANDOMIZED}", "control", keys.randomized, twin))
        return result

    def frame(self, read: list[EdgeSet]) -> pd.DataFrame:
        """One row for each of what is compared."""
        keys = {one.name: one.key for one in (*read, *self.given)}
        rows = [
            {"model": name, "kind": "model" if name in self.models else "edges", "edges_key": keys[name]}
            | {"family": str(getattr(self.models.get(name), "family", ""))}
            | {"n_vocabulary": n_all, "n_panel": n_panel, "n_common": len(self.panel)}
            for name, (n_all, n_panel) in self.known.items()
        ]
        return pd.DataFrame(rows)


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
