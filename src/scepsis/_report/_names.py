"""Names of methods, measures and tests, as a reader would say them."""

from __future__ import annotations

#: What is not said by taking underscores out.
NAMES = {
    "ols": "linear model",
    "gbdt": "boosted trees",
    "logistic": "logistic model",
    "node": "node effects",
    "own_pair": "the pair itself",
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "de_frequency": "response frequency",
    "gene+frequency": "gene and response frequency",
    "detection_rate": "detection rate",
    "gene_features": "gene features",
    "above_chance": "above chance",
    "per_regulator": "per regulator",
    "label_shuffle": "labels shuffled",
    "row_only": "degrees of sources only",
    "degree": "degrees of both",
    "gain_placebo": "gain over placebo",
    "residual_minus_raw": "residual less raw",
    "known_mode": "pairs of known mode",
    "vs_random": "against random heads",
    "held_out": "held out",
    "non_additive": "not additive",
    "model_free": "model-free",
    "spearman/raw": "rank correlation",
    "spearman/adjusted": "rank correlation, adjusted for the target",
}
VERSUS = "vs_"


def named(text: object) -> str:
    """A method, measure or part of one in words; what is not known by name is left as it is."""
    return NAMES.get(str(text), str(text))


def words_of_test(name: str) -> str:
    """Name of a test of the registry (``gain/gene/gbdt/auroc``) in words; keys of edges and conditions stay."""
    if name in NAMES:
        return NAMES[name]
    parts = []
    for part in name.split("/"):
        known = part in NAMES or not part.startswith(VERSUS)
        parts.append(named(part) if known else f"against {named(part.removeprefix(VERSUS))}")
    return ", ".join(parts)
