from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from scepsis.models._protocol import AttentionModel

#: Checkpoints that come with the package.
_SHIPPED = {"demo": "trained", "demo-untrained": "untrained", "demo-permuted": "permuted"}


def load(
    path_or_name: str | Path,
    *,
    token_dictionary: str | Path | Mapping[str, int] | None = None,
    gene_medians: str | Path | Mapping[str, float] | None = None,
    ensembl_mapping: str | Path | Mapping[str, str] | None = None,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
) -> AttentionModel:
    """
    Load a checkpoint of a single-cell foundation model.

    The family is told from the files: a ``config.json`` with ``model_type: bert`` is a Geneformer
    :cite:p:`theodoris2023` of the first or second generation, the latter recognised by its ``<cls>`` and ``<eos>``
    tokens.

    Parameters
    ----------
    path_or_name
        Checkpoint folder with ``config.json`` and ``model.safetensors`` (or ``pytorch_model.bin``), or the name of
        a checkpoint that ships with the package: ``"demo"``, trained on simulated cells, and its two controls
        ``"demo-untrained"`` and ``"demo-permuted"``, trained on cells whose genes were permuted independently.
    token_dictionary
        Gene id to token id: path to a JSON file or pickle, or a mapping. Looked for in the folder as
        ``token_dictionary*.json`` and ``token_dictionary*.pkl`` when not given. Pickles are read without the power
        to run code.
    gene_medians
        Gene id to non-zero median expression, likewise; ``gene_median_dictionary*`` in the folder.
    ensembl_mapping
        Superseded gene id to current gene id. Genes that meet in one id have their counts summed, as the
        second-generation tokenizer does.
    device
        Where the model runs, for example ``"cuda"``. The CPU when not given.
    dtype
        Floating point type of the weights, for example ``"bfloat16"``. Single precision when not given.

    Returns
    -------
    A model in evaluation mode that :func:`scepsis.tl.attention_edges` takes.

    Raises
    ------
    FileNotFoundError
        No such folder or shipped name, or a file is missing from the folder.
    ValueError
        The files contradict each other: vocabulary against configuration, weights that are missing or unreadable,
        a Git LFS pointer in place of a file.

    Examples
    --------
    >>> import scepsis as sps
    >>> model = sps.models.load("demo")
    >>> model.n_layers, model.n_heads
    (2, 4)
    """
    folder = _folder(path_or_name)
    config = _config(folder)
    if config.get("model_type") != "bert":
        msg = (
            f"{str(folder)!r} is a checkpoint of type {config.get('model_type')!r}; "
            "Geneformer checkpoints (`model_type: bert`) can be loaded."
        )
        raise ValueError(msg)
    from scepsis.models._geneformer import load_geneformer

    return load_geneformer(
        folder,
        config,
        token_dictionary=token_dictionary,
        gene_medians=gene_medians,
        ensembl_mapping=ensembl_mapping,
        device=device,
        dtype=dtype,
        name=str(path_or_name) if str(path_or_name) in _SHIPPED else folder.name,
    )


def _folder(path_or_name: str | Path) -> Path:
    folder = Path(path_or_name)
    if str(path_or_name) in _SHIPPED and not folder.is_dir():
        return Path(__file__).parent / "_demo" / _SHIPPED[str(path_or_name)]
    if not folder.is_dir():
        msg = (
            f"There is no checkpoint folder {str(path_or_name)!r}, and no shipped checkpoint of that name "
            f"({', '.join(map(repr, _SHIPPED))})."
        )
        raise FileNotFoundError(msg)
    return folder


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        found = ", ".join(sorted(item.name for item in folder.iterdir())) or "nothing"
        msg = f"{str(folder)!r} has no `config.json`, so it is no checkpoint that can be read; it holds: {found}."
        raise FileNotFoundError(msg)
    from scepsis.models._dictionaries import read_dictionary

    return read_dictionary(path)
