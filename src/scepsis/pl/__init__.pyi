from ._edges._attention_edges import attention_edges
from ._response._perturbation_auroc import perturbation_auroc
from ._response._perturbation_auroc_layers import perturbation_auroc_layers
from ._response._perturbation_effects import perturbation_effects
from ._states._cssi import cssi
from ._states._cssi_scan import cssi_scan
from ._states._network import network
from ._states._scaling_curve import scaling_curve

__all__ = [
    "attention_edges",
    "cssi",
    "cssi_scan",
    "network",
    "perturbation_auroc",
    "perturbation_auroc_layers",
    "perturbation_effects",
    "scaling_curve",
]
