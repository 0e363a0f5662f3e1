"""How networks of more cells, and of cell states, were compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scepsis._core._names import words
from scepsis._core._numbers import count, plural
from scepsis.get._sentences._words import against, among, keys, listed, numbers

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

METRICS = {"top_k": "F1 of the strongest pairs", "auroc": "AUROC", "average_precision": "average precision"}
#: Strata that mean nothing.
NULLS = {
    "size_matched": "random cells in strata of the same sizes",
    "shuffled": "labels shuffled among the cells of the states",
    "random": "labels drawn at random",
    "genes": "genes exchanged for each other within each state",
}


def scaling(params: Mapping[str, Any], tests: pd.DataFrame) -> str:
    """A21, A22, A23."""
    ran = set(tests["analysis"])
    made = f"{params['score']}, {params['model']}" if "model" in params else str(params["score"])
    samples = f"{_cells(params)} in {plural(int(params['n_seeds']), 'run')}"
    told = [f"Networks ({made}) were made of {samples} and scored against {against(tests)} {among(params)}"]
    if "A21" in ran:
        told.append(
            "whether F1 of as many pairs as are listed falls from the first to the second number of cells was tested "
            "over runs by signs and by signed ranks [wilcoxon1945]"
        )
    if "A22" in ran:
        told.append(f"rises and falls with more cells were counted over {listed(params['metrics'], METRICS)}")
    if "A23" in ran:
        what = "the number of cells" if params["composition"] == "fixed" else "the entropy of types"
        told.append(f"AUROC was rank-correlated with {what}, with a p-value from permutations")
    return f"{'; '.join(told)}."


def _cells(params: Mapping[str, Any]) -> str:
    """Which cells samples hold; numbers beyond what there is were left out."""
    sizes, left_out = [int(one) for one in params["sizes"]], {str(one) for one in params["left_out"]}
    composition = str(params["composition"])
    if composition == "varied":
        return f"{count(sizes[0])} cells, in equal parts of one, two and more types ({params['groupby']}),"
    like = f" with types ({params['groupby']}) in the proportions of all cells" if composition == "fixed" else ""
    nested = numbers([size for size in sizes if f"{size} cells" not in left_out])
    return f"nested samples of {nested} cells{like}"


def states(params: Mapping[str, Any], tests: pd.DataFrame) -> str:
    """A24: the nulls, the halves, or the scan, each of which records what the others do not."""
    if "nulls" in params:
        return _nulls(params, tests)
    return _halves(params, tests) if "variants" in params else _scan(params, tests)


def _nulls(params: Mapping[str, Any], tests: pd.DataFrame) -> str:
    ran = [name for name in params["nulls"] if f"null/{name}" in set(tests["name"])]
    told = []
    if ran:
        told.append(f"with {count(params['n_null'])} aggregates each of {listed(ran, NULLS)}, one-sided")
    if "vs_pooled" in set(tests["name"]):
        told.append("with the network of all these cells together, by signed ranks over regulators [wilcoxon1945]")
    return (
        f"The AUROC of the aggregate over states ({params['key']}) against {against(tests)} {among(params)} was "
        f"compared {', and '.join(told)}."
    )


def _halves(params: Mapping[str, Any], tests: pd.DataFrame) -> str:
    return (
        f"Among {plural(len(params['variants']), 'aggregation')} over states ({params['key']}), and the layers on "
        "record where there are several, the one with the highest AUROC on a random half of the cells of every state "
        f"was scored on the other half, in {plural(int(params['n_splits']), 'split')}, against {against(tests)} "
        f"{among(params)}, and compared with all cells of that half together by signed ranks over regulators "
        "[wilcoxon1945]."
    )


def _scan(params: Mapping[str, Any], tests: pd.DataFrame) -> str:
    shuffled = f" and {plural(int(params['n_null']), 'shuffling')} of its labels" if params["n_null"] else ""
    return (
        f"Cells were cut into {numbers(params['n_states'])} Leiden clusters of {params['use_rep']} "
        f"({count(params['n_neighbors'])} neighbours), and for each number the aggregate "
        f"({words(params['aggregation'])}) of networks ({keys(tests['edges'])}) of clusters of at least "
        f"{plural(int(params['min_cells']), 'cell')} was scored against {against(tests)} {among(params)}, beside all "
        f"cells together{shuffled}; the difference was rank-correlated with the number of clusters."
    )
