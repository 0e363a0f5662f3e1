from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys


class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch" or name.startswith("torch."):
            raise ImportError(name)


sys.meta_path.insert(0, NoTorch())

import anndata as ad
import numpy as np
import pandas as pd

import scepsis as sps

rng = np.random.default_rng(0)
genes = [f"G{number}" for number in range(60)]
controls, perturbed = 120, 60
labels = ["non-targeting"] * controls + [gene for gene in genes[:8] for _ in range(perturbed)]
rate = np.full((len(labels), 60), 5.0)
for number, gene in enumerate(genes[:8]):
    rate[np.ix_(np.array(labels) == gene, range(10 + 5 * number, 15 + 5 * number))] = 20.0
adata = ad.AnnData(
    X=rng.poisson(rate).astype(np.float32),
    obs=pd.DataFrame({"perturbation": labels}, index=[f"c{number}" for number in range(len(labels))]),
    var=pd.DataFrame(index=genes),
)
pairs = [(source, target) for source in genes for target in genes if source != target]
frame = pd.DataFrame(pairs, columns=["source", "target"])
frame["weight"] = rng.random(len(frame))
for number, gene in enumerate(genes[:8]):
    answer = (frame["source"] == gene) & frame["target"].isin(genes[10 + 5 * number : 15 + 5 * number])
    frame.loc[answer, "weight"] += 1
sps.pp.select_cells(adata)
sps.pp.gene_features(adata)
sps.tl.perturbation_effects(adata, lfc_threshold=1, n_null_splits=1, show_progress_bar=False)
sps.tl.perturbation_auroc(adata, edges=frame, n_boot=100)
summary = adata.uns["perturbation_auroc"]["summary"].set_index("predictor")
assert summary.loc["edges", "auroc"] > 0.9, summary
assert "torch" not in sys.modules
print("audited")
"""


def test_a_table_of_edges_is_audited_where_torch_cannot_be_imported() -> None:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "audited"
