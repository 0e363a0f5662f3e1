from ._claims import claims
from ._edge_matrix import edge_matrix
from ._edges import edges
from ._effects import effects
from ._layer_keys import layer_keys
from ._methods import methods
from ._summary import summary
from ._tests import tests

__all__ = ["claims", "edge_matrix", "edges", "effects", "layer_keys", "methods", "summary", "tests"]
