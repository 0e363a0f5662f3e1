from ._demo import demo
from ._simulate_screen import simulate_screen

__all__ = ["demo", "simulate_screen"]
