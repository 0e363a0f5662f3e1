"""Rows of the registry that may be combined: one set of edges, on one set of cells, genes and labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scepsis._core._names import words, words_of_test
from scepsis._core._numbers import decimal, interval
from scepsis._core._registry import run_words
from scepsis._core._validate import listing

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

#: Beginning of the `reason` of a row whose comparison groups could not be made alike.
RESIDUAL_IMBALANCE = "residual imbalance"
#: `reason` of a row whose metric is at its ceiling without edges.
SATURATED = "saturated"
#: What a tool has to be called for, by analysis.
MAKERS = {
    "A01": "perturbation_auroc",
    "A04": "perturbation_auroc",
    "A05": "incremental_value",
    "A06": "incremental_value",
    "A08": "residualize_edges",
    "A09": "degree_null",
    "A10": "circularity",
    "A11": "matched_evaluation",
    "A12": "ablate_heads",
    "A13": "ablate_heads",
    "A14": "ablate_heads",
    "A15": "ablate_heads",
}
#: Analyses whose last run says which cells, genes, labels and network are meant; others vary them on purpose.
DECIDING = ("A01", "A04", "A05", "A06", "A08", "A09", "A12", "A13", "A14")
HASHES = ("cells_hash", "genes_hash", "labels_hash")
#: End of the name of the test of heads against random ones, and beginnings of those of other interventions.
AGAINST_RANDOM = "/vs_random"
ORTHOGONAL = ("uniform_top_", "mlp_")
#: What tells nothing of a model.
UNREACHED = ("structurally_null", "not_applicable", "not_run")
#: Cosine distance of hidden states above which an intervention took effect.
MIN_MOVED = 0.02
#: Conditions on other metrics than AUROC, whose detectable differences are on scales of their own.
OTHER_METRICS = ("AUPRC", "recall")


@dataclass(frozen=True)
class Piece:
    """A test that a conclusion rests on: its row, or why it cannot be used."""

    analysis: str
    name: str
    row: pd.Series[Any] | None
    #: Why it cannot be used; "" when it can.
    barred: str = ""

    @property
    def words(self) -> str:
        """Its name as a reader would say it."""
        return words_of_test(self.name)

    def __getitem__(self, column: str) -> Any:
        if self.row is None:
            return np.nan
        return self.row[column]

    @property
    def test_id(self) -> str:
        return "" if self.row is None else str(self.row["test_id"])


@dataclass(frozen=True)
class Rows:
    """The last row of every test of one set of edges, against one label set and at most one reference."""

    edges: str
    by_name: dict[tuple[str, str], pd.Series[Any]]
    #: Hashes that rows against labels, and those against the reference, have to have.
    screen: tuple[str, ...]
    network: tuple[str, ...]
    #: Why no row against a reference can be used; "" when they can.
    no_reference: str = ""

    def piece(self, analyses: str | Sequence[str], name: str) -> Piece:
        """Find a test by its name in any of some analyses, and say whether it can be used."""
        given = (analyses,) if isinstance(analyses, str) else tuple(analyses)
        for analysis in given:
            if (analysis, name) in self.by_name:
                row = self.by_name[analysis, name]
                return Piece(analysis, name, row, self._barred(row))
        first = given[0]
        if self.no_reference and first in {"A08", "A09", "A10", "R"}:
            return Piece(first, name, None, self.no_reference)
        call = f"scepsis.tl.{MAKERS[first]}(adata, edges={self.edges!r})" if first in MAKERS else ""
        return Piece(first, name, None, f"{first} {words_of_test(name)} was not run{f' (`{call}`)' if call else ''}")

    def named(self, analyses: Sequence[str], beginning: str) -> list[Piece]:
        """Every test of some analyses whose name begins so."""
        names = [key for key in self.by_name if key[0] in analyses and key[1].startswith(beginning)]
        return [self.piece(analysis, name) for analysis, name in names]

    @property
    def ablated(self) -> tuple[str, str] | None:
        """Condition whose heads were held against random ones in the last run, and the first readout there."""
        against = [
            (str(row["key"]), name)
            for (analysis, name), row in self.by_name.items()
            if analysis == "A12" and name.endswith(AGAINST_RANDOM) and row["status"] != "not_run"
        ]
        if not against:
            return None
        last = against[-1][0]
        first = next(name for key, name in against if key == last)
        condition, readout = first.removesuffix(AGAINST_RANDOM).split("/")
        return condition, readout

    def orthogonal(self, readout: str) -> list[Piece]:
        """Other interventions than heads taken out, as far as the readout can feel them."""
        names = [
            name
            for analysis, name in self.by_name
            if analysis == "A14" and name.endswith(f"/{readout}") and name.startswith(ORTHOGONAL)
        ]
        pieces = [self.piece("A14", name) for name in names]
        return [one for one in pieces if one["status"] not in UNREACHED]

    def _barred(self, row: pd.Series[Any]) -> str:
        what = f"{row['analysis']} {words_of_test(str(row['name']))}"
        if row["status"] != "ok":
            return f"{what}: {words(row['status'])}" + (f" ({row['reason']})" if row["reason"] else "")
        if row["role"] == "exploratory":
            return f"how the layers of {self.edges} were chosen is not on record"
        if row["role"] == "descriptive" and str(row["name"]).endswith(AGAINST_RANDOM):
            return f"{what}: its heads were chosen by the responders that they are judged by"
        if str(row["reason"]).startswith(RESIDUAL_IMBALANCE):
            return f"{what}: {row['reason']}"
        expected = self.network if row["reference"] else self.screen
        differing = [
            name.removesuffix("_hash")
            for name, found, wanted in zip(HASHES, row[list(HASHES)], expected, strict=True)
            if found != wanted
        ]
        if differing:
            return f"{what} was run on other {' and '.join(differing)} than the last test; run it anew"
        return ""


def rows_of(tests: pd.DataFrame, edges: str, effects: str, reference: str | None) -> Rows:
    """
    Rows of one set of edges that belong together.

    Of a test that was run under several names the last run counts. Cells and genes are those of the last run of an
    analysis that decides, labels and network likewise. Without a name the reference is the only one there is.
    """
    own = tests[tests["edges"] == edges]
    references = [str(name) for name in dict.fromkeys(own["reference"]) if name]
    why = ""
    if reference is None and len(references) > 1:
        why = f"there are tests against several references ({listing(references)}); name one by `reference_name`"
    elif reference is not None and reference not in references:
        why = f"there is no test against the reference {reference!r}"
    elif not references:
        why = "nothing was tested against a reference"
    chosen = reference if reference is not None else references[0] if len(references) == 1 else None
    own = own[(own["effects"] == effects) | (own["reference"] == chosen)]
    last = own.drop_duplicates(["analysis", "name", "effects", "reference"], keep="last")
    by_name = {(str(row["analysis"]), str(row["name"])): row for _, row in last.iterrows()}
    ran = own[(own["status"] != "not_run") & own["analysis"].isin(DECIDING)]
    return Rows(edges, by_name, _hashes(ran, ran["reference"] == ""), _hashes(ran, ran["reference"] != ""), why)


def _hashes(ran: pd.DataFrame, which: pd.Series[bool]) -> tuple[str, ...]:
    """Cells and genes of the last test of all, labels of the last of some."""
    if not which.any():
        return ("", "", "")
    last = ran.iloc[-1]
    return str(last["cells_hash"]), str(last["genes_hash"]), str(ran[which].iloc[-1]["labels_hash"])


def reliability(evidence: pd.DataFrame) -> str:
    """How often the tests were run, and what they would have found."""
    ran = evidence[evidence["test_id"] != ""]
    if ran.empty:
        return ""
    often = run_words(ran[["n_runs", "n_distinct_params"]].max())
    of_auroc = ~ran["condition"].str.startswith(OTHER_METRICS)
    found = ran.loc[of_auroc, "minimum_detectable"].to_numpy(dtype=float)
    found = found[np.isfinite(found)]
    if not len(found):
        return often
    low, high = found.min(), found.max()
    smallest = decimal(low) if decimal(low) == decimal(high) else interval(low, high)
    return f"{often}; detectable: {smallest}"
