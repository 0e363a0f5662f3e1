from ._load import load
from ._protocol import AttentionModel, Batch, Seams, Vocabulary
from ._randomize import randomize

__all__ = ["AttentionModel", "Batch", "Seams", "Vocabulary", "load", "randomize"]
