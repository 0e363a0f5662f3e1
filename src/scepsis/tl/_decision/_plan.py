from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pandas as pd

from scepsis._core._keys import INCREMENTAL_VALUE
from scepsis._core._memory import default_limit
from scepsis._core._resolve import resolve
from scepsis._core._rng import resolve_seed
from scepsis._core._screen_pairs import read_pairs
from scepsis._core._store import record, write
from scepsis._core._validate import require_between, require_choice, require_key, require_positive
from scepsis.stats._intervals import Interval
from scepsis.stats._power import CrossedError
from scepsis.stats._splits import JointMode
from scepsis.tl._decision import _pilots as pilots
from scepsis.tl._decision._head_pilots import heads
from scepsis.tl._shared._request import Maps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

    from scepsis._core._types import Data, EdgesLike, Seed
    from scepsis.models import AttentionModel
    from scepsis.tl._decision._pilots import Step

logger = logging.getLogger(__name__)


def plan(
    adata: Data,
    model: AttentionModel | None = None,
    *,
    edges: EdgesLike = "attention",
    reference: pd.DataFrame | None = None,
    gain: float | Sequence[float] = (0.005, 0.02),
    power: float = 0.8,
    layers: Sequence[int] | None = None,
    effects: str = "perturbation",
    joint_mode: JointMode = "full",
    n_placebo: int = 5,
    n_null: int = 1000,
    min_targets: int = 3,
    n_jobs: int = 1,
    memory_limit: int | None = None,
    key_added: str = "plan",
    mod: str | None = None,
    rng: Seed = 0,
    copy: bool = False,
) -> Data | None:
    r"""
    Tell before a run how long it takes, how much memory, and what it could find.

    Time comes from small pilots on these very data: eight cells through the model, also by head and without one, one
    fold of each learner, fifty rewired networks. What a gain needs comes from the error of a gain, taken apart into
    what shrinks with the number of perturbations and what does not, because all perturbations share their genes.

    Parameters
    ----------
    adata
        Cells x genes; what has been computed already is used.
    model
        Model whose attention would be read; None plans without.
    edges
        Edges that would be scored, as in :func:`scepsis.tl.incremental_value`. Keys of ``varp`` need not be there
        yet, but what a gain needs is then not known.
    reference
        Network with columns ``source`` and ``target``, for the degree-preserving null and, with a model, for ranking
        and taking out heads.
    gain
        Gains in AUROC over gene features that one would like to find.
    power
        Probability of finding them at a level of 0.05, two-sided.
    layers
        Layers of the model, from 0; None takes all.
    effects
        Label set: ``varm["<effects>_target"]`` and ``uns["<effects>_effects"]``.
    joint_mode
        As in :func:`scepsis.tl.incremental_value`.
    n_placebo
        As in :func:`scepsis.tl.incremental_value`.
    n_null
        Rewired networks, and random sets of heads (200 at most).
    min_targets
        Listed targets that make a gene a regulator.
    n_jobs
        Processes over which folds would be spread; the pilots use one.
    memory_limit
        Bytes that a step may take; a quarter of the machine's memory when not given.
    key_added
        Name of the result.
    mod
        Modality, for MuData.
    rng
        Seed of the pilots.
    copy
        Return a changed copy instead of writing into `adata`.

    Returns
    -------
    None, or the copy. Sets ``uns[key_added]`` and logs ``["text"]``:

    ``["steps"]``
        One row for each step that takes long: ``step, unit`` (what was timed), ``n_units`` (how many there would be),
        ``n_measured, seconds_per_unit, seconds`` (of all, over `n_jobs` where the tool takes them), ``n_bytes``,
        ``fits`` (missing: not known), ``status, reason``.
    ``["power"]``
        One row for each set of edges, split, learner and gain: ``basis`` (``rows`` of a stored
        :func:`scepsis.tl.incremental_value`, or ``pilot``), ``n_units, n_genes``, ``standard_error`` with its parts
        ``error_by_unit`` and ``error_shared``, ``minimum_detectable`` (now), ``smallest_gain`` (with these genes and
        any number of perturbations), ``gain, n_needed`` (perturbations, at least the six that an interval takes; NaN
        where no number suffices), ``reachable`` (missing: not known), ``status, reason``.
    ``["text"]``
        The same in a few lines.
    ``["params"]``
        All parameters.

    Raises
    ------
    KeyError
        A reference lacks its columns, or stored edges and effects do not belong together.
    ValueError
        A parameter is out of range, or names of the reference or the edges are of another namespace.

    Notes
    -----
    Seconds are those of a clock: they differ from run to run and from machine to machine, and are the one result that
    a seed does not repeat. Taking out heads is counted at its most: all conditions and random sets, all cells, no layer
    left out; it stops as soon as it can tell. Reading labels, scoring and bootstraps are not counted; residuals
    (:func:`scepsis.tl.residualize_edges`) are not either.

    **Power.** With a variance of the gain of :math:`V_n` between perturbations and pairs and :math:`V_g` from genes
    that all perturbations share, n' perturbations of the same kind would have
    :math:`V_n\, n / n' + V_g`, with :math:`\min(n', G) - 1` degrees of freedom; the smallest detectable gain is
    :math:`t_{0.975} + t_\mathrm{power}` standard errors. :math:`V_g` is what the two-way variance
    (:func:`scepsis.tl.perturbation_auroc`) has beyond the variance over perturbations. It falls with more genes only,
    so that a gain may be out of reach with any number of perturbations (``reachable`` is False). The error is that of
    the gain found: edges that add nothing change predictions little, and a real gain varies more. Take ``n_needed``
    as a lower bound.

    The pilot of power is the logistic learner with perturbations held out.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.pp.select_cells(adata)
    >>> sps.pp.gene_features(adata)
    >>> sps.tl.correlation_edges(adata)
    >>> sps.tl.perturbation_effects(adata)
    >>> sps.tl.plan(adata, edges="spearman", gain=0.02)
    >>> adata.uns["plan"]["power"][["edges", "gain", "basis", "status"]].values.tolist()
    [['spearman', 0.02, 'pilot', 'ok']]
    """
    data = adata.copy() if copy else adata
    target = resolve(data, mod)
    gains = tuple(float(one) for one in np.atleast_1d(gain))
    require_key(key_added, argument="key_added")
    require_choice(joint_mode, get_args(JointMode), argument="joint_mode")
    require_between(power, 0.5, 0.999, argument="power")
    for value in gains:
        require_between(value, 1e-6, 0.5, argument="gain")
    for argument, number in (("n_placebo", n_placebo), ("n_null", n_null), ("n_jobs", n_jobs)):
        require_positive(number, argument=argument)
    seed = resolve_seed(rng)
    limit = default_limit() if memory_limit is None else int(memory_limit)
    there, planned = _present(target, edges)
    read = None if model is None else Maps.of(model, layers, None).layers

    steps = [] if model is None or read is None else [pilots.attention(target, model, read, limit, seed)]
    n_sets = len(there) + len(planned)
    found = pilots.table(target, effects, n_sets=n_sets, n_placebo=n_placebo, joint_mode=joint_mode, seed=seed)
    steps += [pilots.Step.not_run("incremental_value", found)] if isinstance(found, str) else found.steps()
    if reference is not None:
        steps.append(pilots.rewiring(target, reference, n_null=n_null, min_targets=min_targets, seed=seed))
        if model is not None:
            steps += heads(
                target, model, reference, effects, n_null=n_null, min_targets=min_targets, limit=limit, seed=seed
            )
    unknown = found if isinstance(found, str) else ""
    rows = [row for name in planned for row in _unknown(name, gains, "the edges do not exist yet")]
    if there and unknown:
        rows += [row for name in there for row in _unknown(name, gains, unknown)]
    elif there:
        rows += _power_rows(target, there, effects, gains, power, seed)

    table = _steps_table(steps, n_jobs, limit)
    needed = pd.DataFrame(rows, columns=POWER).astype({"reachable": "boolean"})
    text = "\n".join([*_step_lines(table), *_power_lines(needed)])
    params = record(
        edges=[*there, *planned],
        effects=effects,
        gain=list(gains),
        power=float(power),
        layers=None if read is None else list(read),
        model=None if model is None else model.name,
        joint_mode=joint_mode,
        n_placebo=int(n_placebo),
        n_null=int(n_null),
        min_targets=int(min_targets),
        n_jobs=int(n_jobs),
        memory_limit=limit,
        seed=seed,
    )
    write(target, uns={key_added: {"params": params, "steps": table, "power": needed, "text": text}})
    logger.info("%s", text)
    return data if copy else None


POWER = [
    "edges", "split", "learner", "basis", "n_units", "n_genes", "standard_error", "error_by_unit", "error_shared",
    "minimum_detectable", "smallest_gain", "gain", "n_needed", "reachable", "status", "reason",
]  # fmt: skip


def _present(adata: AnnData, edges: EdgesLike) -> tuple[dict[str, str | pd.DataFrame], list[str]]:
    """Sets of edges that are there, by name, and the names of those that are not yet."""
    if isinstance(edges, pd.DataFrame):
        named: dict[str, str | pd.DataFrame] = {"edges": edges}
    elif isinstance(edges, str):
        named = {edges: edges}
    elif isinstance(edges, Mapping):
        named = dict(edges.items())
    else:
        named = {one: one for one in edges}
    there = {name: one for name, one in named.items() if not isinstance(one, str) or one in adata.varp}
    return there, [name for name in named if name not in there]


def _power_rows(
    adata: AnnData,
    edges: dict[str, str | pd.DataFrame],
    effects: str,
    gains: tuple[float, ...],
    power: float,
    seed: int,
) -> list[dict[str, Any]]:
    stored = {name: _stored_errors(adata, name, effects) for name in edges}
    lacking = {name: one for name, one in edges.items() if not stored[name]}
    if lacking:
        pairs = read_pairs(adata, lacking, effects=effects, allow_different_cells=True)
        for one in pairs.sets:
            error = pilots.pilot_error(pairs, one, seed)
            stored[one.name] = {} if error is None else {("perturbation", "logistic", "pilot"): error}
    rows = []
    for name, errors in stored.items():
        if not errors:
            rows += _unknown(name, gains, "too few perturbations count", status="too_few_units")
        for (split, learner, basis), error in errors.items():
            known = {
                "edges": name, "split": split, "learner": learner, "basis": basis, "n_units": error.n_units,
                "n_genes": error.n_genes, "standard_error": error.standard_error,
                "error_by_unit": float(np.sqrt(error.by_unit)), "error_shared": float(np.sqrt(error.shared)),
                "minimum_detectable": error.detectable(error.n_units, power), "smallest_gain": error.limit(power),
                "status": "ok", "reason": "",
            }  # fmt: skip
            for value in gains:
                n = error.units_for(value, power)
                reachable = bool(np.isfinite(n))
                reason = "" if reachable else "not with these genes, whatever the number of perturbations"
                enough = max(n, pilots.MIN_UNITS) if reachable else np.nan
                needed = {"gain": value, "n_needed": enough, "reachable": reachable}
                rows.append(known | needed | {"reason": reason})
    return rows


def _unknown(name: str, gains: tuple[float, ...], reason: str, status: str = "not_run") -> list[dict[str, Any]]:
    text = {"edges": name, "split": "", "learner": "", "basis": "", "status": status, "reason": reason}
    blank: dict[str, Any] = {column: np.nan for column in POWER if column not in text} | {"n_units": 0, "n_genes": 0}
    return [blank | text | {"gain": value, "reachable": pd.NA} for value in gains]


def _stored_errors(adata: AnnData, name: str, effects: str) -> dict[tuple[str, str, str], CrossedError]:
    """Errors of the gains in AUROC that decide, of an earlier run for the same edges and labels."""
    entry = adata.uns.get(INCREMENTAL_VALUE)
    if not hasattr(entry, "get") or entry["params"].get("effects") != effects:
        return {}
    table, units = entry["gains"], entry["per_perturbation"]
    errors = {}
    for row in table[(table["edges"] == name) & (table["metric"] == "auroc") & (table["status"] == "ok")].to_dict(
        "records"
    ):
        prefix, column = ("ci", "gain") if row["decided_by"] == "gene_only" else ("placebo", "gain_placebo")
        of_row = np.logical_and.reduce([units[key] == row[key] for key in ("edges", "split", "learner", "metric")])
        differences = units.loc[of_row, column].dropna().to_numpy()
        interval = Interval(row[f"{prefix}_low"], row[f"{prefix}_high"])
        errors[row["split"], row["learner"], "rows"] = CrossedError.of(differences, interval, int(row["n_genes"]))
    return {key: error for key, error in errors.items() if error.known}


def _steps_table(steps: list[Step], n_jobs: int, limit: int) -> pd.DataFrame:
    rows = []
    for one in steps:
        workers = n_jobs if one.unit in {"fit", "network"} else 1
        fits = pd.NA if np.isnan(one.n_bytes) else bool(one.n_bytes <= limit)
        seconds = one.seconds_per_unit * one.n_units / workers
        rows.append(
            {
                "step": one.step, "unit": one.unit, "n_units": one.n_units, "n_measured": one.n_measured,
                "seconds_per_unit": one.seconds_per_unit, "seconds": seconds, "n_bytes": one.n_bytes, "fits": fits,
                "status": one.status, "reason": one.reason,
            }
        )  # fmt: skip
    return pd.DataFrame(rows).astype({"fits": "boolean"})


def _step_lines(table: pd.DataFrame) -> list[str]:
    lines = []
    for row in table.to_dict("records"):
        if np.isnan(row["seconds"]):
            lines.append(f"{row['step']}: not measured ({row['reason']})")
            continue
        size = "" if np.isnan(row["n_bytes"]) else f", {row['n_bytes'] / 2**20:,.0f} MiB"
        over = "" if row["fits"] is not False else ", over the limit"
        lines.append(f"{row['step']}: {_duration(row['seconds'])} for {row['n_units']:,} {row['unit']}s{size}{over}")
    return lines


def _power_lines(table: pd.DataFrame) -> list[str]:
    lines = []
    for row in table.to_dict("records"):
        what = f"a gain of {row['gain']:g} by {row['edges']}"
        if row["status"] != "ok":
            lines.append(f"{what}: not known ({row['reason']})")
            continue
        where = f"{what} ({row['learner']}, {row['split']} held out)"
        if row["reachable"]:
            lines.append(f"{where}: at least {row['n_needed']:,.0f} perturbations; {row['n_units']} count now")
        else:
            lines.append(
                f"{where}: not reachable with this panel of {row['n_genes']} genes, which limits it to "
                f"{row['smallest_gain']:.3g}"
            )
    return lines


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.2g} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
