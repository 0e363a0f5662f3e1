"""The registry of tests as a frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from scepsis._core._analyses import ANALYSES
from scepsis._core._registry import Role, holder_of_tests, read_tests
from scepsis._core._types import Status
from scepsis._core._validate import listing

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from scepsis._core._types import Data


KNOWN = {"analysis": tuple(ANALYSES), "role": get_args(Role), "status": get_args(Status)}


def tests(
    adata: Data,
    *,
    analysis: str | Sequence[str] | None = None,
    edges: str | Sequence[str] | None = None,
    reference: str | Sequence[str] | None = None,
    effects: str | Sequence[str] | None = None,
    role: str | Sequence[str] | None = None,
    status: str | Sequence[str] | None = None,
    key: str | Sequence[str] | None = None,
    mod: str | None = None,
) -> pd.DataFrame:
    """
    Tests in the registry, those of the last call last.

    Parameters
    ----------
    adata
        Data with a registry, ``uns["tests"]``.
    analysis
        Analyses, one or several, such as ``"A04"``; None lets all through, here and below.
    edges
        Names of sets of edges.
    reference
        Names of references; ``""`` for tests against labels.
    effects
        Label sets; ``""`` for tests against a reference.
    role
        ``"confirmatory"``, ``"descriptive"`` or ``"exploratory"``.
    status
        ``"ok"``, or why there is no number (the page on concepts lists the words).
    key
        Names of results, `key_added` of the calls that tested.
    mod
        Modality, for MuData; without it, the tests across modalities (`scepsis.tl.cross_context`).

    Returns
    -------
    A copy of the rows asked for: what was tested on what, the numbers, the corrected p-values once
    `scepsis.tl.correct_tests` was called, and how often it was run. The page on slots lists the columns.

    Raises
    ------
    KeyError
        Nothing has been tested.
    ValueError
        No analysis, role or status is called so, or nothing was tested under that name.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.pp.select_cells(adata)
    >>> sps.pp.gene_features(adata)
    >>> sps.tl.correlation_edges(adata)
    >>> sps.tl.perturbation_effects(adata)
    >>> sps.tl.perturbation_auroc(adata, edges="spearman", baselines="variance")
    >>> sps.get.tests(adata, analysis="A04")["name"].tolist()
    ['vs_variance']
    """
    frame = read_tests(holder_of_tests(adata, mod))
    asked = {
        "analysis": analysis,
        "edges": edges,
        "reference": reference,
        "effects": effects,
        "role": role,
        "status": status,
        "key": key,
    }
    kept = frame["test_id"].notna()
    for column, values in asked.items():
        if values is None:
            continue
        wanted = [values] if isinstance(values, str) else list(values)
        possible = KNOWN.get(column, tuple(dict.fromkeys(frame[column])))
        absent = [value for value in wanted if value not in possible]
        if absent:
            msg = f"`{column}` has no value {listing(absent)}; there are: {listing(possible, limit=len(possible))}."
            raise ValueError(msg)
        kept &= frame[column].isin(wanted)
    return frame[kept].reset_index(drop=True)
