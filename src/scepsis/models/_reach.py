"""Whether an intervention can be felt where a model is read: from the order of its modules, never from numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Collection

    from scepsis._core._types import Head
    from scepsis.models._interventions import Intervention

#: What is read: attention weights of a layer, what its heads give, hidden states after it, or anything that is made
#: from the last hidden states, as embeddings and logits are.
Readout = Literal["attention", "contexts", "hidden", "output"]
Reach = Literal["yes", "direct_only", "no"]


def reach(
    intervention: Intervention,
    readout_layer: int | None,
    kind: Readout = "attention",
    *,
    heads: Collection[Head] | None = None,
) -> Reach:
    """
    Tell whether an intervention reaches a readout.

    Attention at layer `r` is made from what enters that layer, so that heads, attention blocks and MLPs of the layers
    below reach it (``"yes"``) and nothing at `r` or above does (``"no"``): the layer's own heads are taken out behind
    the softmax, and its MLP comes after. Such a null holds by construction. Only a head that is made uniform in layer
    `r` itself changes there, and there its own map alone: ``"direct_only"``, which tells of the intervention and not
    of the model; where all heads that are read are made uniform, nothing from below changes their maps any more either.
    The same goes for heads whose own contexts are read. Hidden states after layer `r` are reached from
    `r` and below, and what is made from the last hidden states from everywhere.

    Parameters
    ----------
    intervention
        What is done.
    readout_layer
        Layer that is read; None with ``"output"``.
    kind
        What is read there.
    heads
        ``(layer, head)`` pairs that are read; all heads of the layer when not given.
    """
    if kind == "output":
        return "yes"
    if readout_layer is None:
        msg = f"`readout_layer` is needed to tell what reaches {kind!r}."
        raise ValueError(msg)
    if kind == "attention" and heads and intervention.uniform and set(heads) <= set(intervention.uniform):
        # Their maps are what the intervention makes them, whatever comes from below.
        return "direct_only"
    if intervention.lowest < readout_layer or (kind == "hidden" and intervention.lowest == readout_layer):
        return "yes"
    touched = {"attention": intervention.uniform, "contexts": intervention.heads, "hidden": ()}[kind]
    here = [head for head in touched if head[0] == readout_layer and (heads is None or head in heads)]
    return "direct_only" if here else "no"
