"""Perturbation effects as a labelled frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pandas as pd

from scepsis._core._keys import EffectKeys
from scepsis._core._resolve import resolve
from scepsis._core._results import read_frame
from scepsis._core._validate import require_choice

if TYPE_CHECKING:
    from scepsis._core._types import Data

MAKER = "scepsis.tl.perturbation_effects(adata, ...)"


def effects(
    adata: Data,
    which: Literal["target", "lfc", "qval"] = "target",
    *,
    key: str = "perturbation",
    mod: str | None = None,
) -> pd.DataFrame:
    """
    Effects of the perturbations of a screen, genes x perturbations, with their names.

    Parameters
    ----------
    adata
        Cells x genes with the results of :func:`scepsis.tl.perturbation_effects`.
    which
        ``"target"``: 1 for a responder, 0 for a tested gene that is none. ``"lfc"``: log2 fold change. ``"qval"``:
        adjusted p-value. NaN where the gene was not testable.
    key
        Label set, `key_added` of the call that made it.
    mod
        Modality, for MuData.

    Returns
    -------
    Frame of float32 with ``var_names`` in rows and perturbations in columns; a copy of ``varm["<key>_<which>"]``.

    Raises
    ------
    KeyError
        When the effects do not exist.
    ValueError
        When `which` is something else, or the stored parts do not belong together.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.tl.perturbation_effects(adata)
    >>> sps.get.effects(adata, "lfc").shape
    (300, 40)
    """
    require_choice(which, ("target", "lfc", "qval"), argument="which")
    source = resolve(adata, mod)
    keys = EffectKeys(key)
    names = read_frame(source, keys.uns, "perturbations", maker=MAKER)["perturbation"]
    slot = {"target": keys.target, "lfc": keys.lfc, "qval": keys.qval}[which]
    if slot not in source.varm:
        msg = f"`adata.varm[{slot!r}]` does not exist, though `adata.uns[{keys.uns!r}]` does. Call `{MAKER}` anew."
        raise KeyError(msg)
    values = source.varm[slot]
    if values.shape[1] != len(names):
        msg = (
            f"`adata.varm[{slot!r}]` has {values.shape[1]} columns and `adata.uns[{keys.uns!r}]['perturbations']` "
            f"{len(names)} rows. Call `{MAKER}` anew."
        )
        raise ValueError(msg)
    columns = pd.Index(names.astype(str).to_numpy(), name="perturbation")
    return pd.DataFrame(values, index=source.var_names, columns=columns, copy=True)
