"""Which gene a guide is directed against, and which guides are directed against none."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

import pandas as pd

from scepsis._core._control_names import names_no_target
from scepsis._core._validate import listing, require_column

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from scepsis._core._guides import GuideCounts

logger = logging.getLogger(__name__)
CONTROL, GIVEN, GENE, PATTERN, AS_IT_IS = "control", "given", "gene", "pattern", "as it is"
#: What may stand before the name of a gene in that of a guide.
_PREFIX = re.compile(r"sg(?:RNA|rna)?[-_ .]*")
#: A gene that nobody perturbs, and a label that many use.
_NO_GENE = "CTRL"
#: What may follow the name of a gene in that of a guide.
_REST = re.compile(r"(?:[-_ .|:]|(?:sg(?:rna)?|g(?:rna)?|guide|i)?[-_ .]?\d)", re.IGNORECASE)
#: The number of a guide, where no gene helps.
_NUMBER = re.compile(r"(.+?)(?:[-_ .]*(?:sgrna|grna|guide|sg|g)[-_ .]*\d+|[_ .|:]+\d+)(?:[-_ .|:].*)?", re.IGNORECASE)


def targets_of(
    guides: GuideCounts,
    genes: Collection[str],
    *,
    targets: str | Mapping[str, str] | pd.Series[str] | None = None,
    pattern: str | None = None,
    control_guides: str | Sequence[str] | None = None,
) -> pd.DataFrame:
    """
    Say for every guide its ``target`` ("" for none) and by which ``rule``.

    In this order: a guide of `control_guides`; a target that is given; the first group of `pattern`; a name as
    non-targeting guides have it, unless a gene is called that; the longest gene that the name begins with (behind
    ``sg``, if need be); the name less the number at its end; the name as it is. The last two are guesses, and are
    logged, as are names that go on with another gene.
    """
    given = _given(guides, targets)
    expression = _expression(pattern)
    controls = {control_guides} if isinstance(control_guides, str) else set(control_guides or ())
    unknown = controls - set(guides.names) - set(given.values())
    if unknown:
        msg = f"`control_guides` names {listing(sorted(unknown))}, which `{guides.slot}` does not have."
        raise ValueError(msg)
    rows = []
    for name in guides.names:
        target, rule = _one(name, genes, given, expression, controls)
        rows.append({"guide": name, "target": target, "rule": rule})
    frame = pd.DataFrame(rows)
    for rule, what in ((PATTERN, "what their names have before a number"), (AS_IT_IS, "their names as they are")):
        guessed = frame.loc[frame["rule"] == rule, "target"].unique()
        if len(guessed):
            logger.warning(
                "the targets of %d guides are no genes of adata, and are taken to be %s: %s. Pass `targets=` if "
                "that is wrong.", (frame["rule"] == rule).sum(), what, listing(guessed),
            )  # fmt: skip
    _say_two_genes(frame.loc[frame["rule"] == GENE], genes)
    found = frame.loc[frame["rule"] == CONTROL, "guide"]
    logger.info("%d guides have no target: %s", len(found), listing(found))
    return frame


def _say_two_genes(frame: pd.DataFrame, genes: Collection[str]) -> None:
    """Log names of two genes: those of a pair, joined by something that was not said to join."""
    pairs = []
    for name, target in zip(frame["guide"], frame["target"], strict=True):
        rest = name.partition(target)[2]
        other = _gene_of(rest[1:], genes) if rest[:1] in {"-", "_", " ", ".", "|", ":"} else ""
        if other and other != target:
            pairs.append((name, rest[0]))
    if pairs:
        logger.warning(
            "%d names are of two genes each, and are taken to be about the first: %s. If these are pairs, pass "
            "`separator=%r` (for a column of `adata.obs`) or `targets=`.",
            len(pairs), listing([name for name, _ in pairs]), pairs[0][1],
        )  # fmt: skip


def _gene_of(name: str, genes: Collection[str]) -> str:
    """Longest gene that a name begins with, if the rest of it is that of a guide's; "" for none."""
    for end in range(len(name), 0, -1):
        if name[:end] in genes and (end == len(name) or _REST.match(name[end:])):
            return name[:end]
    return ""


def _given(guides: GuideCounts, targets: str | Mapping[str, str] | pd.Series[str] | None) -> dict[str, str]:
    """Targets by guide, from a dict or from a column of the table of guides."""
    if targets is None:
        return {}
    if isinstance(targets, str):
        if guides.table is None:
            msg = f"`targets={targets!r}` is a column of a table of guides, and `{guides.slot}` has none. Pass a dict."
            raise KeyError(msg)
        column = require_column(guides.table, targets, slot="var", remedy=f"It is looked for in `{guides.slot}`.")
        return {
            str(guide): "" if pd.isna(target) else str(target)
            for guide, target in zip(guides.table.index, column, strict=True)
        }
    given = {str(guide): "" if pd.isna(target) else str(target) for guide, target in targets.items()}
    if not set(given) & set(guides.names):
        msg = (
            f"`targets` names {listing(list(given)[:3])} and others, none of which is a guide of `{guides.slot}` "
            f"(such as {listing(guides.names[:3])})."
        )
        raise ValueError(msg)
    return given


def _expression(pattern: str | None) -> re.Pattern[str] | None:
    if pattern is None:
        return None
    try:
        expression = re.compile(pattern)
    except re.error as error:
        msg = f"`target_pattern` is no regular expression: {error}."
        raise ValueError(msg) from error
    if expression.groups < 1:
        msg = f"`target_pattern={pattern!r}` needs a group in parentheses, which is the target."
        raise ValueError(msg)
    return expression


def _one(
    name: str, genes: Collection[str], given: Mapping[str, str], expression: re.Pattern[str] | None, controls: set[str]
) -> tuple[str, str]:
    if name in controls:
        return "", CONTROL
    said, rule = given.get(name), GIVEN
    if said is None and expression is not None and (found := expression.match(name)):
        said, rule = found.group(1), PATTERN
    if said is not None:
        none = not said or said in controls or (said not in genes and names_no_target(said))
        return ("", CONTROL) if none else (said, GENE if said in genes and rule == PATTERN else rule)
    if (name not in genes or name == _NO_GENE) and names_no_target(name):
        return "", CONTROL
    prefix = _PREFIX.match(name)
    if gene := _gene_of(name, genes) or (_gene_of(name[prefix.end() :], genes) if prefix else ""):
        return gene, GENE
    if found := _NUMBER.fullmatch(name):
        return found.group(1), PATTERN
    return name, AS_IT_IS
