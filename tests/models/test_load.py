from __future__ import annotations

import json
import os
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from scipy import sparse

from scepsis.models import AttentionModel, Tokens, load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def hidden_states(model: Any) -> torch.Tensor:
    cells = [Tokens(np.array([5, 9, 30], dtype=np.int32)), Tokens(np.array([12, 6], dtype=np.int32))]
    return model.forward(model.batch(cells, [np.arange(3), np.arange(2)]))


@pytest.mark.parametrize("generation", [1, 2])
def test_both_generations_are_told_apart_by_their_tokens(make_checkpoint: Callable[..., Path], generation: int) -> None:
    model = load(make_checkpoint(generation=generation))
    assert isinstance(model, AttentionModel)
    assert (model.n_layers, model.n_heads, model.head_size) == (3, 4, 8)
    assert model.max_genes == 64 - (2 if generation == 2 else 0)
    batch = model.batch([Tokens(np.array([5, 9, 30], dtype=np.int32))], [np.arange(3)])
    expected = {1: [5, 9, 30], 2: [5, 9, 30, 2, 3]}[generation]
    assert batch.ids[0].tolist() == expected
    assert batch.positions[0].tolist() == {1: [0, 1, 2], 2: [1, 2, 3, 0, 4]}[generation]


@pytest.mark.parametrize("generation", [1, 2])
def test_hidden_states_equal_the_published_layout_of_a_cell(
    make_checkpoint: Callable[..., Path], generation: int
) -> None:
    """Specials last and ranks carried beside are the same cell as specials in place and ranks by position."""
    from transformers import BertModel

    folder = make_checkpoint(generation=generation)
    model = load(folder)
    reference = BertModel.from_pretrained(folder, add_pooling_layer=False, attn_implementation="eager").eval()
    cell = np.array([40, 9, 30, 12], dtype=np.int32)
    in_place = cell.tolist() if generation == 1 else [2, *cell.tolist(), 3]
    with torch.no_grad():
        expected = reference(torch.tensor([in_place])).last_hidden_state[0]
    order = np.array([2, 0, 3, 1])
    found = model.forward(model.batch([Tokens(cell)], [order]))[0]
    genes = expected[slice(None) if generation == 1 else slice(1, -1)]
    torch.testing.assert_close(found[:4], genes[order], atol=1e-5, rtol=1e-5)


def test_old_weights_file_gives_the_same_model(make_checkpoint: Callable[..., Path]) -> None:
    new, old = make_checkpoint("new"), make_checkpoint("old", weights="pytorch_model.bin")
    torch.testing.assert_close(hidden_states(load(new)), hidden_states(load(old)), atol=0, rtol=0)
    assert load(new).fingerprint != load(old).fingerprint


def test_dictionaries_from_elsewhere(make_checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_checkpoint()
    tokens = json.loads((folder / "token_dictionary.json").read_text())
    (folder / "token_dictionary.json").unlink()
    with pytest.raises(FileNotFoundError, match="token_dictionary="):
        load(folder)
    assert load(folder, token_dictionary=tokens).vocabulary.tokens["ENSG00000000000"] == 2
    with (tmp_path / "elsewhere.pkl").open("wb") as file:
        pickle.dump(tokens, file)
    assert load(folder, token_dictionary=tmp_path / "elsewhere.pkl").vocabulary.hash
    (tmp_path / "elsewhere.pkl").rename(folder / "token_dictionary_gc30M.pkl")
    assert len(load(folder).vocabulary.tokens) == 60


class Boom:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("echo run",)


def test_a_pickle_cannot_run_code(make_checkpoint: Callable[..., Path]) -> None:
    folder = make_checkpoint()
    (folder / "token_dictionary.json").unlink()
    with (folder / "token_dictionary.pkl").open("wb") as file:
        pickle.dump({"<pad>": Boom()}, file)
    with pytest.raises(ValueError, match=r"asks for .*system"):
        load(folder)


def test_lfs_pointers_are_named(make_checkpoint: Callable[..., Path]) -> None:
    folder = make_checkpoint()
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_text(pointer)
    with pytest.raises(ValueError, match="Git LFS pointer"):
        load(folder)
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "gene_median_dictionary.json").write_text(pointer)
    with pytest.raises(ValueError, match="Git LFS pointer"):
        load(folder)


def test_a_vocabulary_of_another_generation_is_refused(make_checkpoint: Callable[..., Path]) -> None:
    folder, other = make_checkpoint(), make_checkpoint("other", n_genes=50)
    with pytest.raises(ValueError, match=r"52 entries .* vocabulary of 62"):
        load(folder, token_dictionary=other / "token_dictionary.json")
    with pytest.raises(ValueError, match="lacks 10 of the 60 genes"):
        load(folder, gene_medians=other / "gene_median_dictionary.json")


def test_unreadable_folders_are_explained(make_checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no checkpoint folder .*'demo'"):
        load(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"none of the families .*nothing"):
        load(tmp_path / "empty")
    folder = make_checkpoint()
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="cannot be read"):
        load(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="holds no weights"):
        load(folder)


def test_missing_weights_are_an_error_not_a_fresh_draw(make_checkpoint: Callable[..., Path]) -> None:
    from safetensors.torch import load_file, save_file

    folder = make_checkpoint()
    weights = load_file(folder / "model.safetensors")
    del weights["bert.encoder.layer.1.attention.self.query.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"1 tensors are missing.*layer\.1\.attention\.self\.query\.weight"):
        load(folder)


def test_another_architecture_is_refused(make_checkpoint: Callable[..., Path]) -> None:
    folder = make_checkpoint()
    config = json.loads((folder / "config.json").read_text()) | {"model_type": "gpt2"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"none of the families .*type 'gpt2'"):
        load(folder)
    with pytest.raises(ValueError, match="no family 'gpt2'"):
        load(folder, family="gpt2")


def test_device_and_dtype(make_checkpoint: Callable[..., Path]) -> None:
    folder = make_checkpoint()
    assert load(folder, dtype="bfloat16").dtype == torch.bfloat16
    with pytest.raises(ValueError, match="floating point"):
        load(folder, dtype="int8")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="no usable GPU"):
            load(folder, device="cuda")


def test_old_ids_collapse_onto_current_ones(make_checkpoint: Callable[..., Path]) -> None:
    mapping = {"ENSG99999999999": "ENSG00000000003", "ENSG88888888888": "ENSG77777777777"}
    model = load(make_checkpoint(), ensembl_mapping=mapping)
    assert model.vocabulary.mapping == {"ENSG99999999999": "ENSG00000000003"}, "targets outside the vocabulary go"


def test_tokenising_reads_medians_by_token(make_checkpoint: Callable[..., Path]) -> None:
    folder = make_checkpoint()
    medians = json.loads((folder / "gene_median_dictionary.json").read_text())
    model = load(folder)
    counts = np.array([[4, 4, 4]])
    genes = ["ENSG00000000010", "ENSG00000000020", "ENSG00000000030"]
    tokens = np.array([model.vocabulary.tokens[gene] for gene in genes])
    ranked = model.tokenize(sparse.csr_matrix(counts), tokens, np.zeros(1, dtype=np.uint64))[0].ids
    assert ranked.tolist() == [model.vocabulary.tokens[gene] for gene in sorted(genes, key=medians.get)]


def test_a_folder_called_demo_does_not_hide_the_shipped_one(
    make_checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_checkpoint("demo")
    monkeypatch.chdir(folder.parent)
    assert len(load("demo").vocabulary.tokens) == 300
    assert len(load("./demo").vocabulary.tokens) == 60
    assert len(load(folder).vocabulary.tokens) == 60
