from ._demo import demo
from ._simulate_cssi import simulate_cssi
from ._simulate_screen import simulate_screen

__all__ = ["demo", "simulate_cssi", "simulate_screen"]
