"""How an audit was made, as a paragraph for a paper."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scepsis._core._evidence import MIN_MOVED
from scepsis._core._keys import MATCH_GENES, SELECT_CELLS, SELECT_PANEL, EffectKeys
from scepsis._core._numbers import count, enumerate_words, percent, plural
from scepsis._core._registry import read_tests
from scepsis._core._resolve import resolve
from scepsis._core._validate import listing
from scepsis._version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from anndata import AnnData

    from scepsis._core._types import Data

#: Sources that sentences cite.
SOURCES = {
    "benjamini1995": "Benjamini and Hochberg (1995) J. R. Stat. Soc. B 57, 289-300",
    "benjamini2001": "Benjamini and Yekutieli (2001) Ann. Stat. 29, 1165-1188",
    "besag1991": "Besag and Clifford (1991) Biometrika 78, 301-304",
    "cameron2011": "Cameron, Gelbach and Miller (2011) J. Bus. Econ. Stat. 29, 238-249",
    "kendiukhov2026": "Kendiukhov (2026) arXiv:2602.17532",
    "schuirmann1987": "Schuirmann (1987) J. Pharmacokinet. Biopharm. 15, 657-680",
    "wilcoxon1945": "Wilcoxon (1945) Biometrics Bull. 1, 80-83",
}
SHORT = {key: f"{text.partition(')')[0].replace(' (', ', ')}" for key, text in SOURCES.items()}
LEARNERS = {"logistic": "logistic regression", "gbdt": "gradient-boosted trees"}
RESIDUALIZERS = {
    "ols": "linear regression on gene features",
    "gbdt": "gradient-boosted trees on gene features (both on genes that were held out)",
    "node": "additive effects of source and target estimated without the pair",
}


def methods(adata: Data, *, edges: str | Sequence[str] | None = None, mod: str | None = None) -> str:
    """
    How an audit was made, as a methods paragraph with its sources.

    Parameters
    ----------
    adata
        Data with a registry, ``uns["tests"]``, and the results that it belongs to.
    edges
        Names of sets of edges that the paragraph is about; None takes all.
    mod
        Modality, for MuData.

    Returns
    -------
    Text: sentences about the cells, genes, edges, labels and every analysis that was run, each from the parameters on
    record, and the sources that they cite. What was not run is not spoken of, and nothing is said of results.

    Raises
    ------
    KeyError
        Nothing has been tested, or nothing of these edges.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.pp.select_cells(adata)
    >>> sps.pp.gene_features(adata)
    >>> sps.tl.correlation_edges(adata)
    >>> sps.tl.perturbation_effects(adata)
    >>> sps.tl.perturbation_auroc(adata, edges="spearman")
    >>> sps.get.methods(adata)[:39]
    'Edges (spearman) were audited with scep'
    """
    data = resolve(adata, mod)
    tests = read_tests(data)
    known = list(dict.fromkeys(tests["edges"]))
    names = known if edges is None else [edges] if isinstance(edges, str) else list(edges)
    absent = [name for name in names if name not in known]
    if absent:
        msg = f"`adata.uns['tests']` has no row of the edges {listing(absent)}; there are: {listing(known)}."
        raise KeyError(msg)
    own = tests[tests["edges"].isin(names) & (tests["status"] != "not_run")]
    listed = enumerate_words([name for name in names if name])  # "": a test of the model itself, not of edges
    what = f"Edges ({listed}) were" if listed else "A model was"
    said = [
        f"{what} audited with scepsis {__version__} by a published framework [kendiukhov2026].",
        *_prepared(data),
        *_labels(data, own),
        *_analyses(data, own),
        *_corrected(data, own),
    ]
    return _cited([sentence for sentence in dict.fromkeys(said) if sentence])


def _cited(sentences: list[str]) -> str:
    """Sentences with short citations, and the list of the sources that occur."""
    text = " ".join(sentences)
    used = [key for key in SOURCES if f"[{key}]" in text]
    for key in used:
        text = text.replace(f"[{key}]", f"({SHORT[key]})")
    return "\n".join([text, "", "Sources:", *(SOURCES[key] for key in sorted(used))])


def _params(data: AnnData, key: str) -> Mapping[str, Any]:
    entry = data.uns.get(key)
    return dict(entry.get("params", {})) if hasattr(entry, "get") else {}


def _prepared(data: AnnData) -> list[str]:
    cells, panel, vocabulary = (_params(data, key) for key in (SELECT_CELLS, SELECT_PANEL, MATCH_GENES))
    said = []
    if cells:
        said.append(
            f"Edges and gene features were made from {count(cells['n_selected'])} of {count(cells['n_control'])} "
            f"control cells ({cells['control']}; seed {cells['seed']})."
        )
    if panel:
        said.append(f"The panel held {count(panel['n_genes'])} genes.")
    if vocabulary:
        said.append(f"The model was {vocabulary['model']}, with {count(vocabulary['vocabulary_size'])} names.")
    return said


def _labels(data: AnnData, tests: pd.DataFrame) -> list[str]:
    said = []
    for effects in dict.fromkeys(name for name in tests["effects"] if name):
        params = _params(data, EffectKeys(str(effects)).uns)
        if not {"test", "fdr", "lfc_threshold", "min_expected", "min_cells"} <= set(params):
            continue
        said.append(
            f"Responders ({effects}) were genes with a q-value below {params['fdr']:g} [benjamini1995] by the "
            f"{params['test']} test against control cells and an absolute log2 fold change above "
            f"{params['lfc_threshold']:g}, among genes with at least {params['min_expected']:g} expected expressing "
            f"cells, of perturbations with at least {count(params['min_cells'])} cells."
        )
    return said


def _analyses(data: AnnData, tests: pd.DataFrame) -> list[str]:
    """One sentence for every result that tests of an analysis belong to, with its own parameters."""
    said = []
    for analyses, speak in SPEAKERS:
        own = tests[tests["analysis"].isin(analyses)]
        for key in dict.fromkeys(own["key"]):
            params = _params(data, str(key))
            if params:
                said.append(speak(params, own[own["key"] == key]))
    return said


def _against_baselines(params: Mapping[str, Any], tests: pd.DataFrame) -> str:
    baselines = [str(name).replace("_", " ") for name in params.get("baselines", [])]
    return (
        f"For each perturbed gene, other genes were ranked by the edge ({params['direction']} direction), and the "
        f"AUROC of responders was compared with that of {enumerate_words(baselines)} by signed ranks over "
        f"perturbations [wilcoxon1945], with intervals clustered by perturbation and gene [cameron2011], perturbations "
        f"of at least {count(params['min_positives'])} responders among {count(params['min_candidates'])} candidates, "
        f"and equivalence within {params['margin']:g} [schuirmann1987]."
    )


def _incremental(params: Mapping[str, Any], tests: pd.DataFrame) -> str:
    learners = [LEARNERS.get(str(name), str(name)) for name in params["learners"]]
    return (
        f"Incremental value over variance, mean and detection rate of the target was estimated out of fold by "
        f"{enumerate_words(learners)}, holding out {enumerate_words([str(name) for name in params['splits']])} "
        f"({count(params['n_folds'])} blocks; {params['joint_mode']} joint cells), against gene features alone and "
        f"against {count(params['n_placebo'])} permutations of the edges within perturbations; equivalence was within "
        f"{params['margin']:g}."
    )


def _residual(params: Mapping[str, Any], tests: pd.DataFrame) -> str:
    names = [RESIDUALIZERS.get(str(name), str(name)) for name in params["residualizers"]]
    where = f" against {params['reference']} (universe {params['universe']})" if "reference" in params else ""
    return (
        f"Edges were residualised by {enumerate_words(names)}, and the share of the AUROC above one half that residual "
        f"edges retain was computed{where}."
    )


def _degree(params: Mapping[str, Any], tests: pd.DataFrame) -> str:
    references = enumerate_words([str(name) for name in dict.fromkeys(tests["reference"])])
    drawn = f"{count(params['n_null'])} " if "n_null" in params else ""
    return (
        f"The AUROC of the reference {references} was compared with that of {drawn}networks of the same in- and "
        "out-degrees, and with that of model-free pair scores under the same null."
    )


def _matched(params: Mapping[str, Any], tests: pd.DataFrame) -> str:
    return (
        f"Responders were matched with {count(params['k'])} others of their perturbation by propensity, within "
        f"{params['caliper']:g} standard deviations of the log odds; balance was asked for at a standardised "
        f"difference of {params['smd_threshold']:g}."
    )


def _layers(params: Mapping[str, Any], tests: pd.DataFrame) -> str:
    references = enumerate_words([str(name) for name in params["references"]])
    return (
        f"Layers were scored by the AUROC of the pairs that {references} list, beside {params['versus']}, with "
        "intervals clustered by gene; edges were correlated with being listed, given co-expression and given mean, "
        f"variance and detection rate of both genes, over at most {count(params['max_pairs'])} listed pairs and "
        f"as many others; and listed pairs among the {count(params['top'])} strongest edges were compared with "
        f"{count(params['n_null'])} permutations of gene names. Tests of the strongest layer were corrected for the "
        "number of layers."
    )


def _regulators(params: Mapping[str, Any], tests: pd.DataFrame) -> str:
    return (
        f"Regulators were compared by their AUROCs, with {count(params['n_null'])} permutations of class labels, as "
        f"inference from {count(params['min_regulators'])} regulators with {count(params['min_targets'])} targets on."
    )


def _coexpression(params: Mapping[str, Any], tests: pd.DataFrame) -> str:
    return (
        f"Edges were correlated with {params['versus']} and with the expression of both genes over pairs, against "
        f"{count(params['n_null'])} permutations of gene names."
    )


def _ablation(params: Mapping[str, Any], tests: pd.DataFrame) -> str:
    n_made = tests.loc[tests["analysis"] == "A15", "name"].nunique()
    made = f"{plural(n_made, 'intervention')} on heads and MLPs of {params['model']} {'was' if n_made == 1 else 'were'}"
    readouts = enumerate_words([str(name).replace("_", " ") for name in params["readouts"]])
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


def _model_effects(params: Mapping[str, Any], tests: pd.DataFrame) -> str:
    names = enumerate_words([str(name) for name in dict.fromkeys(tests["edges"])])
    return (
        f"Effects in the model ({names}; {params['direction']} direction) were rank-correlated with measured log2 fold "
        "changes over pairs of a perturbed gene and a target, as they are and with the ranks of the target's variance, "
        "mean and detection rate and of the number of perturbed cells taken from both, with intervals clustered by "
        f"perturbed gene and target [cameron2011], perturbed genes of at least {count(params['min_candidates'])} "
        f"targets, and inference from {count(params['min_units'])} of them on."
    )


def _mediation(params: Mapping[str, Any], tests: pd.DataFrame) -> str:
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


#: Analyses, and the sentence that tells how they were made.
SPEAKERS = (
    (("A01", "A04"), _against_baselines),
    (("A05", "A06"), _incremental),
    (("A08",), _residual),
    (("A09",), _degree),
    (("A11",), _matched),
    (("A12", "A13", "A14", "A15"), _ablation),
    (("A20",), _model_effects),
    (("A25",), _layers),
    (("A27",), _regulators),
    (("A29",), _coexpression),
    (("A30",), _mediation),
)


def _corrected(data: AnnData, tests: pd.DataFrame) -> list[str]:
    again = int((tests["n_runs"] > 1).sum())
    said = [f"{count(len(tests))} tests were made" + (f", {count(again)} of them more than once." if again else ".")]
    entry = next(
        (
            entry
            for entry in data.uns.values()
            if hasattr(entry, "get") and "two_level" in entry and "families" in entry
        ),
        None,
    )
    if entry is None or tests["p_bh"].isna().all():
        return said
    alpha = percent(float(entry["params"]["alpha"]))
    corrected = (
        f"Confirmatory tests were corrected together at a false discovery rate of {alpha} [benjamini1995], and under "
        "any dependence [benjamini2001]."
    )
    return [*said, corrected]
