"""Every test as one table for a supplement."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from scepsis._core._analyses import ANALYSES
from scepsis._core._registry import read_tests
from scepsis._core._resolve import resolve
from scepsis._core._validate import listing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scepsis._core._types import Data

#: Columns of the table, and where they come from.
COLUMNS = {
    "edges": "edges",
    "analysis": "analysis",
    "title": "",
    "test": "name",
    "against": "",
    "role": "role",
    "method": "test_type",
    "effect": "effect_size",
    "effect type": "effect_type",
    "95 % low": "ci_low",
    "95 % high": "ci_high",
    "p": "p_raw",
    "q (BH)": "p_bh",
    "q (BY)": "p_by",
    "unit": "unit",
    "units": "n_units",
    "pairs": "n",
    "positive": "n_pos",
    "null mean": "null_mean",
    "null sd": "null_sd",
    "baseline": "baseline_name",
    "baseline value": "baseline_value",
    "equivalence": "equivalence",
    "margin": "margin",
    "detectable": "minimum_detectable",
    "runs": "n_runs",
    "settings": "n_distinct_params",
    "status": "status",
    "note": "reason",
}


def summary(adata: Data, *, edges: str | Sequence[str] | None = None, mod: str | None = None) -> pd.DataFrame:
    """
    Every test as one tidy table, for the supplement of a paper.

    Parameters
    ----------
    adata
        Data with a registry, ``uns["tests"]``.
    edges
        Names of sets of edges; None takes all.
    mod
        Modality, for MuData.

    Returns
    -------
    Frame with one row for each test, by edges and analysis: what was tested, on what, the effect with its interval,
    the p-value as computed and corrected (empty until `scepsis.tl.correct_tests` is called), how many units it rests
    on, the null, the strongest trivial comparator, what a result that is not significant says, how often it was run
    with how many settings, and its status. Nothing is left out: tests that could not be made are rows with a reason.
    ``.to_csv(path, index=False)`` and ``.to_latex(index=False, escape=True)`` write it; `scepsis.get.methods` gives
    the paragraph that belongs to it.

    Raises
    ------
    KeyError
        Nothing has been tested, or nothing of these edges.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.pp.select_cells(adata)
    >>> sps.pp.gene_features(adata)
    >>> sps.tl.correlation_edges(adata)
    >>> sps.tl.perturbation_effects(adata)
    >>> sps.tl.perturbation_auroc(adata, edges="spearman", baselines=("variance", "mean"))
    >>> sps.get.summary(adata)[["edges", "analysis", "test"]].to_numpy().tolist()[0]
    ['spearman', 'A01', 'above_chance']
    """
    tests = read_tests(resolve(adata, mod))
    known = list(dict.fromkeys(tests["edges"]))
    names = known if edges is None else [edges] if isinstance(edges, str) else list(edges)
    absent = [name for name in names if name not in known]
    if absent:
        msg = f"`adata.uns['tests']` has no row of the edges {listing(absent)}; there are: {listing(known)}."
        raise KeyError(msg)
    tests = tests[tests["edges"].isin(names)]
    place = {name: position for position, name in enumerate(names)}
    order = np.lexsort((tests["analysis"].map(list(ANALYSES).index), tests["edges"].map(place)))
    tests = tests.iloc[order].reset_index(drop=True)
    made = {
        "title": tests["analysis"].map(lambda name: ANALYSES[name].title),
        "against": tests["reference"].where(tests["reference"] != "", tests["effects"]),
    }
    return pd.DataFrame({name: tests[source] if source else made[name] for name, source in COLUMNS.items()})
