from ._interventions import Intervention
from ._load import load
from ._protocol import AttentionModel, Batch, Seams, Tokens, Vocabulary
from ._randomize import randomize
from ._register import register

__all__ = ["AttentionModel", "Batch", "Intervention", "Seams", "Tokens", "Vocabulary", "load", "randomize", "register"]
