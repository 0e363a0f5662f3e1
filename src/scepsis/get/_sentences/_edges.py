"""How edges were made, where that is an analysis of its own, and what explains them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scepsis._core._names import words
from scepsis._core._numbers import count, plural
from scepsis.get._sentences._words import RESIDUALIZERS, listed, numbers

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

#: Comparisons of the contexts of two genes.
VARIANTS = {
    "cosine": "the cosine, averaged over heads and over cells that hold both genes, of",
    "dot": "the dot product, averaged over heads and over cells that hold both genes, of",
    "centroid": "the cosine, averaged over heads, of the means over cells of",
}


def explained(params: Mapping[str, Any], tests: pd.DataFrame) -> str:
    """A07."""
    fitted = {"ols", "gbdt"} & {str(one) for one in params["learners"]}
    random = " and, apart from that, to other random pairs" if params["pair_folds"] else ""
    how = f"; models of features were fitted to pairs of other genes{random}" if fitted else ""
    return (
        f"The share of the variance of edges, and of their ranks, that is explained out of fold by "
        f"{listed(params['learners'], RESIDUALIZERS)} was computed over {plural(int(params['n_pairs']), 'pair')}{how}."
    )


def value_weighted(params: Mapping[str, Any]) -> str:
    """A26."""
    layers = f"layer{'s' * (len(params['layers']) > 1)} {numbers(params['layers'])}, counted from 0"
    centred = ", less the mean of the cell's genes" if params["center"] else ""
    return (
        f"Value-weighted edges ({params['model']}; {layers}; {count(params['n_cells'])} cells) are "
        f"{VARIANTS[str(params['variant'])]} what attention hands on to two genes, values weighted by "
        f"attention{centred}."
    )


def per_state(params: Mapping[str, Any]) -> str:
    """Networks of cell states and their aggregate, which A24 is about."""
    if "groupby" in params:
        states = f"cell state ({params['groupby']})"
    else:
        states = (
            f"Leiden cluster of {params['use_rep']} (resolution {params['resolution']:g}, "
            f"{count(params['n_neighbors'])} neighbours)"
        )
    least = int(params.get("min_detected", 1))
    seen = f", among genes seen in at least {count(least)} of its cells" if least > 1 else ""
    return (
        f"A network ({params['score']}) was made for each {states} of at least "
        f"{plural(int(params['min_cells']), 'cell')}{seen}, and these were aggregated pair by pair "
        f"({words(params['aggregation'])})."
    )
