"""How edges were scored against responders of a screen, and under how many settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scepsis._core._numbers import count, enumerate_words, plural
from scepsis.get._sentences._words import LEARNERS, RESIDUALIZERS, counted, equivalence, keys, listed, numbers

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd


def against_baselines(params: Mapping[str, Any], tests: pd.DataFrame) -> str:
    """A01, A04."""
    return (
        f"For each perturbed gene, other genes were ranked by the edge ({params['direction']} direction), and the "
        f"AUROC of responders was compared with that of {listed(params.get('baselines', []))} by signed ranks over "
        f"perturbations [wilcoxon1945], with intervals clustered by perturbation and gene [cameron2011], "
        f"{counted(params)}, and {equivalence(params)}."
    )


def sensitivity(params: Mapping[str, Any], tests: pd.DataFrame) -> str:
    """A02."""
    axes = [
        f"absolute log2 fold changes above {numbers(params['lfc_thresholds'])}",
        f"{numbers(params['n_cells'])} control cells",
        f"{numbers(params['n_genes'])} genes",
        f"the {listed(params['tests'])} test{'s' * (len(params['tests']) > 1)}",
    ]
    chosen = params["reference"]
    anew = "correlations and attention" if params["reextract"] else "correlations"
    return (
        f"Edges were scored in {plural(int(params['n_settings']), 'combination')} of {enumerate_words(axes)}, anew in "
        f"each choice of cells as far as they are {anew}; the setting of reference alone (above "
        f"{chosen['lfc_threshold']:g}, {count(chosen['n_cells'])} cells, {count(chosen['n_genes'])} genes, "
        f"{chosen['test']} test) counts as a test, by Student's t of AUROCs ({params['direction']} direction) against "
        f"one half over {counted(params)}."
    )


def specifications(params: Mapping[str, Any]) -> str:
    """The specification curve, which has no row in the registry."""
    forks = [f"direction ({listed(params['directions'])})", f"what is taken away ({_taken(params)})"]
    if params["has_reference"]:
        forks.append(f"listed targets that make a regulator ({numbers(params['min_targets'], last='or')})")
    left_out = {float(value) for value in params["thresholds_left_out"]}
    thresholds = [value for value in params["lfc_thresholds"] if float(value) not in left_out]
    if "effects" in params and thresholds:
        forks.append(f"fold changes ({numbers(thresholds)}, and that of the label set)")
    forks.append(f"what edges are compared with ({listed(params['gene_models'], LEARNERS)})")
    return (
        f"Edges ({keys(params['edges'])}) were scored in every combination that applies of {enumerate_words(forks)}, "
        "to be read as a whole: none of these specifications counts as a test."
    )


def _taken(params: Mapping[str, Any]) -> str:
    return listed(params["residualizers"], RESIDUALIZERS | {"none": "nothing"})


def nested_layer(params: Mapping[str, Any], tests: pd.DataFrame) -> str:
    """A03, as far as it is a test."""
    return (
        f"The layer of {keys(tests['edges'])} was chosen among {count(params['n_layers'])} by its mean difference of "
        f"AUROC ({params['direction']} direction) to {params['versus']}, on all but one of {count(params['n_splits'])} "
        "folds of perturbations at a time, and the differences of the perturbations left out were tested by signed "
        "ranks [wilcoxon1945], times the number of layers, with intervals clustered by perturbation and gene "
        f"[cameron2011], {counted(params)}, and {equivalence(params)}."
    )


def frozen_layer(params: Mapping[str, Any], names: list[str]) -> str:
    """A03, as a choice from before: the layer that edges of these names are of."""
    metric = str(params["metric"])
    top = f"F1 of the {count(float(metric.partition('@')[2]))} strongest pairs" if "@" in metric else "AUROC"
    day = f" ({params['date']})" if "date" in params else ""
    return (
        f"The layer of {keys(names)} ({params['layer']}, counted from 0) was frozen before labels were read{day}: of "
        f"{count(params['n_layers'])} layers, that with the highest {top} against a network of "
        f"{plural(int(params['n_listed']), 'listed pair')} among pairs of a regulator (at least "
        f"{plural(int(params['min_targets']), 'listed target')}) and another gene."
    )


def incremental(params: Mapping[str, Any], tests: pd.DataFrame) -> str:
    """A05, A06."""
    return (
        f"Incremental value over variance, mean and detection rate of the target was estimated out of fold by "
        f"{listed(params['learners'], LEARNERS)}, holding out {keys(params['splits'])} "
        f"({count(params['n_folds'])} blocks; {params['joint_mode']} joint cells), against gene features alone and "
        f"against {count(params['n_placebo'])} permutations of the edges within perturbations; equivalence was within "
        f"{params['margin']:g}."
    )


def matched(params: Mapping[str, Any], tests: pd.DataFrame) -> str:
    """A11."""
    return (
        f"Responders were matched with {count(params['k'])} others of their perturbation by propensity, within "
        f"{params['caliper']:g} standard deviations of the log odds; balance was asked for at a standardised "
        f"difference of {params['smd_threshold']:g}."
    )
