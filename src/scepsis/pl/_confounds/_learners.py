"""How residualizers and learners are drawn, wherever they are."""

from __future__ import annotations

from scepsis.pl._style import KINDS, OTHER, Look

LEARNERS = {
    "ols": Look(KINDS["edges"].colour, "o", "linear regression"),
    "gbdt": Look(KINDS["signed"].colour, "^", "boosted trees"),
    "node": Look(KINDS["baseline"].colour, "D", "node effects"),
}


def learner_look(name: str) -> Look:
    """Look of a learner; one unknown here has one too."""
    return LEARNERS.get(name, Look(OTHER.colour, OTHER.marker, name))
