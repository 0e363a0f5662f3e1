"""Importing the package is quick, loads nothing heavy and changes nothing; edge tables need no torch."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from typing import Any

HEAVY = ("torch", "transformers", "matplotlib", "scanpy", "sklearn", "statsmodels", "networkx")


def run(code: str) -> Any:
    """Run code in an interpreter of its own and read what it prints as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], check=False, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_import_loads_nothing_heavy() -> None:
    loaded = run(
        f"""
        import json, sys
        import scepsis
        for name in scepsis.__all__:
            getattr(scepsis, name)
        print(json.dumps([name for name in {(*HEAVY, "numba")!r} if name in sys.modules]))
        """
    )
    assert loaded == []


def test_namespaces_load_nothing_heavy() -> None:
    """Reading a name such as `sps.tl.attention_edges` imports its file, and still nothing heavy."""
    loaded = run(
        f"""
        import json, sys
        import scepsis
        for space in ("datasets", "get", "models", "pl", "pp", "references", "tl"):
            for name in getattr(scepsis, space).__all__:
                getattr(getattr(scepsis, space), name)
        print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))
        """
    )
    assert loaded == []


def test_import_is_quick() -> None:
    code = """
    import json, time
    import anndata
    start = time.perf_counter()
    import scepsis
    scepsis.tl, scepsis.pp, scepsis.pl, scepsis.get, scepsis.models, scepsis.datasets
    print(json.dumps(time.perf_counter() - start))
    """
    assert min(run(code) for _ in range(5)) < 0.3


def test_import_changes_no_global_state() -> None:
    changed = run(
        """
        import json, logging, os, random, warnings
        import anndata
        import numpy as np

        def state():
            return (
                dict(os.environ), list(warnings.filters), list(logging.getLogger().handlers),
                logging.getLogger("scepsis").level, list(logging.getLogger("scepsis").handlers),
                random.getstate(), np.random.get_state()[1].tolist(),
            )

        before = state()
        import scepsis
        scepsis.tl.perturbation_auroc, scepsis.report
        print(json.dumps([index for index, (a, b) in enumerate(zip(before, state())) if a != b]))
        """
    )
    assert changed == []


def test_edge_table_is_audited_with_torch_blocked() -> None:
    auroc = run(
        """
        import json, sys

        class Absent:
            # a machine on which these were never installed

            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] in {"torch", "transformers", "safetensors"}:
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name)

        sys.meta_path.insert(0, Absent())
        import numpy as np
        import pandas as pd
        import scepsis as sps

        adata = sps.datasets.simulate_screen(
            n_genes=200, n_regulators=20, n_other=5, n_controls=600, cells_per_perturbation=60, wiring=1
        )
        truth = np.abs(np.nan_to_num(adata.varp["regulation"]))
        genes = adata.var_names.to_numpy()
        noise = np.random.default_rng(0).uniform(0, 0.01, truth.shape)
        weights = pd.DataFrame(truth + noise, genes, genes)
        frame = weights.rename_axis("source").reset_index().melt("source", var_name="target", value_name="weight")
        frame = frame[frame["source"] != frame["target"]]

        sps.pp.select_cells(adata, groupby="perturbation", control="non-targeting")
        sps.pp.select_panel(adata)
        sps.pp.gene_features(adata)
        sps.pp.add_edges(adata, frame, key_added="table")
        sps.tl.correlation_edges(adata)
        sps.tl.perturbation_effects(adata, show_progress_bar=False)
        sps.tl.perturbation_auroc(adata, edges=["table", "spearman"])
        summary = adata.uns["perturbation_auroc"]["summary"].set_index("predictor")
        print(json.dumps(summary["auroc"].to_dict()))
        """
    )
    assert auroc["table"] > 0.7, "the true network must rank the responders that it caused"
    assert auroc["table"] > max(auroc[name] for name in ("variance", "mean", "detection_rate"))
