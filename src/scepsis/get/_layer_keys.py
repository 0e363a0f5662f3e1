from __future__ import annotations

import re
from typing import TYPE_CHECKING

from scepsis._core._keys import EdgeKeys
from scepsis._core._resolve import resolve
from scepsis._core._results import read_result

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
    target = resolve(adata, mod)
    entry = read_result(target, key, maker="scepsis.tl.attention_edges(adata, model)")
    names = [str(name) for name in entry.get("edges_keys", [])]
    pattern = re.compile(re.escape(EdgeKeys(key).layer(0).removesuffix("0")) + r"(\d+)")
    layers = {int(found[1]): name for name in names if (found := pattern.fullmatch(name))}
    if layers:
        return dict(sorted(layers.items()))
    params = entry["params"]
    alone = list(params.get("layers", []))
    return {int(alone[0]): key} if len(alone) == 1 and not len(params.get("heads", [])) else {}
