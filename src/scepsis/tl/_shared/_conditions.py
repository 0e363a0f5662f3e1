"""What is done to a model, by name: the paper's conditions, and those that a caller writes down."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from scepsis._core._rng import child
from scepsis._core._validate import listing
from scepsis.stats._head_sets import nearest_in_entropy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd

    from scepsis._core._types import Head, IntArray
    from scepsis.models import AttentionModel, Batch, Intervention

#: Names that a condition can have.
HEADS = re.compile(
    r"((?P<how>uniform|mean)_)?(?P<kind>top|bottom|composite|perturbation|entropy|random)_(?P<k>[1-9]\d*)(?P<draw>[a-z])?"
)
LAYERS = re.compile(r"(?P<kind>layer|mlp)_(?P<first>0|[1-9]\d*)(-(?P<last>0|[1-9]\d*))?")
#: Numbers of first heads in the paper, and those taken where a model has too few heads for three of them.
DOSES = (5, 10, 20, 50)
SMALL_DOSES = (1, 2, 4)
#: Column of the ranking that each kind takes heads from the top of; of bottom ones from its end.
RANK = {"top": "rank_reference", "bottom": "rank_reference", "composite": "rank_composite"} | {
    "perturbation": "rank_perturbation"
}


@dataclass(frozen=True)
class Condition:
    """One thing that is done, or why it cannot be done to this model."""

    name: str
    #: ``heads``, ``uniform``, ``mean``, ``layer``, ``mlp`` or ``given``.
    kind: str
    intervention: Intervention | None = None
    #: Positions of its heads in the ranking, in order; none for anything but single heads.
    chosen: tuple[int, ...] = ()
    #: Heads that were asked for; 0 for anything else.
    k: int = 0
    #: What its heads are first (or last) by, a key of `RANK`; "" for any other choice.
    ranking: str = ""
    why_not: str = ""
    #: Whether it is the one that is held against random sets.
    is_primary: bool = False

    @property
    def analysis(self) -> str:
        """The paper's first six are A12, and what stands for them; further doses A13, anything but heads out A14."""
        if self.kind in {"uniform", "mean", "mlp"} or (self.kind == "given" and not _only_zeroed(self.intervention)):
            return "A14"
        return "A12" if self.is_primary or self.name in FIRST else "A13"

    @property
    def ranked_on_labels(self) -> bool:
        """Whether its heads were chosen by the responders that it is judged on."""
        return self.ranking in {"composite", "perturbation"}


def _only_zeroed(intervention: Intervention | None) -> bool:
    """Whether heads are taken out, by name or with their whole blocks, and nothing else is done."""
    return intervention is not None and intervention.zeroed == intervention.heads and not intervention.mlps


def _set_of(name: str) -> str:
    """Name of a set of heads, whatever is done to them."""
    return name.removeprefix("uniform_").removeprefix("mean_")


FIRST = ("top_5", "random_5a", "random_5b", "random_5c", "entropy_5")


def paper_names(n_heads: int, readout: int) -> dict[str, str]:
    """
    Names of the paper's conditions, with why one cannot be; its layers stand where they do from a frozen layer 13.

    Where fewer than three doses of top heads fit, 1, 2 and 4 are added; and the MLP right under the readout, without
    which every MLP may lie too high, or too low to be there.
    """
    names = [*FIRST, *(f"top_{k}" for k in DOSES[1:]), "composite_5", "composite_10", "bottom_5", "bottom_10"]
    names += [f"random_{k}" for k in DOSES[1:]]
    names += ["uniform_top_5", "uniform_top_10", "uniform_random_10"]
    if sum(2 * k <= n_heads for k in DOSES) < 3:
        fitting = [k for k in SMALL_DOSES if 2 * k <= n_heads]
        names += [f"{kind}_{k}" for kind in ("top", "random") for k in fitting]
        names += [f"{kind}_{k}" for kind in ("entropy", "uniform_top") for k in fitting[-1:]]
    found = dict.fromkeys(names, "")
    for kind, above, width in (("layer", -1, 1), ("mlp", 2, 1), ("mlp", 0, 3), ("mlp", -5, 1), ("mlp", -1, 1)):
        first, last = readout + above, readout + above + width - 1
        if first < 0:
            found[f"{kind}_readout{above}"] = f"there is no layer {-above} below the readout, layer {readout}"
        else:
            found[f"{kind}_{first}" if width == 1 else f"{kind}_{first}-{last}"] = ""
    return found


def resolve_conditions(
    asked: str | Sequence[str] | Mapping[str, Any],
    model: AttentionModel,
    heads: pd.DataFrame,
    readout: int,
    seed: int,
    controls: Callable[[], Batch],
) -> list[Condition]:
    """
    Make conditions of names; `controls` gives the cells that heads are averaged over, where any are.

    Raises `TypeError` for what is neither names nor a dict, `ValueError` for names that mean nothing, heads or layers
    that the model does not have, all of its heads, and doses that are not smaller than the number of heads; of the
    paper's conditions those that do not fit the model are given with the reason.
    """
    by_paper = isinstance(asked, str) and asked == "paper"
    impossible: dict[str, str] = {}
    if isinstance(asked, Mapping):
        named: dict[str, Any] = dict(asked)
    else:
        impossible = paper_names(len(heads), readout) if by_paper else {}
        names = list(impossible) if by_paper else _names(asked)
        _require_distinct(names)
        named = {name: name for name in names}
    _require_names(named)
    if not named:
        msg = "`conditions` is empty. Pass 'paper', or names such as ['top_5', 'random_5', 'mlp_3']."
        raise ValueError(msg)
    made = []
    for name, given in named.items():
        if impossible.get(name):
            one = Condition(name, name.partition("_")[0], why_not=impossible[name])
        else:
            one = (
                _of_name(given, model, heads, seed, controls) if isinstance(given, str) else _given(given, model, heads)
            )
        if one.why_not and not by_paper:
            msg = f"`conditions` asks for {name!r}, but {one.why_not}."
            raise ValueError(msg)
        made.append(replace(one, name=name))
    return made


def _names(asked: str | Sequence[str]) -> list[str]:
    names = [asked] if isinstance(asked, str) else list(asked) if isinstance(asked, Iterable) else [asked]
    if not all(isinstance(name, str) for name in names):
        msg = (
            "`conditions` takes names, such as ['top_5', 'mlp_3'], or a dict from names to names or to "
            f"`scepsis.models.Intervention`, not {asked!r}."
        )
        raise TypeError(msg)
    return names


def _require_names(named: Mapping[Any, Any]) -> None:
    """Names of tests are made of those of conditions and readouts, with a ``/`` between."""
    wrong = [name for name in named if not isinstance(name, str) or not name or "/" in name]
    if wrong:
        msg = f"`conditions` has the names {listing(wrong)}; a name is a non-empty string without '/'."
        raise ValueError(msg)


def _require_distinct(names: Sequence[Any]) -> None:
    twice = sorted({str(name) for name in names if names.count(name) > 1})
    if twice:
        msg = f"`conditions` names {listing(twice)} more than once."
        raise ValueError(msg)


def _given(intervention: Any, model: AttentionModel, heads: pd.DataFrame) -> Condition:
    """An intervention of the caller's own."""
    from scepsis.models import Intervention

    if not isinstance(intervention, Intervention):
        kind = type(intervention).__name__
        msg = f"`conditions` maps names to names or to `scepsis.models.Intervention`, not to {kind}."
        raise TypeError(msg)
    intervention.check(model)
    _refuse_all(intervention, model)
    place = _places(heads)
    is_set = _only_zeroed(intervention) and not intervention.attention
    known = all(head in place for head in intervention.heads)
    chosen = [place[head] for head in intervention.heads] if is_set and known else []
    return Condition("", "heads" if chosen else "given", intervention, tuple(chosen), len(chosen))


def _refuse_all(intervention: Intervention, model: AttentionModel) -> None:
    if intervention.is_total(model):
        msg = "`conditions` takes out every head of the model: nothing is left to compare heads with."
        raise ValueError(msg)


def _places(heads: pd.DataFrame) -> dict[Head, int]:
    pairs = zip(heads["layer"].to_numpy().tolist(), heads["head"].to_numpy().tolist(), strict=True)
    return {pair: index for index, pair in enumerate(pairs)}


def _of_name(
    name: str, model: AttentionModel, heads: pd.DataFrame, seed: int, controls: Callable[[], Batch]
) -> Condition:
    if found := HEADS.fullmatch(name):
        return _of_heads(name, found, heads, seed, controls)
    if found := LAYERS.fullmatch(name):
        return _of_layers(found, model)
    msg = (
        f"`conditions` names {name!r}. A name is 'top_5' (by the reference; also 'bottom_', 'composite_', "
        "'perturbation_', 'entropy_', 'random_', with 'uniform_' or 'mean_' before), 'layer_12', 'mlp_8' or "
        "'mlp_13-15'."
    )
    raise ValueError(msg)


def _of_layers(found: re.Match[str], model: AttentionModel) -> Condition:
    from scepsis.models import Intervention

    first = int(found["first"])
    layers = list(range(first, int(found["last"] or first) + 1))
    kind = found["kind"]
    if not layers:
        return Condition("", kind, why_not="its last layer is below its first")
    if layers[-1] >= model.n_layers:
        return Condition("", kind, why_not=f"the model has layers 0 to {model.n_layers - 1}")
    if kind == "mlp":
        one = Intervention.zero_mlps(layers)
        try:
            one.check(model)
        except NotImplementedError as error:
            return Condition("", kind, why_not=str(error).rstrip("."))
        return Condition("", kind, one)
    if len(layers) == model.n_layers:
        return Condition("", kind, why_not="these are all of the model's heads")
    return Condition("", kind, Intervention.zero_heads([(at, head) for at in layers for head in range(model.n_heads)]))


def _of_heads(
    name: str, found: re.Match[str], heads: pd.DataFrame, seed: int, controls: Callable[[], Batch]
) -> Condition:
    from scepsis.models import Intervention

    k, kind, n_heads = int(found["k"]), found["kind"], len(heads)
    what = found["how"] or "heads"
    if not 1 <= k <= n_heads // 2:
        return Condition("", what, k=k, why_not=f"{k} heads are more than half of the {n_heads} that were ranked")
    chosen = _chosen(_set_of(name), kind, k, heads, seed)
    if len(chosen) < k:
        lacking = RANK.get(kind, "entropy")
        return Condition("", what, k=k, why_not=f"the ranking gives only {len(chosen)} heads by {lacking!r}")
    pairs = [(layer, head) for layer, head in heads[["layer", "head"]].to_numpy()[chosen].tolist()]
    if what == "mean":
        made = Intervention.mean_heads(pairs, reference=controls())
    else:
        made = Intervention.uniform_heads(pairs) if what == "uniform" else Intervention.zero_heads(pairs)
    return Condition("", what, made, tuple(chosen.tolist()), k, kind if kind in RANK else "")


def _chosen(name: str, kind: str, k: int, heads: pd.DataFrame, seed: int) -> IntArray:
    """Positions of the heads that a name means; random ones are drawn outside the top as many."""
    top = _first(heads, "rank_reference" if "rank_reference" in heads else "rank_perturbation", k)
    if kind == "random":
        outside = np.setdiff1d(np.arange(len(heads)), top)
        return np.sort(child(seed, "ablate_heads", name).permutation(outside)[:k])
    if kind == "entropy":
        return nearest_in_entropy(top.tolist(), heads["entropy"].to_numpy(dtype=np.float64))
    return _ranked(heads, kind, RANK[kind], k)


def chosen_on_half(condition: Condition, heads: pd.DataFrame, half: int) -> IntArray:
    """Positions of the heads that a condition would take, were labels of one half of the sources all there are."""
    chosen = _ranked(heads, condition.ranking, f"{RANK[condition.ranking]}_half_{half}", condition.k)
    return chosen if len(chosen) == condition.k else np.array([], dtype=np.int64)


def _ranked(heads: pd.DataFrame, kind: str, column: str, k: int) -> IntArray:
    """The first by a column of ranks, for bottom sets the last; none where the column is not there."""
    if column not in heads:
        return np.array([], dtype=np.int64)
    if kind == "bottom":
        ranks = heads[column].to_numpy()
        return np.argsort(-ranks, kind="stable")[:k] if (ranks > 0).sum() >= k else np.array([], dtype=np.int64)
    return _first(heads, column, k)


def _first(heads: pd.DataFrame, column: str, k: int) -> IntArray:
    ranks = heads[column].to_numpy()
    order = np.argsort(np.where(ranks > 0, ranks, len(ranks) + 1), kind="stable")
    return order[: min(k, int((ranks > 0).sum()))]
