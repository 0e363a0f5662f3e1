from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from scepsis._core._analyses import FAMILIES
from scepsis._core._keys import TESTS
from scepsis._core._registry import holder_of_tests, read_tests, reruns, run_words, uncorrected
from scepsis._core._store import record, write
from scepsis._core._validate import require_between, require_key
from scepsis.stats._multiplicity import benjamini_hochberg, benjamini_yekutieli, two_level

if TYPE_CHECKING:
    from scepsis._core._types import BoolArray, Data, FloatArray

logger = logging.getLogger(__name__)


def correct_tests(
    adata: Data,
    *,
    alpha: float = 0.05,
    key_added: str = "correct_tests",
    mod: str | None = None,
    copy: bool = False,
) -> Data | None:
    r"""
    Correct every test in the registry for how many there are :cite:p:`kendiukhov2026`.

    A claim that holds only in the family of tests that suits it is not stable. Every test is therefore corrected in
    three families, by Benjamini-Hochberg :cite:p:`benjamini1995`:

    - ``confirmatory`` (A): all confirmatory tests.
    - ``maximal`` (B): these and all descriptive ones. A descriptive row without a p-value counts as one with p = 1.
    - ``primary`` (C): one test for each analysis, that which was fixed as its primary. With several sets of edges
      there is a family for each of them. Where an analysis was run more than once on the same edges (under several
      names, on several references), its last primary test counts.

    Exploratory tests, those that were chosen after seeing results, have a family of their own. Rows whose status is
    not ``ok`` are in no family and are counted.

    Parameters
    ----------
    adata
        Data with a registry, ``uns["tests"]``.
    alpha
        False discovery rate at which tests are called significant.
    key_added
        Name of the result.
    mod
        Modality, for MuData; without it, the tests across modalities (`scepsis.tl.cross_context`).
    copy
        Return a changed copy instead of writing into `adata`.

    Returns
    -------
    None, or the copy. Fills in, in ``uns["tests"]``, ``p_bh``, ``p_by`` :cite:p:`benjamini2001` and ``significant``
    (family A, or that of the exploratory tests; missing for a descriptive row), ``p_bh_maximal`` and
    ``significant_maximal``, ``p_bh_primary`` and ``significant_primary``. Sets ``uns[key_added]``:

    ``["families"]``
        One row for each family: ``family, edges`` (empty for all), ``n_rows``, ``n`` in the family, ``n_excluded``
        and ``excluded`` (how many of which status), ``n_significant``, ``n_significant_by`` (by
        Benjamini-Yekutieli, valid under any dependence). ``maximal_tested`` is the maximal family without the rows
        that have no p-value.
    ``["two_level"]``
        One row for each family of analyses (F1 to F5 and so on) with confirmatory tests: ``family, n, p_simes,
        p_bh, selected, level, n_significant, tests`` (ids of these, joined by ``;``).
    ``["stability"]``
        One row for each test that is in A, B and C: ``test_id, edges, confirmatory, maximal, primary, stable``.
    ``["reruns"]``
        What was run more than once: ``analysis, key, edges, reference, effects, n_runs, n_distinct_params``.
    ``["params"]``
        ``alpha``, the numbers of tests, of those in all three families and of the stable among them.

    Raises
    ------
    KeyError
        Nothing has been tested.
    ValueError
        `alpha` is not between 0 and 1.

    Notes
    -----
    A test that is significant after Benjamini-Hochberg in one family need not be in a larger one:

    .. math:: q_{(i)} = \min_{j \ge i} \min\left(1, \frac{m\,p_{(j)}}{j}\right)

    and Benjamini-Yekutieli multiplies by :math:`\sum_{j \le m} 1/j`. The two-level selection first asks which
    families of analyses hold anything (Simes' p-value, Benjamini-Hochberg over the m families), then reads the tests
    of the R selected ones at ``alpha R / m`` :cite:p:`benjamini2014`.

    Corrections are emptied as soon as a tool adds a test: call this again.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.pp.select_cells(adata)
    >>> sps.pp.gene_features(adata)
    >>> sps.tl.correlation_edges(adata)
    >>> sps.tl.perturbation_effects(adata)
    >>> sps.tl.perturbation_auroc(adata, edges="spearman", baselines=("variance", "mean"))
    >>> sps.tl.correct_tests(adata)
    >>> adata.uns["correct_tests"]["families"]["family"].tolist()
    ['confirmatory', 'maximal', 'maximal_tested', 'primary', 'exploratory']
    """
    data = adata.copy() if copy else adata
    target = holder_of_tests(data, mod)
    require_between(alpha, 0, 1, argument="alpha")
    require_key(key_added, argument="key_added")
    tests = uncorrected(read_tests(target))
    found = _families(tests)
    for name, family in found.items():
        _fill(tests, name.partition("/")[0], family, float(alpha))
    stable = _stability(tests)
    again = reruns(tests)
    result = {
        "params": record(
            alpha=float(alpha), n_tests=len(tests), n_inferences=len(stable), n_stable=int(stable["stable"].sum())
        ),
        "families": pd.DataFrame([_counted(tests, name, family, float(alpha)) for name, family in found.items()]),
        "two_level": _two_level(tests, found["confirmatory"], float(alpha)),
        "stability": stable,
        "reruns": again,
    }
    write(target, uns={TESTS: tests, key_added: result})
    for _, row in again.iterrows():
        logger.info("%s (%s) of %s: %s", row["analysis"], row["key"], row["edges"], run_words(row))
    return data if copy else None


class _Family(NamedTuple):
    """Tests that are corrected together."""

    #: Rows that would belong to it whatever their status, and those that do.
    eligible: BoolArray
    members: BoolArray
    #: p-value of every row of the registry, NaN outside.
    p: FloatArray
    edges: str = ""


def _families(tests: pd.DataFrame) -> dict[str, _Family]:
    """Every family by its name; a family for single edges has them after a ``/``."""
    p = tests["p_raw"].to_numpy(dtype=np.float64)
    ok, role = tests["status"].to_numpy() == "ok", tests["role"].to_numpy()
    told = ok & ~np.isnan(p)
    confirmatory, planned = role == "confirmatory", role != "exploratory"

    def family(eligible: BoolArray, members: BoolArray, edges: str = "") -> _Family:
        return _Family(eligible, members, np.where(members, np.where(np.isnan(p), 1.0, p), np.nan), edges)

    result = {
        "confirmatory": family(confirmatory, confirmatory & told),
        "maximal": family(planned, planned & ok),
        "maximal_tested": family(planned, planned & told),
    }
    primary = tests["is_primary"].to_numpy() & confirmatory
    for edges in dict.fromkeys(tests["edges"][primary]):
        own = primary & (tests["edges"] == edges).to_numpy()
        last = own & told
        last[last] = ~tests["analysis"][last].duplicated(keep="last").to_numpy()
        result[f"primary/{edges}"] = family(own, last, str(edges))
    return result | {"exploratory": family(~planned, ~planned & told)}


#: Columns that a family fills in: adjusted p-values and what is called significant.
FILLED = {
    "confirmatory": ("p_bh", "significant"),
    "exploratory": ("p_bh", "significant"),
    "maximal": ("p_bh_maximal", "significant_maximal"),
    "primary": ("p_bh_primary", "significant_primary"),
}


def _fill(tests: pd.DataFrame, name: str, family: _Family, alpha: float) -> None:
    if name not in FILLED:
        return
    adjusted, significant = FILLED[name]
    rows = family.members
    values = benjamini_hochberg(family.p)[rows]
    tests.loc[rows, adjusted] = values
    tests.loc[rows, significant] = values < alpha
    if adjusted == "p_bh":
        tests.loc[rows, "p_by"] = benjamini_yekutieli(family.p)[rows]


def _counted(tests: pd.DataFrame, name: str, family: _Family, alpha: float) -> dict[str, Any]:
    outside = tests[family.eligible & ~family.members]
    # a primary test that was run again, and a confirmatory one that is ok and has no p-value
    why = outside["status"].where(outside["status"] != "ok", "superseded" if family.edges else "without p")
    counts = why.value_counts(sort=False)
    return {
        "family": name.partition("/")[0],
        "edges": family.edges,
        "n_rows": int(family.eligible.sum()),
        "n": int(family.members.sum()),
        "n_excluded": len(outside),
        "excluded": "; ".join(f"{status} {number}" for status, number in counts.items()),
        "n_significant": int((benjamini_hochberg(family.p) < alpha).sum()),
        "n_significant_by": int((benjamini_yekutieli(family.p) < alpha).sum()),
    }


def _two_level(tests: pd.DataFrame, confirmatory: _Family, alpha: float) -> pd.DataFrame:
    member = {name: confirmatory.members & (tests["family"] == name).to_numpy() for name in FAMILIES}
    member = {name: rows for name, rows in member.items() if rows.any()}
    found = two_level([confirmatory.p[rows] for rows in member.values()], alpha)
    rows = [
        {
            "family": name,
            "n": int(own.sum()),
            "p_simes": found.p_family[index],
            "p_bh": found.q_family[index],
            "selected": bool(found.selected[index]),
            "level": found.level if found.selected[index] else np.nan,
            "n_significant": int(found.significant[index].sum()),
            "tests": ";".join(tests["test_id"][own][found.significant[index]]),
        }
        for index, (name, own) in enumerate(member.items())
    ]
    columns = ["family", "n", "p_simes", "p_bh", "selected", "level", "n_significant", "tests"]
    return pd.DataFrame(rows, columns=columns).astype({"selected": bool})


def _stability(tests: pd.DataFrame) -> pd.DataFrame:
    """Tests that are in all three families, and whether these agree."""
    columns = {"significant": "confirmatory", "significant_maximal": "maximal", "significant_primary": "primary"}
    found = tests[["test_id", "edges", *columns]].rename(columns=columns).dropna(subset=list(columns.values()))
    found = found.astype(dict.fromkeys(columns.values(), bool)).reset_index(drop=True)
    together = found[list(columns.values())].sum(axis=1)
    return found.assign(stable=together.isin([0, len(columns)]))
