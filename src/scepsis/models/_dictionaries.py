"""Gene dictionaries of published checkpoints: JSON first, pickles only without the power to run code."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

_LFS_POINTER = b"version https://git-lfs"


class _PlainUnpickler(pickle.Unpickler):
    """Reads dictionaries, strings and numbers; anything that names a class or function is refused."""

    def find_class(self, module: str, name: str) -> NoReturn:
        msg = f"the pickle asks for `{module}.{name}`; only dictionaries of strings and numbers are read"
        raise pickle.UnpicklingError(msg)


def read_dictionary(source: str | Path | Mapping[str, Any]) -> dict[str, Any]:
    """Read a dictionary from a mapping, a ``.json`` file or a ``.pkl`` file."""
    if isinstance(source, Mapping):
        return dict(source)
    path = Path(source)
    if not path.is_file():
        msg = f"The dictionary {str(path)!r} does not exist."
        raise FileNotFoundError(msg)
    data = path.read_bytes()
    refuse_lfs_pointer(path, data)
    try:
        result = json.loads(data) if path.suffix == ".json" else _PlainUnpickler(io.BytesIO(data)).load()
    except (ValueError, pickle.UnpicklingError, EOFError, AttributeError, IndexError, KeyError) as error:
        msg = f"The dictionary {str(path)!r} cannot be read: {error}."
        raise ValueError(msg) from error
    if not isinstance(result, dict):
        msg = f"The dictionary {str(path)!r} holds a {type(result).__name__}, not a dictionary."
        raise TypeError(msg)
    return result


def find_dictionary(folder: Path, stem: str, argument: str) -> dict[str, Any]:
    """Read ``<stem>*.json`` of a checkpoint folder, else ``<stem>*.pkl``; one file of the kind must be there."""
    for suffix in ("json", "pkl"):
        found = sorted(folder.glob(f"{stem}*.{suffix}"))
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            msg = f"{str(folder)!r} holds several dictionaries ({names}); say which by `{argument}=`."
            raise ValueError(msg)
        if found:
            return read_dictionary(found[0])
    msg = (
        f"{str(folder)!r} holds no `{stem}*.json` and no `{stem}*.pkl`. Pass `{argument}=` a path or a mapping: "
        "published checkpoints keep their dictionaries beside the code, not in the checkpoint folder."
    )
    raise FileNotFoundError(msg)


def refuse_lfs_pointer(path: Path, head: bytes | None = None) -> None:
    """Raise when `path` is the stand-in that git leaves where a large file was not fetched."""
    if head is None:
        with path.open("rb") as file:
            head = file.read(len(_LFS_POINTER))
    if head.startswith(_LFS_POINTER):
        msg = f"{str(path)!r} is a Git LFS pointer, not the file itself. Run `git lfs pull` in its repository."
        raise ValueError(msg)
