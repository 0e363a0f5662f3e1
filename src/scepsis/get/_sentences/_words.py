"""Words that sentences of several analyses share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scepsis._core._names import words
from scepsis._core._numbers import count, enumerate_words, plural

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import pandas as pd

    #: Tells how a result was made, from its parameters and the rows of the registry that belong to it.
    Speak = Callable[[Mapping[str, Any], pd.DataFrame], str]

#: What tools call a reference that was given no name.
UNNAMED = "reference"
LEARNERS = {"logistic": "logistic regression", "gbdt": "gradient-boosted trees"}
#: What takes gene-level parts out of edges, or explains them.
RESIDUALIZERS = {
    "ols": "linear regression on gene features",
    "gbdt": "gradient-boosted trees on gene features",
    "node": "additive effects of source and target estimated without the pair",
}


def listed(names: Iterable[Any], known: Mapping[str, str] | None = None) -> str:
    """Names as a phrase, in the words that are known for them, else without underscores."""
    own = {} if known is None else known
    return enumerate_words([own.get(str(name), words(name)) for name in names])


def keys(names: Iterable[Any]) -> str:
    """Names that the reader has to find again, as they are."""
    return enumerate_words([str(name) for name in dict.fromkeys(names)])


def numbers(values: Iterable[Any], *, last: str = "and") -> str:
    """Values of a parameter as a phrase; whole numbers with thousands separated."""
    return enumerate_words([count(one) if float(one).is_integer() else f"{one:g}" for one in values], last)


def referred(names: Iterable[Any]) -> str:
    """References by their names; the one that was given none is ``the reference``."""
    given = [str(name) for name in dict.fromkeys(names) if str(name)]
    named = [name for name in given if name != UNNAMED]
    own = [f"the {'references' if len(named) > 1 else 'reference'} {enumerate_words(named)}"] if named else []
    return enumerate_words((["the reference"] if len(named) < len(given) or not named else []) + own)


def against(tests: pd.DataFrame) -> str:
    """References that these tests are against."""
    return referred(tests["reference"])


def among(params: Mapping[str, Any]) -> str:
    """Pairs of genes that a reference could have listed."""
    universe = str(params.get("universe", "regulators"))
    if universe == "all_pairs":
        return "among all ordered pairs of two genes"
    if universe == "unordered":
        return "among all pairs of two genes whatever their order"
    targets = plural(int(params["min_targets"]), "listed target")
    return f"among pairs of a regulator (at least {targets}) and another gene"


def counted(params: Mapping[str, Any]) -> str:
    """Perturbations that a mean is over."""
    return (
        f"perturbations of at least {plural(int(params['min_positives']), 'responder')} among "
        f"{plural(int(params['min_candidates']), 'candidate')}"
    )


def equivalence(params: Mapping[str, Any]) -> str:
    """The test of a null claim."""
    return f"equivalence within {params['margin']:g} [schuirmann1987]"
