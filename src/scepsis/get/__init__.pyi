from ._effects import effects

__all__ = ["effects"]
