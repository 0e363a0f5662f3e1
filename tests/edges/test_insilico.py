"""In-silico perturbation against a loop over cells, and against a model whose truth is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.stats import mannwhitneyu
from toy_models import planted_cells, planted_model

from scepsis.edges._insilico import Insilico
from scepsis.edges._masked_logits import MaskedLogits, why_no_masked_logits
from scepsis.models import Intervention, Tokens, load, randomize

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PANEL = np.random.default_rng(7).permutation(np.arange(0, 60, 2))
SOURCES = [0, 3, 11, 29]


def make_counts(n_cells: int = 8) -> np.ndarray:
    rng = np.random.default_rng(3)
    counts = rng.poisson(rng.gamma(0.4, 2, (n_cells, 60)) * rng.gamma(2, 1, (n_cells, 1)))
    counts[4] = 0
    counts[5] = np.eye(60, dtype=int)[PANEL[3]]
    return counts


def gene_tokens(model: Any) -> np.ndarray:
    return np.array(list(model.vocabulary.tokens.values()))


def extract(
    model: Any, counts: np.ndarray, cls: type[Insilico] = Insilico, *, panel: Any = PANEL, **options: Any
) -> Any:
    tokens = gene_tokens(model)
    options = {"sources": SOURCES} | options
    reading = cls(model, tokens=tokens, panel=tokens[panel], **options)
    for part in (slice(0, 3), slice(3, None)):
        reading.add(sparse.csr_matrix(counts[part]), np.arange(len(counts), dtype=np.uint64)[part])
    return reading.sums


def states(model: Any, cell: Tokens) -> dict[int, np.ndarray]:
    """Hidden states of the genes of one cell, by token id."""
    batch = model.batch([cell], [np.arange(len(cell.ids))])
    hidden = model.forward(batch)[0, batch.offset : batch.offset + len(cell.ids)].double().numpy()
    return dict(zip(cell.ids.tolist(), hidden, strict=True))


def changed(cell: Tokens, token: int, kind: str, most: int) -> Tokens | None:
    """The cell with a token gone, or first."""
    pairs = list(zip(cell.ids.tolist(), cell.values if cell.values is not None else [0.0] * len(cell.ids), strict=True))
    others = [pair for pair in pairs if pair[0] != token]
    if kind == "delete":
        if len(others) == len(pairs) or not others:
            return None
    else:
        others = [(token, max(value for _, value in pairs)), *others][:most]
    ids, values = zip(*others, strict=True)
    return Tokens(np.array(ids, dtype=np.int32), None if cell.values is None else np.array(values, dtype=np.float32))


@pytest.mark.parametrize("kind", ["delete", "overexpress"])
@pytest.mark.parametrize("batch_size", [None, 3])
def test_shifts_are_those_of_a_loop_over_cells(any_family: Any, kind: str, batch_size: int | None) -> None:
    counts, tokens = make_counts(), gene_tokens(any_family)
    sums, n = np.zeros((2, len(SOURCES), len(PANEL)))
    cells = any_family.tokenize(sparse.csr_matrix(counts), tokens, np.arange(len(counts), dtype=np.uint64))
    for cell in (cell for cell in cells if len(cell.ids)):
        before, ranks = states(any_family, cell), {token: rank for rank, token in enumerate(cell.ids.tolist())}
        for row, source in enumerate(SOURCES):
            token = int(tokens[PANEL[source]])
            other = changed(cell, token, kind, any_family.max_genes)
            if other is None:
                continue
            after = states(any_family, other)
            for column, gene in enumerate(PANEL):
                target = int(tokens[gene])
                if column == source or target not in before or target not in after:
                    continue
                if any_family.causal and kind == "delete" and ranks[target] < ranks[token]:
                    np.testing.assert_allclose(before[target], after[target], atol=1e-5)
                    continue
                a, b = before[target], after[target]
                sums[row, column] += 1 - a @ b / np.sqrt((a @ a) * (b @ b))
                n[row, column] += 1
    found = extract(any_family, counts, kind=kind, batch_size=batch_size)
    np.testing.assert_array_equal(found.n_cells, n)
    assert n.sum() > 30
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(found.means(), sums / n, atol=2e-6)
    assert np.nanmax(found.means()) > 1e-3


def test_a_full_cell_loses_its_last_token(make_checkpoint: Callable[..., Path]) -> None:
    model = load(make_checkpoint(positions=10))
    counts = np.zeros((1, 60), dtype=int)
    counts[0, :12] = 5
    tokens = gene_tokens(model)
    (cell,) = model.tokenize(sparse.csr_matrix(counts), tokens, np.zeros(1, np.uint64))
    panel = np.arange(60)
    absent, last = 40, int(np.flatnonzero(tokens == cell.ids[-1])[0])
    found = extract(model, counts, panel=panel, sources=[absent], kind="overexpress")
    assert found.n_cells[0].sum() == 9
    assert found.n_cells[0, last] == 0
    assert found.totals.tolist() == [0, 1, 10, 2]


def test_undetected_genes_that_are_read_become_zero(make_scgpt_checkpoint: Callable[..., Path]) -> None:
    model = load(make_scgpt_checkpoint(), include_zero_genes=True)
    counts, tokens = make_counts()[:4], gene_tokens(model)
    found = extract(model, counts)
    row = next(row for row, source in enumerate(SOURCES) if counts[:, PANEL[source]].any())
    expected, n = np.zeros(len(PANEL)), 0
    cells = model.tokenize(sparse.csr_matrix(counts), tokens, np.arange(4, dtype=np.uint64))
    token = int(tokens[PANEL[SOURCES[row]]])
    for cell in cells:
        at = int(np.flatnonzero(cell.ids == token)[0])
        if cell.values[at] == 0:
            continue
        lower = cell.values.copy()
        lower[at] = 0
        before, after = states(model, cell), states(model, Tokens(cell.ids, lower))
        n += 1
        for column, gene in enumerate(PANEL):
            a, b = before[int(tokens[gene])], after[int(tokens[gene])]
            expected[column] += 1 - a @ b / np.sqrt((a @ a) * (b @ b))
    others = np.arange(len(PANEL)) != SOURCES[row]
    assert (found.n_cells[row][others] == n).all()
    np.testing.assert_allclose(found.means()[row][others], (expected / n)[others], atol=2e-6)


@pytest.mark.parametrize("kind", ["delete", "overexpress"])
def test_masked_logits_are_those_of_a_loop_over_cells(make_checkpoint: Callable[..., Path], kind: str) -> None:
    from transformers import BertForMaskedLM

    folder = make_checkpoint(generation=2)
    model, reference = load(folder), BertForMaskedLM.from_pretrained(folder).eval()
    counts, tokens = make_counts(), gene_tokens(model)
    mask, cls, eos = (model.vocabulary.special[name] for name in ("<mask>", "<cls>", "<eos>"))
    sums, n = np.zeros((2, len(SOURCES), len(PANEL)))
    place = {int(tokens[gene]): column for column, gene in enumerate(PANEL)}
    cells = model.tokenize(sparse.csr_matrix(counts), tokens, np.arange(len(counts), dtype=np.uint64))

    def log_probabilities(ids: list[int], hidden: list[int]) -> dict[int, float]:
        shown = [cls, *(mask if token in hidden else token for token in ids), eos]
        with torch.no_grad():
            found = reference(torch.tensor([shown])).logits[0].double().log_softmax(-1)
        return {token: float(found[1 + index, token]) for index, token in enumerate(ids) if token in hidden}

    for seed, cell in enumerate(cells):
        ids = cell.ids.tolist()
        of_panel = [token for token in ids if token in place]
        if not of_panel:
            continue
        n_masked = max(1, round(0.15 * len(ids)))
        chosen = np.random.default_rng(seed).choice(len(of_panel), n_masked, replace=False)
        hidden = [of_panel[index] for index in chosen]
        before = log_probabilities(ids, hidden)
        for row, source in enumerate(SOURCES):
            token = int(tokens[PANEL[source]])
            if token in hidden or (kind == "delete" and token not in ids):
                continue
            others = [one for one in ids if one != token]
            after = log_probabilities(others if kind == "delete" else [token, *others], hidden)
            for target in hidden:
                sums[row, place[target]] += (before[target] - after[target]) * (1 if kind == "delete" else -1)
                n[row, place[target]] += 1
    found = extract(model, counts, MaskedLogits, kind=kind)
    np.testing.assert_array_equal(found.n_cells, n)
    assert n.sum() > 5
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(found.means(), sums / n, atol=2e-4, rtol=1e-4)


def separation(edges: np.ndarray, regulates: np.ndarray) -> float:
    """AUROC of the true edges among those that were evaluated."""
    seen = np.isfinite(edges)
    positive = edges[seen & regulates[: len(edges)]]
    negative = edges[seen & ~regulates[: len(edges)]]
    return float(mannwhitneyu(positive, negative).statistic / (len(positive) * len(negative)))


@pytest.mark.parametrize("cls", [Insilico, MaskedLogits])
@pytest.mark.parametrize("kind", ["delete", "overexpress"])
def test_the_planted_head_carries_what_is_found(cls: type[Insilico], kind: str) -> None:
    model = planted_model()
    counts = planted_cells(model, 60).X.toarray()
    panel, sources = np.arange(24), range(6)

    def auroc(*interventions: Intervention) -> float:
        if not interventions:
            return separation(
                extract(model, counts, cls, panel=panel, sources=sources, kind=kind).means(), model.regulates
            )
        with model.intervene(interventions[0]):
            return auroc(*interventions[1:])

    if kind == "overexpress" and cls is Insilico:
        # Tokens are in most cells already, and this model does not read ranks: only cells that lack them change.
        assert auroc() > 0.9
        return
    assert auroc() > 0.95
    assert auroc(Intervention.zero_heads([model.carrier])) < 0.75
    assert auroc(Intervention.zero_heads([(8, 2)])) > 0.95


def test_what_a_model_lacks_for_logits(
    make_decoder: Callable[..., Path], make_scgpt_checkpoint: Callable[..., Path], make_checkpoint: Callable[..., Path]
) -> None:
    decoder, scgpt, bert = load(make_decoder()), load(make_scgpt_checkpoint()), load(make_checkpoint())
    assert "is causal" in why_no_masked_logits(decoder)
    assert "without a language-model head (family 'scgpt')" in why_no_masked_logits(scgpt)
    assert "without a language-model head" in why_no_masked_logits(randomize(bert))
    assert why_no_masked_logits(bert) == ""
    with pytest.raises(ValueError, match=r"cannot be read: .* without a language-model head"):
        MaskedLogits(scgpt, tokens=np.arange(3), panel=np.arange(3), sources=[0])
