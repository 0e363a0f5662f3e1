"""How a model was intervened in, and what its effects were held against."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scepsis._core._evidence import MIN_MOVED
from scepsis._core._names import words
from scepsis._core._numbers import count, enumerate_words, plural

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd


def ablation(params: Mapping[str, Any], tests: pd.DataFrame) -> str:
    """A12, A13, A14, A15."""
    n_made = tests.loc[tests["analysis"] == "A15", "name"].nunique()
    made = f"{plural(n_made, 'intervention')} on heads and MLPs of {params['model']} {'was' if n_made == 1 else 'were'}"
    readouts = enumerate_words([words(name) for name in params["readouts"]])
    matched = enumerate_words([str(name) for name in params["match"]])
    against = (
        f"{params['primary']} was held against at most {count(params['n_random'])} random sets of heads"
        f"{f' of like {matched}' if matched else ''} by a sequential Monte-Carlo test that stops once "
        f"{count(params['n_exceed'])} of them took as much [besag1991]; "
        if params["primary"] and params["n_random"]
        else ""
    )
    return (
        f"{made} run on {count(params['n_cells_run'])} cells (seed {params['seed']}), and perturbations were scored "
        f"anew at {readouts}; {against}equivalence was within {params['margin']:g}. What a readout cannot feel was not "
        f"tested, and an intervention counted only where the mean hidden states of {count(params['n_fidelity'])} cells "
        f"moved by a cosine distance above {MIN_MOVED:g} and, where they are read, by more than rounding moves them."
    )


def model_effects(params: Mapping[str, Any], tests: pd.DataFrame) -> str:
    """A20."""
    names = enumerate_words([str(name) for name in dict.fromkeys(tests["edges"])])
    return (
        f"Effects in the model ({names}; {params['direction']} direction) were rank-correlated with measured log2 fold "
        "changes over pairs of a perturbed gene and a target, as they are and with the ranks of the target's variance, "
        "mean and detection rate and of the number of perturbed cells taken from both, with intervals clustered by "
        f"perturbed gene and target [cameron2011], perturbed genes of at least {count(params['min_candidates'])} "
        f"targets, and inference from {count(params['min_units'])} of them on."
    )


def mediation(params: Mapping[str, Any], tests: pd.DataFrame) -> str:
    """A30."""
    what = {"heads": "the heads of each layer", "mlps": "MLPs"}.get(str(params["components"]), "single heads")
    effect = f"the effect of deleting {params['deletion']}" if "deletion" in params else "the cell's embedding"
    n_orders = int(params["n_permutations"])
    played = f"from {count(n_orders)} orders of them" if n_orders else "from all of their coalitions"
    runs = f", one run for each group of {params['groupby']}" if "groupby" in params else ""
    return (
        f"What {what} of {params['model']} are worth to {effect} was estimated one by one, alone in the ablated model "
        f"and taken from the whole one, and by Shapley values {played}, on {count(params['n_cells'])} cells"
        f"{runs}; what single estimates leave of the total effect counted where it exceeded 1.96 standard errors over "
        "cells."
    )
