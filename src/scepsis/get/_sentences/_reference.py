"""How edges were scored against pairs that a reference network lists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scepsis._core._numbers import count, percent, plural
from scepsis.get._sentences._words import RESIDUALIZERS, against, among, equivalence, listed, numbers

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

CLUSTERED = "clustered by regulator and target [cameron2011]"


def recovery(params: Mapping[str, Any], tests: pd.DataFrame) -> str:
    """R."""
    unordered = params["universe"] == "unordered"
    each = "" if unordered else ", and of each regulator alone [delong1988]"
    clusters = "clustered by both genes [cameron2011]" if unordered else (
        f"{CLUSTERED} and from {count(params['n_boot'])} resamples of regulators"
    )  # fmt: skip
    features = f", beside {listed(params['baselines'])}" if len(params["baselines"]) else ""
    top = f", by F1 of the {numbers(params['top_k'])} strongest pairs" if len(params["top_k"]) else ""
    return (
        f"Edges were scored against {against(tests)} {among(params)}{features}, by the AUROC of all pairs in one "
        f"ranking{each}{top}, with intervals {clusters} and {equivalence(params)}."
    )


def circularity(params: Mapping[str, Any], tests: pd.DataFrame) -> str:
    """A10."""
    return (
        f"The AUROC against {against(tests)} {among(params)} was computed again without listed pairs whose mode "
        "(activation or repression) is unknown, over regulators with a target of known mode, with intervals "
        f"{CLUSTERED} and from {count(params['n_boot'])} resamples of regulators, and {equivalence(params)}."
    )


def expression_matched(params: Mapping[str, Any], tests: pd.DataFrame) -> str:
    """L3."""
    return (
        f"Each pair that {against(tests)} {_lists(tests)}, {among(params)}, was held against at most "
        f"{plural(int(params['n_matched']), 'pair')} that are not listed and whose genes' means and detection rates "
        f"are within {percent(float(params['tolerance']))} ({percent(float(params['wider']))} where fewer than "
        f"{count(params['min_matched'])} are found), by the share of them that it stands above, as it is and with "
        f"weights that balance the product of means; intervals were {CLUSTERED}, and {equivalence(params)}."
    )


def _lists(tests: pd.DataFrame) -> str:
    return "list" if len(set(tests["reference"])) > 1 else "lists"


def residual(params: Mapping[str, Any], tests: pd.DataFrame) -> str:
    """A08."""
    where = f" against {against(tests)} {among(params)}" if "reference" in params else ""
    fitted = {"ols", "gbdt"} & {str(one) for one in params["residualizers"]}
    held_out = ", models of features being fitted to pairs of other genes" if fitted else ""
    return (
        f"Edges were residualised by {listed(params['residualizers'], RESIDUALIZERS)}{held_out}, and the share of the "
        f"AUROC above one half that residual edges retain was computed{where}."
    )


def degree(params: Mapping[str, Any], tests: pd.DataFrame) -> str:
    """A09."""
    drawn = f"{count(params['n_null'])} " if "n_null" in params else ""
    return (
        f"The AUROC against {against(tests)} was compared with that of {drawn}networks of the same in- and "
        "out-degrees, and with that of model-free pair scores under the same null."
    )
