from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

import scepsis as sps

if TYPE_CHECKING:
    from collections.abc import Callable

    import anndata as ad

KEY = "perturbation_auroc"
BASELINES = ["variance", "mean", "detection_rate", "de_frequency", "position", "coverage"]


def _frame(adata: ad.AnnData, key: str = "spearman") -> pd.DataFrame:
    values = np.asarray(adata.varp[key])
    source, target = np.nonzero(~np.isnan(values))
    names = adata.var_names.to_numpy()
    return pd.DataFrame({"source": names[source], "target": names[target], "weight": values[source, target]})


def _no_effects(adata: ad.AnnData) -> None:
    del adata.uns["perturbation_effects"]


def _no_target(adata: ad.AnnData) -> None:
    del adata.varm["perturbation_target"]


def _half_effects(adata: ad.AnnData) -> None:
    adata.varm["perturbation_target"] = adata.varm["perturbation_target"][:, :5]


def _scores_for_labels(adata: ad.AnnData) -> None:
    adata.varm["perturbation_target"][3, 3] = 0.5


def _other_names(adata: ad.AnnData) -> None:
    adata.uns["perturbation_effects"]["perturbations"]["gene"] = "ENSG00000000001"


@pytest.mark.parametrize(
    ("spoil", "error", "pattern"),
    [
        (_no_effects, KeyError, "uns.*perturbation_effects.*scepsis.tl.perturbation_effects"),
        (_no_target, KeyError, "varm.*perturbation_target.*scepsis.tl.perturbation_effects"),
        (_half_effects, ValueError, "varm.*perturbation_target.*shape"),
        (_scores_for_labels, ValueError, "1, 0 and NaN"),
        (_other_names, ValueError, "(?s)perturbations.*gene.*ENSG.*adata.var_names.*G0.*gene_symbols"),
    ],
)
def test_effects_that_do_not_fit(
    make_audit: Callable[..., ad.AnnData],
    untouched: Callable[..., Any],
    spoil: Callable[[ad.AnnData], None],
    error: type[Exception],
    pattern: str,
) -> None:
    adata = make_audit()
    spoil(adata)
    with untouched(adata), pytest.raises(error, match=pattern):
        sps.tl.perturbation_auroc(adata)


@pytest.mark.parametrize(
    ("arguments", "error", "pattern"),
    [
        ({"edges": "attentoin"}, KeyError, r"adata.varp\['attentoin'\].*attention_edges"),
        ({"edges": ()}, ValueError, "`edges` is empty"),
        ({"edges": ["attention", "attention"]}, ValueError, "more than once"),
        ({"edges": [1]}, TypeError, "keys of `adata.varp`"),
        ({"edges": {"a": 3}}, TypeError, "keys of `adata.varp`"),
        ({"edges": {"variance": "attention"}}, ValueError, "'variance'.*other names"),
        ({"effects": "guides"}, KeyError, "guides.*label sets found: 'perturbation'"),
        ({"baselines": ("varience",)}, ValueError, "`baselines` takes one of"),
        ({"direction": "out"}, ValueError, "`direction`"),
        ({"margin": -0.1}, ValueError, "`margin`"),
        ({"min_candidates": 0}, ValueError, "`min_candidates`"),
        ({"min_positives": 0}, ValueError, "`min_positives`"),
        ({"min_units": 1}, ValueError, "`min_units`"),
        ({"n_boot": 0}, ValueError, "`n_boot`"),
        ({"key_added": "a/b"}, ValueError, "`key_added`"),
        ({"rng": -1}, TypeError, "`rng`"),
        ({"mod": "rna"}, TypeError, "`mod='rna'` is for MuData"),
    ],
)
def test_arguments_that_cannot_be(
    make_audit: Callable[..., ad.AnnData],
    untouched: Callable[..., Any],
    arguments: dict[str, Any],
    error: type[Exception],
    pattern: str,
) -> None:
    adata = make_audit(n_units=8)
    with untouched(adata), pytest.raises(error, match=pattern):
        sps.tl.perturbation_auroc(adata, **arguments)


def test_tables_that_cannot_be(make_audit: Callable[..., ad.AnnData], untouched: Callable[..., Any]) -> None:
    adata = make_audit(n_genes=40, n_units=8)
    frame = _frame(adata)
    for table, error, pattern in (
        (pd.concat([frame, frame.iloc[:2]]), ValueError, "more than once: 'G0 -> G1'"),
        (frame.assign(source="ENSG" + frame["source"].str[1:]), ValueError, "(?s)source.*ENSG.*adata.var_names.*G0"),
        (frame.drop(columns="weight"), KeyError, "weight"),
        (frame.assign(weight="strong"), TypeError, "numeric"),
        ([frame], TypeError, "without a name"),
        ({0: "edges"}, TypeError, r"not 0: str.*layer_keys\(adata, \.\.\.\)\.values"),
    ):
        with untouched(adata), pytest.raises(error, match=pattern):
            sps.tl.perturbation_auroc(adata, edges=table)


def test_edges_outside_the_panel_are_refused(
    make_audit: Callable[..., ad.AnnData], untouched: Callable[..., Any]
) -> None:
    adata = make_audit(n_genes=60, n_units=8)
    frame = _frame(adata)
    number = {side: frame[side].str[1:].astype(int) for side in ("source", "target")}
    frame = frame[(number["source"] < 20) & (number["target"] < 20)]
    adata.var["edge_panel"] = np.arange(60) >= 30
    pattern = "None of the 20 genes of `edges` is among the 30 candidates"
    with untouched(adata), pytest.warns(UserWarning, match="no record"), pytest.raises(ValueError, match=pattern):
        sps.tl.perturbation_auroc(adata, edges=frame)
