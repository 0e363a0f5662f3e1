"""
Cost of reading attention out of a Geneformer-shaped model, against the bare model and the usual way.

    python benchmarks/attention.py            # everything, about ten minutes on 2 cores
    python benchmarks/attention.py --quick    # shorter cells, for a look

Every method runs in a process of its own, in turn with the others, so that peak memory is its own and a machine that
slows down slows all of them. Wall time is the smallest of the repetitions; memory is the growth of the process's
peak over the loaded model.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing as mp
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy import sparse

SHAPE = {"layers": 6, "heads": 4, "width": 256, "mlp": 512}
N_VOCABULARY, N_PANEL = 8000, 2000


def make_checkpoint(folder: Path, positions: int) -> None:
    """Random weights in the layout of the first generation's small model."""
    import torch
    from transformers import BertConfig, BertForMaskedLM

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=N_VOCABULARY + 2,
        hidden_size=SHAPE["width"],
        num_hidden_layers=SHAPE["layers"],
        num_attention_heads=SHAPE["heads"],
        intermediate_size=SHAPE["mlp"],
        max_position_embeddings=positions,
        hidden_act="relu",
        layer_norm_eps=1e-12,
    )
    BertForMaskedLM(config).save_pretrained(folder)
    genes = [f"ENSG{number:011d}" for number in range(N_VOCABULARY)]
    tokens = {"<pad>": 0, "<mask>": 1} | {gene: number + 2 for number, gene in enumerate(genes)}
    (folder / "token_dictionary.json").write_text(json.dumps(tokens))
    (folder / "gene_median_dictionary.json").write_text(json.dumps(dict.fromkeys(genes, 1.0)))


def make_cells(n_cells: int, positions: int) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Cells of 0.6 to 1 times the model's length, about four tenths of their tokens in the panel."""
    rng = np.random.default_rng(0)
    panel = np.sort(rng.choice(N_VOCABULARY, N_PANEL, replace=False))
    weight = np.ones(N_VOCABULARY)
    weight[panel] = 2.4
    rows = []
    for _ in range(n_cells):
        n = int(rng.integers(int(0.6 * positions), positions + 1))
        genes = rng.choice(N_VOCABULARY, n, replace=False, p=weight / weight.sum())
        rows.append(sparse.csr_matrix((rng.integers(1, 500, n), ([0] * n, genes)), shape=(1, N_VOCABULARY)))
    return sparse.csr_matrix(sparse.vstack(rows)), panel


def nothing(n_cells: int) -> tuple[np.ndarray, np.ndarray]:
    """One group, no seeds."""
    return np.zeros(n_cells, dtype=int), np.zeros(n_cells, dtype=np.uint64)


def streamed(folder: Path, counts: sparse.csr_matrix, panel: np.ndarray, batch: int, *, kernel: bool = True) -> object:
    from scepsis.edges._accumulate import Plan
    from scepsis.edges._attention import accumulate_attention
    from scepsis.models import load

    model = load(folder)
    tokens = np.arange(N_VOCABULARY) + 2
    plan = Plan(len(panel), tuple(range(model.n_layers)))
    starts = range(0, counts.shape[0], 256)

    def run() -> np.ndarray:
        blocks = ((counts[start : start + 256], *nothing(min(256, counts.shape[0] - start))) for start in starts)
        sums = accumulate_attention(
            model, blocks, tokens=tokens, panel=tokens[panel], plan=plan, batch_size=batch, kernel=kernel
        )
        return np.stack([sums.mean(layer, 0) for layer in range(model.n_layers)])

    return run


def tokenised(folder: Path, counts: sparse.csr_matrix) -> tuple[object, list[object]]:
    from scepsis.models import load

    model = load(folder)
    cells = model.tokenize(counts, np.arange(N_VOCABULARY) + 2, nothing(counts.shape[0])[1])
    return model, sorted(cells, key=lambda cell: -len(cell.ids))


def bare(folder: Path, counts: sparse.csr_matrix, panel: np.ndarray, batch: int) -> object:
    """The encoder's own forward pass over the same batches, nothing read."""
    del panel
    model, cells = tokenised(folder, counts)

    def run() -> None:
        for start in range(0, len(cells), batch):
            members = cells[start : start + batch]
            model.forward(model.batch(members, [np.arange(len(cell.ids)) for cell in members]))

    return run


def eager(folder: Path, counts: sparse.csr_matrix, panel: np.ndarray, batch: int) -> object:
    """What a scientist would write: all attention returned, then added up in numpy, cell by cell."""
    import torch
    from transformers import BertForMaskedLM

    model = BertForMaskedLM.from_pretrained(folder, attn_implementation="eager").eval()
    own, cells = tokenised(folder, counts)
    place = np.full(N_VOCABULARY + 2, -1)
    place[panel + 2] = np.arange(len(panel))

    def run() -> np.ndarray:
        sums = np.zeros((SHAPE["layers"], len(panel), len(panel)), dtype=np.float32)
        n_cells = np.zeros((len(panel), len(panel)), dtype=np.float32)
        for start in range(0, len(cells), batch):
            members = cells[start : start + batch]
            packed = own.batch(members, [np.arange(len(cell.ids)) for cell in members])
            with torch.no_grad():
                out = model(input_ids=packed.ids, attention_mask=packed.mask, output_attentions=True)
            attention = torch.stack(out.attentions).mean(2).numpy()
            for row, cell in enumerate(members):
                genes = place[cell.ids]
                here = np.flatnonzero(genes >= 0)
                square = np.ix_(genes[here], genes[here])
                n_cells[square] += 1
                for layer in range(SHAPE["layers"]):
                    sums[layer][square] += attention[layer, row][np.ix_(here, here)]
        with np.errstate(invalid="ignore"):
            return sums / n_cells

    return run


def portable(folder: Path, counts: sparse.csr_matrix, panel: np.ndarray, batch: int) -> object:
    """Streamed, without the log sums of the attention kernel."""
    return streamed(folder, counts, panel, batch, kernel=False)


METHODS = {"streamed": streamed, "portable": portable, "bare": bare, "eager": eager}


def measure(name: str, folder: str, n_cells: int, positions: int, batch: int, keep: str, queue: mp.Queue) -> None:
    import torch

    torch.set_num_threads(2)
    counts, panel = make_cells(n_cells, positions)
    run = METHODS[name](Path(folder), counts, panel, batch)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    result = run()
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if keep and result is not None:
        np.save(keep, result)
    queue.put((wall, (after - before) / 1024))


def in_process(*args: object) -> tuple[float, float]:
    context = mp.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=measure, args=(*args, queue))
    process.start()
    result = queue.get()
    process.join()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--repeats", type=int, default=3)
    quick = parser.parse_args().quick
    repeats = 1 if quick else parser.parse_args().repeats
    positions, n_cells, batch = (512, 8, 4) if quick else (2048, 32, 4)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "checkpoint"
        make_checkpoint(folder, positions)
        runs: dict[str, list[tuple[float, float]]] = {name: [] for name in METHODS}
        for repeat in range(repeats):
            for name, results in runs.items():
                keep = f"{scratch}/{name}.npy" if repeat == 0 else ""
                results.append(in_process(name, str(folder), n_cells, positions, batch, keep))
        wall = {name: min(w for w, _ in results) for name, results in runs.items()}
        memory = {name: min(m for _, m in results) for name, results in runs.items()}
        difference = np.abs(np.load(f"{scratch}/streamed.npy") - np.load(f"{scratch}/eager.npy"))
        off = ~np.eye(N_PANEL, dtype=bool)
        print(f"L={positions}, {n_cells} cells, batches of {batch}, {repeats} repetitions\n")
        print("| method | wall s | x bare | added peak MB |\n|---|---|---|---|")
        for name in METHODS:
            print(f"| {name} | {wall[name]:.2f} | {wall[name] / wall['bare']:.2f} | {memory[name]:.0f} |")
        print(
            f"\nstreamed: {wall['eager'] / wall['streamed']:.2f}x faster than eager, "
            f"1/{memory['eager'] / memory['streamed']:.1f} of its memory, "
            f"largest difference {np.nanmax(difference[:, off]):.1e}"
        )
        short = Path(scratch) / "short"
        make_checkpoint(short, 256)
        sizes = (50, 200) if quick else (200, 2000)
        for size in sizes:
            seconds, peak = in_process("streamed", str(short), size, 256, 32, "")
            print(f"L=256, {size} cells: added peak {peak:.0f} MB, {size / seconds:.0f} cells/s")


if __name__ == "__main__":
    main()
