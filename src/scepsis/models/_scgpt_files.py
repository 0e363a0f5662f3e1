"""The three files of an scGPT checkpoint, every key of them accounted for."""

from __future__ import annotations

import pickle
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from scepsis._core._validate import listing
from scepsis.models._dictionaries import read_dictionary, refuse_lfs_pointer
from scepsis.models._protocol import Vocabulary
from scepsis.models._scgpt_network import ScGPTNetwork

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ARGS, VOCABULARY, WEIGHTS = "args.json", "vocab.json", "best_model.pt"
#: Parts that stand behind the encoder or that only generation uses: attention does not see them.
_HEADS = {"decoder", "mvc_decoder", "cls_decoder", "flag_encoder"}
#: Parts that change what goes into the encoder, by labels that a plain table of counts does not have.
_REFUSED = {
    "dsbn": "normalises every batch by statistics of its own",
    "batch_encoder": "adds a label of the batch",
    "pert_encoder": "adds a flag for perturbed genes",
}
_PROJECTIONS = re.compile(r"(.+\.self_attn\.)(?:Wqkv\.|in_proj_)(weight|bias)")
_COUNTER = "bn.num_batches_tracked"


@dataclass(frozen=True)
class Args:
    """What ``args.json`` says of the architecture."""

    width: int
    n_heads: int
    mlp_width: int
    n_layers: int
    n_bins: int
    max_seq_len: int
    pad_token: str


def read_args(folder: Path, max_seq_len: int | None) -> Args:
    """Read ``args.json``; what the encoder here does not do is refused by name."""
    path = folder / ARGS
    args = read_dictionary(path)
    if args.get("pre_norm"):
        msg = (
            f"{str(path)!r} says `pre_norm: true`. That variant starts its residual from the normalised stream; "
            "only the published post-norm encoder can be read."
        )
        raise ValueError(msg)
    for name, known in (("input_emb_style", "continuous"), ("input_style", "binned")):
        if args.get(name, known) != known:
            msg = f"{str(path)!r} says `{name}: {args[name]!r}`; only {known!r} can be read."
            raise ValueError(msg)
    if max_seq_len is not None:
        args["max_seq_len"] = max_seq_len
    numbers = {name: _number(args, name, path) for name in ("embsize", "nheads", "d_hid", "nlayers")}
    if numbers["embsize"] % numbers["nheads"]:
        msg = f"{str(path)!r}: `embsize` {numbers['embsize']} is not a multiple of `nheads` {numbers['nheads']}."
        raise ValueError(msg)
    return Args(
        width=numbers["embsize"],
        n_heads=numbers["nheads"],
        mlp_width=numbers["d_hid"],
        n_layers=numbers["nlayers"],
        n_bins=_number(args, "n_bins", path, least=2),
        max_seq_len=_number(args, "max_seq_len", path, least=2),
        pad_token=str(args.get("pad_token", "<pad>")),
    )


def _number(args: Mapping[str, Any], name: str, path: Path, least: int = 1) -> int:
    value = args.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        said = f"`{name}` is {value!r}" if name in args else f"`{name}` is missing"
        remedy = " It can be given to `scepsis.models.load` by `max_seq_len=`." if name == "max_seq_len" else ""
        msg = f"{str(path)!r}: {said}, and a whole number from {least} on is needed.{remedy}"
        raise ValueError(msg)
    return value


def read_vocabulary(folder: Path, pad_token: str) -> Vocabulary:
    """
    Read ``vocab.json``: symbols and specials, each with its id in that very file.

    Vocabularies differ in where their specials stand, and a special that is missing cannot be made up: its row of
    the embedding was trained under an id that only the checkpoint's own file knows.
    """
    path = folder / VOCABULARY
    if not path.is_file():
        msg = f"{str(folder)!r} has an `{ARGS}` but no `{VOCABULARY}`; scGPT checkpoints keep both in one folder."
        raise FileNotFoundError(msg)
    tokens = read_dictionary(path)
    wrong = [name for name, token in tokens.items() if isinstance(token, bool) or not isinstance(token, int)]
    if wrong:
        msg = f"{str(path)!r} gives {listing(wrong)} no whole number as token id."
        raise ValueError(msg)
    missing = [name for name in (pad_token, "<cls>") if name not in tokens]
    if missing:
        msg = (
            f"{str(path)!r} lacks the special tokens {listing(missing)} among its {len(tokens):,} entries. Use the "
            "vocabulary that was saved with the checkpoint: lists of genes alone do not say which rows of the "
            "embedding the specials have."
        )
        raise ValueError(msg)
    if sorted(tokens.values()) != list(range(len(tokens))):
        msg = f"{str(path)!r} must number its {len(tokens):,} entries from 0 on, each id once."
        raise ValueError(msg)
    special = {name: token for name, token in tokens.items() if _is_special(name) or name == pad_token}
    return Vocabulary(
        tokens={name: token for name, token in tokens.items() if name not in special}, special=special, kind="symbol"
    )


def _is_special(name: str) -> bool:
    return name.startswith("<") and name.endswith(">")


def read_network(folder: Path, args: Args, n_tokens: int) -> ScGPTNetwork:
    """Read ``best_model.pt`` into a network; no key is left over and none is made up."""
    weights = _canonical(_weights(folder), folder)
    # No memory and no random numbers are spent on weights that are replaced at once.
    with torch.device("meta"):
        network = ScGPTNetwork(
            n_tokens=n_tokens,
            width=args.width,
            n_heads=args.n_heads,
            mlp_width=args.mlp_width,
            n_layers=args.n_layers,
            batch_norm=any(name.startswith("bn.") for name in weights),
        )
    expected = network.state_dict()
    if _COUNTER in expected:
        weights.setdefault(_COUNTER, torch.zeros((), dtype=torch.long))
    _account(weights, expected, folder, n_tokens)
    network.load_state_dict(weights, assign=True)
    return network


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    path = folder / WEIGHTS
    if not path.is_file():
        msg = f"{str(folder)!r} holds no weights: there is no {WEIGHTS!r}."
        raise FileNotFoundError(msg)
    refuse_lfs_pointer(path)
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # zip archives, pickles and torch each raise their own kinds
        asked = re.search(r"GLOBAL ([\w.]+)", str(error)) if isinstance(error, pickle.UnpicklingError) else None
        if asked:
            msg = (
                f"{str(path)!r} asks for `{asked[1]}` and is not read, because such a pickle can run code; "
                "only tensors in plain containers are. Save the `state_dict()` alone."
            )
        else:
            msg = f"{str(path)!r} cannot be read; it is truncated, or no file of weights: {error}"
        raise ValueError(msg) from error
    if not isinstance(weights, dict) or not all(isinstance(item, torch.Tensor) for item in weights.values()):
        held = listing(map(str, weights)) if isinstance(weights, dict) else type(weights).__name__
        msg = f"{str(path)!r} is no `state_dict()`, a dictionary of tensors; it holds {held}."
        raise ValueError(msg)
    return weights


def _canonical(weights: Mapping[str, torch.Tensor], folder: Path) -> dict[str, torch.Tensor]:
    """
    Give weights the names of :class:`ScGPTNetwork`.

    Three spellings of attention's projections are met, by what the training machine had installed; all hold queries,
    keys and values in this order in one matrix. Heads that attention does not need are dropped.
    """
    result: dict[str, torch.Tensor] = {}
    for key, tensor in weights.items():
        part = key.split(".")[0]
        if part in _HEADS:
            continue
        if part in _REFUSED:
            msg = (
                f"The weights in {str(folder)!r} have `{part}`, which {_REFUSED[part]}; without it the encoder "
                "computes something else, so checkpoints of this kind are not read. Use one trained without it."
            )
            raise ValueError(msg)
        name = key.replace(".self_attn._impl.", ".self_attn.")
        pieces = {name: tensor}
        if projections := _PROJECTIONS.fullmatch(name):
            before, kind = projections.groups()
            names = [f"{before}{which}.{kind}" for which in ("query", "key", "value")]
            # A matrix of another height gives pieces of another height, which the accounting names.
            pieces = {one: piece.clone() for one, piece in zip(names, tensor.tensor_split(3), strict=True)}
        if result.keys() & pieces.keys():
            msg = f"The weights in {str(folder)!r} hold {key!r} twice, in two spellings."
            raise ValueError(msg)
        result |= pieces
    return result


def _account(
    weights: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor], folder: Path, n_tokens: int
) -> None:
    where = f"The weights in {str(folder)!r} do not fit its `{ARGS}`"
    unknown = sorted(weights.keys() - expected.keys())
    if unknown:
        msg = f"{where}: {len(unknown)} tensors have no place in the architecture: {listing(unknown)}."
        raise ValueError(msg)
    missing = sorted(expected.keys() - weights.keys())
    if missing:
        msg = f"{where}: {len(missing)} tensors are missing: {listing(missing)}."
        raise ValueError(msg)
    embedding = "encoder.embedding.weight"
    if len(weights[embedding]) != n_tokens:
        msg = (
            f"`{VOCABULARY}` in {str(folder)!r} has {n_tokens:,} entries, but the checkpoint embeds "
            f"{len(weights[embedding]):,} tokens: they do not belong together."
        )
        raise ValueError(msg)
    for name, tensor in expected.items():
        if weights[name].shape != tensor.shape:
            found, wanted = (" x ".join(map(str, item.shape)) for item in (weights[name], tensor))
            msg = f"{where}: `{name}` is {found}, not {wanted}."
            raise ValueError(msg)
