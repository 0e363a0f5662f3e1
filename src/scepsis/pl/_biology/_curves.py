"""What the pictures of layers and regulators have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scepsis._core._names import words
from scepsis._core._validate import listing

if TYPE_CHECKING:
    import pandas as pd

MAKER = "scepsis.tl.characterize_layers(adata, references)"
#: Colours of Okabe and Ito, and markers, one of each for a reference.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def chosen_curve(profile: pd.DataFrame, edges: str | None, key: str) -> str:
    """Edges whose layers are drawn: those asked for, else the first that were scored."""
    curves = list(dict.fromkeys(profile.loc[profile["kind"].isin(["edges", "control"]), "curve"].astype(str)))
    if edges is not None and edges not in curves:
        msg = f"`adata.uns[{key!r}]` has no layers of {edges!r}; it has those of {listing(curves)}."
        raise KeyError(msg)
    return curves[0] if edges is None else edges


def without_intervals(layers: pd.DataFrame) -> dict[str, str]:
    """References on which layers have numbers but none has an interval, and the status that says why."""
    result = {}
    for name, own in layers[layers["auroc"].notna()].groupby("reference", sort=False):
        if len(own) and not (own["status"] == "ok").any():
            result[str(name)] = words(own["status"].iloc[0])
    return result
