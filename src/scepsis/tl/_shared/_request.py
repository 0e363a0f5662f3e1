"""What is asked of an attention run, checked before any work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from scepsis._core._groups import Groups
from scepsis._core._layers import require_frozen
from scepsis._core._model_runs import require_model
from scepsis._core._types import LayerRule, Scale
from scepsis._core._validate import listing, require_choice, require_heads, require_integers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

    from scepsis._core._keys import EdgeKeys
    from scepsis._core._types import Head
    from scepsis.models import AttentionModel


@dataclass(frozen=True)
class Maps:
    """Layers, or heads, that are stored."""

    layers: tuple[int, ...]
    heads: tuple[Head, ...]

    @classmethod
    def of(cls, model: AttentionModel, layers: int | Sequence[int] | None, heads: Sequence[Head] | None) -> Maps:
        require_model(model)
        if heads is not None:
            if layers is not None:
                msg = "Pass `layers` or `heads`, not both: a head names its layer."
                raise ValueError(msg)
            pairs = tuple(require_heads(heads, argument="heads"))
            _require_range([layer for layer, _ in pairs], model.n_layers, "heads", "layers")
            _require_range([head for _, head in pairs], model.n_heads, "heads", "heads")
            _require_distinct(pairs, "heads")
            return cls(tuple(sorted({layer for layer, _ in pairs})), tuple(sorted(pairs)))
        numbers = tuple(require_integers(range(model.n_layers) if layers is None else layers, argument="layers"))
        _require_range(numbers, model.n_layers, "layers", "layers")
        _require_distinct(numbers, "layers")
        return cls(tuple(sorted(numbers)), ())

    def names(self, keys: EdgeKeys) -> list[str]:
        """Slots of the single maps; none when there is only one, which is the mean itself."""
        if self.heads:
            return [keys.head(layer, head) for layer, head in self.heads]
        return [keys.layer(layer) for layer in self.layers] if len(self.layers) > 1 else []


def _require_range(numbers: Sequence[int], size: int, argument: str, what: str) -> None:
    if not len(numbers):
        msg = f"`{argument}` is empty."
        raise ValueError(msg)
    wrong = [number for number in numbers if not 0 <= number < size]
    if wrong:
        msg = f"`{argument}` asks for {listing(wrong)}; the model has {what} 0 to {size - 1} (0-based)."
        raise ValueError(msg)


def _require_distinct(items: Sequence[object], argument: str) -> None:
    if len(set(items)) < len(items):
        msg = f"`{argument}` names something twice: {listing(items)}."
        raise ValueError(msg)


def resolve_scales(model: AttentionModel, scale: Scale | tuple[Scale, ...]) -> tuple[Scale, ...]:
    scales = (scale,) if isinstance(scale, str) else tuple(scale)
    for one in scales:
        require_choice(one, get_args(Scale), argument="scale")
    if not scales:
        msg = f"`scale` is empty; it takes {listing(get_args(Scale))}, or several in a tuple."
        raise ValueError(msg)
    _require_distinct(scales, "scale")
    if model.causal and "centered" in scales:
        msg = (
            f"`scale='centered'` needs every pair of a cell's genes, but {model.name!r} is causal: no gene sees those "
            "ranked after it, so rows and columns have no effects of their own to remove. Use 'uniform_fold'."
        )
        raise ValueError(msg)
    return scales


def resolve_layer_rule(adata: AnnData, model: AttentionModel, maps: Maps, rule: LayerRule | None) -> LayerRule:
    """Rule that was given, held to a freeze record if there is one, or that which the layers themselves tell."""
    if rule is not None:
        require_choice(rule, get_args(LayerRule), argument="layer_rule")
        if rule == "frozen":
            require_frozen(adata, maps.layers, model.fingerprint)
        return rule
    return "single" if not maps.heads and len(maps.layers) == model.n_layers else "unrecorded"


def resolve_groups(adata: AnnData, groupby: str | None, *, named: bool) -> Groups:
    """Groups of an ``obs`` column, or all cells together."""
    if groupby is None:
        return Groups.none(adata.n_obs)
    if not named:
        msg = "With `groupby`, name the `layers` (or `heads`) to store: every group gets a matrix for each."
        raise ValueError(msg)
    return Groups.read(adata, groupby)
