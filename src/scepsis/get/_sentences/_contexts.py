"""How contexts, choices of genes and models were compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scepsis._core._names import words
from scepsis._core._numbers import count, plural
from scepsis.get._sentences._words import against, among, counted, equivalence, keys, numbers

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd


def contexts(params: Mapping[str, Any], tests: pd.DataFrame) -> str:
    """A16."""
    return (
        f"{plural(len(params['contexts']), 'context')} ({keys(params['contexts'])}) went through the same audit, "
        "effects were averaged over them by a random-effects model (variance between contexts by Paule and Mandel, "
        "interval by Hartung and Knapp), and contexts were compared in pairs; one with fewer than "
        f"{count(params['min_powered'])} perturbations, or regulators, was in no mean and claimed no equivalence."
    )


def universe(params: Mapping[str, Any], tests: pd.DataFrame) -> str:
    """A19."""
    anew = [str(one) for one in params["extracted_anew"]]
    extracted = f", and with {keys(anew)} extracted anew from the natural genes alone" if anew else ""
    return (
        f"The difference of AUROC ({params['direction']} direction) between {keys(tests['edges'])} and "
        f"{params['versus']} was taken anew for natural genes, the first {count(params['n_top_genes'])} by "
        f"{words(params['by'])}, as perturbed genes among natural candidates{extracted}; shifts were "
        "tested by signed ranks over perturbations [wilcoxon1945], with intervals clustered by perturbation and gene "
        f"[cameron2011], {counted(params)}, and {equivalence(params)}."
    )


def models(params: Mapping[str, Any], tests: pd.DataFrame) -> str:
    """A28."""
    twins = ", each model beside itself with random weights" if "control" in list(params["edges_kind"]) else ""
    sizes = [int(one) for one in params.get("n_cells", [])]
    growing = f", and of models also in nested samples of {numbers(sizes)} cells" if sizes else ""
    return (
        f"Models and other edges ({keys(params['models'])}) were compared in the same cells, over the "
        f"{count(params['n_common'])} genes and the pairs that all of them have{twins}, by the AUROC of pairs that are "
        f"listed in {against(tests)} {among(params)}{growing}; the AUROC of all pairs was tested against one half by "
        f"the t of an interval clustered by regulator and target [cameron2011], with {equivalence(params)}."
    )
