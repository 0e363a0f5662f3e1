"""What the command line is given: a screen, tables of edges, a condition on cells."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scepsis._core._keys import EDGE_PANEL, slugs
from scepsis._core._network import KNOWN_MODES
from scepsis._core._validate import listing, require_column

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd
    from anndata import AnnData

#: Names that columns of networks go by.
ALIASES = {
    "source": ("source", "tf", "regulator", "gene1"),
    "target": ("target", "gene2"),
    "weight": ("weight", "importance", "score"),
}
#: What a condition may be made of. No calls, no attributes: it is a filter, not a program.
ALLOWED = (
    ast.Expression,
    ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.Invert, ast.UAdd, ast.USub,
    ast.BinOp, ast.BitAnd, ast.BitOr, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Mod,
    ast.Compare, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn,
    ast.Name, ast.Load, ast.Constant, ast.List, ast.Tuple,
)  # fmt: skip


def read_screen(path: str) -> AnnData:
    """Read an ``.h5ad`` file."""
    import anndata as ad

    file = Path(path)
    if not file.is_file():
        msg = f"there is no file {path!r}"
        raise FileNotFoundError(msg)
    try:
        return ad.read_h5ad(file)
    except OSError as error:
        msg = f"{path!r} cannot be read as an .h5ad file ({error})"
        raise ValueError(msg) from error


def subset_cells(adata: AnnData, condition: str) -> AnnData:
    """
    Keep the cells for which a condition on columns of ``obs`` holds, as `pandas.DataFrame.query` reads it.

    Only columns, constants, comparisons, arithmetic and ``and``, ``or``, ``not``, ``in`` are let through; a column
    whose name is no identifier stands in backticks.
    """
    columns = _columns_of(condition)
    for column in columns:
        require_column(adata.obs, column, slot="obs", remedy="Name columns of `adata.obs` in the condition.")
    try:
        kept = (
            adata.obs[columns].reset_index(drop=True).query(condition, engine="python", local_dict={}, global_dict={})
        )
    except Exception as error:
        msg = f"the condition {condition!r} cannot be evaluated on the cells ({_one_line(error)})"
        raise ValueError(msg) from error
    if kept.empty:
        msg = f"no cell fulfils {condition!r}"
        raise ValueError(msg)
    return adata[kept.index.to_numpy()].copy()


def _columns_of(condition: str) -> list[str]:
    """Columns that a condition names, in order; raise `ValueError` when it holds anything but a condition."""
    quoted: dict[str, str] = {}

    def stand_in(found: re.Match[str]) -> str:
        quoted[f"quoted_column_{len(quoted)}"] = found[1]
        return f"quoted_column_{len(quoted) - 1}"

    plain = re.sub(r"`([^`\n]+)`", stand_in, condition)
    if "@" in plain:
        msg = f"'@' is not allowed in the condition {condition!r}: it may speak of columns of `adata.obs` only"
        raise ValueError(msg)
    try:
        tree = ast.parse(plain.strip(), mode="eval")
    except SyntaxError as error:
        msg = f"the condition {condition!r} cannot be read ({error.msg}); write for example 'gRNA_umi >= 3'"
        raise ValueError(msg) from error
    for node in ast.walk(tree):
        if not isinstance(node, ALLOWED):
            msg = f"{type(node).__name__.lower()} is not allowed in the condition {condition!r}: columns, constants, "
            msg += "comparisons, arithmetic, 'and', 'or', 'not' and 'in' are"
            raise ValueError(msg)
    names = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]
    if hidden := [name for name in names if name.startswith("__")]:
        msg = f"{hidden[0]!r} is not allowed in the condition {condition!r}"
        raise ValueError(msg)
    if not names:
        msg = f"the condition {condition!r} names no column"
        raise ValueError(msg)
    return list(dict.fromkeys(quoted.get(name, name) for name in names))


def read_edges(path: str) -> pd.DataFrame:
    """Table of edges with a header that names ``source``, ``target`` and, unless all weigh 1, ``weight``."""
    frame = _named(_read_table(path, header=True))
    missing = [name for name in ("source", "target") if name not in frame]
    if missing:
        msg = f"{path!r} lacks the columns {listing(missing)}; it has: {listing(frame.columns)}"
        raise ValueError(msg)
    return _numeric(frame, path)


def read_reference(path: str) -> pd.DataFrame:
    """
    Network of known edges, each pair once: a header that names its columns, or none, and then source and target first.

    A third column is the weight when it holds numbers, and the mode of action when it holds any that is known; a list
    of references is neither. Pairs listed several times (once per reference) count once, by their strongest weight, or
    by a known mode.
    """
    frame = _named(_read_table(path, header=True))
    if "source" not in frame or "target" not in frame:
        frame = _read_table(path, header=False)
        if frame.shape[1] < 2:
            msg = f"{path!r} has one column; a network needs a source and a target"
            raise ValueError(msg)
        frame = frame.set_axis(
            ["source", "target", *(f"column {number}" for number in range(3, frame.shape[1] + 1))], axis=1
        )
        if "column 3" in frame:
            third = frame["column 3"]
            kind = "weight" if third.dtype.kind in "iuf" else "mode" if _known(third).any() else "column 3"
            frame = frame.rename(columns={"column 3": kind})
    modes = frame["mode"].astype(str) if "mode" in frame else None
    frame = _numeric(frame.dropna(subset=["source", "target"]), path)
    frame = frame if modes is None else frame.assign(mode=modes)
    strength = frame["weight"].abs() if "weight" in frame else _known(frame["mode"]) if "mode" in frame else None
    if strength is None:
        return frame.drop_duplicates(["source", "target"])
    order = strength.sort_values(ascending=False, kind="stable").index
    return frame.loc[order].drop_duplicates(["source", "target"]).sort_index()


def _known(modes: pd.Series[str]) -> pd.Series[bool]:
    return modes.astype(str).str.lower().isin(KNOWN_MODES)


def completed(adata: AnnData, frame: pd.DataFrame, gene_symbols: str | None) -> pd.DataFrame:
    """
    Make a source of every gene of the panel, by one pair of weight 0 each.

    A network has no edge from a source that it does not list, which is a score of its own (the same for all targets).
    Left out, such sources would count as never evaluated, and nothing else could be scored on them either.
    """
    import pandas as pd

    genes = adata.var_names if gene_symbols is None else adata.var[gene_symbols]
    panel = [str(gene) for gene in genes[adata.var[EDGE_PANEL].to_numpy()]]
    missing = sorted(set(panel) - set(frame["source"]))
    added = pd.DataFrame({"source": missing, "target": [panel[gene == panel[0]] for gene in missing]})
    weighted = frame if "weight" in frame else frame.assign(weight=1.0)
    columns = ["source", "target", "weight"]
    return pd.concat([weighted[columns], added.assign(weight=0.0)], ignore_index=True)


def _read_table(path: str, *, header: bool) -> pd.DataFrame:
    import pandas as pd

    file = Path(path)
    if not file.is_file():
        msg = f"there is no file {path!r}"
        raise FileNotFoundError(msg)
    stem = [suffix for suffix in file.suffixes if suffix != ".gz"]
    separator = "\t" if stem and stem[-1] in {".tsv", ".txt", ".tab"} else ","
    # Genes may be called NA or nan.
    options: dict[str, Any] = {"sep": separator, "keep_default_na": False, "na_values": {"weight": [""]}}
    try:
        frame: pd.DataFrame = pd.read_csv(file, header=0 if header else None, **options)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        msg = f"{path!r} cannot be read as a table ({_one_line(error)})"
        raise ValueError(msg) from error
    return frame


def _named(frame: pd.DataFrame) -> pd.DataFrame:
    """Columns under the names that the package uses, whatever their case."""
    lower = {str(name).strip().lower(): name for name in reversed(list(frame.columns))}
    found = {lower[alias]: name for name, aliases in ALIASES.items() for alias in reversed(aliases) if alias in lower}
    return frame.rename(columns={column: name for column, name in found.items() if name not in frame})


def _numeric(frame: pd.DataFrame, path: str) -> pd.DataFrame:
    kept = frame[[name for name in ("source", "target", "weight") if name in frame]]
    if kept.empty:
        msg = f"{path!r} holds no edges"
        raise ValueError(msg)
    kept = kept.assign(source=kept["source"].astype(str), target=kept["target"].astype(str))
    if "weight" in kept and kept["weight"].dtype.kind not in "iuf":
        msg = f"the column 'weight' of {path!r} does not hold numbers (such as {kept['weight'].iloc[0]!r})"
        raise ValueError(msg)
    return kept


def keys_for(paths: Iterable[str], taken: Iterable[str]) -> dict[str, str]:
    """Slot name for each file, from its stem, none of those `taken`."""
    used, result = set(taken), {}
    for path in dict.fromkeys(paths):
        stem = Path(path).name.partition(".")[0]
        (base,) = slugs([stem]).values()
        name, number = base, 2
        while name in used:
            name, number = f"{base}_{number}", number + 1
        used.add(name)
        result[path] = name
    return result


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
