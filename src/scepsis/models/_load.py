from __future__ import annotations

from inspect import Parameter, signature
from pathlib import Path
from typing import TYPE_CHECKING

from scepsis.models._dictionaries import read_dictionary
from scepsis.models._families import FAMILIES
from scepsis.models._intervene import make_intervenable
from scepsis.models._protocol import AttentionModel
from scepsis.models._reference import remember

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import torch

#: Checkpoints that come with the package.
_SHIPPED = {"demo": "trained", "demo-untrained": "untrained", "demo-permuted": "permuted"}


def load(
    path_or_name: str | Path,
    *,
    family: str | None = None,
    token_dictionary: str | Path | Mapping[str, int] | None = None,
    gene_medians: str | Path | Mapping[str, float] | None = None,
    ensembl_mapping: str | Path | Mapping[str, str] | None = None,
    include_zero_genes: bool | None = None,
    cls_value: float | None = None,
    max_seq_len: int | None = None,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
) -> AttentionModel:
    """
    Load a checkpoint of a single-cell foundation model.

    The family is told from the files. A ``config.json`` with ``model_type: bert`` is a Geneformer
    :cite:p:`theodoris2023` of the first or second generation, the latter recognised by its ``<cls>`` and ``<eos>``
    tokens; with ``model_type: llama`` it is a causal decoder over the same rank-value encoded cells. An ``args.json``
    is that of an scGPT :cite:p:`cui2024`, whole-human or of one tissue. Others are added by
    :func:`scepsis.models.register`.

    Parameters
    ----------
    path_or_name
        Checkpoint folder with ``config.json`` and ``model.safetensors`` (or ``pytorch_model.bin``), for scGPT with
        ``args.json``, ``vocab.json`` and ``best_model.pt``; or the name of
        a checkpoint that ships with the package: ``"demo"``, trained on simulated cells, and its two controls
        ``"demo-untrained"`` and ``"demo-permuted"``, trained on cells whose genes were permuted independently.
    family
        Family to read the folder as, where its files leave that open: ``"geneformer"``, ``"decoder"``, ``"scgpt"``,
        or a registered one.
    token_dictionary
        Gene id to token id: path to a JSON file or pickle, or a mapping. Looked for in the folder as
        ``token_dictionary*.json`` and ``token_dictionary*.pkl`` when not given. Pickles are read without the power
        to run code.
    gene_medians
        Gene id to non-zero median expression, likewise; ``gene_median_dictionary*`` in the folder.
    ensembl_mapping
        Superseded gene id to current gene id. Genes that meet in one id have their counts summed, as the
        second-generation tokenizer does.
    include_zero_genes
        scGPT only: whether every gene of the vocabulary that the data have is a token of every cell, with the value
        0 where it was not detected. All cells then have the same tokens, up to `max_seq_len`. Only detected genes
        when not given.
    cls_value
        scGPT only: the value that goes with ``<cls>``. 0 when not given, as in the published attention analysis;
        -2 is what the published cell embedding has there.
    max_seq_len
        scGPT only: tokens per cell, ``<cls>`` among them, in place of what ``args.json`` says. Of longer cells a
        sample of genes is drawn, by the cell's own seed. There are no positions, so this is a limit of training and
        of memory, not of the architecture.
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
        The files contradict each other: vocabulary against configuration, weights that are missing, unknown or
        unreadable, a Git LFS pointer in place of a file. A variant that would compute something else than what is
        read: scGPT with pre-norm layers, batch labels or perturbation flags. Files of no known family, or an argument
        that means nothing to the family.
    TypeError
        A registered family gave something that is not behind the protocol.

    Examples
    --------
    >>> import scepsis as sps
    >>> model = sps.models.load("demo")
    >>> model.n_layers, model.n_heads
    (2, 4)
    """
    folder = _folder(path_or_name)
    family = _told_apart(folder) if family is None else _known(family)
    given = {
        "token_dictionary": token_dictionary,
        "gene_medians": gene_medians,
        "ensembl_mapping": ensembl_mapping,
        "include_zero_genes": include_zero_genes,
        "cls_value": cls_value,
        "max_seq_len": max_seq_len,
        "device": device,
        "dtype": dtype,
    }
    read = FAMILIES[family].loader()
    options = {name: value for name, value in given.items() if value is not None}
    _refuse_foreign(options, read, family)
    model = read(folder, name=str(path_or_name) if path_or_name in _SHIPPED else folder.name, **options)
    make_intervenable(model)
    _require_protocol(model, family)
    remember(model, read, folder, **options)
    return model


def _folder(path_or_name: str | Path) -> Path:
    if path_or_name in _SHIPPED:  # a folder of that name is still meant by "./demo", or by a Path
        return Path(__file__).parent / "_demo" / _SHIPPED[str(path_or_name)]
    folder = Path(path_or_name)
    if not folder.is_dir():
        msg = (
            f"There is no checkpoint folder {str(path_or_name)!r}, and no shipped checkpoint of that name "
            f"({', '.join(map(repr, _SHIPPED))})."
        )
        raise FileNotFoundError(msg)
    return folder


def _known(family: str) -> str:
    if family not in FAMILIES:
        msg = f"There is no family {family!r}; known are {_listing(FAMILIES)}."
        raise ValueError(msg)
    return family


def _told_apart(folder: Path) -> str:
    """The one family that recognises a folder."""
    found = [name for name, family in FAMILIES.items() if family.recognizes(folder)]
    if len(found) == 1:
        return found[0]
    if found:
        msg = f"{str(folder)!r} could be of {len(found)} families ({_listing(found)}); say which by `family=`."
        raise ValueError(msg)
    held = sorted(item.name for item in folder.iterdir())
    msg = (
        f"{str(folder)!r} is a checkpoint of none of the families {_listing(FAMILIES)}; it holds "
        f"{_listing(held) or 'nothing'}. Another family is added by `scepsis.models.register`."
    )
    if "config.json" not in held:
        raise FileNotFoundError(msg)
    msg += f" Its `config.json` is of the type {read_dictionary(folder / 'config.json').get('model_type')!r}."
    raise ValueError(msg)


def _refuse_foreign(options: Mapping[str, object], read: Callable[..., AttentionModel], family: str) -> None:
    known = signature(read).parameters
    foreign = [name for name in options if name not in known]
    if foreign and not any(item.kind is Parameter.VAR_KEYWORD for item in known.values()):
        msg = f"A checkpoint of the family {family!r} does not take {_listing(foreign)}."
        raise ValueError(msg)


def _require_protocol(model: AttentionModel, family: str) -> None:
    """What a family loads is a model of that family; said here rather than deep in an extraction."""
    asked = (*AttentionModel.__annotations__, *vars(AttentionModel))
    missing = [name for name in asked if not name.startswith("_") and not hasattr(model, name)]
    if missing:
        msg = f"The family {family!r} loaded a {type(model).__name__} without {_listing(missing)}."
        raise TypeError(msg)
    if model.family != family:
        msg = f"The family {family!r} loaded a model whose `family` is {model.family!r}."
        raise ValueError(msg)


def _listing(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
