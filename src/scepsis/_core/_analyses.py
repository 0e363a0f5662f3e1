"""The analyses that tests belong to (Kendiukhov 2026): their names, families, and which test speaks for each."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

Family = Literal["F1", "F2", "F3", "F4", "F5", "C", "D", "E", "B"]
FAMILIES: tuple[str, ...] = get_args(Family)


class Analysis(NamedTuple):
    """One analysis of the framework."""

    title: str
    family: Family
    #: Section of the supplement that defines it, as far as it is quoted; "" for none.
    section: str = ""


ANALYSES = {
    "A01": Analysis("Perturbation-first evaluation", "F1"),
    "A02": Analysis("Sensitivity to the settings", "F1"),
    "A03": Analysis("Choice of the layer", "F1"),
    "A04": Analysis("Trivial gene-level baselines", "F1", "§21"),
    "A05": Analysis("Incremental value over gene-level features", "F2", "§26"),
    "A06": Analysis("Hard splits and further metrics", "F2", "§31"),
    "A07": Analysis("Covariates that explain edges", "F3", "§15"),
    "A08": Analysis("Cross-fitted residual edges", "F3", "§25"),
    "A09": Analysis("Degree-preserving and label-shuffle nulls", "F3", "§16"),
    "A10": Analysis("Circularity of the reference", "F3"),
    "A11": Analysis("Propensity-matched evaluation", "F3", "§35"),
    "A12": Analysis("Head ranking and ablation", "F4", "§29"),
    "A13": Analysis("Dose-response of ablation", "F4", "§32"),
    "A14": Analysis("Orthogonal interventions", "F4", "§34"),
    "A15": Analysis("Fidelity of interventions", "F4", "§36"),
    "A16": Analysis("Replication in a further context", "F5", "§37"),
    "A19": Analysis("Confounding by the gene universe", "F5"),
    "A20": Analysis("Model effects against measured effects", "B", "§5"),
    "A21": Analysis("Scaling with the number of cells", "C", "§1"),
    "A22": Analysis("Dependence on the metric", "C"),
    "A23": Analysis("Scaling at controlled composition", "C"),
    "A24": Analysis("Networks per cell state", "C", "§10"),
    "A25": Analysis("What layers know", "D"),
    "A26": Analysis("Value-weighted edges", "D"),
    "A27": Analysis("Single regulators", "D"),
    "A28": Analysis("Models compared", "E", "§12"),
    "A29": Analysis("Attention and co-expression", "E"),
    "A30": Analysis("Mediation and non-additivity", "E", "§2"),
    "L3": Analysis("Expression-matched negatives", "D"),
    "R": Analysis("Recovery of a reference network", "D"),
}
