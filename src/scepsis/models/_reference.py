"""How a model reaches another process: as the place that it was loaded from, or whole when there is none."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from platform import node
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch

    from scepsis.models._protocol import AttentionModel

#: Attribute that a loaded model has.
_ATTRIBUTE = "loaded_from"
#: Options that may name files.
_FILES = ("token_dictionary", "gene_medians", "ensembl_mapping")
_HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Source:
    """Where a model was loaded from, and how."""

    read: Callable[..., AttentionModel]
    #: Absolute, but relative to this package for what ships with it: it may be installed elsewhere on a worker.
    folder: str
    name: str
    options: Mapping[str, Any]
    fingerprint: str

    def load(self) -> AttentionModel:
        return self.read(_HERE / self.folder, name=self.name, **self.options)


@dataclass(frozen=True)
class Reference:
    """A model that is loaded anew, once per process, and shown to be the one that was meant."""

    #: Fingerprint of weights, genes and options; two references are the same when this is.
    key: str
    contents: str
    source: Source = field(compare=False)

    def __call__(self) -> AttentionModel:
        return _load_once(self)


@dataclass(frozen=True)
class Carried:
    """A model that travels with all its weights."""

    model: AttentionModel

    def __call__(self) -> AttentionModel:
        return self.model


def remember(model: AttentionModel, read: Callable[..., AttentionModel], folder: Path, **options: Any) -> None:
    """Note on a model where it was loaded from. One that takes no notes travels whole."""
    path = folder.resolve()
    inside = path.relative_to(_HERE) if path.is_relative_to(_HERE) else path
    absolute = {
        name: str(Path(value).resolve()) if name in _FILES and isinstance(value, str | Path) else value
        for name, value in options.items()
    }
    try:
        setattr(model, _ATTRIBUTE, Source(read, str(inside), model.name, absolute, model.fingerprint))
    except AttributeError:  # a class with slots
        return


def portable(model: AttentionModel) -> Reference | Carried:
    """
    Give what can be sent to another process and called there for the model.

    A model that was loaded is loaded there too. One that was made from it, as a random twin is, or made in memory,
    is sent along.
    """
    source = getattr(model, _ATTRIBUTE, None)
    if source is None or source.fingerprint != model.fingerprint:
        return Carried(model)
    contents = _contents(model)
    key = "\x1f".join([contents, source.folder, source.name, repr(sorted(source.options.items()))])
    return Reference(blake2b(key.encode(), digest_size=16).hexdigest(), contents, source)


@lru_cache(maxsize=1)
def _load_once(reference: Reference) -> AttentionModel:
    source = reference.source
    try:
        model = source.load()
    except FileNotFoundError as error:
        msg = (
            f"A worker on {node()!r} cannot load the model {source.name!r} from {source.folder!r}, where it was loaded "
            f"from for this run: {error} Put its files at the same path on every worker, for example on a file system "
            "that all of them share, and load the model from there."
        )
        raise FileNotFoundError(msg) from error
    if _contents(model) != reference.contents:
        msg = (
            f"What a worker on {node()!r} loads from {source.folder!r} is not the model {source.name!r} of this run: "
            "weights or genes differ. Either the files differ between machines, or the model was changed after it was "
            "loaded; then save it, and load it from where it was saved."
        )
        raise ValueError(msg)
    return model


def _contents(model: AttentionModel) -> str:
    """blake2b of the weights as they are now, and of the genes."""
    digest = blake2b(f"{model.fingerprint}\x1f{model.vocabulary.hash}".encode(), digest_size=16)
    for name, tensor in model.network.state_dict().items():
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def _bytes(tensor: torch.Tensor) -> memoryview:
    import torch

    flat = tensor.detach().cpu().contiguous().flatten()
    return flat.view(torch.uint8).numpy().data
