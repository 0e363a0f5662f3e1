from ._add_edges import add_edges
from ._assign_perturbations import assign_perturbations
from ._embed_cells import embed_cells
from ._gene_features import gene_features
from ._lognormalize import lognormalize
from ._match_genes import match_genes
from ._select_cells import select_cells
from ._select_panel import select_panel

__all__ = [
    "add_edges",
    "assign_perturbations",
    "embed_cells",
    "gene_features",
    "lognormalize",
    "match_genes",
    "select_cells",
    "select_panel",
]
