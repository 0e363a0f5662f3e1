from ._load import load
from ._protocol import AttentionModel, Batch, Seams, Tokens, Vocabulary
from ._randomize import randomize
from ._register import register

__all__ = ["AttentionModel", "Batch", "Seams", "Tokens", "Vocabulary", "load", "randomize", "register"]
