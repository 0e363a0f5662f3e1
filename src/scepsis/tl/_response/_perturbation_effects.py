"""Which genes respond to each perturbation of a screen."""

from __future__ import annotations

import logging
import warnings
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from scepsis._core._edge_slots import provenance
from scepsis._core._hashing import hash_array, hash_strings
from scepsis._core._keys import EDGE_CELLS, EffectKeys
from scepsis._core._labels import COMPLEMENT, perturbed_genes, read_labels, read_overlapping
from scepsis._core._partitions import sum_log_parts
from scepsis._core._progress import progress_bar
from scepsis._core._resolve import Choice, choose_cells, resolve
from scepsis._core._rng import resolve_seed
from scepsis._core._rows import is_dask
from scepsis._core._store import record, write
from scepsis._core._validate import require_choice, require_key, require_positive
from scepsis._core._values import lognorm
from scepsis.stats._effects import (
    TESTS,
    CallRule,
    Calls,
    Contrasts,
    FalseCalls,
    false_calls,
    null_splits,
    run_contrasts,
)
from scepsis.stats._moments import member_moments, membership

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from anndata import AnnData
    from mudata import MuData

    from scepsis._core._labels import Labels, PerturbedGenes
    from scepsis._core._types import Data, FloatArray, IntArray, Seed
    from scepsis._core._values import Values
    from scepsis.stats._effects import NullSplit

logger = logging.getLogger(__name__)
#: Share of control splits with a false call that is worth a warning, and how many times the nominal share it must be.
ALARMING_SHARE, ALARMING_RATIO = 0.25, 3


def perturbation_effects(
    adata: Data,
    *,
    groupby: str = "perturbation",
    control: str = "non-targeting",
    overlapping: bool = False,
    layer: str | None = None,
    test: Literal["student", "welch", "mannwhitney"] = "student",
    min_expected: float = 5,
    lfc_threshold: float = 0.5,
    fdr: float = 0.05,
    min_cells: int = 50,
    gene_symbols: str | None = None,
    n_null_splits: int = 20,
    key_added: str = "perturbation",
    mod: str | None = None,
    show_progress_bar: bool = True,
    rng: Seed = 0,
    copy: bool = False,
) -> AnnData | MuData | None:
    r"""
    Call the genes that respond to each perturbation, and measure how often the same test calls genes by chance.

    Every perturbed cell is compared with the control cells: those in ``obs["edge_cells"]`` when
    :func:`scepsis.pp.select_cells` was called, else all. All genes of `adata` are tested on log-normalised values and
    corrected within the perturbation by Benjamini-Hochberg. With :math:`m_1, m_0` the means of the two groups,

    .. math:: \mathrm{lfc} = \log_2 \frac{e^{m_1} - 1 + 10^{-9}}{e^{m_0} - 1 + 10^{-9}},

    and a responder has ``q < fdr`` and ``abs(lfc) > lfc_threshold``.

    A gene is *testable* when `min_expected` perturbed cells would express it at the rate of the control cells, and
    when it has a variance in either group. Kendiukhov (2026), analysis A01 :cite:p:`kendiukhov2026`, tests by Welch's
    t without this rule. On sparse counts that is not calibrated: where all perturbed cells have zero, their share of
    the error vanishes, t explodes, and the fold change is huge as well. The pooled variance does not vanish, so it is
    the default here; ``test="welch", min_expected=0`` gives the paper's labels. Whichever is chosen, the test runs on
    control cells against other control cells too, and what it calls there is reported.

    Parameters
    ----------
    adata
        Cells x genes with counts or log-normalised values, and a column of labels.
    groupby
        Column of ``obs`` with the perturbed gene of each cell. Cells without a label are left out. ``A+B`` stands for
        two genes at once.
    control
        Label of the control cells; with `overlapping`, ``"complement"`` stands for all labelled cells without the
        perturbation.
    overlapping
        Whether cells have several perturbations and count for each of them, as in screens with many guides in each
        cell: ``obsm[groupby]`` is read beside ``obs[groupby]``, both by :func:`scepsis.pp.assign_perturbations`.
    layer
        Layer with log-normalised values. None takes ``layers["lognorm"]``, else ``X`` when ``uns["log1p"]`` exists,
        else computes them from counts with totals over the genes of `adata`.
    test
        ``"student"`` (pooled variance), ``"welch"`` or ``"mannwhitney"`` (asymptotic, corrected for ties).
    min_expected
        Expected expressing cells that make a gene testable; 0 switches the rule off.
    lfc_threshold
        Absolute log2 fold change above which a gene may be a responder.
    fdr
        False discovery rate within a perturbation.
    min_cells
        Cells below which a perturbation, or the control group, is not tested.
    gene_symbols
        Column of ``var`` that the labels are written in. None means ``var_names``.
    n_null_splits
        Control-against-control splits for each of the smallest, median and largest number of perturbed cells.
    key_added
        Name of the label set; several live side by side.
    mod
        Modality, for MuData.
    show_progress_bar
        Whether to show progress.
    rng
        Seed of the control splits.
    copy
        Whether to return a changed copy and leave `adata` alone.

    Returns
    -------
    None, or the copy. Written are, with genes in rows and perturbations in columns:

    ``varm["<key_added>_lfc"]``
        float32, log2 fold change; NaN where the gene is not testable.
    ``varm["<key_added>_qval"]``
        float32, Benjamini-Hochberg adjusted p-value, two-sided; NaN likewise.
    ``varm["<key_added>_target"]``
        float32, 1 for a responder, 0 for a tested gene that is none; NaN likewise, which is never a negative.
    ``uns["<key_added>_effects"]["perturbations"]``
        Frame in the order of the columns: `perturbation`, `gene` (its name in ``var_names``, "" when it is not there),
        `n_cells`, `n_testable`, `n_targets` (the perturbed gene counts when it responds) and `status`: ``ok``,
        ``multi_target`` (effects are computed), ``too_few_units`` (too few cells, or no gene is testable).
    ``uns["<key_added>_effects"]["false_calls"]``
        Frame of the control splits: `n_cells`, `test`, `n_splits`, `share_of_genes` (called among testable genes),
        `share_of_splits` (splits with any call; nominal is `fdr`), `status`. A call is ``q < fdr``.
    ``uns["<key_added>_effects"]["params"]``
        Parameters, seed, slot of the values, number and hash of control cells and genes, and hash of the labels.

    Raises
    ------
    KeyError
        When a column or layer does not exist.
    TypeError
        When labels are not strings.
    ValueError
        When `control` does not occur, there is nothing else, or values are negative, not finite or not on a log scale.

    Notes
    -----
    One pass over the cells sums what the t tests need, so time and memory follow the stored values and
    perturbations x genes; Mann-Whitney ranks the cells anew for each perturbation and keeps them in memory.
    Of a dask array, the sums are made chunk by chunk where dask has the chunks.
    Splits share their control cells, so their false calls are not independent of each other.

    With `overlapping`, what else a cell carries adds noise but no bias as long as guides come into cells independently
    of each other. The complement then has nearly all cells, perturbed for other genes: all of them are compared,
    whether edges are made from them or not.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.tl.perturbation_effects(adata)
    >>> targets = sps.get.effects(adata, "target")
    >>> targets.shape
    (300, 40)
    """
    data = adata.copy() if copy else adata
    target = resolve(data, mod)
    require_choice(test, TESTS, argument="test")
    require_key(key_added, argument="key_added")
    for name, value, minimum in (
        ("min_expected", min_expected, 0),
        ("lfc_threshold", lfc_threshold, 0),
        ("min_cells", min_cells, 2),
        ("n_null_splits", n_null_splits, 1),
    ):
        require_positive(value, argument=name, minimum=minimum)
    if not 0 < fdr < 1:
        msg = f"`fdr` must be between 0 and 1, not {fdr!r}."
        raise ValueError(msg)
    seed = resolve_seed(rng)
    rule = CallRule(test, min_expected, lfc_threshold, fdr)
    unperturbed = control
    if overlapping:
        labels, unperturbed = read_overlapping(target, groupby, control)
    else:
        labels = read_labels(target, groupby, control)
    complement = overlapping and control == COMPLEMENT
    genes = perturbed_genes(target, labels, control=control, gene_symbols=gene_symbols)
    values = lognorm(target, layer)
    pool = np.flatnonzero(labels.is_control) if complement else _control_cells(target, labels, groupby)
    tested, contrasts = _plan(labels, pool, min_cells, n_null_splits, seed)
    contrasts = replace(contrasts, complement=complement)
    calls = _calls(values, contrasts, rule, target.shape, show=show_progress_bar)

    keys = EffectKeys(key_added)
    arrays = _arrays(calls, tested, (target.n_vars, len(labels.names)))
    perturbations = _perturbations_frame(labels, genes, arrays["target"])
    false = _false_calls_frame(contrasts.splits, calls, rule)
    params = record(
        **asdict(rule),
        groupby=groupby,
        control=control,
        overlapping=overlapping or None,
        unperturbed=unperturbed if overlapping else None,
        min_cells=int(min_cells),
        gene_symbols=gene_symbols,
        n_null_splits=int(n_null_splits),
        seed=seed,
        values=values.slot if values.totals is None else f"{values.slot}, log-normalised",
        labels_hash=hash_strings([hash_array(arrays["target"]), *labels.names]),
        **_provenance(target, contrasts.control, groupby, control),
    )
    write(
        target,
        varm={keys.lfc: arrays["lfc"], keys.qval: arrays["qval"], keys.target: arrays["target"]},
        uns={keys.uns: {"params": params, "perturbations": perturbations, "false_calls": false}},
    )
    _say(false, rule)
    return data if copy else None


def _control_cells(adata: AnnData, labels: Labels, groupby: str) -> IntArray:
    """Control cells that everything else is made from too, or all of them when none were chosen."""
    chosen = labels.is_control
    if EDGE_CELLS in adata.obs:
        chosen = chosen & choose_cells(adata, EDGE_CELLS).mask
        if not chosen.any():
            msg = (
                f"None of the cells in `adata.obs[{EDGE_CELLS!r}]` is a control cell by `adata.obs[{groupby!r}]`. "
                f"Call `scepsis.pp.select_cells(adata, groupby={groupby!r}, control=...)` anew."
            )
            raise ValueError(msg)
    return np.flatnonzero(chosen)


def _plan(
    labels: Labels, control: IntArray, min_cells: int, n_null_splits: int, seed: int
) -> tuple[list[int], Contrasts]:
    """Positions of the perturbations with enough cells, and the comparisons to be made."""
    cells = [labels.cells(position) for position in range(len(labels.names))]
    tested = [position for position, group in enumerate(cells) if len(group) >= min_cells]
    if len(control) < min_cells:
        warnings.warn(
            f"There are {len(control)} control cells, fewer than `min_cells={min_cells}`: no perturbation is tested.",
            UserWarning,
            stacklevel=3,
        )
        tested = []
    sizes = [len(cells[position]) for position in tested] or [min_cells]
    splits = null_splits(len(control), sizes, n_null_splits, seed)
    return tested, Contrasts([cells[position] for position in tested], control, splits)


def _calls(
    values: Values, contrasts: Contrasts, rule: CallRule, shape: tuple[int, int], *, show: bool
) -> Iterator[Calls]:
    """Give the calls of every perturbation, then of every null split, one at a time."""
    cells = contrasts.cells(shape[0])
    moments = None
    if is_dask(values.matrix) and rule.test != "mannwhitney":
        members = membership(contrasts.groups, shape[0])
        moments = sum_log_parts(
            values, cells, partial(member_moments, n_genes=shape[1]), arguments=lambda rows: (members[rows],)
        )
    blocks = values.log_blocks(cells)
    with progress_bar(total=len(contrasts), desc="perturbation effects", unit="contrast", show=show) as bar:
        for found in run_contrasts(contrasts, blocks, rule, n_cells=shape[0], n_genes=shape[1], moments=moments):
            bar.update()
            yield found


def _arrays(calls: Iterator[Calls], tested: list[int], shape: tuple[int, int]) -> dict[str, FloatArray]:
    """Genes x perturbations for each kind of result; a perturbation that was not tested is NaN throughout."""
    arrays = {kind: np.full(shape[::-1], np.nan, dtype=np.float32) for kind in Calls._fields}
    for position, found in zip(tested, calls, strict=False):  # the calls of the null splits stay in the iterator
        for kind, values in found._asdict().items():
            arrays[kind][position] = values
    return {kind: np.ascontiguousarray(array.T) for kind, array in arrays.items()}


def _perturbations_frame(labels: Labels, genes: PerturbedGenes, target: FloatArray) -> pd.DataFrame:
    n_testable = (~np.isnan(target)).sum(axis=0)
    status = np.where(n_testable == 0, "too_few_units", np.where(genes.is_multiple, "multi_target", "ok"))
    return pd.DataFrame(
        {
            "perturbation": labels.names,
            "gene": genes.genes,
            "n_cells": [len(labels.cells(position)) for position in range(len(labels.names))],
            "n_testable": n_testable,
            "n_targets": (target == 1).sum(axis=0),
            "status": status.astype(object),
        }
    )


def _false_calls_frame(splits: Sequence[NullSplit], calls: Iterator[Calls], rule: CallRule) -> pd.DataFrame:
    rows = false_calls(splits, calls, rule.fdr) or [FalseCalls(0, 0, np.nan, np.nan)]
    frame = pd.DataFrame(rows)
    frame.insert(1, "test", rule.test)
    frame["status"] = np.where(frame["n_splits"] > 0, "ok", "too_few_units").astype(object)
    return frame


def _provenance(adata: AnnData, cells: IntArray, groupby: str, control: str) -> dict[str, Any]:
    """Control cells and genes behind the effects; the cells have a column of their own only if `edge_cells` is it."""
    mask = np.zeros(adata.n_obs, dtype=bool)
    mask[cells] = True
    same = EDGE_CELLS in adata.obs and np.array_equal(mask, adata.obs[EDGE_CELLS].to_numpy())
    return provenance(
        adata,
        Choice(mask, EDGE_CELLS if same else None),
        Choice(np.ones(adata.n_vars, dtype=bool), ""),
        cells_name=f"{groupby} == {control}",
        genes_name="",
    )


def _say(false: pd.DataFrame, rule: CallRule) -> None:
    """One line about the false calls of every run, and a warning when they are far above nominal."""
    shares = ", ".join(
        f"{row.share_of_splits:.0%} of {row.n_splits} at {row.n_cells} cells" for row in false.itertuples()
    )
    logger.info("control-against-control splits with a false call of test=%r: %s", rule.test, shares or "none possible")
    alarming = false[false["share_of_splits"] > max(ALARMING_SHARE, ALARMING_RATIO * rule.fdr)]
    if alarming.empty:
        return
    worst = alarming.sort_values("share_of_splits").iloc[-1]
    calibrated = rule.test != "welch" and rule.min_expected >= CallRule.min_expected
    remedy = "Raise `min_expected`." if calibrated else "The default, `test='student', min_expected=5`, is calibrated."
    warnings.warn(
        f"`test={rule.test!r}` calls genes where nothing responds: on {worst['share_of_splits']:.0%} of "
        f"{worst['n_splits']} splits of control cells ({worst['n_cells']} against the others) at least one gene has "
        f"q < {rule.fdr} (nominal {rule.fdr:.0%}), {worst['share_of_genes']:.1%} of the testable genes on average. "
        f"Part of the targets of small perturbations is false. {remedy}",
        UserWarning,
        stacklevel=3,
    )
