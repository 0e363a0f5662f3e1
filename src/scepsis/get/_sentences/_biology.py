"""How layers, regulators and co-expression were looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scepsis._core._numbers import count
from scepsis.get._sentences._words import referred

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd


def layers(params: Mapping[str, Any], tests: pd.DataFrame) -> str:
    """A25."""
    return (
        f"Layers were scored by the AUROC of the pairs that are listed in {referred(params['references'])}, beside "
        f"{params['versus']}, with intervals clustered by gene; edges were correlated with being listed, given "
        "co-expression and given mean, variance and detection rate of both genes, over at most "
        f"{count(params['max_pairs'])} listed pairs and as many others; and listed pairs among the "
        f"{count(params['top'])} strongest edges were compared with {count(params['n_null'])} permutations of gene "
        "names. Tests of the strongest layer were corrected for the number of layers."
    )


def regulators(params: Mapping[str, Any], tests: pd.DataFrame) -> str:
    """A27."""
    return (
        f"Regulators were compared by their AUROCs, with {count(params['n_null'])} permutations of class labels, as "
        f"inference from {count(params['min_regulators'])} regulators with {count(params['min_targets'])} targets on."
    )


def coexpression(params: Mapping[str, Any], tests: pd.DataFrame) -> str:
    """A29."""
    return (
        f"Edges were correlated with {params['versus']} and with the expression of both genes over pairs, against "
        f"{count(params['n_null'])} permutations of gene names."
    )
