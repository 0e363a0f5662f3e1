from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from scepsis._core._evidence import rows_of
from scepsis._core._registry import read_tests
from scepsis._core._resolve import resolve
from scepsis._core._store import record, write
from scepsis._core._validate import listing, require_key
from scepsis.tl._decision._criteria import QUESTIONS, criteria, overall, summary_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scepsis._core._types import Data
    from scepsis.tl._decision._criteria import Criterion


def verdict(
    adata: Data,
    *,
    edges: str | Sequence[str] = "attention",
    effects: str = "perturbation",
    reference_name: str | None = None,
    key_added: str = "verdict",
    mod: str | None = None,
    copy: bool = False,
) -> Data | None:
    r"""
    Decide by stated rules whether edges carry what gene-level features lack :cite:p:`kendiukhov2026`.

    Four criteria, all of which must hold. Each is judged from rows of the registry alone, all of them of the same
    edges, cells, genes and labels, so that no setting and no data set can be picked for one criterion that another
    was not judged on.

    (a) *Trivial baselines.* Edges rank responders better than each of variance, mean and detection rate of the
        target: difference above 0, signed-rank test over perturbations below 0.05 after Benjamini-Hochberg over the
        three. ``strict`` asks the same against how often the target responds elsewhere, and that the edges' AUROC is
        above that of a fitted gene-only model.
    (b) *Incremental value.* Over perturbation, gene and joint splits, the gain in AUROC and in average precision has
        a 95 % interval above 0 for the logistic learner (against gene features) and for boosted trees (against a
        placebo edge); and in each of these no recall\@k has an interval below 0, and one that is not at its ceiling
        has one above 0. ``material``: the smallest of these gains in AUROC is at least 0.005.
    (c) *Robustness to confounds.* Against a reference network, at least 80 % of the AUROC above chance is retained
        by residual edges under each residualizer, their AUROC has an interval above 0.5, and the edges stand more
        than 3 standard deviations above the degree-preserving null, more than any model-free score does.
    (d) *Causal.* With `scepsis.tl.ablate_heads`, at one readout: AUROC falls with the number of top heads that are
        taken out (Page's trend, one-sided, below 0.05); the primary top set costs more than random sets matched to it
        (below 0.05); top heads made uniform and MLPs taken out each cost something (below 0.05 after
        Benjamini-Hochberg over them); and each of these moves hidden states by more than 0.02 and what the readout is
        made from by more than rounding does. What cannot reach the readout counts neither way; where nothing can, the
        criterion is not assessable, nor where an intervention took no effect and none that did take effect fails.

    Parameters
    ----------
    adata
        Data with a registry, ``uns["tests"]``.
    edges
        Sets of edges, by the names in the registry.
    effects
        Label set that (a) and (b) are read for.
    reference_name
        Reference that (c) is read for; None takes the only one there is.
    key_added
        Name of the result.
    mod
        Modality, for MuData.
    copy
        Return a changed copy instead of writing into `adata`.

    Returns
    -------
    None, or the copy. Sets ``uns[key_added]``:

    ``["criteria"]``
        Five rows for each set of edges: ``edges, criterion`` (``a`` to ``d`` and ``overall``), ``question``,
        ``passed`` (missing: not assessable), ``strict``, ``material`` (missing where that means nothing), ``reason``
        in words, ``evidence`` (test ids joined by ``;``). ``overall`` is False if any criterion is, True if all four
        are, else missing.
    ``["evidence"]``
        One row for each condition of a criterion: ``edges, criterion, condition, test_id, holds``, the numbers of
        the row (``effect_size, effect_type, ci_low, ci_high, statistic, p_raw, q_value, minimum_detectable,
        n_units``), how often it was run with how many settings (``n_runs, n_distinct_params``), and ``told``.
    ``["params"]``
        All parameters.

    Raises
    ------
    KeyError
        Nothing has been tested, or nothing of these edges.

    Notes
    -----
    A criterion is not assessable, and never passed, when a test it needs is missing or has a status other than
    ``ok`` (a leak of labels, a null that did not mix, too few units), when how the layers of the edges were chosen is
    not on record, or when the tests are from different cells, genes or labels. The reason says which. Retention of
    edges that are not above chance is undefined, and fails (c).

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.pp.select_cells(adata)
    >>> sps.pp.gene_features(adata)
    >>> sps.tl.correlation_edges(adata)
    >>> sps.tl.perturbation_effects(adata)
    >>> sps.tl.perturbation_auroc(adata, edges="spearman")
    >>> sps.tl.verdict(adata, edges="spearman")
    >>> adata.uns["verdict"]["criteria"][["criterion", "passed"]].to_numpy().tolist()
    [['a', False], ['b', <NA>], ['c', <NA>], ['d', <NA>], ['overall', False]]
    """
    data = adata.copy() if copy else adata
    target = resolve(data, mod)
    require_key(key_added, argument="key_added")
    tests = read_tests(target)
    names = [edges] if isinstance(edges, str) else list(dict.fromkeys(edges))
    known = set(tests["edges"])
    absent = [name for name in names if name not in known]
    if absent or not names:
        msg = (
            f"`adata.uns['tests']` has no row of the edges {listing(absent)}; there are: {listing(sorted(known))}. "
            "Call `scepsis.tl.audit(adata, edges=...)` first."
        )
        raise KeyError(msg)
    judged = {name: criteria(rows_of(tests, name, effects, reference_name)) for name in names}
    result = {
        "params": record(edges=names, effects=effects, reference_name=reference_name or ""),
        "criteria": _table([row for name, found in judged.items() for row in _rows(name, found)], CRITERIA),
        "evidence": _table([row for name, found in judged.items() for row in _evidence(name, found)], EVIDENCE),
    }
    write(target, uns={key_added: result})
    return data if copy else None


CRITERIA = ("edges", "criterion", "question", "passed", "strict", "material", "reason", "evidence")
EVIDENCE = (
    "edges", "criterion", "condition", "test_id", "holds", "effect_size", "effect_type", "ci_low", "ci_high",
    "statistic", "p_raw", "q_value", "minimum_detectable", "n_units", "n_runs", "n_distinct_params", "told",
)  # fmt: skip
TRUTHS = ("passed", "strict", "material", "holds")


def _rows(edges: str, found: list[Criterion]) -> list[dict[str, Any]]:
    rows = [
        {
            "edges": edges,
            "criterion": one.name,
            "question": QUESTIONS[one.name],
            "passed": one.passed,
            "strict": one.strict,
            "material": one.material,
            "reason": one.reason,
            "evidence": one.evidence,
        }
        for one in found
    ]
    last: dict[str, Any] = {"edges": edges, "criterion": "overall", "question": QUESTIONS["overall"]}
    last |= {"passed": overall(one.passed for one in found), "reason": summary_of(found), "evidence": ""}
    return [*rows, last]


def _evidence(edges: str, found: list[Criterion]) -> list[dict[str, Any]]:
    return [{"edges": edges, "criterion": one.name} | part.row() for one in found for part in (*one.parts, *one.more)]


def _table(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=list(columns))
    truths = {name: "boolean" for name in TRUTHS if name in columns}
    counts = {name: "int64" for name in ("n_units", "n_runs", "n_distinct_params") if name in columns}
    floats = ("effect_size", "ci_low", "ci_high", "statistic", "p_raw", "q_value", "minimum_detectable")
    return frame.astype(truths | counts | {name: "float64" for name in floats if name in columns})
