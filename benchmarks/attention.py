"""
Cost of reading attention out of models, against the bare model and the usual ways.

    python benchmarks/attention.py            # everything, about twenty minutes on 2 cores
    python benchmarks/attention.py --quick    # short cells, for a look
    python benchmarks/attention.py --only scgpt --methods last_layer tutorial    # a part, beside the bare model

Every method runs in a process of its own, in turn with the others, so that peak memory is its own and a machine that
slows down slows all of them. Wall time is the smallest of the repetitions; memory is the growth of the process's
peak over the loaded model.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing as mp
import os
import resource
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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


def streamed(
    folder: Path,
    counts: sparse.csr_matrix,
    panel: np.ndarray,
    batch: int,
    *,
    kernel: bool = True,
    n_sources: int | None = None,
) -> object:
    from scepsis.edges._accumulate import Plan
    from scepsis.edges._attention import accumulate_attention
    from scepsis.models import load

    model = load(folder)
    tokens = np.arange(N_VOCABULARY) + 2
    layers = tuple(range(model.n_layers))
    plan = Plan(len(panel), layers)
    if n_sources is not None:
        heads = tuple((layer, head) for layer in layers for head in range(model.n_heads))
        plan = Plan(len(panel), layers, heads, sources=tuple(range(0, len(panel), len(panel) // n_sources)))
    starts = range(0, counts.shape[0], 256)

    def run() -> np.ndarray:
        blocks = ((counts[start : start + 256], *nothing(min(256, counts.shape[0] - start))) for start in starts)
        sums = accumulate_attention(
            model, blocks, tokens=tokens, panel=tokens[panel], plan=plan, batch_size=batch, kernel=kernel
        )
        return np.stack([sums.mean(layer, 0) for layer in layers])

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


def all_heads(folder: Path, counts: sparse.csr_matrix, panel: np.ndarray, batch: int) -> object:
    """Every head by itself, for 200 source genes."""
    return streamed(folder, counts, panel, batch, n_sources=200)


METHODS = {"streamed": streamed, "portable": portable, "all heads": all_heads, "bare": bare, "eager": eager}


def make_scgpt(folder: Path, n_genes: int) -> None:
    """Random weights in the layout of the whole-human model: 12 layers x 8 heads x 512."""
    import torch

    rng = torch.Generator().manual_seed(0)
    width, n_layers = 512, 12
    vocabulary = {f"GENE{number}": number for number in range(n_genes)}
    vocabulary |= {name: n_genes + number for number, name in enumerate(("<pad>", "<cls>", "<eoc>"))}

    def linear(name: str, rows: int, columns: int) -> dict[str, torch.Tensor]:
        weight = torch.empty(rows, columns).normal_(0, columns**-0.5, generator=rng)
        return {f"{name}.weight": weight, f"{name}.bias": torch.zeros(rows)}

    def norm(name: str) -> dict[str, torch.Tensor]:
        return {f"{name}.weight": torch.ones(width), f"{name}.bias": torch.zeros(width)}

    state = {"encoder.embedding.weight": torch.empty(len(vocabulary), width).normal_(0, 1, generator=rng)}
    state |= norm("encoder.enc_norm") | linear("value_encoder.linear1", width, 1)
    state |= linear("value_encoder.linear2", width, width) | norm("value_encoder.norm")
    for layer in range(n_layers):
        at = f"transformer_encoder.layers.{layer}"
        state |= linear(f"{at}.self_attn.Wqkv", 3 * width, width) | linear(f"{at}.self_attn.out_proj", width, width)
        state |= linear(f"{at}.linear1", width, width) | linear(f"{at}.linear2", width, width)
        state |= norm(f"{at}.norm1") | norm(f"{at}.norm2")
    args = {
        "embsize": width, "nheads": 8, "d_hid": width, "nlayers": n_layers, "n_layers_cls": 3, "dropout": 0.2,
        "pad_token": "<pad>", "pad_value": -2, "mask_value": -1, "n_bins": 51, "input_style": "binned",
        "input_emb_style": "continuous", "max_seq_len": n_genes + 1, "fast_transformer": True,
    }  # fmt: skip
    folder.mkdir()
    torch.save(state, folder / "best_model.pt")
    (folder / "args.json").write_text(json.dumps(args))
    (folder / "vocab.json").write_text(json.dumps(vocabulary))


class ScGPT:
    """The same four measurements on an scGPT of 1,200 genes, all of them tokens and all of them the panel."""

    def __init__(self, folder: Path, n_cells: int, n_genes: int) -> None:
        from scepsis.models import load

        self.model = load(folder, include_zero_genes=True)
        rng = np.random.default_rng(0)
        self.counts = sparse.csr_matrix(rng.poisson(rng.gamma(0.5, 4, (n_cells, n_genes))).astype(np.float32))
        self.tokens = np.arange(n_genes)
        self.encoded = self.model.tokenize(self.counts, self.tokens, nothing(n_cells)[1])

    def batches(self, size: int) -> list[object]:
        parts = [self.encoded[start : start + size] for start in range(0, len(self.encoded), size)]
        return [self.model.batch(part, [np.arange(len(cell.ids)) for cell in part]) for part in parts]

    def read(self, size: int, layers: tuple[int, ...], *, kernel: bool) -> None:
        from scepsis.edges._accumulate import Plan
        from scepsis.edges._attention import accumulate_attention

        block = (self.counts, *nothing(self.counts.shape[0]))
        plan = Plan(len(self.tokens), layers)
        accumulate_attention(
            self.model, [block], tokens=self.tokens, panel=self.tokens, plan=plan, batch_size=size, kernel=kernel
        )

    def streamed(self, size: int) -> None:
        self.read(size, tuple(range(12)), kernel=True)

    def portable(self, size: int) -> None:
        self.read(size, tuple(range(12)), kernel=False)

    def bare(self, size: int) -> None:
        for batch in self.batches(size):
            self.model.forward(batch)

    def last_layer(self, size: int) -> None:
        self.read(size, (11,), kernel=True)

    def tutorial(self, size: int) -> None:
        """The published way, last layer: raw products, ranked along rows, then columns, summed on the host."""
        import torch

        total = np.zeros((len(self.tokens) + 1,) * 2)
        for batch in self.batches(size):
            held: dict[str, torch.Tensor] = {}
            seams = self.model.seams(11)
            hooks = [
                getattr(seams, name).register_forward_hook(
                    lambda _m, _a, out, name=name, held=held: held.update({name: out})
                )
                for name in ("query", "key")
            ]
            self.model.forward(batch)
            for hook in hooks:
                hook.remove()
            query, key = self.model.heads(11, held["query"], held["key"], batch)
            with torch.no_grad():
                scores = query @ key.transpose(-1, -2)
                n_cells, n_heads, length, _ = scores.shape
                flat = scores.reshape(-1, length)
                ranks = flat.argsort(1).argsort(1).reshape(n_cells, n_heads, length, length)
                flat = ranks.permute(0, 1, 3, 2).reshape(-1, length)
                ranks = flat.argsort(1).argsort(1).reshape(n_cells, n_heads, length, length)
                total += (ranks.permute(0, 1, 3, 2).float().mean(1) / length).numpy().sum(0)


def measure_scgpt(name: str, folder: str, n_cells: int, n_genes: int, batch: int, queue: mp.Queue) -> None:
    import torch

    torch.set_num_threads(2)
    run = getattr(ScGPT(Path(folder), n_cells, n_genes), name)
    start = time.perf_counter()
    run(batch)
    queue.put((time.perf_counter() - start, 0.0))


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


def in_process(*args: object, target: object = measure) -> tuple[float, float]:
    context = mp.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=target, args=(*args, queue))
    process.start()
    result = queue.get()
    process.join()
    return result


def chosen(names: Iterable[str], asked: Sequence[str]) -> list[str]:
    """Those asked for, or all, and always the bare model."""
    return [name for name in names if not asked or name in ("bare", *asked)]


def told(shape: str) -> str:
    """What was run, and how threads wait: with ``passive``, starting many small pieces of work costs more."""
    return f"{shape}, 2 threads, OMP_WAIT_POLICY={os.environ.get('OMP_WAIT_POLICY', '(default)')}\n"


def geneformer(scratch: Path, repeats: int, *, quick: bool, methods: Sequence[str]) -> None:
    positions, n_cells, batch = (512, 8, 4) if quick else (2048, 32, 4)
    folder = scratch / "checkpoint"
    make_checkpoint(folder, positions)
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in chosen(METHODS, methods)}
    for repeat in range(repeats):
        for name, results in runs.items():
            keep = str(scratch / f"{name}.npy") if repeat == 0 else ""
            results.append(in_process(name, str(folder), n_cells, positions, batch, keep))
    wall = {name: min(w for w, _ in results) for name, results in runs.items()}
    memory = {name: min(m for _, m in results) for name, results in runs.items()}
    print(told(f"Geneformer V1 shape, L={positions}, {n_cells} cells, batches of {batch}, {repeats} repetitions"))
    print("| method | wall s | x bare | added peak MB |\n|---|---|---|---|")
    for name in runs:
        print(f"| {name} | {wall[name]:.2f} | {wall[name] / wall['bare']:.2f} | {memory[name]:.0f} |")
    if {"streamed", "eager"} <= set(runs):
        difference = np.abs(np.load(scratch / "streamed.npy") - np.load(scratch / "eager.npy"))
        print(
            f"\nstreamed: {wall['eager'] / wall['streamed']:.2f}x faster than eager, "
            f"1/{memory['eager'] / memory['streamed']:.1f} of its memory, "
            f"largest difference {np.nanmax(difference[:, ~np.eye(N_PANEL, dtype=bool)]):.1e}"
        )
    if methods:
        return
    short = scratch / "short"
    make_checkpoint(short, 256)
    for size in (50, 200) if quick else (200, 2000):
        seconds, peak = in_process("streamed", str(short), size, 256, 32, "")
        print(f"L=256, {size} cells: added peak {peak:.0f} MB, {size / seconds:.0f} cells/s")


def scgpt(scratch: Path, repeats: int, *, quick: bool, methods: Sequence[str]) -> None:
    n_genes, n_cells, batch = (300, 8, 4) if quick else (1200, 32, 4)
    folder = scratch / "scgpt"
    make_scgpt(folder, n_genes)
    names = chosen(("streamed", "portable", "bare", "last_layer", "tutorial"), methods)
    runs: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(repeats):
        for name in names:
            runs[name].append(in_process(name, str(folder), n_cells, n_genes, batch, target=measure_scgpt)[0])
    wall = {name: min(results) for name, results in runs.items()}
    print(told(f"\nscGPT shape, {n_genes} genes, {n_cells} cells, batches of {batch}, {repeats} repetitions"))
    print("| method | wall s | x bare |\n|---|---|---|")
    for name in names:
        print(f"| {name.replace('_', ' ')} | {wall[name]:.2f} | {wall[name] / wall['bare']:.2f} |")
    if {"last_layer", "tutorial"} <= set(names):
        print(f"\nlast layer alone: {wall['tutorial'] / wall['last_layer']:.2f}x faster than the tutorial's way")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=["geneformer", "scgpt"])
    parser.add_argument("--methods", nargs="*", default=[], help="some methods, beside the bare model")
    args = parser.parse_args()
    repeats = 1 if args.quick else args.repeats
    with tempfile.TemporaryDirectory() as scratch:
        if args.only != "scgpt":
            geneformer(Path(scratch), repeats, quick=args.quick, methods=args.methods)
        if args.only != "geneformer":
            scgpt(Path(scratch), repeats, quick=args.quick, methods=args.methods)


if __name__ == "__main__":
    main()
