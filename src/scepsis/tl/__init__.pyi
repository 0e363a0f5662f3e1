from ._biology._attention_vs_coexpression import attention_vs_coexpression
from ._biology._characterize_layers import characterize_layers
from ._biology._tf_profile import tf_profile
from ._causes._ablate_heads import ablate_heads
from ._causes._mediation import mediation
from ._causes._model_effects import model_effects
from ._causes._rank_heads import rank_heads
from ._confounds._circularity import circularity
from ._confounds._degree_null import degree_null
from ._confounds._explain_edges import explain_edges
from ._confounds._incremental_value import incremental_value
from ._confounds._matched_evaluation import matched_evaluation
from ._confounds._matched_negatives import matched_negatives
from ._confounds._reference_auroc import reference_auroc
from ._confounds._residualize_edges import residualize_edges
from ._contexts._compare_models import compare_models
from ._contexts._cross_context import cross_context
from ._contexts._gene_universe_effect import gene_universe_effect
from ._decision._audit import audit
from ._decision._correct_tests import correct_tests
from ._decision._plan import plan
from ._decision._verdict import verdict
from ._edges._attention_edges import attention_edges
from ._edges._baseline_edges import baseline_edges
from ._edges._correlation_edges import correlation_edges
from ._edges._insilico_perturbation import insilico_perturbation
from ._edges._value_weighted_edges import value_weighted_edges
from ._response._perturbation_auroc import perturbation_auroc
from ._response._perturbation_effects import perturbation_effects
from ._response._select_layer import select_layer
from ._response._sensitivity_scan import sensitivity_scan
from ._response._specification_curve import specification_curve
from ._states._cssi import cssi
from ._states._cssi_null import cssi_null
from ._states._cssi_scan import cssi_scan
from ._states._cssi_split_half import cssi_split_half
from ._states._scaling_curve import scaling_curve

__all__ = [
    "ablate_heads",
    "attention_edges",
    "attention_vs_coexpression",
    "audit",
    "baseline_edges",
    "characterize_layers",
    "circularity",
    "compare_models",
    "correct_tests",
    "correlation_edges",
    "cross_context",
    "cssi",
    "cssi_null",
    "cssi_scan",
    "cssi_split_half",
    "degree_null",
    "explain_edges",
    "gene_universe_effect",
    "incremental_value",
    "insilico_perturbation",
    "matched_evaluation",
    "matched_negatives",
    "mediation",
    "model_effects",
    "perturbation_auroc",
    "perturbation_effects",
    "plan",
    "rank_heads",
    "reference_auroc",
    "residualize_edges",
    "scaling_curve",
    "select_layer",
    "sensitivity_scan",
    "specification_curve",
    "tf_profile",
    "value_weighted_edges",
    "verdict",
]
