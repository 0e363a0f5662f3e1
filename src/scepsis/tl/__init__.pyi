from ._confounds._incremental_value import incremental_value
from ._decision._correct_tests import correct_tests
from ._decision._plan import plan
from ._decision._verdict import verdict
from ._edges._attention_edges import attention_edges
from ._edges._correlation_edges import correlation_edges
from ._edges._value_weighted_edges import value_weighted_edges
from ._response._perturbation_auroc import perturbation_auroc
from ._response._perturbation_effects import perturbation_effects

__all__ = [
    "attention_edges",
    "correct_tests",
    "correlation_edges",
    "incremental_value",
    "perturbation_auroc",
    "perturbation_effects",
    "plan",
    "value_weighted_edges",
    "verdict",
]
