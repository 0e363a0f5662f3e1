from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from scepsis import pp, tl
from scepsis._core._edge_frames import better_named
from scepsis._core._gene_table import FEATURES
from scepsis._core._keys import EDGE_CELLS, EDGE_PANEL, HEAD_RANKING, LOGNORM, TESTS, EffectKeys
from scepsis._core._layers import layer_keys
from scepsis._core._resolve import resolve
from scepsis._core._rng import resolve_seed
from scepsis._core._store import record, write
from scepsis._core._validate import require_key, require_positive
from scepsis.tl._decision._conduct import Log, Step
from scepsis.tl._shared._audit_inputs import (
    ATTENTION,
    CORRELATION,
    N_HEAD_SETS,
    references_of,
    require_answerable,
    steps_to_skip,
    subject_of,
    tells_modes,
    why_no_intervention,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import pandas as pd
    from anndata import AnnData

    from scepsis._core._types import Data, EdgesLike, Scale, Seed
    from scepsis.models import AttentionModel
    from scepsis.stats._splits import JointMode
    from scepsis.tl._shared._audit_inputs import Subject

THERE = "edges and gene features are there already"
SCALES: tuple[Scale, ...] = ("probability", "uniform_fold", "centered")


def audit(  # noqa: PLR0913 - what its tools cost is for the caller to say
    adata: Data,
    model: AttentionModel | None = None,
    *,
    edges: EdgesLike | None = None,
    reference: pd.DataFrame | Mapping[str, pd.DataFrame] | None = None,
    groupby: str = "perturbation",
    control: str = "non-targeting",
    layers: Sequence[int] | None = None,
    layer: str | None = None,
    gene_symbols: str | None = None,
    effects: str = "perturbation",
    min_targets: int = 3,
    n_null: int = 1000,
    n_boot: int = 10_000,
    n_seeds: int = 2,
    joint_mode: JointMode = "full",
    skip: str | Sequence[str] = (),
    allow_different_cells: bool = False,
    n_jobs: int = 1,
    show_progress_bar: bool = True,
    key_added: str = "audit",
    mod: str | None = None,
    rng: Seed = 0,
    copy: bool = False,
) -> Data | None:
    """
    Audit edges: everything that the data allow, in the right order, up to the verdict :cite:p:`kendiukhov2026`.

    Calls the public tools one after the other. What is there already (cells, panel, gene features, edges, effects) is
    used and not made anew; what cannot be made is skipped, and the result says why.

    Parameters
    ----------
    adata
        Cells x genes with raw counts, or with what follows from them: edges, effects and gene features.
    model
        Model whose attention is audited, beside that of the same model with random weights. None needs no torch.
    edges
        Further edges: keys of ``varp``, a table with columns ``source``, ``target``, ``weight``, or a dict from names
        to keys or tables. Tables are stored under their names (`scepsis.pp.add_edges`). Spearman correlation from the
        same cells is audited with them. Without a model, None takes attention that is in ``varp``.
    reference
        Network ``source, target[, weight][, mode]``, or a dict of several; criterion (c) is judged on the first.
        Edges of the same name are not scored on it.
    groupby
        Column of ``obs`` with the perturbed gene of each cell.
    control
        Label of the control cells.
    layers
        Layers of the model to read; None reads all.
    layer
        Layer with log-normalised values; None computes them from counts.
    gene_symbols
        Column of ``var`` that labels, tables and references name genes by. Where more of a table's names are in
        ``var_names``, these are taken.
    effects
        Label set.
    min_targets
        Listed targets that make a gene a regulator.
    n_null
        Networks of the same degrees, and draws of other shuffles of labels.
    n_boot
        Replicates of every bootstrap.
    n_seeds
        Seeds of the folds of residualizers, over which their AUROCs have a standard deviation; everything else is of
        the first. The ten of the paper cost five times as much.
    joint_mode
        ``full`` or ``diagonal``: the joint splits of `scepsis.tl.incremental_value`.
    skip
        Steps to leave out, by the names of their tools (``perturbation_auroc_layers`` for the table of single layers).
    allow_different_cells
        Score edges and features that are recorded to be from different cells.
    n_jobs
        Processes or threads for what can be spread.
    show_progress_bar
        Show which step is being made.
    key_added
        Name of the result.
    mod
        Modality, for MuData.
    rng
        Seed of every step.
    copy
        Return a changed copy instead of writing into `adata`.

    Returns
    -------
    None, or the copy. Every tool writes its own result under its own name (with several references
    ``<tool>_<reference>`` for those after the first). Sets ``uns[key_added]``:

    ``["steps"]``
        ``step, status, reason, seconds``, one row for each: ``run``, ``present`` (used as it was) or ``skipped``.
    ``["params"]``
        All parameters, ``edges`` by name and ``references``.

    Raises
    ------
    KeyError
        Edges, columns or a step to be skipped do not exist.
    ValueError
        There is nothing to audit, or nothing to audit it on; a reference is of another namespace; a parameter is out
        of range; or what a tool raises.
    TypeError
        `reference` is neither a frame nor a dict of frames.

    Warns
    -----
    UserWarning
        What the tools warn of, each once.

    Notes
    -----
    In this order: log-normalised values, cells, panel, gene features, attention and its randomised twin, tables,
    correlation, effects; `perturbation_auroc` of single layers and of all edges, `select_layer` (nested),
    `incremental_value`, `matched_evaluation`; `explain_edges`; for every reference `residualize_edges`,
    `reference_auroc`, `degree_null`, `circularity`; with a model and a reference (the first) `rank_heads` and
    `ablate_heads`; `correct_tests`; `verdict`. All edges are scored on the pairs that
    each of them has, and share folds, fits and rewired networks. `scepsis.tl.plan` tells beforehand what it costs.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.tl.audit(adata, edges="spearman", skip=["incremental_value", "explain_edges"], show_progress_bar=False)
    >>> steps = adata.uns["audit"]["steps"].set_index("step")
    >>> steps.loc["degree_null", "reason"]
    'no reference was given'
    """
    data = adata.copy() if copy else adata
    target = resolve(data, mod)
    require_key(key_added, argument="key_added")
    for argument, value in (("n_null", n_null), ("n_boot", n_boot), ("n_seeds", n_seeds), ("n_jobs", n_jobs)):
        require_positive(value, argument=argument)
    left_out = steps_to_skip(skip)
    seed = resolve_seed(rng)
    subject = subject_of(target, model, edges)
    references = references_of(target, reference, gene_symbols, min_targets)
    require_answerable(target, subject, references, groupby, effects)
    common: dict[str, Any] = {"rng": seed, "allow_different_cells": allow_different_cells}
    log = Log()
    source = _Source(target, model, subject, groupby, control, layers, layer, gene_symbols, effects, seed)
    log.run(list(_preparation(source)), show=show_progress_bar)
    plan = _Plan(subject.names, references, left_out, common, effects, n_null, n_boot, n_seeds, joint_mode, n_jobs)
    log.run(
        [*_on_labels(target, plan), *_on_references(target, plan, min_targets, gene_symbols)], show=show_progress_bar
    )
    log.run(list(_interventions(source, plan, min_targets)), show=show_progress_bar)
    log.run(list(_decisions(target, plan)), show=show_progress_bar)
    params = record(
        edges=subject.names, references=list(references), model=None if model is None else model.name,
        groupby=groupby, control=control, effects=effects, layers=layers, layer=layer, gene_symbols=gene_symbols,
        min_targets=min_targets, n_null=n_null, n_boot=n_boot, n_seeds=n_seeds, joint_mode=joint_mode,
        skip=sorted(left_out), allow_different_cells=allow_different_cells, seed=seed,
    )  # fmt: skip
    write(target, uns={key_added: {"params": params, "steps": log.frame()}})
    return data if copy else None


@dataclass(frozen=True)
class _Source:
    """What edges, features and labels are made from."""

    adata: AnnData
    model: AttentionModel | None
    subject: Subject
    groupby: str
    control: str
    layers: Sequence[int] | None
    layer: str | None
    gene_symbols: str | None
    effects: str
    seed: int


@dataclass(frozen=True)
class _Plan:
    """What is run on what, and at which cost."""

    names: list[str]
    references: dict[str, pd.DataFrame]
    left_out: set[str]
    common: dict[str, Any]
    effects: str
    n_null: int
    n_boot: int
    n_seeds: int
    joint_mode: JointMode
    n_jobs: int

    @property
    def fits(self) -> dict[str, Any]:
        """How tools fit and draw; the bar of the audit is enough."""
        return {"n_jobs": self.n_jobs, "show_progress_bar": False}


def _preparation(source: _Source) -> Iterator[Step]:
    """Cells, panel, features, edges and labels, as far as they are not there."""
    adata, model, layer, effects = source.adata, source.model, source.layer, EffectKeys(source.effects).uns
    makes_edges = (model is not None and ATTENTION.key not in adata.varp) or CORRELATION not in adata.varp
    makes_features = any(name not in adata.var for name in FEATURES)
    has_values = layer is not None or LOGNORM in adata.layers or "log1p" in adata.uns
    needless = "" if makes_edges or makes_features or effects not in adata.uns else THERE
    no_labels = "" if source.groupby in adata.obs else f"there is no column obs[{source.groupby!r}]"
    yield _made("lognormalize", partial(pp.lognormalize, adata), there=has_values, why_not=needless)
    cells = partial(pp.select_cells, adata, groupby=source.groupby, control=source.control, rng=source.seed)
    why = no_labels if makes_edges or makes_features else THERE
    yield _made("select_cells", cells, there=EDGE_CELLS in adata.obs, why_not=why)
    panel = partial(pp.select_panel, adata, model, gene_symbols=source.gene_symbols, layer=layer)
    yield _made("select_panel", panel, there=EDGE_PANEL in adata.var, why_not="" if makes_edges else THERE)
    yield _made("gene_features", partial(pp.gene_features, adata, layer=layer), there=not makes_features)
    yield from _attention(source)
    for name, frame in source.subject.tables.items():
        column = better_named(adata, frame, source.gene_symbols)
        yield Step("add_edges", partial(pp.add_edges, adata, frame, key_added=name, gene_symbols=column))
    correlation = partial(tl.correlation_edges, adata, layer=layer, key_added=CORRELATION)
    yield _made("correlation_edges", correlation, there=CORRELATION in adata.varp)
    labels = partial(
        tl.perturbation_effects, adata, groupby=source.groupby, control=source.control, layer=layer,
        gene_symbols=source.gene_symbols, key_added=source.effects, show_progress_bar=False, rng=source.seed,
    )  # fmt: skip
    yield _made("perturbation_effects", labels, there=effects in adata.uns, why_not=no_labels)


def _made(name: str, call: Callable[[], object], *, there: bool, why_not: str = "") -> Step:
    """Step that makes something, unless it is there."""
    return Step(name, call, "used as it is", present=True) if there else Step(name, call, why_not)


def _attention(source: _Source) -> Iterator[Step]:
    """Attention on three scales, and that of random weights."""
    adata, model, seed = source.adata, source.model, source.seed
    there, twin_there = ATTENTION.key in adata.varp, ATTENTION.randomized in adata.varp
    if model is None:
        yield _made("attention_edges", object, there=there, why_not="no model was given")
        return
    more: dict[str, Any] = {"layers": source.layers, "rng": seed}
    own = partial(tl.attention_edges, adata, model, scale=SCALES, key_added=ATTENTION.key, **more)
    yield _made("attention_edges", own, there=there)

    def untrained() -> None:
        from scepsis.models import randomize

        tl.attention_edges(adata, randomize(model, rng=seed), key_added=ATTENTION.randomized, **more)

    yield _made("attention_edges (random weights)", untrained, there=twin_there)


def _tool(plan: _Plan, name: str, call: Callable[[], object], why_not: str = "", suffix: str = "") -> Step:
    """Step that tests something, unless it is to be left out."""
    return Step(f"{name}{suffix}", call, "left out by `skip`" if name in plan.left_out else why_not)


def _on_labels(adata: AnnData, plan: _Plan) -> Iterator[Step]:
    """What is asked of the responders of a screen."""
    why = "" if EffectKeys(plan.effects).uns in adata.uns else "there are no effects"
    more = plan.common | {"edges": plan.names, "effects": plan.effects}
    boot = more | {"n_boot": plan.n_boot}
    known = ATTENTION.key in plan.names and ATTENTION.key in adata.uns
    single = layer_keys(adata, ATTENTION.key) if known else {}
    one = why or ("" if len(single) > 1 else "there are no edges of several layers")
    profile = boot | {"edges": [*single.values(), CORRELATION], "key_added": "perturbation_auroc_layers"}
    yield _tool(plan, "perturbation_auroc_layers", partial(tl.perturbation_auroc, adata, **profile), one)
    # last, so that of what both tables test this one counts
    yield _tool(plan, "perturbation_auroc", partial(tl.perturbation_auroc, adata, **boot), why)
    nested = plan.common | {"effects": plan.effects, "edges": ATTENTION.key, "versus": CORRELATION}
    choose = partial(tl.select_layer, adata, how="nested", n_boot=plan.n_boot, **nested)
    yield _tool(plan, "select_layer", choose, one)
    gains = partial(tl.incremental_value, adata, joint_mode=plan.joint_mode, n_jobs=plan.n_jobs, **boot)
    yield _tool(plan, "incremental_value", gains, why)
    yield _tool(plan, "matched_evaluation", partial(tl.matched_evaluation, adata, **more), why)
    explained = partial(tl.explain_edges, adata, edges=plan.names, **plan.common, **plan.fits)
    yield _tool(plan, "explain_edges", explained)


def _on_references(adata: AnnData, plan: _Plan, min_targets: int, gene_symbols: str | None) -> Iterator[Step]:
    """What is asked of known networks; results of the first have the names of their tools."""
    if not plan.references:
        why = "no reference was given"
        residual = partial(tl.residualize_edges, adata, edges=plan.names, **plan.common, **plan.fits)
        yield _tool(plan, "residualize_edges", residual)
        for name in ("reference_auroc", "degree_null", "circularity"):
            yield _tool(plan, name, object, why)
        return
    for position, (name, frame) in enumerate(plan.references.items()):
        suffix = f"_{name}" if position else ""
        more = plan.common | {
            "reference": frame,
            "reference_name": name,
            "edges": [one for one in plan.names if one != name],
            "min_targets": min_targets,
            "gene_symbols": better_named(adata, frame, gene_symbols),
        }
        boot = {"n_boot": plan.n_boot}
        null = plan.fits | {"n_null": plan.n_null, "n_label": plan.n_null}
        unknown = "" if tells_modes(frame) else f"{name} does not say which pairs activate and which repress"
        runs: list[tuple[Callable[..., object], dict[str, Any], str]] = [
            (
                tl.residualize_edges,
                boot | {"n_seeds": plan.n_seeds, "n_jobs": plan.n_jobs, "show_progress_bar": False},
                "",
            ),
            (tl.reference_auroc, boot, ""),
            (tl.degree_null, null, ""),
            (tl.circularity, boot, unknown),
        ]
        for tool, own, why in runs:
            called = partial(tool, adata, key_added=f"{tool.__name__}{suffix}", **more | own)
            yield _tool(plan, tool.__name__, called, why, suffix)


def _interventions(source: _Source, plan: _Plan, min_targets: int) -> Iterator[Step]:
    """What becomes of the model's attention without some of its heads, those of the first reference first."""
    adata, model = source.adata, source.model
    why = why_no_intervention(adata, model, plan.effects, plan.references)
    if model is None or why:
        yield _tool(plan, "rank_heads", object, why)
        yield _tool(plan, "ablate_heads", object, why)
        return
    name, frame = next(iter(plan.references.items()))
    column = better_named(adata, frame, source.gene_symbols)
    more: dict[str, Any] = {"effects": plan.effects, "show_progress_bar": False, "rng": source.seed}
    ranked = partial(
        tl.rank_heads, adata, model, reference=frame, reference_name=name, min_targets=min_targets,
        gene_symbols=column, **more,
    )  # fmt: skip
    yield _tool(plan, "rank_heads", ranked)
    n_random = min(plan.n_null, N_HEAD_SETS)
    unranked = "heads were not ranked" if "rank_heads" in plan.left_out and HEAD_RANKING not in adata.uns else ""
    yield _tool(plan, "ablate_heads", partial(tl.ablate_heads, adata, model, n_random=n_random, **more), unranked)


def _decisions(adata: AnnData, plan: _Plan) -> Iterator[Step]:
    """Corrections, and what follows for each set of edges that was tested."""
    tested = set(adata.uns[TESTS]["edges"]) if TESTS in adata.uns else set()
    why = "" if tested else "nothing was tested"
    yield Step("correct_tests", partial(tl.correct_tests, adata), why)
    names = [name for name in plan.names if name in tested]
    reference = next(iter(plan.references), None)
    judge = partial(tl.verdict, adata, edges=names, effects=plan.effects, reference_name=reference)
    yield Step("verdict", judge, why)
