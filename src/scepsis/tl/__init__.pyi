from ._confounds._incremental_value import incremental_value
from ._confounds._matched_evaluation import matched_evaluation
from ._edges._attention_edges import attention_edges
from ._edges._correlation_edges import correlation_edges
from ._edges._value_weighted_edges import value_weighted_edges
from ._response._perturbation_auroc import perturbation_auroc
from ._response._perturbation_effects import perturbation_effects
from ._response._sensitivity_scan import sensitivity_scan

__all__ = [
    "attention_edges",
    "correlation_edges",
    "incremental_value",
    "matched_evaluation",
    "perturbation_auroc",
    "perturbation_effects",
    "sensitivity_scan",
    "value_weighted_edges",
]
