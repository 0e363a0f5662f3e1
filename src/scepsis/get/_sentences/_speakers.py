"""Which sentence speaks for which analysis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scepsis.get._sentences._biology import coexpression, layers, regulators
from scepsis.get._sentences._causes import ablation, mediation, model_effects
from scepsis.get._sentences._contexts import contexts, models, universe
from scepsis.get._sentences._edges import MADE, attention, explained, insilico, per_state, value_weighted, without_model
from scepsis.get._sentences._reference import circularity, degree, expression_matched, recovery, residual
from scepsis.get._sentences._screen import against_baselines, incremental, matched, nested_layer, sensitivity
from scepsis.get._sentences._states import scaling, states

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from scepsis.get._sentences._words import Speak

#: Analyses, and the sentence for a result that rows of the registry belong to.
OF_TESTS: tuple[tuple[tuple[str, ...], Speak], ...] = (
    (("A03",), nested_layer),
    (("A01", "A04"), against_baselines),
    (("A02",), sensitivity),
    (("A19",), universe),
    (("A05", "A06"), incremental),
    (("A07",), explained),
    (("A08",), residual),
    (("R",), recovery),
    (("L3",), expression_matched),
    (("A09",), degree),
    (("A10",), circularity),
    (("A11",), matched),
    (("A12", "A13", "A14", "A15"), ablation),
    (("A16",), contexts),
    (("A20",), model_effects),
    (("A21", "A22", "A23"), scaling),
    (("A24",), states),
    (("A25",), layers),
    (("A27",), regulators),
    (("A28",), models),
    (("A29",), coexpression),
    (("A30",), mediation),
)
#: Methods of making edges, the analysis that such edges are ("" for none), and the sentence for their record.
OF_EDGES: dict[str, tuple[str, Callable[[Mapping[str, Any]], str]]] = {
    "attention": ("", attention),
    **dict.fromkeys(MADE, ("", without_model)),
    "insilico": ("", insilico),
    "cssi": ("A24", per_state),
    "value_weighted": ("A26", value_weighted),
}
