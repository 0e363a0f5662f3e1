from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import scepsis as sps
from scepsis.models import AttentionModel, load, register
from scepsis.models._families import FAMILIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import anndata as ad

PAGE = Path(__file__).parents[2] / "docs" / "add_a_model_family.md"


@pytest.fixture(autouse=True)
def families() -> Iterator[dict[str, Any]]:
    """The table of families, put back as it was."""
    before = dict(FAMILIES)
    yield FAMILIES
    FAMILIES.clear()
    FAMILIES.update(before)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.bin").touch()
    return tmp_path


def recognizes(folder: Path) -> bool:
    return (folder / "mine.bin").is_file()


def stand_in(**changes: Any) -> Any:
    """Something with every name of the protocol."""
    names = (*AttentionModel.__annotations__, *(name for name in vars(AttentionModel) if not name.startswith("_")))
    return SimpleNamespace(**dict.fromkeys(names) | {"family": "mine"} | changes)


def test_a_registered_family_is_told_by_its_files_and_given_what_was_asked(folder: Path) -> None:
    asked: list[tuple[Any, ...]] = []

    def reader(folder: Path, *, name: str, device: str = "cpu") -> Any:
        asked.append((folder, name, device))
        return stand_in()

    register("mine", recognizes=recognizes, load=reader)
    assert load(folder).family == "mine"
    load(str(folder), device="meta")
    assert asked == [(folder, folder.name, "cpu"), (folder, folder.name, "meta")]
    with pytest.raises(ValueError, match=r"'mine' does not take `gene_medians`, `dtype`"):
        load(folder, dtype="float32", gene_medians={})
    assert len(asked) == 2
    assert sps.models.load("demo").family == "geneformer"


def test_a_reader_of_any_option_gets_them_all(folder: Path) -> None:
    seen: dict[str, Any] = {}
    register("mine", recognizes=recognizes, load=lambda _, **options: seen.update(options) or stand_in())
    load(folder, dtype="float32")
    assert seen == {"name": folder.name, "dtype": "float32"}


def test_names_are_taken_once(families: dict[str, Any]) -> None:
    for name in ("geneformer", "decoder", "scgpt"):
        with pytest.raises(ValueError, match=f"a family '{name}' already"):
            register(name, recognizes=recognizes, load=stand_in)
    register("mine", recognizes=recognizes, load=stand_in)
    before = families["mine"]
    with pytest.raises(ValueError, match="a family 'mine' already"):
        register("mine", recognizes=recognizes, load=stand_in)
    assert families["mine"] is before
    with pytest.raises(ValueError, match="no identifier"):
        register("a/b", recognizes=recognizes, load=stand_in)


def test_a_folder_of_two_families_needs_a_word(folder: Path) -> None:
    for name in ("mine", "yours"):
        register(name, recognizes=recognizes, load=lambda _, name, family=name: stand_in(family=family, name=name))
    with pytest.raises(ValueError, match=r"2 families \(`mine`, `yours`\); say which by `family=`"):
        load(folder)
    assert load(folder, family="yours").family == "yours"


def test_what_is_loaded_must_be_behind_the_protocol(folder: Path) -> None:
    incomplete = stand_in()
    del incomplete.seams, incomplete.n_heads
    register("mine", recognizes=recognizes, load=lambda _, name: incomplete)
    with pytest.raises(TypeError, match="without `n_heads`, `seams`"):
        load(folder)
    register("yours", recognizes=lambda _: False, load=lambda _, name: stand_in())
    with pytest.raises(ValueError, match="'yours' loaded a model whose `family` is 'mine'"):
        load(folder, family="yours")


@pytest.fixture
def page(families: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    """The two blocks of the documentation, and what the first, run, defines."""
    family, use = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(family, str(PAGE), "exec"), names)
    assert "set_transformer" in families
    return family, use, names


def save(folder: Path, names: dict[str, Any], n_genes: int = 60) -> Any:
    """A random network of the page's family, with weights far from uniform."""
    settings = {"genes": [f"ENSG{index:011d}" for index in range(n_genes)], "width": 16, "n_layers": 3, "n_heads": 2}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = names["Network"](n_genes, 16, 3, 2)
        for layer in network.layers:
            torch.nn.init.normal_(layer.query.weight)
    folder.mkdir()
    (folder / "settings.json").write_text(json.dumps(settings))
    torch.save(network.state_dict(), folder / "weights.pt")
    return network.eval()


def slow_attention(network: Any, ids: np.ndarray, values: np.ndarray, layer: int) -> np.ndarray:
    """Mean attention over heads of one cell, written out."""
    with torch.no_grad():
        hidden = network.genes(torch.from_numpy(ids)) + network.level(torch.from_numpy(values)[:, None])
        for block in network.layers[:layer]:
            hidden = block(hidden[None], None)[0]
        block = network.layers[layer]
        query, key = (part(hidden).double().numpy().reshape(len(ids), 2, 8) for part in (block.query, block.key))
    scores = np.exp(np.einsum("ihd,jhd->hij", query, key) / np.sqrt(8))
    return (scores / scores.sum(-1, keepdims=True)).mean(0)


def test_the_family_of_the_page_is_short(page: tuple[str, str, dict[str, Any]]) -> None:
    assert len([line for line in page[0].splitlines() if line.strip()]) < 100


def test_the_family_of_the_page_gives_its_own_attention(
    page: tuple[str, str, dict[str, Any]], tmp_path: Path, make_screen: Callable[..., ad.AnnData]
) -> None:
    _, use, names = page
    network = save(tmp_path / "checkpoint", names)
    adata = make_screen(n_controls=20, n_perturbed=5)
    names |= {"folder": tmp_path / "checkpoint", "adata": adata}
    exec(compile(use, str(PAGE), "exec"), names)
    assert isinstance(names["model"], AttentionModel)

    sums, n = np.zeros((2, adata.n_vars, adata.n_vars))
    for cell in adata.X.toarray():
        genes = np.flatnonzero(cell)
        found = slow_attention(network, genes, np.log1p(cell[genes]).astype(np.float32), layer=1)
        sums[np.ix_(genes, genes)] += found
        n[np.ix_(genes, genes)] += 1
    off = ~np.eye(adata.n_vars, dtype=bool) & (n > 0)
    np.testing.assert_allclose(adata.varp["attention"][off], (sums[off] / n[off]), atol=1e-5)
    np.testing.assert_array_equal(adata.varp["attention_n_cells"], n)
    assert adata.varp["attention"][off].std() > 1e-3
    assert adata.uns["attention"]["params"]["family"] == "set_transformer"
    assert abs(adata.varp["attention_randomized"] - adata.varp["attention"])[off].max() > 1e-3


def test_an_argument_that_the_family_of_the_page_does_not_name_is_refused(
    page: tuple[str, str, dict[str, Any]], tmp_path: Path
) -> None:
    save(tmp_path / "checkpoint", page[2])
    with pytest.raises(ValueError, match="'set_transformer' does not take `dtype`"):
        load(tmp_path / "checkpoint", dtype="bfloat16")
