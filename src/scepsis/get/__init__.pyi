from ._edge_matrix import edge_matrix
from ._edges import edges
from ._effects import effects
from ._layer_keys import layer_keys

__all__ = ["edge_matrix", "edges", "effects", "layer_keys"]
