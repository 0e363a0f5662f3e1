from ._confounds._degree_null import degree_null
from ._confounds._matched_evaluation import matched_evaluation
from ._confounds._reference_auroc import reference_auroc
from ._decision._verdict import verdict
from ._edges._attention_edges import attention_edges
from ._response._perturbation_auroc import perturbation_auroc
from ._response._perturbation_auroc_layers import perturbation_auroc_layers
from ._response._perturbation_effects import perturbation_effects

__all__ = [
    "attention_edges",
    "degree_null",
    "matched_evaluation",
    "perturbation_auroc",
    "perturbation_auroc_layers",
    "perturbation_effects",
    "reference_auroc",
    "verdict",
]
