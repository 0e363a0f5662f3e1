"""How edges were made, and what explains them."""

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
#: What is averaged, by scale.
SCALES = {
    "probability": "the attention weight",
    "uniform_fold": "the attention weight times the number of tokens that the gene sees",
    "centered": "the logarithm of the attention weight, less effects of its row and column in the cell,",
}
#: What a weight is of edges that no model makes.
MADE = {
    "spearman": "Spearman correlations",
    "pearson": "Pearson correlations",
    "mutual_information": "the mutual information of values in {n_bins} bins",
    "partial_correlation": "partial correlations given all other genes, of a shrunken covariance [ledoit2004],",
    "ridge": "coefficients of ridge regressions of each gene on all sources (penalty {penalty:g})",
    "genie3_like": "importances of sources in {n_trees} extremely randomised trees for each target [huynhthu2010]",
    "gene_product": "products of a feature of both genes ({feature})",
}
READ = {"embedding": "the cosine distance of the target's last hidden states", "masked_logits": "the change of the "
        "target's log-probability where it was masked"}  # fmt: skip


def attention(params: Mapping[str, Any]) -> str:
    """Weights read from a model."""
    if not {"model", "layers", "scale", "n_cells"} <= set(params):
        return ""
    heads = f"{plural(len(params['heads']), 'head')} of" if "heads" in params else "heads of"
    layers = f"layer{'s' * (len(params['layers']) > 1)} {numbers(params['layers'])}, counted from 0,"
    both = "in which the source comes after the target" if params.get("causal") else "that hold both genes"
    what = SCALES.get(str(params["scale"]), words(params["scale"]))
    return (
        f"Attention edges of {params['model']} are {what} from the source to the target, averaged over {heads} "
        f"{layers} and over those of {count(params['n_cells'])} cells {both}."
    )


def without_model(params: Mapping[str, Any]) -> str:
    """Correlations, and other weights made from values alone."""
    method = str(params["method"])
    if "n_cells" not in params:
        return ""
    return (
        f"{words(method).capitalize()} edges are {MADE[method].format_map(params)} from log-normalised values of "
        f"{count(params['n_cells'])} cells."
    )


def insilico(params: Mapping[str, Any]) -> str:
    """Counterfactual edges."""
    done = "put before all others" if params["kind"] == "overexpress" else "deleted"
    return (
        f"Counterfactual edges of {params['model']} are {READ[str(params['readout'])]} when the source's token was "
        f"{done}, averaged over those of {count(params['n_cells'])} cells in which both could be compared, "
        f"for {plural(len(params['sources']), 'source')} [theodoris2023]."
    )


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
