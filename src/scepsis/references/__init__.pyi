from ._catalogue import catalogue
from ._collectri import collectri
from ._convert_ids import convert_ids
from ._coverage import coverage
from ._dorothea import dorothea
from ._from_file import from_file
from ._go_bp import go_bp
from ._kegg import kegg
from ._reactome import reactome
from ._set_pairs import set_pairs
from ._string import string
from ._trrust import trrust

__all__ = [
    "catalogue",
    "collectri",
    "convert_ids",
    "coverage",
    "dorothea",
    "from_file",
    "go_bp",
    "kegg",
    "reactome",
    "set_pairs",
    "string",
    "trrust",
]
