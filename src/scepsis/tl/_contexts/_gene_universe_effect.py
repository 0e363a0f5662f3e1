from __future__ import annotations

from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from scepsis._core._edge_sets import gather_edges, panel_of
from scepsis._core._gene_table import FEATURES, feature_params, require_same_cells
from scepsis._core._keys import VARIANCE
from scepsis._core._registry import Evidence, updated_tests
from scepsis._core._resolve import resolve
from scepsis._core._rng import resolve_seed
from scepsis._core._screen import read_screen, saw_perturbed_cells
from scepsis._core._store import record, write
from scepsis._core._types import Direction
from scepsis._core._validate import require_choice, require_key, require_positive
from scepsis.tl._contexts import _universe_tables as tables
from scepsis.tl._contexts._universe_inputs import Reading, natural_genes

if TYPE_CHECKING:
    from scepsis._core._edge_sets import EdgeSet
    from scepsis._core._types import Data, EdgesLike, Seed
    from scepsis.models import AttentionModel


def gene_universe_effect(  # noqa: PLR0913 - an extraction, a choice of genes and a comparison in one
    adata: Data,
    model: AttentionModel | None = None,
    *,
    edges: EdgesLike = ("attention", "spearman"),
    versus: str = "spearman",
    n_top_genes: int = 2000,
    by: str = VARIANCE,
    reextract: bool = False,
    effects: str = "perturbation",
    direction: Direction = "source",
    margin: float = 0.02,
    min_candidates: int = 10,
    min_positives: int = 2,
    min_units: int = 6,
    n_boot: int = 10_000,
    allow_different_cells: bool = False,
    batch_size: int | None = None,
    memory_limit: int | None = None,
    show_progress_bar: bool = True,
    key_added: str = "gene_universe_effect",
    mod: str | None = None,
    rng: Seed = 0,
    copy: bool = False,
) -> Data | None:
    r"""
    Ask whether a comparison of edges depends on genes that were forced into the panel :cite:p:`kendiukhov2026`.

    A panel into which all perturbed genes were forced holds genes that no choice by variability would have taken: as
    candidates they are easy negatives, as tokens they take part in every cell. Here the comparison of edges with
    `versus` is repeated for the perturbations of *naturally* variable genes, among naturally variable candidates, and,
    with `reextract`, with attention of cells in which no other gene is a token (Kendiukhov (2026), analysis A19).

    Parameters
    ----------
    adata
        Cells x genes, with edges in ``varp`` over a panel and effects in ``varm``.
    model
        Model that attention is extracted from anew; needed for ``reextract=True`` alone.
    edges
        What is scored: keys of ``varp``, a table, or a dict from names to keys or tables.
    versus
        Name of the set among them that the others are compared with.
    n_top_genes
        Genes of the natural universe.
    by
        Column of ``var`` that ranks them, of all genes of `adata` (those in the model's vocabulary, with a model).
    reextract
        Extract attention anew from the same cells, holding the natural genes alone. Other edges stay as they are.
    effects
        Label set.
    direction
        Edge that scores a target, as for `scepsis.tl.perturbation_auroc`.
    margin
        Largest shift of a difference of AUROCs that counts as none.
    min_candidates
        Candidates below which a perturbation is not counted.
    min_positives
        Responders below which a perturbation is not counted.
    min_units
        Perturbations below which there are means but no intervals or p-values.
    n_boot
        Replicates of the bootstrap over perturbations.
    allow_different_cells
        Score edges that are recorded to be from different cells.
    batch_size
        Cells per forward pass.
    memory_limit
        Bytes that the extraction may take.
    show_progress_bar
        Show a progress bar, for extraction.
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
    None, or the copy. Sets ``uns[key_added]``. Protocols are ``forced`` (all perturbations and candidates of the
    panel), ``forced_natural`` (the perturbations of natural genes, all candidates), ``restricted`` (these, natural
    candidates) and ``reextracted`` (these, edges made anew).

    ``["per_perturbation"]``
        ``perturbation, protocol, predictor, auroc, n_pos, n_neg, used``.
    ``["summary"]``
        One row for each protocol and predictor (sets of edges; variance, mean and detection rate of the target when
        they are there): ``n_units``, mean ``auroc`` and, for edges, mean ``difference`` to `versus` with its two-way
        interval ``ci_low, ci_high``, percentile interval ``boot_low, boot_high``, ``p_value`` (signed rank),
        ``cohen_d``; ``status``.
    ``["shifts"]``
        One row for each set of edges and shift: ``candidates`` (restricted less forced, the same perturbations),
        ``extraction`` (reextracted less restricted: the common candidates, so that edges alone differ), ``both``:
        ``shift`` of the difference, ``shift_edges`` and ``shift_versus`` (of the AUROCs), intervals, ``p_value``,
        ``cohen_d``, ``equivalence`` within ``margin``, ``minimum_detectable``, ``n_units, status``
        (``structurally_null``: 0 by construction, because no candidate is forced, or no edges were made anew).
    ``["universe"]``
        ``what, n``: genes of the panel, of the natural universe, in both; perturbations that count, and of these
        natural ones.
    ``["params"]``
        All parameters.

    ``uns["tests"]`` has rows of A19: ``shift/candidates``, ``shift/extraction``, ``shift/both``.

    Raises
    ------
    KeyError
        Edges, effects or the column `by` do not exist.
    ValueError
        `versus` is none of the edges, or the only one; ``reextract=True`` without a model, with another model or
        with no attention; edges from different cells; a parameter is out of range.
    TypeError
        The column `by` holds no numbers.

    Notes
    -----
    Pairs are those that every set of edges has, in every protocol that is compared. Without `reextract` the edge of a
    pair is the same in both universes, so that ``candidates`` is the effect of other negatives alone: on the common
    candidates there is no difference. The means of ``forced`` and ``forced_natural`` are of different perturbations,
    which naturally variable genes are a biased part of.

    ``n_units * n_genes * 8`` bytes for each set and protocol; `reextract` costs a pass over the cells for each set of
    attention.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.pp.select_cells(adata)
    >>> sps.pp.gene_features(adata)
    >>> sps.tl.correlation_edges(adata)
    >>> sps.tl.baseline_edges(adata, method="mutual_information")
    >>> sps.tl.perturbation_effects(adata)
    >>> sps.tl.gene_universe_effect(adata, edges=["mutual_information", "spearman"], n_top_genes=200, n_boot=100)
    >>> adata.uns["gene_universe_effect"]["shifts"]["shift_of"].tolist()
    ['candidates']
    """
    begun = perf_counter()
    data = adata.copy() if copy else adata
    target = resolve(data, mod)
    require_choice(direction, get_args(Direction), argument="direction")
    require_key(key_added, argument="key_added")
    for argument, value, minimum in (
        ("n_top_genes", n_top_genes, 2), ("min_candidates", min_candidates, 1), ("min_positives", min_positives, 1),
        ("min_units", min_units, 2), ("n_boot", n_boot, 1), ("margin", margin, 0),
    ):  # fmt: skip
        require_positive(value, argument=argument, minimum=minimum)
    if reextract and model is None:
        msg = "`reextract=True` needs the model: `scepsis.tl.gene_universe_effect(adata, model, reextract=True)`."
        raise ValueError(msg)
    seed = resolve_seed(rng)
    sets = _sets(gather_edges(target, edges, companions=False).sets, versus)
    require_same_cells(target, sets, features=False, allow=allow_different_cells)
    panel = panel_of(target, sets)
    screen = read_screen(target, effects, panel)
    natural = natural_genes(target, model, by, int(n_top_genes))
    limits: dict[str, Any] = {"batch_size": batch_size, "memory_limit": memory_limit}
    readings = [
        Reading.of(target, model, one, natural, **limits) for one in sets if model is not None and reextract
    ] or [None] * len(sets)
    if reextract and not any(readings):
        msg = "`reextract=True`, but none of the `edges` is attention with a record that could be extracted anew."
        raise ValueError(msg)
    anew = [
        one if reading is None else replace(one, edges=reading.extract(show=show_progress_bar))
        for one, reading in zip(sets, readings, strict=True)
    ]
    study = tables.Study(sets, anew if reextract else None, screen, panel, natural, direction, versus, int(min_units))
    columns = {name: target.var[name].to_numpy(dtype=np.float64)[panel] for name in FEATURES if name in target.var}
    features = {name: values for name, values in columns.items() if not np.isnan(values).any()}
    protocols = study.protocols(features, min_positives=int(min_positives), min_candidates=int(min_candidates))
    leaks = [saw_perturbed_cells(target, one.params, screen) for one in sets]
    leaks += [saw_perturbed_cells(target, feature_params(target), screen)] * len(features)
    result = tables.Result(study, protocols, list(features), leaks, float(margin), int(n_boot), seed)
    params = record(
        edges=[one.name for one in sets], versus=versus, n_top_genes=int(n_top_genes), by=by, reextract=reextract,
        extracted_anew=[one.name for one, reading in zip(sets, readings, strict=True) if reading is not None],
        effects=effects, direction=direction, margin=float(margin), min_candidates=int(min_candidates),
        min_positives=int(min_positives), min_units=int(min_units), n_boot=int(n_boot), seed=seed,
        allow_different_cells=allow_different_cells, labels_hash=str(screen.params.get("labels_hash", "")),
    )  # fmt: skip
    shifts = result.shifts()
    frames = {
        "per_perturbation": result.per_perturbation(),
        "summary": result.summary(),
        "shifts": shifts,
        "universe": study.universe(protocols),
    }
    evidence = Evidence(
        key=key_added, params=params, edges={one.name: one.params for one in sets}, effects=effects,
        labels_hash=params["labels_hash"], seed=seed, wall_s=perf_counter() - begun,
    )  # fmt: skip
    tests = updated_tests(target, [tables.row_of(one) for _, one in shifts.iterrows()], evidence)
    write(target, uns={key_added: {"params": params, **frames}} | tests)
    return data if copy else None


def _sets(sets: list[EdgeSet], versus: str) -> list[EdgeSet]:
    names = [one.name for one in sets]
    if versus not in names or len(sets) < 2:
        msg = f"`versus={versus!r}` must be one of the `edges`, beside another; they are {names}."
        raise ValueError(msg)
    return sets
