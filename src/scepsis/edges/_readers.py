"""Queries, keys and contexts as a model computes them, layer by layer: from its attention kernel or its projections."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, Protocol

from torch.utils._python_dispatch import TorchDispatchMode

from scepsis.models._prefix import only_reads

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

    from scepsis.models import AttentionModel, Batch

#: Attention kernels whose second result is the logarithm of each row's sum, and which of their arguments, if any, asks
#: for it. (On a GPU, flash attention takes no mask, so that batches with padding run through one of the other two.)
_KERNELS = {
    "aten._scaled_dot_product_flash_attention_for_cpu": None,
    "aten._scaled_dot_product_flash_attention": None,
    "aten._scaled_dot_product_efficient_attention": 4,
    "aten._scaled_dot_product_cudnn_attention": 4,
}


class OnLayer(Protocol):
    """Takes a layer's queries and keys (cells x heads x tokens x size) and, if known, the rows' log sums."""

    def __call__(self, layer: int, query: torch.Tensor, key: torch.Tensor, log_sum: torch.Tensor | None) -> None: ...


class OnEnd(Protocol):
    """Takes hidden states after the last layer."""

    def __call__(self, hidden: torch.Tensor, /) -> object: ...


class Done(Exception):  # noqa: N818
    """Raised inside the forward pass once the last layer asked for has been read."""


def from_projections(
    model: AttentionModel, batch: Batch, layers: Sequence[int], on_layer: OnLayer, on_end: OnEnd | None = None
) -> None:
    """
    Read a batch through hooks on the query and key maps. Works with every attention kernel; gives no log sums.

    Layers above the last one asked for are not run, unless `on_end` takes what comes out of them.
    """
    with ExitStack() as stack:
        for layer in layers:
            held: dict[str, torch.Tensor] = {}

            def catch(name: str, layer: int = layer, held: dict[str, torch.Tensor] = held) -> Callable[..., None]:
                def hook(_module: torch.nn.Module, _args: Any, output: torch.Tensor) -> None:
                    held[name] = output
                    if len(held) == 2:
                        on_layer(layer, *model.heads(layer, held.pop("query"), held.pop("key"), batch), None)
                        if on_end is None and layer == max(layers):
                            raise Done

                return only_reads(hook)

            seams = model.seams(layer)
            stack.callback(seams.query.register_forward_hook(catch("query")).remove)
            stack.callback(seams.key.register_forward_hook(catch("key")).remove)
        with suppress(Done):
            hidden = model.forward(batch)
            if on_end is not None:
                on_end(hidden)


class _Listener(TorchDispatchMode):
    """Hears the attention kernels that run, and what they give."""

    def __init__(self, hear: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.hear = hear

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        name = func.name().replace("::", ".").split(".default")[0]
        if name not in _KERNELS:
            return func(*args, **(kwargs or {}))
        asks = _KERNELS[name]
        if asks is not None:
            args = (*args[:asks], True, *args[asks + 1 :])
        result = func(*args, **(kwargs or {}))
        query, log_sum = args[0], result[1]
        # One kernel gives a last dimension of 1, another rounds the tokens up.
        self.hear(query, args[1], log_sum.view(*log_sum.shape[:3])[..., : query.shape[2]])
        return result


def from_kernel(
    model: AttentionModel, batch: Batch, layers: Sequence[int], on_layer: OnLayer, on_end: OnEnd | None = None
) -> bool:
    """
    Read a batch from the attention kernel's own queries, keys and log sums: no row is normalised a second time.

    Gives False, having read nothing, when the model's attention runs through no kernel that tells its log sums.
    What follows the attention of the last layer asked for is not run, unless `on_end` takes what comes out of it.
    """
    current: list[int] = []
    heard: list[int] = []

    def hear(query: torch.Tensor, key: torch.Tensor, log_sum: torch.Tensor) -> None:
        if not current or not log_sum.numel():
            return
        layer = current.pop()
        if key.shape[1] < query.shape[1]:  # the kernel repeats the heads that several queries share
            key = key.repeat_interleave(query.shape[1] // key.shape[1], dim=1)
        on_layer(layer, query, key, log_sum)
        heard.append(layer)
        if on_end is None and layer == max(layers):
            raise Done

    with ExitStack() as stack:
        for layer in layers:
            begin = only_reads(lambda *_, layer=layer: current.append(layer))
            stack.callback(model.seams(layer).query.register_forward_hook(begin).remove)
        stack.enter_context(_Listener(hear))
        try:
            hidden = model.forward(batch)
        except Done:
            return True
    if on_end is not None and heard == sorted(layers):
        on_end(hidden)
        return True
    if heard:
        msg = f"{model.name!r} ran a readable attention kernel in layers {heard} but not in all of {list(layers)}."
        raise RuntimeError(msg)
    return False


def from_outputs(
    model: AttentionModel, batch: Batch, layers: Sequence[int], on_layer: Callable[[int, torch.Tensor], None]
) -> None:
    """
    Read the heads' contexts (cells x tokens x heads times size) as they go into each layer's output projection.

    Layers above the last one asked for are not run, nor is what follows its attention.
    """
    with ExitStack() as stack:
        for layer in layers:

            def catch(_module: torch.nn.Module, args: tuple[torch.Tensor, ...], layer: int = layer) -> None:
                on_layer(layer, args[0])
                if layer == max(layers):
                    raise Done

            stack.callback(model.seams(layer).output.register_forward_pre_hook(catch).remove)
        with suppress(Done):
            model.forward(batch)
