"""``scepsis demo`` and ``scepsis audit``."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import traceback
import warnings
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, NoReturn, TextIO

from scepsis._version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd
    from anndata import AnnData

    from scepsis.models import AttentionModel

#: Characters of a note.
NOTE = 400
#: Logger that tells each step of an audit.
STEPS = "scepsis.tl._decision._conduct"
#: What a user can mend, as far as its type shows.
MISTAKES = (KeyError, ValueError, TypeError, OSError, MemoryError, ImportError)


class UsageError(ValueError):
    """Arguments that make no sense."""


class Parser(argparse.ArgumentParser):
    """A parser that raises where argparse would print its usage and leave."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


class NoteFormatter(logging.Formatter):
    """What is logged, as one line that is not too long."""

    def format(self, record: logging.LogRecord) -> str:
        return f"note: {shorten(record.getMessage(), NOTE, placeholder=' ...')}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0 when all went well, 2 for a mistake of the user, named in one line."""
    if arguments is None:  # a process of its own
        # Threads that wait for each other by spinning make short tensor operations crawl on a busy machine: numba
        # (in scanpy) gives torch's OpenMP a second thread even where OMP_NUM_THREADS is 1.
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        options = _parser().parse_args(given)
        with _notes():
            options.run(options)
    except BrokenPipeError:  # whoever read the output has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except MISTAKES as error:
        if "--traceback" in given:
            traceback.print_exc()
        print(f"scepsis: error: {_one_line(error)}", file=sys.stderr)
        return 2
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="scepsis", description="Audit the attention edges of a single-cell foundation model against a screen."
    )
    parser.add_argument("--version", action="version", version=f"scepsis {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=Parser)
    demo = commands.add_parser(
        "demo",
        help="run the whole path on the built-in screen and checkpoint",
        description="Run the whole path on the built-in screen and the checkpoint that ships with the package.",
    )
    demo.add_argument("--seed", type=_whole, default=0, metavar="N", help="seed of every draw (default: 0)")
    _add_common(demo, "scepsis-demo")
    demo.set_defaults(run=_demo)
    audit = commands.add_parser(
        "audit",
        help="audit a checkpoint, or tables of edges, on a screen",
        description="Audit a checkpoint, or tables of edges from anywhere, on a screen. Without --model no model is "
        "loaded and torch is not needed.",
    )
    _add_audit(audit)
    _add_common(audit, "scepsis-audit")
    audit.set_defaults(run=_audit)
    return parser


def _add_common(parser: Parser, folder: str) -> None:
    parser.add_argument("--out", default=folder, metavar="DIR", help=f"folder for the results (default: {folder})")
    parser.add_argument("--traceback", action="store_true", help="show where an error came from")


def _add_audit(parser: Parser) -> None:
    parser.add_argument("screen", metavar="SCREEN.h5ad", help="cells x genes with raw counts and labels")
    subject = parser.add_argument_group("what is audited")
    subject.add_argument("--model", metavar="DIR", help="folder of a checkpoint, or the name of one that is shipped")
    subject.add_argument("--token-dictionary", metavar="FILE", help="when it is not in the folder of the checkpoint")
    subject.add_argument("--gene-medians", metavar="FILE", help="likewise")
    subject.add_argument("--ensembl-mapping", metavar="FILE", help="old ids to the ids of the vocabulary")
    subject.add_argument("--layers", type=_numbers, metavar="0,1", help="layers to read (default: all)")
    subject.add_argument(
        "--edges", action="append", default=[], metavar="EDGES.csv", help="table source,target,weight; repeatable"
    )
    subject.add_argument(
        "--reference",
        action="append",
        default=[],
        metavar="NET.tsv",
        help="known network, with or without a header, scored beside; pairs that it does not list weigh 0; repeatable",
    )
    screen = parser.add_argument_group("the screen")
    screen.add_argument("--groupby", default="perturbation", metavar="COLUMN", help="obs: perturbed gene of each cell")
    screen.add_argument("--control", default="non-targeting", metavar="LABEL", help="label of the control cells")
    screen.add_argument(
        "--subset", metavar="CONDITION", help="cells to keep, such as 'gRNA_frac >= .8 and gRNA_umi >= 3'"
    )
    screen.add_argument("--layer", metavar="NAME", help="layer with log-normalised values (default: computed)")
    screen.add_argument("--totals", metavar="COLUMN", help="obs: whole-transcriptome total of each cell")
    screen.add_argument("--gene-ids", metavar="COLUMN", help="var: ids that the model reads")
    screen.add_argument("--gene-symbols", metavar="COLUMN", help="var: names that labels and networks are written in")
    choice = parser.add_argument_group("cells and genes that edges are made from")
    choice.add_argument("--n-cells", type=_whole, default=2000, metavar="N", help="control cells (default: 2000)")
    choice.add_argument("--n-top-genes", type=_whole, default=2000, metavar="N", help="genes by rank (default: 2000)")
    choice.add_argument("--force", metavar="GENES", help="genes to take in anyway: A,B,C, or 'perturbed'")
    cost = parser.add_argument_group("what it costs")
    cost.add_argument("--n-null", type=_whole, default=1000, metavar="N", help="rewired networks (default: 1000)")
    cost.add_argument(
        "--n-boot", type=_whole, default=10_000, metavar="N", help="bootstrap replicates (default: 10000)"
    )
    cost.add_argument(
        "--joint-mode", choices=["full", "diagonal"], default="full", help="joint splits to test (default: full)"
    )
    cost.add_argument("--skip", metavar="STEPS", help="steps to leave out: degree_null,explain_edges")
    cost.add_argument("--n-jobs", type=_whole, default=1, metavar="N", help="processes (default: 1)")
    choice.add_argument("--rng", type=_whole, default=0, metavar="N", help="seed of every draw (default: 0)")


def _whole(text: str) -> int:
    if not text.isdecimal():
        msg = f"{text!r} is not a whole number"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def _numbers(text: str) -> list[int]:
    return [_whole(part.strip()) for part in text.split(",")]


def _demo(options: argparse.Namespace) -> None:
    from scepsis import datasets, models, tl

    out = _folder(options.out)
    _say("the built-in screen and checkpoint")
    adata, model = datasets.demo(), models.load("demo")
    tl.audit(
        adata, model, reference=adata.uns["simulate_screen"]["network"], n_null=200, n_boot=1000,
        joint_mode="diagonal", skip=["explain_edges", "rank_heads", "ablate_heads"], rng=options.seed,
    )  # fmt: skip
    _deliver(adata, out)
    _say(
        "\nTo be quick, this rewired fewer networks, resampled less, tested a fifth of the pairs of joint splits, and "
        "left out `explain_edges` and the interventions on the model (`rank_heads`, `ablate_heads`), without which "
        "criterion (d) is open. All of it, in Python:\n\n"
        "  import scepsis as sps\n"
        "  adata, model = sps.datasets.demo(), sps.models.load('demo')\n"
        "  sps.tl.audit(adata, model, reference=adata.uns['simulate_screen']['network'])"
    )


def _audit(options: argparse.Namespace) -> None:
    from scepsis import tl
    from scepsis._report._inputs import keys_for, read_edges, read_reference, read_screen, subset_cells

    if options.model is None and not options.edges:
        msg = "give a checkpoint (--model DIR), a table of edges (--edges FILE), or both"
        raise UsageError(msg)
    if options.layer is not None and options.totals is not None:
        msg = "--layer names values that are log-normalised already, --totals normalises counts: give one of them"
        raise UsageError(msg)
    adata = read_screen(options.screen)
    if options.subset is not None:
        whole = adata.n_obs
        adata = subset_cells(adata, options.subset)
        _say(f"{adata.n_obs:,} of {whole:,} cells kept by {options.subset!r}")
    names = keys_for([*options.edges, *options.reference], taken=["attention", "spearman"])
    tables = {names[path]: read_edges(path) for path in options.edges}
    references = {names[path]: read_reference(path) for path in options.reference}
    model = _model(options)
    out = _folder(options.out)
    _prepare(adata, model, references, options)
    tl.audit(
        adata, model, edges=tables | {name: name for name in references}, reference=references or None,
        groupby=options.groupby, control=options.control, layers=options.layers, layer=options.layer,
        gene_symbols=options.gene_symbols, n_null=options.n_null, n_boot=options.n_boot, joint_mode=options.joint_mode,
        skip=options.skip.split(",") if options.skip else (), n_jobs=options.n_jobs, rng=options.rng,
    )  # fmt: skip
    _deliver(adata, out)


def _prepare(
    adata: AnnData, model: AttentionModel | None, references: dict[str, pd.DataFrame], options: argparse.Namespace
) -> None:
    """Cells, panel and values as the options say, and known networks as edges of their own."""
    from scepsis import pp
    from scepsis._core._edge_frames import better_named
    from scepsis._report._inputs import completed

    if options.totals is not None:
        pp.lognormalize(adata, totals=options.totals)
    if model is not None:
        pp.match_genes(adata, model, gene_ids=options.gene_ids)
    pp.select_cells(adata, groupby=options.groupby, control=options.control, n_cells=options.n_cells, rng=options.rng)
    force = options.force if options.force in {None, "perturbed"} else options.force.split(",")
    pp.select_panel(
        adata, model, n_top_genes=options.n_top_genes, force=force, gene_symbols=options.gene_symbols,
        layer=options.layer,
    )  # fmt: skip
    for name, frame in references.items():
        column = better_named(adata, frame, options.gene_symbols)
        pp.add_edges(adata, completed(adata, frame, column), key_added=name, fill_value=0, gene_symbols=column)


def _model(options: argparse.Namespace) -> AttentionModel | None:
    """Load the model asked for; none, and no torch, when none was asked for."""
    if options.model is None:
        return None
    from scepsis import models

    return models.load(
        options.model,
        token_dictionary=options.token_dictionary,
        gene_medians=options.gene_medians,
        ensembl_mapping=options.ensembl_mapping,
    )


def _folder(path: str) -> Path:
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        msg = f"--out {path!r} is a file"
        raise UsageError(msg)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _deliver(adata: AnnData, out: Path) -> None:
    """Print the table, write the report and the audited data, and say where they are."""
    from scepsis import report
    from scepsis._report._audited import read_audited
    from scepsis._report._terminal import summary_text

    page = report(adata, out / "report.html")
    data = out / "audited.h5ad"
    adata.write_h5ad(data)
    _say(f"\n{summary_text(read_audited(adata))}\n\nreport: {page}\ndata:   {data}")


def _say(text: str) -> None:
    print(text, flush=True)


@contextmanager
def _notes() -> Iterator[None]:
    """What the package warns of and logs, as lines of their own on the error stream."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(NoteFormatter())
    handler.setLevel(logging.WARNING)
    logger = logging.getLogger("scepsis")
    logger.addHandler(handler)
    steps, told = logging.getLogger(STEPS), logging.StreamHandler(sys.stdout)
    steps.setLevel(logging.INFO)
    steps.addHandler(told)
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = _note
        try:
            yield
        finally:
            logger.removeHandler(handler)
            steps.removeHandler(told)
            steps.setLevel(logging.NOTSET)


def _note(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning that is meant for the user; the place in the code is not."""
    if issubclass(category, UserWarning):
        print(f"note: {shorten(_one_line(message), NOTE, placeholder=' ...')}", file=sys.stderr)


def _one_line(error: object) -> str:
    """Text of an error; a KeyError shows its text without the quotes that it adds."""
    text = error.args[0] if isinstance(error, KeyError) and error.args else error
    return " ".join(str(text).split())


if __name__ == "__main__":
    sys.exit(main())
