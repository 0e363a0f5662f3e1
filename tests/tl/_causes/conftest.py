"""A model of 12 layers x 12 heads in which one head carries what the last layer's edges show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import scepsis as sps

if TYPE_CHECKING:
    from collections.abc import Callable

N_GENES, N_GROUPS, N_LAYERS, SIZE = 60, 8, 12, 10
#: Layer and number of the head without which the last layer cannot tell sources apart.
PLANTED = (4, 7)


def targets_of() -> np.ndarray:
    """Groups x genes: which genes each group of sources regulates."""
    rng = np.random.default_rng(5)
    return np.stack([np.isin(np.arange(N_GENES), rng.choice(N_GENES, 9, replace=False)) for _ in range(N_GROUPS)])


@pytest.fixture(scope="session")
def planted_model(make_lasting_checkpoint: Callable[..., Any]) -> Any:
    """
    Shared by all tests, which leave it as it is.

    Tokens are one-hot in dimensions 0 to 59; gene i belongs to group ``i % 8``.

    The planted head looks at the own group and writes its number into dimensions 60 to 67; every head of the last
    layer looks for the targets of the group that it finds there. All other heads write a little noise, MLPs nothing.
    """
    model = sps.models.load(
        make_lasting_checkpoint("planted", n_genes=N_GENES, n_layers=N_LAYERS, n_heads=12, width=12 * SIZE, sigma=0.01)
    )
    network = model.network
    words = network.embeddings.word_embeddings.weight
    first = min(model.vocabulary.tokens.values())
    for table in (
        words,
        network.embeddings.position_embeddings.weight,
        network.embeddings.token_type_embeddings.weight,
    ):
        table.zero_()
    group = np.arange(N_GENES) % N_GROUPS
    for gene in range(N_GENES):
        words[first + gene, gene] = 1.0
    listed = targets_of()
    for layer in range(N_LAYERS):
        model.seams(layer).mlp.weight.zero_()
    layer, head = PLANTED
    own = slice(head * SIZE, head * SIZE + N_GROUPS)
    seams = model.seams(layer)
    for module, size in ((seams.query, 1.0), (seams.key, 1.0), (seams.value, 0.1)):
        module.weight[own] = 0.0
        for gene in range(N_GENES):
            module.weight[head * SIZE + group[gene], gene] = size
    seams.output.weight[:, own] = 0.0
    for number in range(N_GROUPS):
        seams.output.weight[N_GENES + number, head * SIZE + number] = 10.0
    last = model.seams(N_LAYERS - 1)
    last.query.weight.zero_()
    last.key.weight.zero_()
    for reader in range(12):
        for number in range(N_GROUPS):
            last.query.weight[reader * SIZE + number, N_GENES + number] = 0.3
            for gene in np.flatnonzero(listed[number]):
                last.key.weight[reader * SIZE + number, gene] = 0.3
    return model


@pytest.fixture(scope="session")
def planted_screen() -> ad.AnnData:
    """To be copied: 40 control cells and 16 perturbed genes, whose responders are the targets of their group."""
    rng = np.random.default_rng(0)
    names = [f"G{index}" for index in range(N_GENES)]
    counts = rng.poisson(3.0, size=(40, N_GENES)).astype(np.float32)
    var = pd.DataFrame({"ensembl_id": [f"ENSG{index:011d}" for index in range(N_GENES)]}, index=names)
    adata = ad.AnnData(counts, obs=pd.DataFrame(index=[f"c{index}" for index in range(40)]), var=var)
    adata.obs["edge_cells"] = True
    adata.var["edge_panel"] = True
    listed = targets_of()
    perturbed = list(range(16))
    adata.varm["perturbation_target"] = listed[[gene % N_GROUPS for gene in perturbed]].T.astype(np.float32)
    adata.uns["perturbation_effects"] = {
        "params": {"groupby": "perturbation", "control": "non-targeting", "labels_hash": "labels"},
        "perturbations": pd.DataFrame({"perturbation": names[:16], "gene": names[:16], "status": "ok"}, dtype=object),
    }
    return adata


@pytest.fixture(scope="session")
def planted_network() -> pd.DataFrame:
    """Targets of the first 24 genes."""
    listed = targets_of()
    pairs = [(f"G{i}", f"G{j}") for i in range(24) for j in np.flatnonzero(listed[i % N_GROUPS]) if i != j]
    return pd.DataFrame(pairs, columns=["source", "target"])
