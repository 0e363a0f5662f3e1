"""
How often the criteria of the verdict pass, on simulated screens whose truth is known.

    python benchmarks/operating_characteristics/run.py --study rates --seeds 200 --jobs 2
    python benchmarks/operating_characteristics/run.py --study power --seeds 200 --sizes "40 x 200" --jobs 2
    python benchmarks/operating_characteristics/run.py --study power --seeds 20 --jobs 2
    python benchmarks/operating_characteristics/summarise.py                           # tables in markdown

Results are rows of a CSV file, added seed by seed: a run that is killed goes on where it stopped when the same line
is given again, and one with more seeds adds to what is there. Processes have one thread each. What worlds and edges
are made of is in `worlds.py`, what is run on them in `battery.py`; boosted trees are fitted by `compiled_trees.py`,
unless `--library-trees` asks for those of the package.
"""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import compiled_trees
import pandas as pd
from battery import judge
from tqdm.auto import tqdm
from worlds import BASE, SIZES, STRENGTHS, WIRING, make_world

import scepsis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

HERE = Path(__file__).parent
COLUMNS = [
    "world", "size", "seed", "edges", "a", "b", "c", "d", "overall", "abc", "auroc", "auroc_variance",
    "n_perturbations", "positive_rate", "kept", "cpu_seconds", "n_sets", "version",
]  # fmt: skip
UNIT = ["world", "size", "seed"]


@dataclass(frozen=True)
class Screen:
    """One screen to be simulated and judged."""

    world: str
    size: str
    seed: int
    #: Strengths of the true edges, and whether there are others than true ones.
    strengths: tuple[float, ...]
    others: bool

    @property
    def key(self) -> tuple[str, str, int]:
        return self.world, self.size, self.seed


def screens(study: str, seeds: range, worlds: Sequence[str], sizes: Sequence[str]) -> list[Screen]:
    """
    List the screens of a study, seed by seed.

    ``rates``: every kind of edges, of the true ones the strongest, in `worlds`; ``power``: true edges of all strengths
    where responses travel along them, in screens of `sizes`.
    """
    if study == "rates":
        return [Screen(world, BASE, seed, STRENGTHS[-1:], others=True) for seed in seeds for world in worlds]
    return [Screen("along", size, seed, STRENGTHS, others=False) for seed in seeds for size in sizes]


def judged(screen: Screen) -> pd.DataFrame:
    """Rows of one screen, one for each set of edges."""
    world = make_world(screen.world, screen.seed, size=screen.size, strengths=screen.strengths, others=screen.others)
    rows = judge(world).assign(
        world=screen.world, size=screen.size, seed=screen.seed, n_sets=len(world.edges), version=scepsis.__version__
    )
    return rows[COLUMNS]


def read(path: Path) -> pd.DataFrame:
    """Rows of all screens that are complete; what a killed run left of a screen is not."""
    if not path.exists():
        return pd.DataFrame(columns=COLUMNS)
    lines = path.read_text().splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n") and line.count(",") == len(COLUMNS) - 1]
    if not whole or whole[0].rstrip("\n").split(",") != COLUMNS:
        return pd.DataFrame(columns=COLUMNS)
    cells = [line.rstrip("\n").split(",") for line in whole[1:]]
    rows = pd.DataFrame(cells, columns=COLUMNS).replace("", None)  # a missing number is written as nothing
    rows = rows.astype(dict.fromkeys(NUMBERS, float) | dict.fromkeys(WHOLE, int))
    for name in TRUTHS:
        rows[name] = rows[name].map({"True": True, "False": False}).astype("boolean")
    count = rows.groupby(UNIT)["edges"].transform("nunique")
    return rows[count == rows["n_sets"]].drop_duplicates([*UNIT, "edges"]).reset_index(drop=True)


WHOLE = ["seed", "n_perturbations", "n_sets"]
NUMBERS = ["auroc", "auroc_variance", "positive_rate", "kept", "cpu_seconds"]
TRUTHS = ["a", "b", "c", "d", "overall", "abc"]


def run(path: Path, wanted: list[Screen], jobs: int, prepare: Callable[[], object] = compiled_trees.install) -> None:
    """Judge what is not in the file yet, adding the rows of each screen as soon as it is done."""
    rows = read(path)
    fresh = path.with_suffix(".new")
    rows.to_csv(fresh, index=False)
    fresh.replace(path)  # without the rest of a screen that was cut off
    done = set(rows[UNIT].itertuples(index=False, name=None))
    left = [screen for screen in wanted if screen.key not in done]
    with (
        _one_thread_for_children(),
        ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=prepare) as pool,
        path.open("a") as file,
    ):
        tasks = [pool.submit(judged, screen) for screen in left]
        for task in tqdm(as_completed(tasks), total=len(left), unit="screen"):
            file.write(task.result().to_csv(index=False, header=False))
            file.flush()


@contextmanager
def _one_thread_for_children() -> Iterator[None]:
    """Have processes started meanwhile use one thread each, and leave this one's environment as it was found."""
    names = [f"{name}_NUM_THREADS" for name in ("OMP", "OPENBLAS", "MKL", "NUMBA")]
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", choices=["rates", "power"], default="rates")
    parser.add_argument("--worlds", nargs="+", choices=list(WIRING), default=["apart"], help="of the error rates")
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES), help="of the power study")
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument(
        "--library-trees", action="store_true", help="boosted trees of the package, about twice the time"
    )
    parser.add_argument("--results", type=Path, help="CSV file; results/<study>.csv beside this script when not given")
    options = parser.parse_args()
    path = options.results or HERE / "results" / f"{options.study}.csv"
    path.parent.mkdir(exist_ok=True)
    seeds = range(options.first, options.first + options.seeds)
    prepare = int if options.library_trees else compiled_trees.install
    run(path, screens(options.study, seeds, options.worlds, options.sizes), options.jobs, prepare)


if __name__ == "__main__":
    main()
