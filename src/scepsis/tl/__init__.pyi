from ._confounds._circularity import circularity
from ._confounds._degree_null import degree_null
from ._confounds._reference_auroc import reference_auroc
from ._edges._attention_edges import attention_edges
from ._edges._correlation_edges import correlation_edges
from ._edges._value_weighted_edges import value_weighted_edges
from ._response._perturbation_auroc import perturbation_auroc
from ._response._perturbation_effects import perturbation_effects

__all__ = [
    "attention_edges",
    "circularity",
    "correlation_edges",
    "degree_null",
    "perturbation_auroc",
    "perturbation_effects",
    "reference_auroc",
    "value_weighted_edges",
]
