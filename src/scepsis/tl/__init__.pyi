from ._edges._attention_edges import attention_edges
from ._response._perturbation_effects import perturbation_effects

__all__ = ["attention_edges", "perturbation_effects"]
