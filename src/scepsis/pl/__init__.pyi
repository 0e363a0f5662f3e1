from ._biology._attention_vs_coexpression import attention_vs_coexpression
from ._biology._characterize_layers import characterize_layers
from ._biology._characterize_layers_trend import characterize_layers_trend
from ._biology._tf_profile import tf_profile
from ._causes._head_ablation import head_ablation
from ._causes._head_ranking import head_ranking
from ._causes._mediation import mediation
from ._causes._model_effects import model_effects
from ._confounds._degree_null import degree_null
from ._confounds._explain_edges import explain_edges
from ._confounds._incremental_value import incremental_value
from ._confounds._matched_evaluation import matched_evaluation
from ._confounds._matched_negatives import matched_negatives
from ._confounds._reference_auroc import reference_auroc
from ._confounds._residualize_edges import residualize_edges
from ._contexts._compare_models import compare_models
from ._contexts._compare_models_cells import compare_models_cells
from ._contexts._cross_context import cross_context
from ._contexts._gene_universe_effect import gene_universe_effect
from ._decision._verdict import verdict
from ._edges._attention_edges import attention_edges
from ._response._perturbation_auroc import perturbation_auroc
from ._response._perturbation_auroc_layers import perturbation_auroc_layers
from ._response._perturbation_effects import perturbation_effects
from ._response._select_layer import select_layer
from ._response._sensitivity_scan import sensitivity_scan
from ._response._specification_curve import specification_curve
from ._states._cssi import cssi
from ._states._cssi_scan import cssi_scan
from ._states._network import network
from ._states._scaling_curve import scaling_curve

__all__ = [
    "attention_edges",
    "attention_vs_coexpression",
    "characterize_layers",
    "characterize_layers_trend",
    "compare_models",
    "compare_models_cells",
    "cross_context",
    "cssi",
    "cssi_scan",
    "degree_null",
    "explain_edges",
    "gene_universe_effect",
    "head_ablation",
    "head_ranking",
    "incremental_value",
    "matched_evaluation",
    "matched_negatives",
    "mediation",
    "model_effects",
    "network",
    "perturbation_auroc",
    "perturbation_auroc_layers",
    "perturbation_effects",
    "reference_auroc",
    "residualize_edges",
    "scaling_curve",
    "select_layer",
    "sensitivity_scan",
    "specification_curve",
    "tf_profile",
    "verdict",
]
