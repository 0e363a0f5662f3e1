from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

import scepsis as sps
from scepsis._core._screen import read_screen

if TYPE_CHECKING:
    from collections.abc import Callable

    import anndata as ad

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture
def reference() -> pd.DataFrame:
    """Six regulators with eight targets each."""
    rng = np.random.default_rng(3)
    pairs = [(f"G{source}", f"G{target}") for source in range(6) for target in rng.choice(range(6, 60), 8, False)]
    return pd.DataFrame(pairs, columns=["source", "target"])


@pytest.fixture
def ranked(screen: ad.AnnData, small_model: Any, reference: pd.DataFrame) -> ad.AnnData:
    sps.pp.select_cells(screen)
    sps.tl.perturbation_effects(screen, min_cells=30, show_progress_bar=False)
    sps.tl.rank_heads(screen, small_model, reference=reference, show_progress_bar=False)
    return screen


def test_aurocs_are_those_of_stored_edges(ranked: ad.AnnData, small_model: Any, reference: pd.DataFrame) -> None:
    frame = ranked.uns["head_ranking"]["heads"].set_index(["layer", "head"])
    heads = [(0, 1), (2, 3)]
    sps.tl.attention_edges(ranked, small_model, heads=heads, show_progress_bar=False)
    keys = [f"attention_L{layer}H{head}" for layer, head in heads]
    sps.tl.reference_auroc(ranked, reference, edges=keys, baselines=(), n_boot=5)
    sps.tl.perturbation_auroc(ranked, edges=keys, baselines=(), n_boot=5, min_units=2)
    pooled = ranked.uns["reference_auroc"]["summary"].query("statistic == 'pooled'").set_index("predictor")["auroc"]
    first = ranked.uns["perturbation_auroc"]["summary"].set_index("predictor")["auroc"]
    for head, key in zip(heads, keys, strict=True):
        assert frame.loc[head, "reference_auroc"] == pytest.approx(pooled[key], abs=1e-9)
        assert frame.loc[head, "perturbation_auroc"] == pytest.approx(first[key], abs=1e-9)
        assert frame.loc[head, "composite"] == pytest.approx(pooled[key] * first[key], abs=1e-9)


def test_entropy_and_concentration_of_whole_rows(ranked: ad.AnnData, small_model: Any) -> None:
    """Against softmax of queries and keys, one cell and one row at a time."""
    import torch

    frame = ranked.uns["head_ranking"]["heads"].set_index(["layer", "head"])
    sources = ranked.uns["head_ranking"]["sources"]["gene"].tolist()
    controls = ranked[ranked.obs["edge_cells"]]
    tokens = ranked.var["ensembl_id"].map(small_model.vocabulary.tokens).to_numpy()
    wanted = {int(tokens[ranked.var_names.get_loc(gene)]) for gene in sources}
    encoded = small_model.tokenize(controls.X.tocsr(), tokens, np.zeros(len(controls), dtype=np.uint64))
    entropies, folds = [], []
    held: dict[str, torch.Tensor] = {}
    seams = small_model.seams(1)
    hooks = [
        getattr(seams, name).register_forward_hook(lambda _m, _a, out, name=name: held.update({name: out}))
        for name in ("query", "key")
    ]
    for cell in encoded:
        batch = small_model.batch([cell], [np.arange(len(cell.ids))])
        small_model.forward(batch)
        query, key = small_model.heads(1, held["query"], held["key"], batch)
        scores = (query @ key.transpose(-1, -2) / small_model.head_size**0.5)[0, 2].double()
        for row, token in zip(scores, batch.ids[0].tolist(), strict=True):
            if token in wanted:
                a = torch.softmax(row, 0)
                entropies.append(float(-(a * a.log()).sum()))
                folds.append(float(len(a) * (a**2).sum()))
    for hook in hooks:
        hook.remove()
    assert frame.loc[(1, 2), "entropy"] == pytest.approx(np.mean(entropies), rel=1e-5)
    assert frame.loc[(1, 2), "concentration"] == pytest.approx(np.mean(folds), rel=1e-5)


def test_halves_do_not_share_regulators(ranked: ad.AnnData, small_model: Any, reference: pd.DataFrame) -> None:
    result = ranked.uns["head_ranking"]
    sources = result["sources"].set_index("gene")
    assert sorted(sources["half"].value_counts()) == [3, 3]
    frame = result["heads"]
    for half in (0, 1):
        own = reference[reference["source"].map(sources["half"]) == half]
        sps.tl.rank_heads(ranked, small_model, reference=own, by="reference", key_added="half", show_progress_bar=False)
        other = ranked.uns["half"]["heads"]
        assert (other["rank_reference"] == frame[f"rank_reference_half_{half}"]).all()
    told = result["cross_fit"].set_index(["ranking", "k"])
    one = told.loc[("reference", 1)]
    best = frame["reference_auroc"].max()
    assert one["in_sample"] == pytest.approx(best)
    assert one["held_out"] < best, "the best of twelve heads of a random model is worth less where it was not chosen"
    assert one["of_all"] == pytest.approx(frame["reference_auroc"].mean())
    assert told.index.get_level_values("k").max() == 5, "no more than half of the heads"


def test_ranks_are_orders_of_the_values(ranked: ad.AnnData) -> None:
    frame = ranked.uns["head_ranking"]["heads"]
    for column, rank in (("reference_auroc", "rank_reference"), ("composite", "rank_composite")):
        assert frame.sort_values(rank)[column].is_monotonic_decreasing
        assert sorted(frame[rank]) == list(range(1, 13))
    assert frame.sort_values("rank_entropy")["entropy"].is_monotonic_increasing


def test_causal_model(screen: ad.AnnData, make_decoder: Callable[..., Any], reference: pd.DataFrame) -> None:
    model = sps.models.load(make_decoder())
    sps.pp.select_cells(screen)
    ask: dict[str, Any] = {"reference": reference, "by": ("reference", "entropy"), "show_progress_bar": False}
    sps.tl.rank_heads(screen, model, **ask)
    frame = screen.uns["head_ranking"]["heads"].set_index(["layer", "head"])
    sps.tl.attention_edges(screen, model, heads=[(1, 1)], show_progress_bar=False)
    sps.tl.reference_auroc(screen, reference, edges="attention", baselines=(), n_boot=5)
    pooled = screen.uns["reference_auroc"]["summary"]["auroc"].iloc[0]
    assert frame.loc[(1, 1), "reference_auroc"] == pytest.approx(pooled, abs=1e-9)
    assert (frame["concentration"] >= 1).all()


def test_same_for_any_batch_size_and_after_disk(
    ranked: ad.AnnData, small_model: Any, reference: pd.DataFrame, roundtrips: Any
) -> None:
    other = sps.tl.rank_heads(
        ranked, small_model, reference=reference, batch_size=3, copy=True, show_progress_bar=False
    )
    first, second = (data.uns["head_ranking"]["heads"] for data in (ranked, other))
    pd.testing.assert_frame_equal(first, second, rtol=1e-4)
    for back in roundtrips(ranked):
        pd.testing.assert_frame_equal(back.uns["head_ranking"]["heads"], first)
        assert back.uns["head_ranking"]["params"]["by"] is not None


def test_labels_that_nothing_can_be_said_of(screen: ad.AnnData, small_model: Any, reference: pd.DataFrame) -> None:
    sps.pp.select_cells(screen)
    few = reference[reference["source"] == "G0"]
    sps.tl.rank_heads(screen, small_model, reference=few, by="reference", show_progress_bar=False)
    assert screen.uns["head_ranking"]["cross_fit"].empty, "one regulator has no other half"
    assert screen.uns["head_ranking"]["heads"]["reference_auroc"].notna().all()
    assert (screen.uns["head_ranking"]["heads"][["rank_reference_half_0", "rank_reference_half_1"]] == 0).all().any()


def test_bad_input(screen: ad.AnnData, small_model: Any, reference: pd.DataFrame, untouched: Any) -> None:
    sps.pp.select_cells(screen)
    ask = {"show_progress_bar": False}
    with untouched(screen):
        with pytest.raises(TypeError, match=r"pass `reference=`"):
            sps.tl.rank_heads(screen, small_model, **ask)
        with pytest.raises(KeyError, match=r"tl\.perturbation_effects"):
            sps.tl.rank_heads(screen, small_model, reference=reference, **ask)
        with pytest.raises(ValueError, match="`by` takes one of"):
            sps.tl.rank_heads(screen, small_model, reference=reference, by="trrust", **ask)
        with pytest.raises(ValueError, match="layers 0 to 2"):
            sps.tl.rank_heads(screen, small_model, reference=reference, by="reference", layers=[3], **ask)
        for layers in (1.5, "0", True):
            with pytest.raises(TypeError, match="`layers` takes whole numbers"):
                sps.tl.rank_heads(screen, small_model, reference=reference, by="reference", layers=layers, **ask)
        with pytest.raises(TypeError, match=r"what `scepsis.models.load` gives, not 'demo'"):
            sps.tl.rank_heads(screen, "demo", reference=reference, by="reference", **ask)  # type: ignore[arg-type]
        small_model.network.train()
        try:
            with pytest.raises(ValueError, match=r"training mode.*network\.eval"):
                sps.tl.rank_heads(screen, small_model, reference=reference, by="reference", **ask)
        finally:
            small_model.network.eval()
        with pytest.raises(MemoryError, match="fewer `layers`"):
            sps.tl.rank_heads(screen, small_model, reference=reference, by="reference", memory_limit=100, **ask)
        with pytest.raises(ValueError, match="no rows to read"):
            sps.tl.rank_heads(screen, small_model, by="entropy", **ask)


def test_perturbations_are_counted_as_elsewhere(ranked: ad.AnnData) -> None:
    screen = read_screen(ranked, "perturbation", np.arange(ranked.n_vars))
    n = int(((screen.labels == 1).sum(axis=1) >= 2).sum())
    assert ranked.uns["head_ranking"]["params"]["n_perturbations"] == n == 3
