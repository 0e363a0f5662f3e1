"""What a causal model can be asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import sparse

import scepsis as sps

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    import anndata as ad


def test_what_a_causal_mask_hides_is_stored_as_never_evaluated(
    screen: ad.AnnData, make_decoder: Callable[..., Path]
) -> None:
    model = sps.models.load(make_decoder())
    chosen = np.arange(screen.n_obs) == int(np.argmax((screen.X > 0).sum(axis=1)))
    sps.tl.attention_edges(screen, model, mask_obs=chosen, layers=[1], scale=("probability", "uniform_fold"))
    found = screen.var["attention_position"].notna().to_numpy()
    rank = screen.var["attention_position"].to_numpy()[found]
    edges = sps.get.edge_matrix(screen, "attention").to_numpy()
    visible, off = rank[:, None] > rank[None], ~np.eye(len(rank), dtype=bool)
    np.testing.assert_array_equal(np.isfinite(edges), visible)
    n_cells = sparse.csr_matrix(screen.varp["attention_n_cells"]).toarray()[np.ix_(found, found)]
    np.testing.assert_array_equal(n_cells[off] == 1, visible[off])
    # What a gene sees is itself, the genes before it, and the special token at the front.
    fold = sps.get.edge_matrix(screen, "attention_uniform_fold").to_numpy()
    expected = edges * (rank[:, None] + 2)
    np.testing.assert_allclose(fold[visible], expected[visible], rtol=1e-5)
    assert screen.uns["attention"]["params"]["causal"]
    assert screen.uns["attention"]["params"]["family"] == "decoder"


@pytest.mark.parametrize("scale", ["centered", ("probability", "centered")])
def test_centring_needs_every_pair(
    screen: ad.AnnData,
    make_decoder: Callable[..., Path],
    untouched: Callable[[ad.AnnData], Any],
    monkeypatch: pytest.MonkeyPatch,
    scale: Any,
) -> None:
    model = sps.models.load(make_decoder())
    monkeypatch.setattr(type(model), "tokenize", None)
    with untouched(screen), pytest.raises(ValueError, match=r"needs every pair.*causal.*'uniform_fold'"):
        sps.tl.attention_edges(screen, model, layers=[1], scale=scale)
