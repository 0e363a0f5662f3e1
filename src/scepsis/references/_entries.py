"""Files that references are made from: where they are, which version, under which licence."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from scepsis._core._validate import listing

if TYPE_CHECKING:
    from collections.abc import Mapping

_OMNIPATH = (
    "https://omnipathdb.org/interactions/?genesymbols=1&datasets=dorothea&dorothea_levels=A,B,C,D&"
    "fields=dorothea_level&license=academic"
)
_STRING = "https://stringdb-downloads.org/download/protein"
#: Enrichr's libraries as they are kept in a repository, at one commit: what this address serves cannot change.
_ENRICHR = (
    "https://raw.githubusercontent.com/zqfang/GSEApy/476d0aabb275ffd9b764b5035b085d8a2897fbee/tests/extdata/enrichr"
)
#: A version that only the day of the download tells.
LATEST = "as of the download"


@dataclass(frozen=True)
class Entry:
    """One file."""

    name: str
    species: str
    url: str
    filename: str
    layout: str
    version: str
    licence: str
    #: What a pair means.
    relation: str
    directed: bool
    #: SHA-256 of a copy that was at hand when this entry was written; "" where there was none.
    sha256: str = ""
    #: Whether the address always serves these bytes, so that any others are wrong; else others may be a newer version.
    fixed: bool = False


def _string(taxon: int, what: str, species: str) -> Entry:
    file = f"{taxon}.protein.{what}.v12.0.txt.gz"
    return Entry(
        f"string_{what}", species, f"{_STRING}.{what}.v12.0/{file}", file, "string", "12.0", "CC BY 4.0",
        "functional association of proteins", directed=False,
    )  # fmt: skip


_ALL = (
    Entry(
        "trrust", "human", "https://www.grnpedia.org/trrust/data/trrust_rawdata.human.tsv",
        "trrust_rawdata.human.tsv", "trrust", "2", "CC BY-SA 4.0", "regulation, from sentences in the literature",
        directed=True, sha256="9b909319ccc8e36588b5a1bd3640e0dfba03936c6fc154cc4304d742bec11bed",
    ),
    Entry(
        "trrust", "mouse", "https://www.grnpedia.org/trrust/data/trrust_rawdata.mouse.tsv",
        "trrust_rawdata.mouse.tsv", "trrust", "2", "CC BY-SA 4.0", "regulation, from sentences in the literature",
        directed=True,
    ),
    Entry(
        "dorothea", "human", _OMNIPATH, "dorothea_human.tsv", "omnipath", LATEST,
        "GPL-3.0; that of each source, for academic use", "regulation, with a level of confidence", directed=True,
    ),
    Entry(
        "dorothea", "mouse", f"{_OMNIPATH}&organisms=10090", "dorothea_mouse.tsv", "omnipath", LATEST,
        "GPL-3.0; that of each source, for academic use", "regulation, with a level of confidence, by orthology",
        directed=True,
    ),
    Entry(
        "collectri", "human", "https://zenodo.org/records/8192729/files/CollecTRI_regulons.csv",
        "CollecTRI_regulons.csv", "edges", "2.0", "CC BY 4.0", "regulation, signed, merged from twelve resources",
        directed=True,
    ),
    _string(9606, "links", "human"),
    _string(9606, "info", "human"),
    _string(10090, "links", "mouse"),
    _string(10090, "info", "mouse"),
    Entry(
        "reactome", "human", "https://reactome.org/download/current/ReactomePathways.gmt.zip",
        "ReactomePathways.gmt.zip", "gmt", LATEST, "CC0 1.0", "membership in a pathway", directed=False,
    ),
    Entry(
        "kegg", "human", f"{_ENRICHR}.KEGG_2016.gmt", "KEGG_2016.gmt", "gmt", "2016, by Enrichr",
        "KEGG: free for academic use only", "membership in a pathway", directed=False,
        sha256="f4344b643e92a53398a24852c41261f108825b3c819adf27ec5fa056773edd9d", fixed=True,
    ),
    Entry(
        "go_bp", "human", f"{_ENRICHR}.GO_Biological_Process_2021.gmt", "GO_Biological_Process_2021.gmt", "gmt",
        "2021, by Enrichr", "CC BY 4.0", "annotation with a biological process", directed=False,
        sha256="5987ce789053fdd5533393cd65b9abdb5e08e4fade7b0625a1fe234a1207eea4", fixed=True,
    ),
)  # fmt: skip
ENTRIES: Mapping[tuple[str, str], Entry] = MappingProxyType({(one.name, one.species): one for one in _ALL})


def entry_of(name: str, species: str) -> Entry:
    """Find the entry, or raise `ValueError` with the species that there are."""
    if (name, species) in ENTRIES:
        return ENTRIES[name, species]
    there = [other for one, other in ENTRIES if one == name]
    public = name.partition("_links")[0]
    msg = f"There is no {public} for `species={species!r}`, but for {listing(there)}."
    if there == ["human"] and species == "mouse":
        msg += f" Translate it: `scepsis.references.convert_ids(scepsis.references.{public}(), orthologs)`."
    raise ValueError(msg)
