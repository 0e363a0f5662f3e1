"""Weights of published checkpoints in the layout of transformers: found, read whole or refused, put where asked."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from scepsis.models._dictionaries import refuse_lfs_pointer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


def find_weights(folder: Path) -> Path:
    """Path of the file with the weights."""
    for name in _WEIGHTS:
        if (folder / name).is_file():
            refuse_lfs_pointer(folder / name)
            return folder / name
    msg = f"{str(folder)!r} holds no weights: neither {_WEIGHTS[0]!r} nor {_WEIGHTS[1]!r}."
    raise FileNotFoundError(msg)


def read_network(architecture: Any, folder: Path, dtype: torch.dtype, **options: Any) -> torch.nn.Module:
    """Fill an architecture of transformers with the weights of a folder; nothing may be left to chance."""
    try:
        with _quiet():
            network, report = architecture.from_pretrained(
                folder,
                attn_implementation="sdpa",
                dtype=dtype,
                local_files_only=True,
                output_loading_info=True,
                **options,
            )
    except Exception as error:  # safetensors, pickle and torch each raise their own kinds
        msg = f"The weights in {str(folder)!r} cannot be read: {error}"
        raise ValueError(msg) from error
    # BERT's own buffer of positions; some old checkpoints have it, none needs it.
    missing = [key for key in report["missing_keys"] if not key.endswith("position_ids")]
    if missing or report.get("mismatched_keys"):
        names = sorted(missing) or sorted(str(key) for key in report["mismatched_keys"])
        msg = (
            f"The weights in {str(folder)!r} do not fill the architecture of its `config.json`: "
            f"{len(names)} tensors are missing or of another shape, for example {names[0]!r}."
        )
        raise ValueError(msg)
    result: torch.nn.Module = network
    return result


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the loader from listing, as unexpected, the heads that attention does not need."""
    from transformers.utils import logging as hf_logging

    verbosity, bars = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        hf_logging.set_verbosity(verbosity)
        if bars:
            hf_logging.enable_progress_bar()


def resolve_device(device: str | torch.device | None) -> torch.device:
    """The device asked for, the CPU when none is; one that this machine lacks is refused."""
    result = torch.device("cpu" if device is None else device)
    if result.type == "cuda" and not torch.cuda.is_available():
        msg = f"`device={str(device)!r}` was asked for, but this machine has no usable GPU. Leave `device` out."
        raise ValueError(msg)
    return result


def resolve_dtype(dtype: str | torch.dtype | None) -> torch.dtype:
    """The floating point type asked for, single precision when none is."""
    if dtype is None:
        return torch.float32
    result = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if not isinstance(result, torch.dtype) or not result.is_floating_point:
        msg = f"`dtype` takes a floating point type such as 'float32' or 'bfloat16', not {dtype!r}."
        raise ValueError(msg)
    return result
