"""How an audit was made, as a paragraph for a paper."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from scepsis._core._edge_slots import edge_params
from scepsis._core._keys import MATCH_GENES, SELECT_CELLS, SELECT_LAYER, SELECT_PANEL, EffectKeys
from scepsis._core._numbers import count, enumerate_words, percent
from scepsis._core._registry import holder_of_tests, read_tests
from scepsis._core._results import entries
from scepsis._core._validate import listing
from scepsis._version import __version__
from scepsis.get._sentences._screen import frozen_layer, specifications
from scepsis.get._sentences._sources import cited
from scepsis.get._sentences._speakers import OF_EDGES, OF_TESTS
from scepsis.get._sentences._words import keys

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from anndata import AnnData

    from scepsis._core._types import Data

#: Columns of the registry with what edges are held against, and the parameters that name it.
AGAINST = {"reference": ("reference_name", "reference"), "effects": ("effects",)}
#: Parameters that say which reference it was, and nothing of how it was used.
OF_REFERENCE = ("reference_name", "reference", "reference_hash", "reference_counts", "labels_hash", "network")
#: How tools record that edges are in ``varp``.
IN_VARP = re.compile(r"adata\.varp\['(.*)'\]")


def methods(adata: Data, *, edges: str | Sequence[str] | None = None, mod: str | None = None) -> str:
    """
    How an audit was made, as a methods paragraph with its sources.

    Parameters
    ----------
    adata
        Data with a registry, ``uns["tests"]``, and the results that it belongs to.
    edges
        Names of sets of edges that the paragraph is about; None takes all.
    mod
        Modality, for MuData; without it the tests across contexts, where there are any.

    Returns
    -------
    Text: sentences about the cells, genes, edges, labels and every analysis that was run, each from the parameters on
    record, and the sources that they cite. What was not run is not spoken of, and nothing is said of results.

    Raises
    ------
    KeyError
        Nothing has been tested, or nothing of these edges.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.pp.select_cells(adata)
    >>> sps.pp.gene_features(adata)
    >>> sps.tl.correlation_edges(adata)
    >>> sps.tl.perturbation_effects(adata)
    >>> sps.tl.perturbation_auroc(adata, edges="spearman")
    >>> sps.get.methods(adata)[:39]
    'Edges (spearman) were audited with scep'
    """
    data = holder_of_tests(adata, mod)
    tests = read_tests(data)
    known = list(dict.fromkeys(tests["edges"]))
    names = known if edges is None else [edges] if isinstance(edges, str) else list(edges)
    absent = [name for name in names if name not in known]
    if absent:
        msg = f"`adata.uns['tests']` has no row of the edges {listing(absent)}; there are: {listing(known)}."
        raise KeyError(msg)
    own = tests[tests["edges"].isin(names) & (tests["status"] != "not_run")]
    listed = enumerate_words([name for name in names if name])  # "": a test of the model itself, not of edges
    what = f"Edges ({listed}) were" if listed else "A model was"
    said = [
        f"{what} audited with scepsis {__version__} by a published framework [kendiukhov2026].",
        *_prepared(data),
        *_edges(data, own),
        *_labels(data, own),
        *_layer(data, own),
        *_analyses(data, own),
        *_specifications(data, names),
        *_corrected(data, own),
    ]
    return cited([sentence for sentence in dict.fromkeys(said) if sentence])


def _params(data: AnnData, key: str) -> Mapping[str, Any]:
    entry = data.uns.get(key)
    return dict(entry.get("params", {})) if hasattr(entry, "get") else {}


def _prepared(data: AnnData) -> list[str]:
    cells, panel, vocabulary = (_params(data, key) for key in (SELECT_CELLS, SELECT_PANEL, MATCH_GENES))
    said = []
    if cells:
        said.append(
            f"Edges and gene features were made from {count(cells['n_selected'])} of {count(cells['n_control'])} "
            f"control cells ({cells['control']}; seed {cells['seed']})."
        )
    if panel:
        said.append(f"The panel held {count(panel['n_genes'])} genes.")
    if vocabulary:
        said.append(f"The model was {vocabulary['model']}, with {count(vocabulary['vocabulary_size'])} names.")
    return said


def _labels(data: AnnData, tests: pd.DataFrame) -> list[str]:
    said = []
    for effects in dict.fromkeys(name for name in tests["effects"] if name):
        params = _params(data, EffectKeys(str(effects)).uns)
        if not {"test", "fdr", "lfc_threshold", "min_expected", "min_cells"} <= set(params):
            continue
        said.append(
            f"Responders ({effects}) were genes with a q-value below {params['fdr']:g} [benjamini1995] by the "
            f"{params['test']} test against control cells and an absolute log2 fold change above "
            f"{params['lfc_threshold']:g}, among genes with at least {params['min_expected']:g} expected expressing "
            f"cells, of perturbations with at least {count(params['min_cells'])} cells."
        )
    return said


def _edges(data: AnnData, tests: pd.DataFrame) -> list[str]:
    """How edges were made, as far as their record tells."""
    said = []
    for key in dict.fromkeys(_varp_keys(data, tests).values()):
        record = edge_params(data, key)
        if record.get("method") in OF_EDGES:
            _, speak = OF_EDGES[record["method"]]
            said.append(speak(record))
    return said


def _varp_keys(data: AnnData, tests: pd.DataFrame) -> dict[str, str]:
    """Slots of edges by their names in the registry: the same, unless the caller gave them others."""
    slots = {str(name): str(name) for name in tests["edges"] if name}
    for result in dict.fromkeys(tests["key"]):
        params = _params(data, str(result))
        for name, slot in zip(params.get("edges", []), params.get("edges_slot", []), strict=False):
            found = IN_VARP.fullmatch(str(slot))
            if found and str(name) in slots:
                slots[str(name)] = found[1]
    return slots


def _layer(data: AnnData, tests: pd.DataFrame) -> list[str]:
    """Which layer was frozen, where edges are of it."""
    names = [str(name) for name in dict.fromkeys(tests.loc[tests["layer_rule"] == "frozen", "edges"]) if name]
    params = _params(data, SELECT_LAYER)
    return [frozen_layer(params, names)] if names and params.get("how") == "frozen" and "layer" in params else []


def _analyses(data: AnnData, tests: pd.DataFrame) -> list[str]:
    """One sentence for every result that tests of an analysis belong to, with its own parameters."""
    import pandas as pd

    said = []
    for analyses, speak in OF_TESTS:
        own = tests[tests["analysis"].isin(analyses)]
        alike: dict[str, list[pd.DataFrame]] = {}
        of_choices, overwritten = {}, []
        for key in dict.fromkeys(own["key"]):
            params, rows = _params(data, str(key)), own[own["key"] == key]
            if not params:
                continue
            described = _described(params, rows)
            if described.any():
                choices = _choices(params)
                of_choices[choices] = params
                alike.setdefault(choices, []).append(rows[described])
            if not described.all():
                earlier = keys([one for name in AGAINST for one in rows.loc[~described, name] if one])
                overwritten.append(
                    f"Earlier tests ({key}; {earlier}) are of settings that a later run has overwritten."
                )
        said += [speak(of_choices[choices], pd.concat(rows)) for choices, rows in alike.items()]
        said += overwritten
    return said


def _choices(params: Mapping[str, Any]) -> str:
    """What was chosen, apart from the reference: results that share it share a sentence."""
    return repr(sorted((name, repr(value)) for name, value in params.items() if name not in OF_REFERENCE))


def _described(params: Mapping[str, Any], tests: pd.DataFrame) -> pd.Series[bool]:
    """Which tests the parameters are of: a call under the same name against something else overwrites them."""
    described = tests["key"].notna()
    for column, names in AGAINST.items():
        for name in names:
            if isinstance(params.get(name), str):
                described &= tests[column].isin(["", params[name]])
    return described


def _specifications(data: AnnData, names: list[str]) -> list[str]:
    """Curves of these edges, none of which has rows in the registry."""
    curves = (dict(entry["params"]) for _, entry in entries(data, "specifications", "summary"))
    return [specifications(params) for params in curves if set(names) & {str(name) for name in params["edges"]}]


def _corrected(data: AnnData, tests: pd.DataFrame) -> list[str]:
    again = int((tests["n_runs"] > 1).sum())
    said = [f"{count(len(tests))} tests were made" + (f", {count(again)} of them more than once." if again else ".")]
    entry = next((entry for _, entry in entries(data, "two_level", "families")), None)
    if entry is None or tests["p_bh"].isna().all():
        return said
    alpha = percent(float(entry["params"]["alpha"]))
    corrected = (
        f"Confirmatory tests were corrected together at a false discovery rate of {alpha} [benjamini1995], and under "
        "any dependence [benjamini2001]."
    )
    return [*said, corrected]
