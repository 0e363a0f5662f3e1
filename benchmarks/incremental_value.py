"""
Cost of `scepsis.tl.incremental_value` for each set of edges beyond the fits that all sets share, in CPU seconds.

    python benchmarks/incremental_value.py            # 40 x 200 pairs, whole
    python benchmarks/incremental_value.py large      # 280 x 2,000 pairs, one fold of every kind, added up
    python benchmarks/incremental_value.py learners   # one fit of each learner against scikit-learn

Boosted trees are scikit-learn's, as in the package; `--compiled` puts those of the operating characteristics in their
place.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scepsis.stats._held_out import judge, permuted, run_frequency, run_task, tested_blocks
from scepsis.stats._increment import Baselines, Comparison, Design, increment
from scepsis.stats._learners import SCORES, Pairs

if TYPE_CHECKING:
    from collections.abc import Callable

    from scepsis.stats._held_out import Task

METRICS = ("auroc", "auprc", "recall@10", "recall@50", "recall@100")
SPLITS = ("perturbation", "gene", "joint")
LEARNERS = ("logistic", "gbdt")
N_PLACEBO = 5


def make(n_units: int, n_genes: int, seed: int = 0) -> tuple[Pairs, np.ndarray]:
    """Pairs of which 3 % respond (8 % of the small table), more among variable genes, and edges that know a little."""
    rng = np.random.default_rng(seed)
    height = rng.normal(size=n_genes)
    features = np.exp(np.column_stack([height + 0.3 * rng.normal(size=n_genes) for _ in range(3)]))
    rate = 0.03 if n_genes > 1000 else 0.08
    odds = np.exp(1.2 * height)
    labels = (rng.random((n_units, n_genes)) < np.clip(rate * odds / odds.mean(), 0, 0.9)).astype(np.int8)
    labels[np.arange(n_units), np.arange(n_units)] = -1
    return Pairs(labels, features, np.arange(n_units)), rng.normal(size=labels.shape) + 0.3 * (labels == 1)


def cpu(function: Callable[[], object], repeats: int = 1) -> float:
    best = np.inf
    for _ in range(repeats):
        start = time.process_time()
        function()
        best = min(best, time.process_time() - start)
    return best


def small() -> None:
    data, edges = make(40, 200)
    design = Design(data, SPLITS, LEARNERS, METRICS, joint_mode="diagonal")
    comparison = Comparison(0.005, 6, 200, {})
    baselines = Baselines.fit(design)  # whatever is compiled on the first call
    print(f"40 x 200, diagonal: gene features alone {cpu(lambda: Baselines.fit(design), 3):.2f} CPU s")
    one = cpu(
        lambda: increment(design, baselines, edges, "edges", n_placebo=N_PLACEBO, comparison=comparison), repeats=3
    )
    print(f"40 x 200, diagonal: each set of edges {one:.2f} CPU s")


def large() -> None:
    """One fold of every split under every learner, times the number of such folds; judging and comparing whole."""
    small_data, _ = make(12, 60)
    design = Design(small_data, SPLITS, LEARNERS, METRICS)
    Baselines.fit(design)  # whatever is compiled on the first call
    data, edges = make(280, 2000)
    design = Design(data, SPLITS, LEARNERS, METRICS)
    column = data.column(edges)
    columns = [column, *(data.column(permuted(edges, data.labels, np.random.default_rng(i))) for i in range(N_PLACEBO))]
    totals = dict.fromkeys(("shared", "each"), 0.0)
    for split in SPLITS:
        for learner in LEARNERS:
            tasks = [task for task in design.tasks if (task.split, task.learner) == (split, learner)]
            shared, each = (
                len(tasks) * cpu(lambda some=some, task=tasks[0], alone=alone: _run(design, task, some, alone=alone))
                for some, alone in (([], True), (columns, False))
            )
            print(f"{split:13s}{learner:9s}{len(tasks):3d} folds: shared {shared:6.1f}, each set {each:6.1f} CPU s")
            totals["shared"] += shared
            totals["each"] += each
    tasks = design.frequency_tasks(with_edge=True)
    frequency = len(tasks) * cpu(lambda: run_frequency(data, design.blocks, tasks[0], columns[:1], seed=0, alone=True))
    scores = data.matrix(column[0])
    judged = sum(
        cpu(lambda split=split: judge(scores, data, tested_blocks(split, design.blocks), METRICS)) for split in SPLITS
    )
    judged *= len(LEARNERS) * (1 + N_PLACEBO)
    print(f"with the frequency of response {frequency:.1f}, judging {judged:.1f} CPU s for each set")
    each = totals["each"] + frequency + judged
    print(f"280 x 2,000: first set {totals['shared'] + each:.0f}, each further one {each:.0f} CPU s")


def _run(design: Design, task: Task, columns: list[np.ndarray], *, alone: bool) -> object:
    return run_task(design.data, design.blocks, task, columns, alone=alone)


def learners() -> None:
    for shape in ((40, 200), (280, 2000)):
        _one_fit(shape)


def _one_fit(shape: tuple[int, int]) -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    data, edges = make(*shape)
    column = data.column(edges)
    test, train = np.flatnonzero(data.unit % 5 == 0), np.flatnonzero(data.unit % 5 > 0)
    table = np.column_stack([data.features[data.gene], column.T])
    trees = HistGradientBoostingClassifier(
        max_iter=50, learning_rate=0.2, max_leaf_nodes=15, early_stopping=False, random_state=0
    )
    regression = make_pipeline(StandardScaler(), LogisticRegression(solver="newton-cholesky", tol=1e-10))
    for name, ours, theirs in (("gbdt", SCORES["gbdt"], trees), ("logistic", SCORES["logistic"], regression)):
        scores: dict[str, np.ndarray] = {}

        def mine(ours: Callable[..., np.ndarray] = ours, scores: dict[str, np.ndarray] = scores) -> None:
            scores["ours"] = ours(data, [column], train, test, alone=False)[0]

        def other(theirs: Any = theirs, scores: dict[str, np.ndarray] = scores) -> None:
            scores["theirs"] = theirs.fit(table[train], data.positive[train]).decision_function(table[test])

        with threadpool_limits(1):
            mine()
            seconds = cpu(mine, 3), cpu(other, 3)
        areas = [roc_auc_score(data.positive[test], scores[who]) for who in ("ours", "theirs")]
        apart = float(np.median(np.abs(scores["ours"] - scores["theirs"])))
        print(
            f"{shape} {name}: {seconds[0] * 1e3:.1f} ms, scikit-learn {seconds[1] * 1e3:.1f} ms; "
            f"AUROC {areas[0]:.4f} and {areas[1]:.4f}, median difference of log odds {apart:.1g}"
        )


def use_compiled_trees() -> None:
    sys.path.append(str(Path(__file__).parent / "operating_characteristics"))
    import compiled_trees

    compiled_trees.install()


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if word != "--compiled"]
    if "--compiled" in sys.argv:
        use_compiled_trees()
    {"small": small, "large": large, "learners": learners}[words[0] if words else "small"]()
