"""How a model is changed for a while: hooks on the modules that every family names, nothing else."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from hashlib import blake2b
from threading import Lock, get_ident
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from scepsis.models._interventions import Intervention
from scepsis.models._proof import prove

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    import torch

    from scepsis.models._protocol import AttentionModel

#: Interventions that a network is under, outermost first.
_ACTIVE: WeakKeyDictionary[torch.nn.Module, list[_Installed]] = WeakKeyDictionary()
_LOCK = Lock()


class Intervenable:
    """Gives a family `intervene`; one that is registered gets it when its first model is loaded."""

    def intervene(self: Any, intervention: Intervention) -> AbstractContextManager[None]:
        """
        Run a block of code with an intervention in place.

        Whatever runs the model inside the block, extraction included, sees it with the intervention; afterwards, and
        after any exception, the model is bit for bit what it was. Blocks can be nested, as long as they touch
        different things: the result is that of their union. Inside, the model's name and fingerprint tell of the
        intervention, so that no result and no checkpoint file passes for one of the model as it was. All who hold the
        network see what is done to it: other threads must not run it meanwhile.

        Raises
        ------
        ValueError
            Layers or heads that the model does not have, something that an outer block touches, a model in training
            mode.
        NotImplementedError
            An MLP that the family does not name.
        RuntimeError
            Another thread has the model under an intervention. Or the modules that the family names are not those that
            it computes with, or did not run in a forward pass inside the block: the intervention would have done
            nothing.
        """
        return intervened(self, intervention)


def make_intervenable(model: AttentionModel) -> None:
    """Give the class of a model `intervene` where it has none of its own."""
    if not hasattr(model, "intervene"):
        type(model).intervene = Intervenable.intervene  # type: ignore[method-assign]


def active_interventions(model: AttentionModel) -> tuple[Intervention, ...]:
    """Interventions that a model is under, outermost first."""
    return tuple(one.intervention for one in _ACTIVE.get(model.network, []))


@contextmanager
def intervened(model: AttentionModel, intervention: Intervention) -> Iterator[None]:
    """See :meth:`Intervenable.intervene`."""
    given: object = intervention
    if not isinstance(given, Intervention):
        msg = (
            "`intervene` takes an `Intervention`, such as `scepsis.models.Intervention.zero_heads([(3, 0)])`, not "
            f"{given!r}."
        )
        raise TypeError(msg)
    intervention.check(model)
    if any(module.training for module in model.network.modules()):
        msg = f"{model.name!r} is in training mode, where dropout draws; call `model.network.eval()` first."
        raise ValueError(msg)
    stack_of = _ACTIVE.setdefault(model.network, [])
    installed, own = _entered(model, intervention, stack_of)
    with ExitStack() as stack:
        stack.callback(_rename, model, own, stack_of)
        stack.callback(stack_of.remove, installed)
        with _paused(stack_of):
            prove(model)
            means = _means(model, intervention)
        installed.install(model, means, stack)
        _rename(model, own, stack_of)
        yield
        installed.require_ran(own[0])


def _entered(
    model: AttentionModel, intervention: Intervention, stack_of: list[_Installed]
) -> tuple[_Installed, tuple[str, str]]:
    """Enter an intervention among those that are active, hooks not yet set; beside it name and fingerprint without."""
    with _LOCK:
        for outer in stack_of:
            if outer.thread != get_ident():
                msg = (
                    f"Another thread has {model.name!r} under an intervention, which this one's would be mixed with. "
                    "Load a model for each thread."
                )
                raise RuntimeError(msg)
            outer.intervention | intervention  # raises where both touch the same
        known = (one.identity for one in stack_of if one.model == id(model))
        own = next(known, (model.name, model.fingerprint))
        installed = _Installed(intervention, id(model), own)
        stack_of.append(installed)
    return installed, own


def _rename(model: AttentionModel, own: tuple[str, str], installed: Sequence[_Installed]) -> None:
    """Name a model after itself and the interventions that it is under, in whatever order they ended."""
    name, fingerprint = own
    for one in installed:
        told = f"{fingerprint}\x1f{one.intervention.digest()}".encode()
        name, fingerprint = f"{name} ({one.intervention.label})", blake2b(told, digest_size=16).hexdigest()
    model.name, model.fingerprint = name, fingerprint


class _Installed:
    """The hooks of one intervention, how often they ran, and how often the network did."""

    def __init__(self, intervention: Intervention, model: int, identity: tuple[str, str]) -> None:
        self.intervention = intervention
        #: Which model that is, and its name and fingerprint without any intervention.
        self.model, self.identity = model, identity
        self.thread = get_ident()
        self.on = True
        self.passes = 0
        self.hooks: dict[str, _Hook] = {}

    def install(self, model: AttentionModel, means: dict[int, torch.Tensor], stack: ExitStack) -> None:
        chosen = self.intervention
        for layer in chosen.layers:
            seams = model.seams(layer)
            zeroed, uniform, averaged = (
                _columns(model, [head for at, head in some if at == layer])
                for some in (chosen.zeroed, chosen.uniform, chosen.averaged)
            )
            wanted: list[tuple[str, torch.nn.Module | None, _Hook, bool]] = [
                (f"contexts of layer {layer}", seams.output, _Contexts(self, zeroed, averaged, means.get(layer)), True),
                (f"queries of layer {layer}", seams.query, _Queries(self, uniform), False),
                (f"attention of layer {layer}", seams.output, _Nothing(self, layer in chosen.attention), False),
                (f"MLP of layer {layer}", seams.mlp, _Nothing(self, layer in chosen.mlps), False),
            ]
            for what, module, hook, before in wanted:
                if hook.needed and module is not None:
                    self.hooks[what] = hook
                    add: Any = module.register_forward_pre_hook if before else module.register_forward_hook
                    stack.callback(add(hook).remove)
        stack.callback(model.network.register_forward_hook(self.count).remove)

    def count(self, _module: torch.nn.Module, _args: Any, _output: Any) -> None:
        """One more forward pass that came to its end."""
        self.passes += self.on

    def require_ran(self, name: str) -> None:
        silent = [what for what, hook in self.hooks.items() if hook.n < self.passes]
        if silent:
            msg = (
                f"{name!r} ran {self.passes} times, but not through the module that holds the {', the '.join(silent)}: "
                f"the intervention ({self.intervention.label}) had no effect there, and no result of this block counts."
            )
            raise RuntimeError(msg)


class _Hook:
    """Classes and not closures, so that a network can be sent to another process as it is."""

    needed = True

    def __init__(self, owner: _Installed) -> None:
        self.owner = owner
        self.n = 0

    def ran(self) -> bool:
        """Count a run, and tell whether to act."""
        self.n += self.owner.on
        return self.owner.on


class _Contexts(_Hook):
    """Before an output map: contexts of some heads are 0, of others their mean."""

    def __init__(
        self, owner: _Installed, zeroed: torch.Tensor, averaged: torch.Tensor, mean: torch.Tensor | None
    ) -> None:
        super().__init__(owner)
        self.zeroed, self.averaged, self.mean = zeroed, averaged, mean
        self.needed = bool(len(zeroed) or len(averaged))

    def __call__(self, _module: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...] | None:
        if not self.ran():
            return None
        contexts = args[0]
        if len(self.zeroed):
            contexts = contexts.index_fill(-1, self.zeroed, 0.0)
        if self.mean is not None:
            mean = self.mean[self.averaged].to(contexts.dtype)
            contexts = contexts.index_copy(-1, self.averaged, mean.expand(*contexts.shape[:-1], -1))
        return (contexts, *args[1:])


class _Queries(_Hook):
    """After a query map: queries of some heads are 0, and every key that can be seen is as good as any other."""

    def __init__(self, owner: _Installed, columns: torch.Tensor) -> None:
        super().__init__(owner)
        self.columns = columns
        self.needed = bool(len(columns))

    def __call__(self, _module: torch.nn.Module, _args: Any, output: torch.Tensor) -> torch.Tensor | None:
        return output.index_fill(-1, self.columns, 0.0) if self.ran() else None


class _Nothing(_Hook):
    """After a map to the residual stream: it adds nothing."""

    def __init__(self, owner: _Installed, needed: bool) -> None:  # noqa: FBT001
        super().__init__(owner)
        self.needed = needed

    def __call__(self, _module: torch.nn.Module, _args: Any, output: torch.Tensor) -> torch.Tensor | None:
        return output.new_zeros(output.shape) if self.ran() else None


@contextmanager
def _paused(installed: Sequence[_Installed]) -> Iterator[None]:
    """The model as it is without the interventions that it is under."""
    for one in installed:
        one.on = False
    try:
        yield
    finally:
        for one in installed:
            one.on = True


def _means(model: AttentionModel, intervention: Intervention) -> dict[int, torch.Tensor]:
    """By layer, the mean context over all tokens of the reference, in single precision or better."""
    if intervention.reference is None:
        return {}
    batch = intervention.reference.batch
    chosen = batch.mask.bool()
    means: dict[int, torch.Tensor] = {}

    def average(layer: int, context: torch.Tensor) -> None:
        means[layer] = context[chosen].double().mean(0)

    with ExitStack() as stack:
        for layer in {layer for layer, _ in intervention.averaged}:
            output = model.seams(layer).output
            hook = output.register_forward_pre_hook(lambda _, args, layer=layer: average(layer, args[0]))
            stack.callback(hook.remove)
        model.forward(batch)
    return means


def _columns(model: AttentionModel, heads: Sequence[int]) -> torch.Tensor:
    """Where the numbers of heads stand among those of all, side by side."""
    import torch

    within = torch.arange(model.head_size)
    columns = [head * model.head_size + within for head in heads]
    return torch.cat(columns or [within[:0]]).to(model.device)
