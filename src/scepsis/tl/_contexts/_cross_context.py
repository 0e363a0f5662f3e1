from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

from scepsis import tl
from scepsis._core._contexts import for_context, read_contexts, require_contexts
from scepsis._core._hashing import hash_strings
from scepsis._core._keys import TESTS, EffectKeys
from scepsis._core._registry import Evidence, read_tests, updated_tests
from scepsis._core._rng import resolve_seed
from scepsis._core._scratch import settle, shell
from scepsis._core._store import record, write
from scepsis._core._validate import require_key, require_label, require_positive
from scepsis.tl._contexts import _context_tables as tables
from scepsis.tl._shared._audit_inputs import references_of, require_answerable, steps_to_skip, subject_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from anndata import AnnData
    from mudata import MuData

    from scepsis._core._types import EdgesLike, Seed
    from scepsis.models import AttentionModel
    from scepsis.stats._splits import JointMode


def cross_context(  # noqa: PLR0913 - what its audits cost is for the caller to say
    mdata: MuData,
    model: AttentionModel | None = None,
    *,
    edges: EdgesLike | None = None,
    reference: pd.DataFrame | Mapping[str, pd.DataFrame] | None = None,
    modality: Mapping[str, str] | None = None,
    modality_source: Mapping[str, str] | None = None,
    groupby: str | Mapping[str, str] = "perturbation",
    control: str | Mapping[str, str] = "non-targeting",
    layers: Sequence[int] | None = None,
    layer: str | None = None,
    gene_symbols: str | None = None,
    effects: str = "perturbation",
    min_targets: int = 3,
    min_powered: int = 10,
    n_null: int = 1000,
    n_boot: int = 10_000,
    n_seeds: int = 2,
    joint_mode: JointMode = "full",
    skip: str | Sequence[str] = (),
    allow_different_cells: bool = False,
    n_jobs: int = 1,
    show_progress_bar: bool = True,
    key_added: str = "cross_context",
    rng: Seed = 0,
    copy: bool = False,
) -> MuData | None:
    r"""
    Run the same audit in every context, and say what holds across them and which of them differs.

    Contexts (cell lines, tissues, ways to perturb) are modalities that share their genes:
    ``MuData({"K562": adata_1, "RPE1": adata_2}, axis=1)``. Each is audited by `scepsis.tl.audit` with the same
    settings and seed, as far as its own cells and labels allow; every test is then laid side by side, averaged by a
    random-effects model, and the contexts compared in pairs (Kendiukhov (2026), analyses A16 to A18).

    Parameters
    ----------
    mdata
        Contexts as modalities, stacked along cells (``axis=1``).
    model
        Model whose attention is audited in every context; None needs no torch.
    edges
        Further edges, as for `scepsis.tl.audit`: keys that ``varp`` of every context has, or tables.
    reference
        Network, or a dict of several, as for `scepsis.tl.audit`.
    modality
        How genes were perturbed in each context, for example ``{"K562": "CRISPRi"}``; ``"unknown"`` where it is not
        said. Published screens are often labelled wrongly: look it up.
    modality_source
        Where that is written, for example a DOI. A modality without a source counts as unknown.
    groupby
        Column of ``obs`` with the perturbed gene of each cell; one for all, or a dict by context.
    control
        Label of the control cells, likewise.
    layers
        Layers of the model to read; None reads all.
    layer
        Layer with log-normalised values; None computes them from counts.
    gene_symbols
        Column of ``var`` that labels, tables and references name genes by.
    effects
        Label set.
    min_targets
        Listed targets that make a gene a regulator.
    min_powered
        Perturbations (regulators, against a reference) below which a context is ``underpowered``: its numbers and
        exact tests stay, but it claims no equivalence and is in no mean.
    n_null
        Networks of the same degrees, and draws of other shuffles of labels.
    n_boot
        Replicates of every bootstrap.
    n_seeds
        Seeds of the folds of residualizers.
    joint_mode
        ``full`` or ``diagonal``, as for `scepsis.tl.incremental_value`.
    skip
        Steps of the audit to leave out, by the names of their tools.
    allow_different_cells
        Score edges and features that are recorded to be from different cells.
    n_jobs
        Processes or threads for what can be spread.
    show_progress_bar
        Show which step is being made.
    key_added
        Name of the result.
    rng
        Seed of every audit.
    copy
        Return a changed copy instead of writing into `mdata`.

    Returns
    -------
    None, or the copy. Every context holds the results of its own audit. Sets ``mdata.uns[key_added]``; a quantity is
    a test of the audit: ``edges, analysis, name, reference, effects``.

    ``["contexts"]``
        One row for each context: ``modality, modality_source, n_cells, n_genes, n_units`` (perturbations that count),
        ``smallest_p`` that an exact signed-rank test of so many can give, ``status`` and hashes.
    ``["estimates"]``
        One row for each quantity and context: ``effect_size`` with ``ci_low, ci_high``, ``standard_error`` (from
        that interval), ``p_raw``, ``equivalence`` (empty where ``underpowered``), ``pooled``; ``deviation`` from what
        the other contexts predict, in standard errors, with ``p_deviation``, ``q_deviation`` over the contexts of a
        quantity, and ``deviates``.
    ``["summary"]``
        One row for each quantity: ``n_contexts, n_pooled, n_underpowered, n_above`` (on the side of the edges),
        ``mean`` with 95 % interval and ``p_value``, ``prediction_low, prediction_high`` for a further context,
        ``tau`` (standard deviation between contexts), ``i2``, ``cochran_q, p_heterogeneity, q_heterogeneity``,
        ``equivalence`` of the mean within ``margin``, ``status``.
    ``["pairwise"]``
        ``context`` less ``versus`` for each quantity: ``difference`` with interval, ``z, p_value, q_value, differs``.
    ``["verdicts"]``
        ``context, edges, criterion, passed, reason``.
    ``["claims"]``
        ``edges, claim, holds, reason``: whether the verdict is positive in ``every context``, and in ``two
        modalities``, which is blocked as long as two modalities are not declared with their sources.
    ``["params"]``
        All parameters.

    ``mdata.uns["tests"]`` has a row ``pooled/<analysis>/<name>`` and ``heterogeneity/<analysis>/<name>`` (A16) for each
    quantity; read it by `scepsis.get.tests` without `mod`.

    Raises
    ------
    TypeError
        `mdata` is no MuData, or what the audit raises.
    ValueError
        Modalities are stacked along genes, have other genes, another order or another namespace, or share cells; there
        are fewer than two; a dict names no context or lacks one; or what the audit raises. Nothing is written then.
    KeyError
        Edges or columns do not exist in a context.

    Notes
    -----
    With estimates :math:`y_k` and standard errors :math:`s_k`, :math:`\tau^2` is that of Paule and Mandel, the
    interval of the mean that of Hartung and Knapp (never narrower than the plain one), t with one degree of freedom
    less than there are contexts:

    .. math:: \mu = \frac{\sum_k w_k y_k}{\sum_k w_k}, \quad w_k = \frac{1}{s_k^2 + \tau^2}, \quad
        Q = \sum_k \frac{(y_k - \mu_0)^2}{s_k^2}, \quad I^2 = \max\Big(0, \frac{Q - (k - 1)}{Q}\Big)

    Standard errors count as known, which those of few perturbations are not: hence `min_powered`. Contexts share genes,
    so their errors are not quite independent; what is common to all cancels in differences, which makes Q and pairs
    conservative. With two or three contexts :math:`\tau` is hardly known: look at pairs and at every context.
    With fewer than three pooled contexts no context deviates from others.

    Costs as many audits as there are contexts, one after the other (`scepsis.tl.plan`); values are not copied.

    Examples
    --------
    >>> import mudata
    >>> import scepsis as sps
    >>> small = {"n_genes": 120, "n_regulators": 14, "n_other": 4, "n_controls": 200, "cells_per_perturbation": 30}
    >>> lines = {f"line {seed}": sps.datasets.simulate_screen(**small, rng=seed) for seed in (1, 2)}
    >>> with mudata.set_options(pull_on_update=False):
    ...     mdata = mudata.MuData(lines, axis=1)
    >>> steps = ["incremental_value", "matched_evaluation", "explain_edges", "residualize_edges"]
    >>> sps.tl.cross_context(mdata, edges="spearman", n_boot=100, skip=steps, show_progress_bar=False)
    >>> mdata.uns["cross_context"]["contexts"]["status"].tolist()  # so small a screen shows nothing
    ['underpowered', 'underpowered']
    """
    begun = perf_counter()
    data = mdata.copy() if copy else mdata
    require_key(key_added, argument="key_added")
    require_positive(min_powered, argument="min_powered", minimum=2)
    seed = resolve_seed(rng)
    contexts = read_contexts(data)
    names = list(contexts)
    modalities = _declared(names, modality, modality_source)
    audit = partial(
        tl.audit, model=model, edges=edges, reference=reference, layers=layers, layer=layer,
        gene_symbols=gene_symbols, effects=effects, min_targets=min_targets, n_null=n_null, n_boot=n_boot,
        n_seeds=n_seeds, joint_mode=joint_mode, skip=skip, allow_different_cells=allow_different_cells, n_jobs=n_jobs,
        show_progress_bar=show_progress_bar, rng=seed,
    )  # fmt: skip
    own: dict[str, dict[str, Any]] = {
        name: {
            "groupby": for_context(groupby, name, names=names, argument="groupby"),
            "control": for_context(control, name, names=names, argument="control"),
        }
        for name in names
    }
    steps_to_skip(skip)
    for name, one in contexts.items():
        try:
            _require_auditable(one, model, edges, reference, gene_symbols, min_targets, effects, **own[name])
        except (KeyError, TypeError, ValueError) as error:
            error.add_note(f"This is of the context {name!r}.")
            raise
    worked = {name: shell(one) for name, one in contexts.items()}
    for name, one in worked.items():
        audit(one, **own[name])
    found = _Found.of(worked, modalities, effects, int(min_powered))
    params = record(
        contexts=names, **found.audited, groupby=[one["groupby"] for one in own.values()],
        control=[one["control"] for one in own.values()], min_powered=int(min_powered), seed=seed,
    )  # fmt: skip
    _write(data, worked, key_added, {"params": params, **found.frames}, perf_counter() - begun)
    return data if copy else None


def _declared(
    names: list[str], modality: Mapping[str, str] | None, source: Mapping[str, str] | None
) -> dict[str, tables.Modality]:
    given, sources = dict(modality or {}), dict(source or {})
    require_contexts(given, names, argument="modality")
    require_contexts(sources, names, argument="modality_source")
    for argument, said in (("modality", given), ("modality_source", sources)):
        wrong = [name for name, one in said.items() if not isinstance(one, str)]
        if wrong:
            msg = f"`{argument}[{wrong[0]!r}]` must be a string, not {said[wrong[0]]!r}; leave out what is not known."
            raise TypeError(msg)
    return {name: tables.Modality(given.get(name, tables.UNKNOWN), sources.get(name, "")) for name in names}


def _require_auditable(
    adata: AnnData,
    model: AttentionModel | None,
    edges: EdgesLike | None,
    reference: pd.DataFrame | Mapping[str, pd.DataFrame] | None,
    gene_symbols: str | None,
    min_targets: int,
    effects: str,
    *,
    groupby: str,
    control: str,
) -> None:
    """Raise what the audit of a context would raise, before that of any other has begun."""
    subject = subject_of(adata, model, edges)
    references = references_of(adata, reference, gene_symbols, min_targets)
    require_answerable(adata, subject, references, groupby, effects)
    if EffectKeys(effects).uns not in adata.uns and groupby in adata.obs:
        labels = set(adata.obs[groupby].dropna())
        require_label(labels, control, slot=f"adata.obs[{groupby!r}]", argument="control")


@dataclass(frozen=True)
class _Found:
    """What the audits have in common."""

    #: Parameters of the audits that are the same for all.
    audited: dict[str, Any]
    frames: dict[str, pd.DataFrame]

    @classmethod
    def of(
        cls, worked: Mapping[str, AnnData], modalities: Mapping[str, tables.Modality], effects: str, min_powered: int
    ) -> _Found:
        audits = [dict(one.uns["audit"]["params"]) for one in worked.values()]
        edges = [str(name) for name in audits[0]["edges"]]
        estimates = tables.estimates(worked, edges, min_powered)
        contexts = tables.contexts_table(worked, modalities, estimates, effects, min_powered)
        judged = tables.verdicts(worked)
        frames = {
            "contexts": contexts,
            "estimates": estimates,
            "summary": tables.summary(estimates),
            "pairwise": tables.pairwise(estimates),
            "verdicts": judged,
            "claims": tables.claims(contexts, judged, edges),
        }
        own = ("groupby", "control", "seed", "scepsis_version")
        return cls({name: value for name, value in audits[0].items() if name not in own}, frames)


def _write(data: MuData, worked: Mapping[str, AnnData], key: str, result: dict[str, Any], seconds: float) -> None:
    """Write the contexts' own results, then the comparison and its tests."""
    import anndata as ad

    params, summary = result["params"], result["summary"]
    # rows against labels and against each reference rest on different evidence, and are entered one after the other
    held = ad.AnnData(uns={TESTS: data.uns[TESTS]} if TESTS in data.uns else {})
    tests = [read_tests(one) for one in worked.values() if TESTS in one.uns]
    records = {name: _record(tests, name) for name in dict.fromkeys(summary["edges"])}
    for reference in dict.fromkeys(summary["reference"]):
        effects = "" if reference else str(params["effects"])
        labels = [
            one.loc[(one["reference"] == reference) & (one["effects"] == effects), "labels_hash"] for one in tests
        ]
        evidence = Evidence(
            key=key, params=params, edges=records, reference=reference, effects=effects, seed=params["seed"],
            labels_hash=_joined(labels), wall_s=seconds,
        )  # fmt: skip
        held.uns |= updated_tests(held, tables.rows_of(summary, reference), evidence)
    for name, one in worked.items():
        settle(data.mod[name], one)
    write(data, uns={key: result, TESTS: held.uns[TESTS]})


def _record(tests: list[pd.DataFrame], edges: str) -> dict[str, str]:
    """What the edges of all contexts are made from, and how their layers were chosen; open if it is in any."""
    own = [one[one["edges"] == edges] for one in tests]
    rules = list(dict.fromkeys(rule for one in own for rule in one["layer_rule"].tail(1)))
    hashes = {name: _joined([one[name] for one in own]) for name in ("cells_hash", "genes_hash")}
    return {"layer_rule": rules[0] if len(rules) == 1 else "unrecorded"} | hashes


def _joined(hashes: list[pd.Series[str]]) -> str:
    """One hash of the last of each context."""
    return hash_strings(str(value) for one in hashes for value in one.tail(1))
