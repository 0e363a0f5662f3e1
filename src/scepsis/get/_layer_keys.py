from __future__ import annotations

from typing import TYPE_CHECKING

from scepsis._core._layers import layer_keys as keys_of_layers
from scepsis._core._resolve import resolve

if TYPE_CHECKING:
    from scepsis._core._types import Data


def layer_keys(adata: Data, key: str = "attention", *, mod: str | None = None) -> dict[int, str]:
    """
    Give the key of each layer's edges.

    Parameters
    ----------
    adata
        Cells x genes, with edges of :func:`scepsis.tl.attention_edges`.
    key
        Name of the edges.
    mod
        Modality, for MuData.

    Returns
    -------
    dict
        0-based layer -> key of ``varp``, ascending. One layer alone stands under `key` itself. Edges that belong to
        no layer (single heads, correlation, a table from elsewhere) give an empty dict.

    Raises
    ------
    KeyError
        ``uns[key]`` does not exist.

    Notes
    -----
    Reads the record only.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.tl.attention_edges(adata, sps.models.load("demo"), show_progress_bar=False)
    >>> sorted(sps.get.layer_keys(adata)) == list(range(len(sps.get.layer_keys(adata))))
    True
    """
    return keys_of_layers(resolve(adata, mod), key)
