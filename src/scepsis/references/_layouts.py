"""Published layouts of networks and gene sets, read into frames or sets."""

from __future__ import annotations

import csv
import gzip
import io
import logging
import zipfile
from itertools import chain
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import pandas as pd

from scepsis._core._edge_frames import SOURCE, TARGET, WEIGHT
from scepsis._core._network import DIRECTED, MODE, SIGN_DECISION, guessed_signs
from scepsis._core._validate import listing, require_between

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

logger = logging.getLogger(__name__)
Layout = Literal["trrust", "string", "gmt", "omnipath", "edges"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
CONFIDENCE, REFERENCES = "confidence", "references"
#: Names that columns of edge tables go by, in lower case.
_SOURCES = ("source", "tf", "regulator", "gene1", "source_genesymbol", "from")
_TARGETS = ("target", "gene", "target_gene", "gene2", "target_genesymbol", "to")
_WEIGHTS = ("weight", "mor", "importance", "score")
_TRRUST_MODES = ("Activation", "Repression", "Unknown")
_LINKS = ["protein1", "protein2", "combined_score"]
#: Spreadsheets put a mark before the first name, which is no part of it.
_ENCODING = "utf-8-sig"
#: Rows of a STRING file that are looked at together.
_CHUNK = 2_000_000
#: What STRING scores are thousandths of.
_THOUSAND = 1000


def layout_of(path: Path) -> Layout:
    """Tell a layout from the first line, or raise `ValueError`."""
    first = next(_lines(path), "").rstrip("\n")
    cells = first.split("\t")
    header = {cell.strip().strip('"').lower() for cell in first.replace("\t", ",").split(",")}
    if "combined_score" in first.split():
        return "string"
    if ".gmt" in path.name.lower():
        return "gmt"
    if {"source_genesymbol", "target_genesymbol"} <= header:
        return "omnipath"
    if header & set(_SOURCES) and header & set(_TARGETS):
        return "edges"
    if len(cells) == 4 and cells[2] in _TRRUST_MODES:
        return "trrust"
    msg = (
        f"The layout of {path} cannot be told from its first line, {first[:80]!r}. "
        f"Pass `layout=`, one of {listing(LAYOUTS)}."
    )
    raise ValueError(msg)


def read_trrust(path: Path) -> pd.DataFrame:
    """
    Read a TRRUST table: tab-separated TF, target, mode, PubMed ids, without a header.

    A pair has one row for each mode; they are merged, and known modes stand before ``unknown``.
    """
    frame = _table(path, "\t", header=None)
    if frame.shape[1] < 4 or not frame[2].isin(_TRRUST_MODES).any():
        msg = (
            f"{path} has {frame.shape[1]} columns, starting with {listing(frame.iloc[0])}; TRRUST has four, separated "
            f"by tabs and without a header: TF, target, mode ({', '.join(_TRRUST_MODES)}) and PubMed ids."
        )
        raise ValueError(msg)
    pairs = frame.groupby([0, 1], sort=False)
    mode = pairs[2].agg(lambda found: ";".join(sorted({one.lower() for one in found} - {"unknown"})) or "unknown")
    merged = pd.DataFrame({MODE: mode, REFERENCES: pairs[3].agg(";".join)}).reset_index(names=[SOURCE, TARGET])
    merged.insert(2, WEIGHT, np.where(merged[MODE] == "repression", -1.0, 1.0))
    return merged


def read_edges(path: Path) -> pd.DataFrame:
    """Read a table with a header: comma- or tab-separated, under any of the usual names of columns."""
    frame = _table(path, None)
    names = {str(name).lower(): name for name in frame.columns}
    chosen = {}
    for role, known in ((SOURCE, _SOURCES), (TARGET, _TARGETS), (WEIGHT, _WEIGHTS)):
        found = [names[name] for name in known if name in names]
        if found:
            chosen[found[0]] = role
    if not {SOURCE, TARGET} <= set(chosen.values()):
        msg = (
            f"{path} has the columns {listing(frame.columns)}; a table of edges needs one of {listing(_SOURCES)} and "
            f"one of {listing(_TARGETS)} (CollecTRI and DoRothEA have both, and a weight)."
        )
        raise ValueError(msg)
    frame = frame.rename(columns=chosen)
    if WEIGHT in frame:
        frame[WEIGHT] = _numbers(frame[WEIGHT], path)
    else:
        frame[WEIGHT] = 1.0
    if DIRECTED in frame:
        frame[DIRECTED] = _truth(frame[DIRECTED])
    if MODE not in frame and SIGN_DECISION in frame:
        signs = np.where(frame[WEIGHT] < 0, "repression", "activation")
        frame[MODE] = np.where(guessed_signs(frame[SIGN_DECISION]), "unknown", signs)
    return frame


def read_omnipath(path: Path) -> pd.DataFrame:
    """Read interactions of OmniPath's web service with gene symbols (`genesymbols=1`), tab- or comma-separated."""
    frame = _table(path, None)
    needed = ("source_genesymbol", "target_genesymbol", "is_stimulation", "is_inhibition")
    missing = [name for name in needed if name not in frame]
    if missing:
        msg = (
            f"{path} lacks {listing(missing)}; its columns are {listing(frame.columns)}. Ask the web service of "
            "OmniPath with `genesymbols=1`."
        )
        raise ValueError(msg)
    up, down = (_truth(frame[name]) for name in needed[2:])
    both = up & down
    if "consensus_stimulation" in frame:
        more = _truth(frame["consensus_stimulation"])
        less = _truth(frame["consensus_inhibition"]) if "consensus_inhibition" in frame else ~more
        up, down = np.where(both, more & ~less, up), np.where(both, less & ~more, down)
        both = both & (more == less)
    mode = np.select([both, up, down], ["unknown", "activation", "repression"], default="unknown")
    result = pd.DataFrame(
        {
            SOURCE: frame["source_genesymbol"],
            TARGET: frame["target_genesymbol"],
            WEIGHT: np.where(mode == "repression", -1.0, 1.0),
            MODE: mode.astype(object),
        }
    )
    if "dorothea_level" in frame:
        result[CONFIDENCE] = frame["dorothea_level"].str.partition(";")[0]
    if "is_directed" in frame:
        result[DIRECTED] = _truth(frame["is_directed"])
    return result


def require_score(min_score: float) -> None:
    """Raise `ValueError` for what is no score of STRING in thousandths."""
    if 0 < min_score < 1:
        msg = f"`min_score` is in thousandths: `min_score={_THOUSAND * min_score:.0f}`, not {min_score!r}."
        raise ValueError(msg)
    require_between(min_score, -1, _THOUSAND + 1, argument="min_score")


def require_some(frame: pd.DataFrame, min_score: float, what: str) -> None:
    """Raise `ValueError` where no pair has a score."""
    if frame.empty:
        msg = f"{what} has no pair of genes with a combined score of at least {min_score:g} thousandths."
        raise ValueError(msg)


def read_string(path: Path, gene: pd.Series[str] | None, min_score: float) -> pd.DataFrame:
    """
    Links of STRING with at least a score, by gene where `gene` tells those of proteins.

    STRING lists a pair in both directions, and several proteins can be one gene; here it is listed once, with the
    highest score.
    """
    with pd.read_csv(path, sep=" ", chunksize=_CHUNK, engine="c") as parts:
        kept = [_at_least(part, min_score, path) for part in parts]
    frame = pd.concat(kept, ignore_index=True)
    frame.columns = pd.Index([SOURCE, TARGET, "score"])
    proteins = pd.unique(pd.concat([frame[SOURCE], frame[TARGET]]))
    is_protein = pd.Series(proteins, dtype=object).astype(str).str.contains(r"ENS[A-Z]*P\d+", regex=True)
    if gene is None:
        if is_protein.any():
            msg = (
                f"{path} names proteins (such as {listing(proteins[:2])}), not genes. Pass `names=`, the file "
                "'<taxon>.protein.info.<version>.txt.gz' of the same version of STRING."
            )
            raise ValueError(msg)
    else:
        known = np.isin(proteins, gene.index)
        if len(known) and not known.any():
            msg = (
                f"None of the proteins of {path} (such as {listing(proteins[:2])}) has a name (known are names of "
                f"{listing(gene.index[:2])} and others). Take both files of one species and version."
            )
            raise ValueError(msg)
        if not known.all():
            logger.info("%s: %d of %d proteins have no name", path, (~known).sum(), len(proteins))
        for side in (SOURCE, TARGET):
            frame[side] = frame[side].map(gene)
        frame = frame.dropna()
    frame[WEIGHT] = frame["score"] / _THOUSAND
    return frame[[SOURCE, TARGET, WEIGHT]].sort_values(WEIGHT, ascending=False, kind="stable")


def _at_least(part: pd.DataFrame, min_score: float, path: Path) -> pd.DataFrame:
    missing = [name for name in _LINKS if name not in part]
    if missing:
        msg = (
            f"{path} lacks {listing(missing)}; its columns are {listing(part.columns)}. A file of links has "
            f"{listing(_LINKS)}, separated by blanks."
        )
        raise ValueError(msg)
    kept: pd.DataFrame = part.loc[part["combined_score"] >= min_score, _LINKS]
    return kept


def read_proteins(path: Path) -> pd.Series[str]:
    """Gene of every protein, from STRING's table of proteins."""
    frame = _table(path, "\t")
    columns = [str(name).lstrip("#") for name in frame.columns]
    if len(columns) < 2 or columns[0] != "string_protein_id":
        msg = (
            f"{path} has the columns {listing(columns)}; STRING's table of proteins starts with 'string_protein_id' "
            "and 'preferred_name'."
        )
        raise ValueError(msg)
    return pd.Series(frame.iloc[:, 1].to_numpy(), index=pd.Index(frame.iloc[:, 0]))


def read_gmt(path: Path) -> dict[str, list[str]]:
    """
    Gene sets: tab-separated name, description, genes.

    A weight after a comma, as Enrichr writes it, is left out. A set that is listed twice counts once when both have the
    same genes; otherwise `ValueError`, because one of them is another set.
    """
    sets: dict[str, list[str]] = {}
    where: dict[str, int] = {}
    conflicts, repeated = [], 0
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        cells = line.rstrip("\r\n").split("\t")
        if len(cells) < 3:
            msg = (
                f"Line {number} of {path} has {len(cells)} column(s), {cells[0][:60]!r}; in GMT every line is a name, "
                "a description (which may be empty) and genes, separated by tabs."
            )
            raise ValueError(msg)
        name, genes = cells[0], list(dict.fromkeys(g for cell in cells[2:] if (g := cell.partition(",")[0].strip())))
        if name not in sets:
            sets[name], where[name] = genes, number
        elif set(sets[name]) == set(genes):
            repeated += 1
        else:
            conflicts.append(f"{name} (lines {where[name]} and {number})")
    if conflicts:
        msg = (
            f"{path} lists {len(conflicts)} set(s) more than once, with different genes: {listing(conflicts)}. Rename "
            "or delete one of each; they cannot both be the set of that name."
        )
        raise ValueError(msg)
    if not sets:
        msg = f"{path} lists no set."
        raise ValueError(msg)
    if repeated:
        logger.warning("%s: %d sets are listed twice with the same genes, and count once", path, repeated)
    return sets


def _lines(path: Path) -> Iterator[str]:
    """Lines of a text file, plain, gzipped or the only file of a zip archive."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            inside = [name for name in archive.namelist() if not name.endswith("/")]
            if len(inside) != 1:
                msg = f"{path} holds {len(inside)} files ({listing(inside)}); unpack the one that is meant."
                raise ValueError(msg)
            with archive.open(inside[0]) as binary:
                yield from io.TextIOWrapper(binary, encoding=_ENCODING)
        return
    if path.suffix == ".gz":
        with gzip.open(path, "rt", encoding=_ENCODING) as file:
            yield from file
        return
    with path.open(encoding=_ENCODING) as file:
        yield from file


def _table(path: Path, separator: str | None, header: int | None = 0) -> pd.DataFrame:
    """
    Read all columns as strings; what is missing is "".

    Without a separator, commas or tabs are told from the first line, and cells may be quoted.
    """
    lines = _lines(path)
    first = next(lines, "")
    if not first.strip():
        msg = f"{path} is empty."
        raise ValueError(msg)
    # STRING's annotations hold stray quotes
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if separator is None else csv.QUOTE_NONE
    if separator is None:
        separator = "\t" if "\t" in first else ","
    text = io.StringIO("".join(chain([first], lines)))
    frame = pd.read_csv(
        text, sep=separator, header=header, dtype=str, keep_default_na=False, quoting=quoting
    )  # fmt: skip
    # a first column without a name is the row number that some tools write
    return frame.drop(columns=[name for name in frame.columns if str(name).startswith("Unnamed")])


def _numbers(column: pd.Series[str], path: Path) -> pd.Series[float]:
    numbers = pd.to_numeric(column, errors="coerce")
    if numbers.isna().any():
        wrong = column[numbers.isna()].iloc[0]
        msg = f"{path} has a weight that is no number: {wrong!r}."
        raise ValueError(msg)
    return numbers


def _truth(column: pd.Series[str]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return column.str.strip().str.lower().isin(["1", "true", "1.0", "t"]).to_numpy(dtype=bool)
