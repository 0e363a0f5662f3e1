"""The families that checkpoints can be of: those of the package, and those that others register."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scepsis.models._dictionaries import read_dictionary

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from scepsis.models._protocol import AttentionModel


@dataclass(frozen=True)
class Family:
    """How checkpoints of one family are told from others, and read."""

    recognizes: Callable[[Path], bool]
    #: Gives the function that reads a folder; what that needs is imported only then.
    loader: Callable[[], Callable[..., AttentionModel]]


def _of_type(model_type: str) -> Callable[[Path], bool]:
    """Whether a folder's ``config.json`` names the type of transformers."""

    def recognizes(folder: Path) -> bool:
        path = folder / "config.json"
        return path.is_file() and read_dictionary(path).get("model_type") == model_type

    return recognizes


def _geneformer() -> Callable[..., AttentionModel]:
    from scepsis.models._geneformer import Geneformer

    return Geneformer.load


def _decoder() -> Callable[..., AttentionModel]:
    from scepsis.models._decoder import Decoder

    return Decoder.load


def _scgpt() -> Callable[..., AttentionModel]:
    from scepsis.models._scgpt import ScGPT

    return ScGPT.load


FAMILIES: dict[str, Family] = {
    "geneformer": Family(_of_type("bert"), _geneformer),
    "decoder": Family(_of_type("llama"), _decoder),
    # Its configuration has a name of its own; what else must be there is said when it is read.
    "scgpt": Family(lambda folder: (folder / "args.json").is_file(), _scgpt),
}
