from ._edges._attention_edges import attention_edges
from ._edges._correlation_edges import correlation_edges
from ._edges._value_weighted_edges import value_weighted_edges
from ._response._perturbation_auroc import perturbation_auroc
from ._response._perturbation_effects import perturbation_effects
from ._states._cssi import cssi
from ._states._cssi_null import cssi_null
from ._states._cssi_scan import cssi_scan
from ._states._cssi_split_half import cssi_split_half
from ._states._scaling_curve import scaling_curve

__all__ = [
    "attention_edges",
    "correlation_edges",
    "cssi",
    "cssi_null",
    "cssi_scan",
    "cssi_split_half",
    "perturbation_auroc",
    "perturbation_effects",
    "scaling_curve",
    "value_weighted_edges",
]
