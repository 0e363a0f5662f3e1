from ._confounds._incremental_value import incremental_value
from ._edges._attention_edges import attention_edges
from ._response._perturbation_auroc import perturbation_auroc
from ._response._perturbation_auroc_layers import perturbation_auroc_layers
from ._response._perturbation_effects import perturbation_effects

__all__ = [
    "attention_edges",
    "incremental_value",
    "perturbation_auroc",
    "perturbation_auroc_layers",
    "perturbation_effects",
]
