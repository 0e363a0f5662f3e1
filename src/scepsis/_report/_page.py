"""An audit on one page that holds everything it shows."""

from __future__ import annotations

import warnings
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from scepsis._core._numbers import enumerate_words
from scepsis._core._resolve import resolve
from scepsis._report._audited import read_audited
from scepsis._report._battery import battery
from scepsis._report._contexts import compared
from scepsis._report._figures import figures
from scepsis._report._findings import gated_words, has_earned
from scepsis._report._html import Markup, bullets, tag
from scepsis._report._reservations import absences, false_calls, labels, perturbations, reservations, responders
from scepsis._report._sentences import best, conclusion, headline, remaining, rules, within_deciles
from scepsis._report._states import states
from scepsis._report._tables import contrasts_table, records_table, setting, summary_table
from scepsis._version import __version__

if TYPE_CHECKING:
    from scepsis._core._types import Data
    from scepsis._report._audited import Audited


def report(
    adata: Data,
    path: str | Path,
    *,
    title: str | None = None,
    key: str = "perturbation_auroc",
    mod: str | None = None,
) -> Path:
    """
    Write an audit as one self-contained HTML page.

    The page says what was audited (model, hash of the checkpoint, parameters of the edges) and on what (cells, panel,
    perturbations, test of their effects and its false-call rates), shows the table, the comparisons and the figures,
    and says in sentences what they mean. Each sentence is computed from the numbers it quotes, by rules that the page
    states :cite:p:`kendiukhov2026`. What `scepsis.tl.audit` has asked beyond the scores has sections of its own, each
    where there is a result: the verdict with its evidence, incremental value, residual edges, the degree null, matched
    targets, tests with their corrections and reruns, and what could have been found; so have interventions on the model
    (what was done, whether it could be felt, took effect and mattered), effects in it and their mediation, under
    whatever name they were stored; and networks per cell state with their nulls, split halves and scans, curves over
    numbers of cells, other contexts (of a MuData that `scepsis.tl.cross_context` was called on), other models, and the
    choice of genes. Words for a mechanism have to be earned: they are kept out unless edges rank responders better than
    each of variance, mean and detection rate of the target gene, by criterion (a) of the verdict where there is one.

    Parameters
    ----------
    adata
        Data with ``adata.uns[key]``, as `scepsis.tl.perturbation_auroc` stores it. Where ``adata.uns["<key>_layers"]``
        holds a table of single layers, their profile is drawn too.
    path
        File to write; its folder must exist. A file that is there is replaced.
    title
        Title of the page; None names the edges.
    key
        Where the table is stored in ``adata.uns``.
    mod
        Modality, for MuData.

    Returns
    -------
    The path of the file. The page needs no other file and no network; `adata` is left as it is.

    Raises
    ------
    KeyError
        If the table does not exist.
    ValueError
        If no edges were scored in it.
    FileNotFoundError
        If the folder does not exist.

    Notes
    -----
    A title with a word that the numbers do not support is replaced, with a warning.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.pp.select_cells(adata)
    >>> sps.pp.gene_features(adata)
    >>> sps.tl.correlation_edges(adata)
    >>> sps.tl.perturbation_effects(adata)
    >>> sps.tl.perturbation_auroc(adata, edges="spearman")
    >>> sps.report(adata, "audit.html").name
    'audit.html'
    """
    data = resolve(adata, mod)
    audited = read_audited(data, key)
    file = Path(path)
    if not file.parent.is_dir():
        msg = f"The folder of `path`, {str(file.parent)!r}, does not exist; make it first."
        raise FileNotFoundError(msg)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*was made from other", category=UserWarning)  # the page says so
        drawn = figures(data, audited)
        asked = [*battery(data), *states(data), *compared(adata, data)]
    page = _page(audited, _title(title, audited), drawn, asked)
    file.write_text(page, encoding="utf-8")
    return file


def _title(title: str | None, audited: Audited) -> str:
    edges = audited.edges[0]
    plain = f"Audit of {edges}"
    if title is None:
        return plain
    words = gated_words(title)
    if words and not has_earned(audited.contrasts, edges, audited.judged):
        warnings.warn(
            f"`title` says {enumerate_words(words)}, and {edges} is not shown to rank responders better than each of "
            f"variance, mean and detection rate; the page is called {plain!r}.",
            UserWarning,
            stacklevel=3,
        )
        return plain
    return title


def _page(audited: Audited, title: str, drawn: list[Markup], asked: list[tuple[str, list[Markup]]]) -> str:
    style = Markup(files("scepsis._report").joinpath("page.css").read_text(encoding="utf-8"))
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("style", style),
    )
    body = tag("body", _header(audited, title), tag("main", *_sections(audited, drawn, asked)), _footer())
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


def _header(audited: Audited, title: str) -> Markup:
    models = {str(record["model"]): None for record in audited.records.values() if "model" in record}
    scored = enumerate_words(audited.edges)
    lead = f"Scored here: {scored}. " + (
        f"Models: {enumerate_words(list(models))}." if models else "No model was used."
    )
    return tag("header", tag("h1", title), tag("p", lead, class_="lead"))


def _sections(audited: Audited, drawn: list[Markup], asked: list[tuple[str, list[Markup]]]) -> list[Markup]:
    edges = audited.edges[0]
    contrasts, summary = audited.told, audited.summary
    return [
        _section(
            "In short",
            tag("p", conclusion(contrasts, edges), class_="claim"),
            bullets([*headline(contrasts, summary, edges), best(summary)]),
        ),
        *(_section(title, *parts) for title, parts in asked if title == "Verdict"),
        _section("Figures", *drawn),
        _section("Numbers", summary_table(summary), contrasts_table(contrasts)),
        _section("In words", *_in_words(audited)),
        *(_section(title, *parts) for title, parts in asked if title != "Verdict"),
        _section("What to keep in mind", bullets(_caveats(audited, [title for title, _ in asked]))),
        _section("What was audited", records_table(audited)),
        _section("On what", setting(audited), *_test(audited)),
    ]


def _in_words(audited: Audited) -> list[Markup]:
    """What the tables say of each set of edges, beyond what was said in short."""
    parts = []
    for position, edges in enumerate(audited.edges):
        told = [*remaining(audited.told, edges), within_deciles(audited.deciles, edges)]
        if position:
            told = [*headline(audited.told, audited.summary, edges), *told]
        parts += [tag("h3", edges), bullets(told)]
    return parts


def _section(title: str, *children: Markup) -> Markup:
    return tag("section", tag("h2", title), *children)


def _caveats(audited: Audited, asked: list[str]) -> list[str]:
    changed = [
        f"The {enumerate_words(what)} of the data have changed since {name} was made; make it anew."
        for name, what in audited.changed.items()
    ]
    return [
        *changed,
        *reservations(audited.units, audited.records),
        *absences(audited.summary, audited.params.get("missing_companions", [])),
        perturbations(audited.units, audited.summary, audited.edges[0]),
        responders(audited.units, audited.edges[0]),
        "A screen shows responses, direct and indirect; perturbations share responders, and so are not independent.",
        ""
        if "Incremental value" in asked
        else "A predictor that ranks no better may still add something to another; that is not asked here.",
    ]


def _test(audited: Audited) -> list[Markup]:
    if not audited.effects:
        return []
    params, table = audited.effects["params"], audited.effects["false_calls"]
    told = [labels(audited.effects["perturbations"], params), *false_calls(table, params)]
    return [bullets(told)]


def _footer() -> Markup:
    source = (
        "The analyses follow Kendiukhov (2026), arXiv:2602.17532. "
        f"Made by scepsis {__version__}; the data carry every parameter and seed."
    )
    return tag("footer", tag("p", rules()), tag("p", source))
