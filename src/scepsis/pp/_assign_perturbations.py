from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import pandas as pd

from scepsis._core._guide_targets import targets_of
from scepsis._core._guides import read_guides
from scepsis._core._keys import AssignmentKeys
from scepsis._core._labels import ANY_NUMBER
from scepsis._core._resolve import resolve
from scepsis._core._store import record, write
from scepsis._core._validate import require_choice, require_column, require_key, require_positive
from scepsis.pp._assignment import STATES, Crispr, assign, call_guides, ineffective, own_efficacy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from anndata import AnnData

    from scepsis._core._types import Data, IntArray
    from scepsis.pp._assignment import Assignment, Calls

logger = logging.getLogger(__name__)


def assign_perturbations(
    adata: Data,
    guides: str | AnnData | pd.DataFrame,
    *,
    targets: str | Mapping[str, str] | pd.Series[str] | None = None,
    target_pattern: str | None = None,
    control_guides: str | Sequence[str] | None = None,
    separator: str | None = None,
    method: Literal["mixture", "threshold"] = "mixture",
    min_counts: int = 3,
    min_share: float = 0.0,
    max_targets: int | None = 1,
    control: str = "non-targeting",
    crispr: Crispr = "unknown",
    min_efficacy: float | None = None,
    gene_symbols: str | None = None,
    key_added: str = "perturbation",
    mod: str | None = None,
    copy: bool = False,
) -> Data | None:
    r"""
    Say what was done to each cell of a screen, from the guides that were counted in it :cite:p:`replogle2020`.

    Guides are called in cells, guides become targets, and targets become labels that
    :func:`scepsis.tl.perturbation_effects` reads: several guides of one target are one perturbation, guides without a
    target beside one with a target do not matter, and two targets are ``A+B``.

    With ``method="mixture"``, the counts c of each guide are those of two kinds of cells, without it and, in a share
    :math:`\pi`, with it,

    .. math:: (1 - \pi) \, \mathrm{NB}(c; m, r) + \pi \frac{\phi((\ln c - \mu) / \sigma)}{\sigma c}\,[c > 0],

    NB being negative binomial with mean m and size r (from the moments; molecules drift in by clumps), and a cell has
    the guide from the smallest count on at which that is the likelier. So a guide that drifts into many cells needs
    more molecules than one that does not.

    Parameters
    ----------
    adata
        Cells x genes.
    guides
        Counts of guides: a modality of MuData, a key of ``obsm`` (a frame with guides in columns), or an AnnData or
        frame of cells x guides, matched by the names of cells. Or a column of ``obs`` with guides, or labels, that
        were called before; several in one cell are divided by `separator`.
    targets
        Target of each guide (missing or "" for none): a dict, a series, or a column of ``var`` of the guides. A guide
        that it does not have is judged by its name.
    target_pattern
        Regular expression whose first group, from the start of a guide's name, is the target.
    control_guides
        Guides without a target whose names do not say so.
    separator
        Between the guides of a column of ``obs``; None means ``+`` or ``;``.
    method
        ``"mixture"``, or ``"threshold"``: from `min_counts` on, for all guides.
    min_counts
        Smallest count that can be a guide.
    min_share
        Share of a cell's guide counts that a guide must have.
    max_targets
        Targets above which a cell gets no label: 1 where each cell should have one guide and two mean two cells, 2 for
        pairs, None for designs with many guides in each cell.
    control
        Label of cells with guides without a target and no others.
    crispr
        What is done to targets. It is recorded, and `min_efficacy` needs it.
    min_efficacy
        Guides that take less than this share of their target's expression away (``"interference"``), or add less than
        this multiple (``"activation"``), are left out. Guides whose target is measured in too few cells stay.
    gene_symbols
        Column of ``var`` that guides are named after; None means ``var_names``.
    key_added
        Name of the column of labels.
    mod
        Modality with the genes, for MuData.
    copy
        Return a changed copy instead of writing into `adata`.

    Returns
    -------
    None, or the copy. Sets

    ``obs["<key_added>"]``
        Categorical labels; missing for cells without one.
    ``obs["<key_added>_guides"]``, ``obs["<key_added>_state"]``
        Guides called in each cell, joined by ``;``, and what follows: ``perturbed``, ``control``, ``several_targets``,
        ``no_guide``, ``ineffective_guide`` (only such), ``no_counts`` (the matrix of guides has no such cell).
    ``obsm["<key_added>"]``
        Cells x targets, sparse: 1 where a perturbed cell has the target. Cells with several count for each of them
        with ``perturbation_effects(..., overlapping=True)``.
    ``uns["<key_added>_assignment"]``
        ``params`` and frames. ``guides``: ``guide, target`` ("" for none), ``rule`` (how the target was found:
        ``given``, ``gene``, ``pattern``, ``as it is``, ``control``), ``n_cells, threshold``; of the mixture,
        ``background`` (m), ``background_size`` (r), ``log_mean``, ``log_sd``, ``share``; on the target's expression,
        ``n_control``, ``remaining`` (normalised, over that in control cells), ``p_value`` (t test), ``is_measurable``;
        ``kept`` and ``status`` (``ok``, ``too_few_units``: no mixture could be fitted, and no cell has the guide).
        ``targets``: ``target, n_guides, n_cells``, in the order of the columns of ``obsm``. ``cells``: ``state,
        n_cells``.

    Raises
    ------
    KeyError
        `guides`, `targets` or `gene_symbols` name nothing.
    TypeError
        Guides are no AnnData and no frame of numbers.
    ValueError
        Fewer than half of the cells have a row of guides, or guides are no counts; no cell has a guide; `min_efficacy`
        without saying whether targets go down or up; a column of labels would be overwritten.

    Notes
    -----
    Control cells of the efficacy are those with guides without a target alone, or, where these are fewer than 30, all
    cells without a guide against the target. It is measured where 5 cells with the guide are expected to express the
    target. A knock-out need not change the messenger, so it has no filter.

    Fitting takes some milliseconds per guide.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> true = adata.obs.pop("perturbation").astype(str)
    >>> noise = np.random.default_rng(0).poisson(0.1, (adata.n_obs, true.nunique()))
    >>> counts = pd.get_dummies(true + "_g1") * 40 + noise
    >>> sps.pp.assign_perturbations(adata, counts)
    >>> bool((adata.obs["perturbation"].astype(str) == true).mean() > 0.99)
    True
    """
    data = adata.copy() if copy else adata
    target = resolve(data, mod)
    keys = _require_arguments(guides, method, min_counts, min_share, max_targets, crispr, min_efficacy, key_added)
    counted = read_guides(data, target, guides, separator)
    symbols = target.var_names if gene_symbols is None else require_column(target.var, gene_symbols, slot="var")
    position = {str(name): place for place, name in enumerate(symbols)}
    found = targets_of(counted, position.keys(), targets=targets, pattern=target_pattern, control_guides=control_guides)
    calls = call_guides(counted, method, int(min_counts), float(min_share))
    if not calls.has.nnz:
        msg = f"No cell has a guide of `{counted.slot}` with at least {min_counts} counts. Lower `min_counts`."
        raise ValueError(msg)
    measured = {str(name): position[str(name)] for name in pd.Index(symbols).drop_duplicates(keep=False)}
    efficacy = own_efficacy(target, calls.has, found["target"], measured)
    dropped = np.zeros(len(found), dtype=bool)
    if min_efficacy is not None:
        dropped = ineffective(
            efficacy["remaining"].to_numpy(), efficacy["is_measurable"].to_numpy(dtype=bool), crispr, min_efficacy
        )
    result = assign(counted, calls.has, dropped, found["target"].to_numpy(), control, max_targets)
    n_cells = np.diff(calls.has.indptr)
    params = record(
        guides=counted.slot,
        guides_are_calls=counted.are_calls,
        targets=targets if isinstance(targets, str) else None,
        target_pattern=target_pattern,
        control_guides=[control_guides] if isinstance(control_guides, str) else control_guides,
        separator=separator,
        method="called" if counted.are_calls else method,
        min_counts=int(min_counts),
        min_share=float(min_share),
        max_targets=ANY_NUMBER if max_targets is None else int(max_targets),
        control=control,
        crispr=crispr,
        min_efficacy=min_efficacy,
        gene_symbols=gene_symbols,
    )
    frames = {
        "guides": _guides_frame(found, calls, n_cells, efficacy, dropped),
        "targets": _targets_frame(result, found, dropped),
        "cells": _cells_frame(result),
    }
    write(
        target,
        obs={key_added: result.labels, keys.guides: result.guides, keys.state: pd.Categorical(result.state)},
        obsm={key_added: result.members},
        uns={keys.uns: {"params": params, **frames}},
    )
    _say(frames)
    return data if copy else None


def _require_arguments(
    guides: object,
    method: str,
    min_counts: int,
    min_share: float,
    max_targets: int | None,
    crispr: str,
    min_efficacy: float | None,
    key_added: str,
) -> AssignmentKeys:
    require_choice(method, ("mixture", "threshold"), argument="method")
    require_choice(crispr, get_args(Crispr), argument="crispr")
    require_key(key_added, argument="key_added")
    require_positive(min_counts, argument="min_counts")
    if max_targets is not None:
        require_positive(max_targets, argument="max_targets")
    if not 0 <= min_share <= 1:
        msg = f"`min_share` must lie between 0 and 1, not {min_share!r}."
        raise ValueError(msg)
    if guides == key_added if isinstance(guides, str) else False:
        msg = f"The labels would overwrite `{guides}`, which they are made from. Pass another `key_added=`."
        raise ValueError(msg)
    if min_efficacy is not None:
        require_positive(min_efficacy, argument="min_efficacy", minimum=0)
        if crispr not in {"interference", "activation"}:
            why = "a knock-out need not change the messenger" if crispr == "knockout" else "targets go down or up"
            msg = f"`min_efficacy` needs `crispr='interference'` or `crispr='activation'`, not {crispr!r}: {why}."
            raise ValueError(msg)
    return AssignmentKeys(key_added)


def _guides_frame(
    found: pd.DataFrame, calls: Calls, n_cells: IntArray, efficacy: pd.DataFrame, dropped: object
) -> pd.DataFrame:
    frame = found.assign(n_cells=n_cells, threshold=calls.threshold)
    frame = pd.concat([frame, calls.table, efficacy], axis=1)
    frame["kept"] = ~np.asarray(dropped)
    frame["status"] = np.where(np.isfinite(calls.threshold), "ok", "too_few_units").astype(object)
    return frame


def _targets_frame(result: Assignment, found: pd.DataFrame, dropped: object) -> pd.DataFrame:
    n_guides = found.loc[~np.asarray(dropped), "target"].value_counts()
    return pd.DataFrame(
        {
            "target": pd.Series(result.targets, dtype=object),
            "n_guides": [int(n_guides[name]) for name in result.targets],
            "n_cells": np.asarray(result.members.sum(axis=0)).ravel().astype(np.int64),
        }
    )


def _cells_frame(result: Assignment) -> pd.DataFrame:
    return pd.DataFrame({"state": STATES, "n_cells": [int((result.state == one).sum()) for one in STATES]})


def _say(frames: dict[str, pd.DataFrame]) -> None:
    cells = frames["cells"].set_index("state")["n_cells"]
    logger.info(
        "%d targets in %d cells; %s",
        len(frames["targets"]),
        cells["perturbed"],
        ", ".join(f"{cells[one]} {one.replace('_', ' ')}" for one in STATES[1:]),
    )
    weak = frames["guides"].loc[~frames["guides"]["kept"], "guide"]
    if len(weak):
        logger.info("%d guides do too little to their target and are left out", len(weak))
    if not cells["control"]:
        logger.warning(
            "no cell is a control: no guide without a target was found (`control_guides=`), or every cell has another "
            "guide too. Compare with the complement: `perturbation_effects(overlapping=True, control='complement')`."
        )
