from ._confounds._matched_evaluation import matched_evaluation
from ._decision._verdict import verdict
from ._edges._attention_edges import attention_edges
from ._response._perturbation_auroc import perturbation_auroc
from ._response._perturbation_auroc_layers import perturbation_auroc_layers
from ._response._perturbation_effects import perturbation_effects
from ._response._sensitivity_scan import sensitivity_scan
from ._response._specification_curve import specification_curve

__all__ = [
    "attention_edges",
    "matched_evaluation",
    "perturbation_auroc",
    "perturbation_auroc_layers",
    "perturbation_effects",
    "sensitivity_scan",
    "specification_curve",
    "verdict",
]
