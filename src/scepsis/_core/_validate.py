"""Checks that raise before any work: what is wrong, in which slot, and the call that mends it."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np

from scepsis._core._control_names import names_no_target

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

    from scepsis._core._types import Head


def listing(names: Iterable[object], *, limit: int = 8) -> str:
    """A few names for a message."""
    items = [str(name) for name in names]
    shown = ", ".join(repr(item) for item in items[:limit])
    return shown + (f", ... ({len(items)} in all)" if len(items) > limit else "") if items else "none"


def require_column(frame: pd.DataFrame, column: str, *, slot: str, remedy: str = "") -> pd.Series[Any]:
    """Column of ``obs`` or ``var``, or a `KeyError` that lists what there is."""
    if column in frame.columns:
        return frame[column]
    close = get_close_matches(column, [str(name) for name in frame.columns], n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    msg = f"`adata.{slot}[{column!r}]` does not exist; there are: {listing(frame.columns)}.{hint} {remedy}".rstrip()
    raise KeyError(msg)


def require_label(values: Collection[str], label: str, *, slot: str, argument: str, remedy: str = "") -> None:
    """A label must occur in its column; `remedy` is what else could be done."""
    if label not in values:
        usual = [value for value in values if names_no_target(value)] if argument == "control" else []
        close = usual or get_close_matches(label, list(values), n=1, cutoff=0.5)
        hint = f"Did you mean `{argument}={close[0]!r}`?" if close else ""
        said = f"{label!r} does not occur in `{slot}`; its values are: {listing(values)}."
        msg = " ".join(part for part in (said, hint, remedy) if part)
        raise ValueError(msg)


def require_choice(value: object, choices: Sequence[object], *, argument: str) -> None:
    """One of a few allowed values."""
    if value not in choices:
        msg = f"`{argument}` takes one of {listing(choices)}, not {value!r}."
        raise ValueError(msg)


def require_positive(value: float, *, argument: str, minimum: float = 1) -> None:
    """A number at least `minimum`."""
    if isinstance(value, bool) or not np.isreal(value) or not np.isfinite(value) or value < minimum:
        msg = f"`{argument}` must be at least {minimum}, not {value!r}."
        raise ValueError(msg)


def require_integers(values: Any, *, argument: str) -> list[int]:
    """One whole number or several, numpy's included; a boolean is none, and nothing is rounded."""
    several = isinstance(values, Iterable) and not isinstance(values, str)
    found: list[Any] = list(values) if several else [values]
    if not all(map(_is_integer, found)):
        msg = f"`{argument}` takes whole numbers, not {values!r}."
        raise TypeError(msg)
    return [int(one) for one in found]


def require_heads(heads: Any, *, argument: str) -> list[Head]:
    """Pairs of whole numbers."""
    try:
        pairs: list[tuple[Any, ...]] = [tuple(pair) for pair in heads]
    except TypeError:
        pairs = [()]
    if not all(len(pair) == 2 and all(map(_is_integer, pair)) for pair in pairs):
        msg = f"`{argument}` takes (layer, head) pairs, for example `[(3, 0), (3, 5)]`, not {heads!r}."
        raise TypeError(msg)
    return [(int(layer), int(head)) for layer, head in pairs]


def _is_integer(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def require_between(value: float, low: float, high: float, *, argument: str) -> None:
    """A number strictly between two others."""
    if isinstance(value, bool) or not np.isreal(value) or not low < value < high:
        msg = f"`{argument}` must be between {low} and {high}, not {value!r}."
        raise ValueError(msg)


def require_key(key: str, *, argument: str) -> None:
    """A name that slots are built from: a ``/`` in a key cannot be read back from disk."""
    if not isinstance(key, str) or not key or "/" in key:
        msg = f"`{argument}` must be a non-empty string without '/', not {key!r}: such a key cannot be read from disk."
        raise ValueError(msg)


def require_unique_names(adata: AnnData, axis: str) -> None:
    """Names of cells or genes must be unique: results are found by name."""
    index = adata.obs_names if axis == "obs" else adata.var_names
    if not index.is_unique:
        repeated = index[index.duplicated()].unique()
        msg = (
            f"`adata.{axis}_names` has duplicates: {listing(repeated)}. "
            f"Call `adata.{axis}_names_make_unique()`, or merge them, first."
        )
        raise ValueError(msg)


#: Where raw counts belong.
PUT_COUNTS = (
    "Put raw counts in `adata.layers['counts']` (for example `adata.layers['counts'] = adata.raw.X` if that is where "
    "they are)."
)


def check_counts(values: NDArray[Any], *, slot: str, remedy: str = PUT_COUNTS) -> None:
    """Raise `ValueError` unless every stored value is a whole number of molecules."""
    if not values.size:
        return
    if not np.isfinite(values).all():
        msg = f"`{slot}` holds NaN or infinite values. {remedy}"
        raise ValueError(msg)
    if values.min() < 0:
        msg = f"`{slot}` holds negative values, so it looks scaled or corrected. {remedy}"
        raise ValueError(msg)
    if values.dtype.kind == "f" and (values != np.rint(values)).any():
        msg = (
            f"`{slot}` holds fractions, so it looks normalised or log-transformed, where raw counts are needed. "
            f"{remedy}"
        )
        raise ValueError(msg)
