"""
Reading attention on a GPU: cells per second, against the bare forward pass and against attention asked for and
added up on the host.

    python benchmarks/gpu.py                 # Geneformer V2-316M shape, 4,096 tokens, bfloat16
    python benchmarks/gpu.py --layers 4      # a part of the depth, where memory or patience is short

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

N_VOCABULARY, N_PANEL, LENGTH = 20_271, 2000, 4096


def make_checkpoint(folder: Path, n_layers: int) -> None:
    """18 heads of 64, MLP of 4,608, second-generation tokens."""
    from transformers import BertConfig, BertForMaskedLM

    config = BertConfig(
        vocab_size=N_VOCABULARY + 4,
        hidden_size=1152,
        num_hidden_layers=n_layers,
        num_attention_heads=18,
        intermediate_size=4608,
        max_position_embeddings=LENGTH,
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


def make_cells(n_cells: int) -> sparse.csr_matrix:
    """Cells that fill the model's length."""
    rng = np.random.default_rng(0)
    genes = np.stack([rng.choice(N_VOCABULARY, LENGTH - 2, replace=False) for _ in range(n_cells)])
    rows = np.repeat(np.arange(n_cells), genes.shape[1])
    values = rng.integers(1, 500, genes.size).astype(np.float32)
    return sparse.csr_matrix((values, (rows, genes.ravel())), shape=(n_cells, N_VOCABULARY))


def timed(run: Callable[[], object], repeats: int) -> tuple[float, float]:
    run()
    seconds = []
    loaded = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    for _ in range(repeats):
        torch.cuda.synchronize()
        start = time.perf_counter()
        run()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return min(seconds), (torch.cuda.max_memory_allocated() - loaded) / 2**30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=18)
    parser.add_argument("--cells", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("there is no usable GPU")
    counts = make_cells(args.cells)
    tokens = np.arange(N_VOCABULARY) + 4
    panel = tokens[np.sort(np.random.default_rng(1).choice(N_VOCABULARY, N_PANEL, replace=False))]
    groups, seeds = np.zeros(args.cells, dtype=int), np.zeros(args.cells, dtype=np.uint64)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "checkpoint"
        make_checkpoint(folder, args.layers)
        model = load(folder, device="cuda", dtype="bfloat16")
        plan = Plan(N_PANEL, tuple(range(args.layers)))
        cells = model.tokenize(counts, tokens, seeds)
        parts = [cells[start : start + args.batch_size] for start in range(0, args.cells, args.batch_size)]

        def bare() -> None:
            for part in parts:
                model.forward(model.batch(part, [np.arange(len(cell.ids)) for cell in part]))

        def streamed(*, kernel: bool) -> object:
            block = (counts, groups, seeds)
            return accumulate_attention(
                model, [block], tokens=tokens, panel=panel, plan=plan, batch_size=args.batch_size, kernel=kernel
            )

        def on_host() -> None:
            """One cell at a time: the whole attention of one takes about 22 GB at full depth in single precision."""
            sums = np.zeros((args.layers, N_PANEL, N_PANEL), dtype=np.float32)
            place = np.full(N_VOCABULARY + 4, -1)
            place[panel] = np.arange(N_PANEL)
            for cell in cells[: max(1, args.cells // 16)]:
                batch = model.batch([cell], [np.arange(len(cell.ids))])
                with torch.no_grad():
                    out = model.network(input_ids=batch.ids, position_ids=batch.positions, output_attentions=True)
                here = np.flatnonzero(place[cell.ids] >= 0)
                square = np.ix_(place[cell.ids[here]], place[cell.ids[here]])
                for layer, attention in enumerate(out.attentions):
                    sums[layer][square] += attention[0].float().mean(0).cpu().numpy()[np.ix_(here, here)]

        rows = {
            "bare": timed(bare, args.repeats),
            "streamed": timed(lambda: streamed(kernel=True), args.repeats),
            "portable": timed(lambda: streamed(kernel=False), args.repeats),
        }
        model.network.set_attn_implementation("eager")
        seconds, memory = timed(on_host, 1)
        rows["eager, host"] = (seconds * args.cells / max(1, args.cells // 16), memory)
    print(f"{torch.cuda.get_device_name()}, {args.layers} layers, {args.cells} cells of {LENGTH} tokens, bfloat16\n")
    print("| method | cells/s | x bare | added peak GiB |\n|---|---|---|---|")
    for name, (seconds, memory) in rows.items():
        print(f"| {name} | {args.cells / seconds:.1f} | {seconds / rows['bare'][0]:.2f} | {memory:.2f} |")


if __name__ == "__main__":
    main()
