from ._confounds._degree_null import degree_null
from ._confounds._explain_edges import explain_edges
from ._confounds._incremental_value import incremental_value
from ._confounds._matched_evaluation import matched_evaluation
from ._confounds._reference_auroc import reference_auroc
from ._confounds._residualize_edges import residualize_edges
from ._decision._verdict import verdict
from ._edges._attention_edges import attention_edges
from ._response._perturbation_auroc import perturbation_auroc
from ._response._perturbation_auroc_layers import perturbation_auroc_layers
from ._response._perturbation_effects import perturbation_effects
from ._response._select_layer import select_layer

__all__ = [
    "attention_edges",
    "degree_null",
    "explain_edges",
    "incremental_value",
    "matched_evaluation",
    "perturbation_auroc",
    "perturbation_auroc_layers",
    "perturbation_effects",
    "reference_auroc",
    "residualize_edges",
    "select_layer",
    "verdict",
]
