"""
Tables of the studies in markdown: how often each criterion and all three passed, with exact limits.

    python benchmarks/operating_characteristics/summarise.py
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from run import HERE, read
from scipy.stats import beta
from worlds import SIZES, WIRING

if TYPE_CHECKING:
    import pandas as pd

KINDS = {
    "true_": "(i) true network and noise, strength {}",
    "key_var": "(ii) variance of the target",
    "key_resp": "(ii) true responsiveness of the target",
    "coexpression": "(iii) co-expression independent of the network",
    "rewired": "(iv) network of the same degrees",
    "random": "(v) noise",
}
WORLDS = {"along": "responses travel along edges", "apart": "responses do not travel along edges"}
#: What a pass rate of edges that should not pass must stay below, and what one of edges that should must reach.
WORST, BEST = 0.05, 0.90


def limits(k: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Clopper and Pearson's two-sided interval of a share."""
    tail = (1 - level) / 2
    low = float(beta.ppf(tail, k, n - k + 1)) if k > 0 else 0.0
    return low, float(beta.ppf(1 - tail, k + 1, n - k)) if k < n else 1.0


def kind(edges: str) -> str:
    prefix = next(one for one in KINDS if edges.startswith(one))
    return KINDS[prefix].format(edges.removeprefix(prefix))


def rates(rows: pd.DataFrame) -> str:
    """One row for each kind of edges in each world."""
    lines = [
        "| edges | world | screens | AUROC | (a) | (b) | (c) | (a), (b), (c) | 95 % limits | overall False | CPU s |",
        "|" + " --- |" * 11,
    ]
    for world in WIRING:
        for edges, part in rows[rows["world"] == world].groupby("edges", sort=False):
            n, k = len(part), int(part["abc"].sum())
            low, high = limits(k, n)
            share = [f"{100 * part[name].fillna(value=False).mean():.1f} %" for name in "abc"]
            false = int((~part["overall"].fillna(value=True)).sum())
            lines.append(
                f"| {kind(edges)} | {WORLDS[world]} | {n} | {part['auroc'].mean():.3f} | {' | '.join(share)} | {k} | "
                f"{100 * low:.1f} to {100 * high:.1f} % | {false} | {part['cpu_seconds'].mean():.1f} |"
            )
    kept = rows["kept"].dropna()
    said = [
        "",
        f"Perturbations scored: {rows['n_perturbations'].mean():.0f} on average "
        f"({rows['n_perturbations'].min()} to {rows['n_perturbations'].max()}). Of the true edges, a network of the "
        f"same degrees has {100 * kept.mean():.0f} % ({100 * kept.min():.0f} to {100 * kept.max():.0f} %). AUROC of "
        "the variance of the target: "
        + ", ".join(
            f"{part['auroc_variance'].mean():.3f} where {WORLDS[name]}"
            for name, part in rows.groupby("world", sort=False)
        )
        + ".",
    ]
    return "\n".join(lines + said)


def power(rows: pd.DataFrame) -> str:
    """Share of screens that true edges pass, by strength and size."""
    strengths = list(dict.fromkeys(rows["edges"]))
    lines = ["| size | " + " | ".join(f"strength {kind(one).rpartition(' ')[2]}" for one in strengths) + " |"]
    lines.append("|" + " --- |" * (1 + len(strengths)))
    for size in SIZES:
        cells = []
        for edges in strengths:
            part = rows[(rows["size"] == size) & (rows["edges"] == edges)]
            if part.empty:
                cells.append("")
                continue
            n, k = len(part), int(part["abc"].sum())
            low, high = limits(k, n)
            each = "/".join(str(int(part[name].fillna(value=False).sum())) for name in "abc")
            cells.append(f"{k} of {n} ({100 * low:.0f} to {100 * high:.0f} %); {each}")
        lines.append(f"| {size} | " + " | ".join(cells) + " |")
    lines += ["", "All three criteria, with 95 % limits; then (a)/(b)/(c) alone."]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=HERE / "results", help="folder with rates.csv and power.csv")
    folder = parser.parse_args().results
    for title, table in (("rates", rates), ("power", power)):
        rows = read(folder / f"{title}.csv")
        if len(rows):
            print(f"{table(rows)}\n")


if __name__ == "__main__":
    main()
