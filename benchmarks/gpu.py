"""
Reading attention on a GPU: cells per second, against the bare forward pass and against attention asked for and
added up on the host.

    python benchmarks/gpu.py                 # Geneformer V2-316M shape, 4,096 tokens, bfloat16
    python benchmarks/gpu.py --layers 4      # a part of the depth, where memory or patience is short
    python benchmarks/gpu.py --device cpu --layers 2 --length 128 --cells 4 --repeats 1    # that it runs

Random weights in the published layout. Times are the smallest of the repetitions, taken after a warm-up and with the
device synchronised; memory is the allocator's peak over the loaded model.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import sparse

from scepsis.edges._accumulate import Plan
from scepsis.edges._attention import accumulate_attention
from scepsis.models import load

if TYPE_CHECKING:
    from collections.abc import Callable

N_VOCABULARY, N_PANEL = 20_271, 2000


def make_checkpoint(folder: Path, n_layers: int, length: int) -> None:
    """18 heads of 64, MLP of 4,608, second-generation tokens."""
    from transformers import BertConfig, BertForMaskedLM

    config = BertConfig(
        vocab_size=N_VOCABULARY + 4,
        hidden_size=1152,
        num_hidden_layers=n_layers,
        num_attention_heads=18,
        intermediate_size=4608,
        max_position_embeddings=length,
        hidden_act="relu",
        layer_norm_eps=1e-12,
    )
    torch.manual_seed(0)
    BertForMaskedLM(config).save_pretrained(folder)
    genes = [f"ENSG{number:011d}" for number in range(N_VOCABULARY)]
    special = ("<pad>", "<mask>", "<cls>", "<eos>")
    tokens = {name: number for number, name in enumerate((*special, *genes))}
    (folder / "token_dictionary.json").write_text(json.dumps(tokens))
    (folder / "gene_median_dictionary.json").write_text(json.dumps(dict.fromkeys(genes, 1.0)))


def make_cells(n_cells: int, length: int) -> sparse.csr_matrix:
    """Cells that fill the model's length."""
    rng = np.random.default_rng(0)
    genes = np.stack([rng.choice(N_VOCABULARY, length - 2, replace=False) for _ in range(n_cells)])
    rows = np.repeat(np.arange(n_cells), genes.shape[1])
    values = rng.integers(1, 500, genes.size).astype(np.float32)
    return sparse.csr_matrix((values, (rows, genes.ravel())), shape=(n_cells, N_VOCABULARY))


def timed(run: Callable[[], object], repeats: int, device: torch.device) -> tuple[float, float]:
    """Smallest time after a warm-up, and the allocator's peak over what was held before, in GiB."""
    run()
    on_gpu = device.type == "cuda"
    seconds = []
    loaded = torch.cuda.memory_allocated() if on_gpu else 0
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    for _ in range(repeats):
        if on_gpu:
            torch.cuda.synchronize()
        start = time.perf_counter()
        run()
        if on_gpu:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return min(seconds), (torch.cuda.max_memory_allocated() - loaded) / 2**30 if on_gpu else float("nan")


class Ways:
    """The ways of going over the same cells; those that read give the sums of all layers, or their means."""

    def __init__(self, folder: Path, args: argparse.Namespace) -> None:
        self.args = args
        self.model = load(folder, device=args.device, dtype=args.dtype)
        self.counts = make_cells(args.cells, args.length)
        self.tokens = np.arange(N_VOCABULARY) + 4
        self.panel = self.tokens[np.sort(np.random.default_rng(1).choice(N_VOCABULARY, N_PANEL, replace=False))]
        self.plan = Plan(N_PANEL, tuple(range(args.layers)))
        self.seeds = np.zeros(args.cells, dtype=np.uint64)
        self.encoded = self.model.tokenize(self.counts, self.tokens, self.seeds)

    def bare(self) -> None:
        """The encoder's own forward pass, nothing read."""
        for start in range(0, self.args.cells, self.args.batch_size):
            part = self.encoded[start : start + self.args.batch_size]
            self.model.forward(self.model.batch(part, [np.arange(len(cell.ids)) for cell in part]))

    def streamed(self, *, kernel: bool = True, batch_size: int | None = None, n_cells: int | None = None) -> np.ndarray:
        n = n_cells or self.args.cells
        block = (self.counts[:n], np.zeros(n, dtype=int), self.seeds[:n])
        sums = accumulate_attention(
            self.model,
            [block],
            tokens=self.tokens,
            panel=self.panel,
            plan=self.plan,
            batch_size=batch_size,
            kernel=kernel,
        )
        # As a tool would take them, so that the last addition is waited for.
        return np.stack([sums.mean(layer, 0) for layer in range(self.args.layers)][-1:])

    def on_host(self, n_cells: int) -> np.ndarray:
        """One cell at a time: the whole attention of one takes 11 GB at full depth in half precision."""
        sums = np.zeros((self.args.layers, N_PANEL, N_PANEL), dtype=np.float32)
        n_together = np.zeros((N_PANEL, N_PANEL), dtype=np.float32)
        place = np.full(N_VOCABULARY + 4, -1)
        place[self.panel] = np.arange(N_PANEL)
        for cell in self.encoded[:n_cells]:
            batch = self.model.batch([cell], [np.arange(len(cell.ids))])
            with torch.no_grad():
                out = self.model.network(input_ids=batch.ids, position_ids=batch.positions, output_attentions=True)
            here = np.flatnonzero(place[cell.ids] >= 0)
            square = np.ix_(place[cell.ids[here]], place[cell.ids[here]])
            n_together[square] += 1
            for layer, attention in enumerate(out.attentions):
                sums[layer][square] += attention[0].float().mean(0).cpu().numpy()[np.ix_(here, here)]
        with np.errstate(invalid="ignore"):
            return sums[-1:] / n_together


def measure(ways: Ways, args: argparse.Namespace) -> None:
    device, few = torch.device(args.device), max(1, args.cells // 16)
    rows = {
        "bare": timed(ways.bare, args.repeats, device),
        "streamed": timed(lambda: ways.streamed(batch_size=args.batch_size), args.repeats, device),
        "streamed, batch size found": timed(ways.streamed, args.repeats, device),
        "portable": timed(lambda: ways.streamed(kernel=False, batch_size=args.batch_size), args.repeats, device),
    }
    by_kernel, by_projections = ways.streamed(n_cells=few), ways.streamed(kernel=False, n_cells=few)
    again = np.array_equal(ways.streamed(n_cells=few), by_kernel, equal_nan=True)
    ways.model.network.set_attn_implementation("eager")
    held: list[np.ndarray] = []
    seconds, memory = timed(lambda: held.append(ways.on_host(few)), 1, device)
    rows["eager, added up on the host"] = (seconds * args.cells / few, memory)
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    print(f"{name}, {args.layers} layers, {args.cells} cells of {args.length} tokens, {args.dtype}\n")
    print("| method | cells/s | x bare | added peak GiB |\n|---|---|---|---|")
    for method, (seconds, memory) in rows.items():
        print(f"| {method} | {args.cells / seconds:.1f} | {seconds / rows['bare'][0]:.2f} | {memory:.2f} |")
    off = ~np.eye(N_PANEL, dtype=bool)
    scale = np.nanmax(held[-1][:, off])
    print(
        f"\nOver {few} cells, last layer, relative to its largest mean: streamed and portable differ by at most",
        end=" ",
    )
    print(f"{np.nanmax(np.abs(by_kernel - by_projections)) / scale:.1e}, streamed and eager by", end=" ")
    print(f"{np.nanmax(np.abs(by_kernel - held[-1])[:, off]) / scale:.1e}; the same bytes again: {again}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=18)
    parser.add_argument("--cells", type=int, default=64)
    parser.add_argument("--length", type=int, default=4096)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", default="bfloat16")
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no usable GPU")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "checkpoint"
        make_checkpoint(folder, args.layers, args.length)
        measure(Ways(folder, args), args)


if __name__ == "__main__":
    main()
