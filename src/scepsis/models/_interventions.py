"""What can be taken out of a model, as a value that knows no model."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from hashlib import blake2b
from typing import TYPE_CHECKING

from scepsis._core._validate import require_heads, require_integers

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Self

    from scepsis._core._types import Head
    from scepsis.models._protocol import AttentionModel, Batch

#: Things that a label names one by one.
_NAMED = 6


@dataclass(frozen=True)
class Reference:
    """Cells whose contexts are averaged; two are the same when their tokens are."""

    digest: str
    batch: Batch = field(compare=False, repr=False)

    @classmethod
    def of(cls, batch: Batch) -> Self:
        if not hasattr(batch, "n_tokens"):
            msg = f"`reference` takes a batch of the model, made by `model.batch(...)`, not {type(batch).__name__}."
            raise TypeError(msg)
        digest = blake2b(repr(batch.n_tokens).encode(), digest_size=16)
        for tensor in (batch.ids, batch.positions, batch.values):
            if tensor is not None:
                digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return cls(digest.hexdigest(), batch)


@dataclass(frozen=True)
class Intervention:
    r"""
    What is done to a model while a block of code runs: ``with model.intervene(intervention):``.

    One is made by the methods below, several are joined by ``|``. It names layers and heads, 0-based, and knows no
    model; :meth:`check` says what a model lacks of it. Interventions are immutable and can be compared and hashed.

    With :math:`z_h = \sum_m a^{(h)}_{im} v^{(h)}_m` for the context of head `h`, which the layer's output map takes to
    the residual stream as :math:`\sum_h W_h z_h + b`:

    ``zero_heads``
        :math:`z_h = 0`; the same as :math:`W_h = 0`. The bias `b` stays.
    ``uniform_heads``
        the queries of `h` are 0, so that :math:`a^{(h)}_{im}` is 1 over the number of tokens that `i` sees (all of
        its cell, in a causal model itself and those before it), special ones included. Values are as they were.
    ``mean_heads``
        :math:`z_h` is its mean over all tokens of the cells of a reference batch, special ones included, in the model
        without any intervention.
    ``zero_mlps``
        what the MLP adds to the residual stream is 0, its bias included. Normalisation still runs.
    ``zero_attention``
        what the attention block adds is 0, its bias included: that is more than all its heads.

    Examples
    --------
    >>> import scepsis as sps
    >>> both = sps.models.Intervention.zero_heads([(0, 1), (1, 3)]) | sps.models.Intervention.zero_mlps([1])
    >>> both.label
    'zero heads L0H1, L1H3 + zero MLPs L1'
    >>> both.heads, both.lowest
    (((0, 1), (1, 3)), 0)
    """

    #: ``(layer, head)``, ascending, as all that follows.
    zeroed: tuple[Head, ...] = ()
    uniform: tuple[Head, ...] = ()
    averaged: tuple[Head, ...] = ()
    #: Layers.
    mlps: tuple[int, ...] = ()
    attention: tuple[int, ...] = ()
    #: What `averaged` heads are averaged over.
    reference: Reference | None = None

    def __post_init__(self) -> None:
        items: list[object] = [*self.heads, *self.mlps, *self.attention]
        if not items:
            msg = "An intervention has to name a head or a layer; this one names none."
            raise ValueError(msg)
        if (self.reference is None) != (not self.averaged):
            msg = "Heads are averaged over a `reference`: a batch of the model, with `mean_heads`."
            raise ValueError(msg)
        for what, named in (("head", self.heads), ("MLP", self.mlps), ("attention block", self.attention)):
            twice = sorted({item for item in named if named.count(item) > 1})
            if twice:
                msg = f"An intervention touches {what} {_listing(twice)} twice."
                raise ValueError(msg)
        inside = [head for head in self.heads if head[0] in self.attention]
        if inside:
            msg = f"An intervention touches head {_listing(inside)} twice: its whole attention block goes."
            raise ValueError(msg)

    @classmethod
    def zero_heads(cls, heads: Iterable[Head]) -> Self:
        """Take heads out."""
        return cls(zeroed=_heads(heads))

    @classmethod
    def uniform_heads(cls, heads: Iterable[Head]) -> Self:
        """Let heads look at everything that they can see alike."""
        return cls(uniform=_heads(heads))

    @classmethod
    def mean_heads(cls, heads: Iterable[Head], *, reference: Batch) -> Self:
        """Let heads give what they give on average over the tokens of a batch, made by the model's own `batch`."""
        return cls(averaged=_heads(heads), reference=Reference.of(reference))

    @classmethod
    def zero_mlps(cls, layers: Iterable[int]) -> Self:
        """Take the MLPs of layers out."""
        return cls(mlps=_layers(layers))

    @classmethod
    def zero_attention(cls, layers: Iterable[int]) -> Self:
        """Take the attention blocks of layers out."""
        return cls(attention=_layers(layers))

    def __or__(self, other: Intervention) -> Intervention:
        """Both at once; what one touches the other may not."""
        if not isinstance(other, Intervention):
            return NotImplemented
        if self.reference and other.reference and self.reference != other.reference:
            msg = "Two interventions that average heads over different references cannot be joined."
            raise ValueError(msg)
        joined = {
            item.name: tuple(sorted(getattr(self, item.name) + getattr(other, item.name)))
            for item in fields(self)
            if item.name != "reference"
        }
        return Intervention(**joined, reference=self.reference or other.reference)

    @property
    def heads(self) -> tuple[Head, ...]:
        """Heads that are named, whatever is done to them, ascending; those of whole attention blocks are not."""
        return tuple(sorted(self.zeroed + self.uniform + self.averaged))

    @property
    def layers(self) -> tuple[int, ...]:
        """Layers that are touched, ascending."""
        return tuple(sorted({layer for layer, _ in self.heads}.union(self.mlps, self.attention)))

    @property
    def lowest(self) -> int:
        """Lowest layer that is touched."""
        return self.layers[0]

    @property
    def label(self) -> str:
        """What is done, in words; many heads of a kind are counted, not named."""
        heads = {"zero": self.zeroed, "uniform": self.uniform, "mean": self.averaged}
        parts = [f"{kind} {_named(some)}" for kind, some in heads.items() if some]
        blocks = {"MLPs": self.mlps, "attention": self.attention}
        parts += [f"zero {kind} {', '.join(f'L{layer}' for layer in some)}" for kind, some in blocks.items() if some]
        return " + ".join(parts)

    def is_total(self, model: AttentionModel) -> bool:
        """Whether no head of the model is left as it was: nothing is then left to compare heads with."""
        return len(self.heads) + len(self.attention) * model.n_heads == model.n_layers * model.n_heads

    def check(self, model: AttentionModel) -> None:
        """
        Say what of the intervention a model lacks.

        Raises
        ------
        ValueError
            Layers or heads that the model does not have.
        NotImplementedError
            The family does not say where its MLP is.
        """
        high = [layer for layer in self.layers if layer >= model.n_layers]
        if high:
            msg = f"{model.name!r} has no layer {_listing(high)}; it has layers 0 to {model.n_layers - 1} (0-based)."
            raise ValueError(msg)
        wide = [head for head in self.heads if head[1] >= model.n_heads]
        if wide:
            msg = (
                f"{model.name!r} has no head {_listing(wide)}, given as (layer, head); each layer has heads 0 to "
                f"{model.n_heads - 1} (0-based)."
            )
            raise ValueError(msg)
        hidden = [layer for layer in self.mlps if model.seams(layer).mlp is None]
        if hidden:
            msg = f"The family {model.family!r} does not say where the MLP of layer {_listing(hidden)} is."
            raise NotImplementedError(msg)

    def digest(self) -> str:
        """Fingerprint of what is done."""
        return blake2b(repr(self).encode(), digest_size=16).hexdigest()


def _heads(heads: Iterable[Head]) -> tuple[Head, ...]:
    pairs = sorted(require_heads(heads, argument="heads"))
    _require_positions([number for pair in pairs for number in pair])
    return tuple(pairs)


def _layers(layers: Iterable[int]) -> tuple[int, ...]:
    numbers = sorted(require_integers(layers, argument="layers"))
    _require_positions(numbers)
    return tuple(numbers)


def _require_positions(numbers: Sequence[int]) -> None:
    if any(number < 0 for number in numbers):
        msg = f"Layers and heads are counted from 0 up, not {min(numbers)}."
        raise ValueError(msg)


def _named(heads: Sequence[Head]) -> str:
    if len(heads) <= _NAMED:
        return "heads " + ", ".join(f"L{layer}H{head}" for layer, head in heads)
    layers = sorted({layer for layer, _ in heads})
    digest = blake2b(repr(tuple(heads)).encode(), digest_size=3).hexdigest()
    return f"{len(heads)} heads of L{layers[0]} to L{layers[-1]} ({digest})"


def _listing(items: Sequence[object]) -> str:
    return ", ".join(map(str, items))
