"""A batch that is run many times under different interventions: each run begins where it parts from the last."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from scepsis.models._prefix import passed_over

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import torch

    from scepsis.models import AttentionModel, Batch
    from scepsis.models._interventions import Intervention


class Resumable:
    """
    One batch of a model, and the hidden states that entered layers when it was last run.

    Parameters
    ----------
    model
        A model behind the protocol. Where it does not say what its layers are, every run begins at the first.
    batch
        The cells.
    layers
        Layers that a run may begin at.
    """

    def __init__(self, model: AttentionModel, batch: Batch, layers: Sequence[int]) -> None:
        self.model = model
        self.batch = batch
        blocks = [model.seams(layer).block for layer in range(model.n_layers)]
        self._blocks: list[torch.nn.Module] = [block for block in blocks if block is not None]
        self._layers = list(layers) if len(self._blocks) == model.n_layers else []
        self._entered: dict[int, torch.Tensor] = {}
        #: How many things layers give beside hidden states; None for hidden states alone.
        self._more: int | None = None

    def run(self, intervention: Callable[[int], Intervention | None], lowest: int) -> torch.Tensor:
        """
        Hidden states after the last layer.

        `lowest` is the lowest layer in which this run differs from the last one; `intervention` gives what is done
        in the layers from some layer up, which is `lowest` or, where nothing is known of that, 0.
        """
        start = lowest if lowest in self._entered else 0
        made = intervention(start)
        with ExitStack() as stack:
            # First, since it may run cells of its own to prove the modules that it is about to change.
            if made is not None:
                stack.enter_context(self.model.intervene(made))
            if start:
                stack.enter_context(self._from(start))
            elif self._layers:
                stack.callback(self._blocks[0].register_forward_hook(self._see).remove)
            for layer in self._layers:
                if layer > start or not start:
                    stack.callback(self._keep(layer))
            return self.model.forward(self.batch)

    def _see(self, _module: torch.nn.Module, _args: Any, output: Any) -> None:
        self._more = len(output) - 1 if isinstance(output, tuple) else None

    def _keep(self, layer: int) -> Callable[[], None]:
        def note(_module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self._entered[layer] = args[0] if args else next(iter(kwargs.values()))

        return self._blocks[layer].register_forward_pre_hook(note, with_kwargs=True).remove

    @contextmanager
    def _from(self, start: int) -> Iterator[None]:
        """Layers below `start` hand on what enters them, and `start` is given what entered it last."""
        entered = self._entered[start]

        def enter(
            _module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
        ) -> tuple[tuple[Any, ...], dict[str, Any]]:
            if args:
                return (entered, *args[1:]), kwargs
            return (), kwargs | {next(iter(kwargs)): entered}

        with ExitStack() as stack:
            stack.callback(self._blocks[start].register_forward_pre_hook(enter, with_kwargs=True).remove)
            for block in self._blocks[:start]:
                stack.enter_context(passed_over(block, self._more))
            yield
