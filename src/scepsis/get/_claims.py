"""What may be claimed of edges, each claim with the tests that it rests on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from scepsis._core._evidence import AGAINST_RANDOM, MIN_MOVED, Piece, rows_of
from scepsis._core._keys import DETECTION_RATE, MEAN, VARIANCE
from scepsis._core._numbers import decimal, equals, interval, signed
from scepsis._core._registry import read_tests
from scepsis._core._resolve import resolve
from scepsis._core._validate import listing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from scepsis._core._evidence import Rows
    from scepsis._core._types import Data

Verdict = Literal["supported", "null-equivalent", "inconclusive", "contradicted"]
ALPHA = 0.05
MIN_RETENTION = 0.8
#: Edges that others are asked to differ from.
CORRELATION = "spearman"
RESIDUALIZERS = ("ols", "gbdt", "node")
COLUMNS = ("edges", "claim", "analysis", "verdict", "evidence", "reason")


def claims(
    adata: Data,
    *,
    edges: str | Sequence[str] | None = None,
    effects: str = "perturbation",
    reference_name: str | None = None,
    mod: str | None = None,
) -> pd.DataFrame:
    """
    What may be claimed of edges, from the registry of tests alone.

    Parameters
    ----------
    adata
        Data with a registry, ``uns["tests"]``.
    edges
        Names of sets of edges; None takes every one that was tested.
    effects
        Label set of the tests.
    reference_name
        Reference of the tests; None takes the only one there is.
    mod
        Modality, for MuData.

    Returns
    -------
    Frame ``edges, claim, analysis, verdict, evidence, reason``, one row for each claim; ``evidence`` holds test ids
    joined by ``;``.

    Raises
    ------
    KeyError
        Nothing has been tested, or nothing of these edges.

    Notes
    -----
    Verdicts follow from rules, in this order. *inconclusive*: a test is missing, has a status other than ``ok``, is
    exploratory, or is from other cells, genes or labels than the rest. *null-equivalent*: the 90 % interval lies
    within the margin, however certain the sign is. *supported*: the test is significant in the direction of the
    claim, or the 95 % interval is on its side. *contradicted*: the same against it. *inconclusive*: neither.
    Significance is that of ``p_bh`` once `scepsis.tl.correct_tests` was called, else of ``p_raw``; the reason says
    which. A claim that rests on several tests is supported only by all of them, contradicted by any, and
    null-equivalent when none contradicts and any shows equality.

    Retention (A08) supports its claim when each residualizer keeps 80 % and leaves an AUROC whose interval is above
    0.5; an interval of the retention below 80 % contradicts it. That listed pairs of unknown mode do not carry the
    score (A10) is contradicted when the score falls without them.

    Interventions (A12 to A15) are claimed of edges for which there are any that reach the readout, the first at which
    heads were held against random ones. A loss supports, a gain contradicts. *inconclusive* is what moved hidden
    states by no more than 0.02, or by no more than rounding moves what enters the readout: nothing follows from it,
    whatever the test says. Against random heads the test is one-sided, and shows no null.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.pp.select_cells(adata)
    >>> sps.pp.gene_features(adata)
    >>> sps.tl.correlation_edges(adata)
    >>> sps.tl.perturbation_effects(adata)
    >>> sps.tl.perturbation_auroc(adata, edges="spearman")
    >>> found = sps.get.claims(adata, edges="spearman").set_index("claim")["verdict"]
    >>> found["better than each feature of single genes"]
    'contradicted'
    """
    tests = read_tests(resolve(adata, mod))
    known = list(dict.fromkeys(tests["edges"]))
    names = known if edges is None else [edges] if isinstance(edges, str) else list(edges)
    absent = [name for name in names if name not in known]
    if absent:
        msg = (
            f"`adata.uns['tests']` has no row of the edges {listing(absent)}; there are: {listing(known)}. "
            "Call `scepsis.tl.audit(adata, edges=...)` first."
        )
        raise KeyError(msg)
    rows: list[dict[str, Any]] = []
    for name in names:
        rows += [{"edges": name} | claim for claim in _claims_of(rows_of(tests, name, effects, reference_name))]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _claims_of(rows: Rows) -> list[dict[str, Any]]:
    trivial = [rows.piece("A04", f"vs_{name}") for name in (VARIANCE, MEAN, DETECTION_RATE)]
    gains = [
        rows.piece(("A05", "A06"), f"{kind}/{split}/{learner}/auroc")
        for split in ("perturbation", "gene", "joint")
        for learner, kind in (("logistic", "gain"), ("gbdt", "gain_placebo"))
    ]
    chance, correlation = rows.piece("A01", "above_chance"), rows.piece("A01", f"vs_{CORRELATION}")
    degree, known = rows.piece("A09", "degree/pooled"), rows.piece("A10", "known_mode/pooled")
    matched = rows.piece("A11", "gain/matched")
    differs = [_claim("differs from correlation", [correlation], [_differs(correlation)])]
    return [
        _claim("ranks responders above chance", [chance], [_tested(chance, 0.5)]),
        *(differs if rows.edges != CORRELATION else []),
        _claim("better than each feature of single genes", trivial, [_tested(piece) for piece in trivial]),
        _claim("adds to what gene features predict", gains, [_by_interval(piece) for piece in gains]),
        _retained(rows),
        _claim("above what degrees give", [degree], [_above_null(degree)]),
        _claim("does not rest on listed pairs of unknown mode", [known], [_unmoved(known)]),
        _claim("adds to gene features among matched targets", [matched], [_tested(matched)]),
        *_caused(rows),
    ]


def _caused(rows: Rows) -> list[dict[str, Any]]:
    """Interventions, as far as there are any that can be felt."""
    if rows.ablated is None:
        return []
    condition, readout = rows.ablated
    taken = rows.piece("A12", f"{condition}/{readout}")
    against, trend = rows.piece("A12", f"{taken.name}{AGAINST_RANDOM}"), rows.piece("A13", f"dose/top/{readout}")
    none = Piece("A14", "", None, "no uniform or MLP intervention reaches the readout")
    others = rows.orthogonal(readout) or [none]
    heads = [taken, _effect_of(rows, taken), against]
    ways = [*others, *(_effect_of(rows, one) for one in others if one.name)]
    return [
        _claim("ranks worse without the chosen heads than without others", heads, [_lost(taken), _lost(against)]),
        _claim("ranks worse with every dose of top heads taken out", [trend], [_lost(trend)]),
        _claim("ranks worse under other interventions", ways, [_lost(one) for one in others]),
    ]


def _effect_of(rows: Rows, piece: Piece) -> Piece:
    """How far an intervention moved hidden states; barred where that is too little for anything to follow."""
    moved = rows.piece("A15", f"fidelity/{piece.name.split('/')[0]}")
    if moved.barred or (moved["effect_size"] > MIN_MOVED and moved["statistic"] > moved["baseline_value"]):
        return moved
    told = f"{moved.words}: {decimal(moved['effect_size'])}, too little for anything to follow"
    return replace(moved, barred=told)


def _claim(claim: str, pieces: Sequence[Piece], found: Sequence[tuple[Verdict, str]]) -> dict[str, Any]:
    """Several tests become one verdict."""
    barred = list(dict.fromkeys(piece.barred for piece in pieces if piece.barred))
    verdicts = [one for one, _ in found]
    verdict: Verdict
    if barred:
        verdict, reason = "inconclusive", _several(barred)
    else:
        order: tuple[Verdict, ...] = ("contradicted", "null-equivalent", "inconclusive")
        verdict = next((one for one in order if one in verdicts), "supported")
        reason = _several(told for one, told in found if one == verdict)
    ids = dict.fromkeys(piece.test_id for piece in pieces if piece.test_id)
    return {
        "claim": claim,
        "analysis": ";".join(dict.fromkeys(piece.analysis for piece in pieces)),
        "verdict": verdict,
        "evidence": ";".join(ids),
        "reason": reason,
    }


def _several(texts: Iterable[str]) -> str:
    listed = list(texts)
    return "; ".join(listed[:3]) + (f"; and {len(listed) - 3} more" if len(listed) > 3 else "")


def _significance(piece: Piece) -> tuple[str, float]:
    """Symbol and value of the p-value that counts: the corrected one when there is one."""
    corrected = float(piece["p_bh"])
    return ("p", float(piece["p_raw"])) if np.isnan(corrected) else ("q", corrected)


def _tested(piece: Piece, null: float = 0.0) -> tuple[Verdict, str]:
    """By significance and sign."""
    symbol, p = _significance(piece)
    effect = float(piece["effect_size"])
    size = decimal(effect) if null else signed(effect)
    told = f"{piece.words}: {size} ({equals(symbol, p)})"
    if piece["equivalence"] == "equivalent":
        return "null-equivalent", f"{told}, within the margin of {piece['margin']:g}"
    if np.isnan([effect, p]).any() or p >= ALPHA:
        return "inconclusive", told
    return "supported" if effect > null else "contradicted", told


def _differs(piece: Piece) -> tuple[Verdict, str]:
    """By significance alone: either sign is a difference."""
    verdict, told = _tested(piece)
    return "supported" if verdict == "contradicted" else verdict, told


def _lost(piece: Piece) -> tuple[Verdict, str]:
    """A claim of a loss."""
    verdict, told = _tested(piece)
    opposite: dict[Verdict, Verdict] = {"supported": "contradicted", "contradicted": "supported"}
    return opposite.get(verdict, verdict), told


def _by_interval(piece: Piece) -> tuple[Verdict, str]:
    low, high = float(piece["ci_low"]), float(piece["ci_high"])
    told = f"{piece.words}: {signed(piece['effect_size'])} ({interval(low, high, sign=True)})"
    if piece["equivalence"] == "equivalent":
        return "null-equivalent", f"{told}, within the margin of {piece['margin']:g}"
    return "supported" if low > 0 else "contradicted" if high < 0 else "inconclusive", told


def _retained(rows: Rows) -> dict[str, Any]:
    """Each residualizer: what is kept, and whether anything is left."""
    pieces, found = [], []
    for name in RESIDUALIZERS:
        kept, left = rows.piece("A08", f"retention/{name}"), rows.piece("A08", f"residual/{name}")
        pieces += [kept, left]
        told = f"{kept.words}: {decimal(kept['effect_size'], 2)} ({interval(kept['ci_low'], kept['ci_high'])})"
        remains = f"{left.words}: {decimal(left['effect_size'])} ({interval(left['ci_low'], left['ci_high'])})"
        verdict: Verdict = "inconclusive"
        if kept["ci_high"] < MIN_RETENTION or left["ci_high"] < 0.5:
            verdict = "contradicted"
        elif left["equivalence"] == "equivalent":
            verdict = "null-equivalent"
        elif kept["effect_size"] >= MIN_RETENTION and left["ci_low"] > 0.5:
            verdict = "supported"
        found.append((verdict, f"{told}, and {remains}"))
    return _claim("survives the removal of what gene features explain", pieces, found)


def _above_null(piece: Piece) -> tuple[Verdict, str]:
    """
    One-sided: a null is never shown, and the other side contradicts by its z alone.

    An excess that a score without any model has as well, under the same networks, shows nothing of the edges.
    """
    symbol, p = _significance(piece)
    z, other = float(piece["statistic"]), float(piece["baseline_value"])
    told = f"{piece.words}: z {decimal(z, 2)} ({equals(symbol, p)})"
    if p < ALPHA and z > 0:
        if other >= z:
            return "inconclusive", f"{told}, no more than {piece['baseline_name']} (z {decimal(other, 2)})"
        return "supported", told
    return "contradicted" if z < -1.96 else "inconclusive", told


def _unmoved(piece: Piece) -> tuple[Verdict, str]:
    """A claim of no change."""
    low, high = float(piece["ci_low"]), float(piece["ci_high"])
    told = f"{piece.words}: {signed(piece['effect_size'])} ({interval(low, high, sign=True)})"
    if piece["equivalence"] == "equivalent":
        return "supported", f"{told}, within the margin of {piece['margin']:g}"
    return "contradicted" if high < 0 else "supported" if low >= 0 else "inconclusive", told
