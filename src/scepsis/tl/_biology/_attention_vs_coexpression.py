from __future__ import annotations

from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal, get_args

import pandas as pd

from scepsis._core._progress import progress_bar
from scepsis._core._references import read_references
from scepsis._core._registry import Evidence, Row, updated_tests
from scepsis._core._resolve import resolve
from scepsis._core._rng import child, resolve_seed
from scepsis._core._store import record, write
from scepsis._core._validate import require_choice, require_key, require_positive
from scepsis.tl._biology._coexpression import DETECTION, against, bins, compare, detected

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from scepsis._core._types import Data, EdgesLike, Seed
    from scepsis.tl._biology._coexpression import Against

Pairs = Literal["unordered", "all_pairs"]


def attention_vs_coexpression(
    adata: Data,
    references: Mapping[str, pd.DataFrame | Mapping[str, Iterable[str]]] | None = None,
    *,
    edges: EdgesLike = "attention",
    versus: str = "spearman",
    universe: Pairs = "unordered",
    n_null: int = 1_000,
    min_units: int = 6,
    gene_symbols: str | None = None,
    allow_different_cells: bool = False,
    show_progress_bar: bool = True,
    key_added: str = "attention_vs_coexpression",
    mod: str | None = None,
    rng: Seed = 0,
    copy: bool = False,
) -> Data | None:
    r"""
    Ask how far edges follow co-expression, expression, and references of regulation :cite:p:`kendiukhov2026`.

    Over all pairs of genes, edges are correlated with co-expression, with the mean expression of both genes, and with
    being listed by a reference (analysis A29). Millions of pairs of a few hundred genes are not millions of
    observations, so that p-values come from permuting the names of genes (Mantel). A model with random weights, if its
    edges are among `edges`, tells how much of it needs no training.

    Parameters
    ----------
    adata
        Cells x genes, with edges in ``varp`` and gene features in ``var`` (`scepsis.pp.gene_features`).
    references
        Name -> reference, frames with the columns ``source`` and ``target`` or gene sets, as
        `scepsis.tl.characterize_layers` takes them; None for none.
    edges
        What is asked about: keys of ``varp``, a table with columns ``source``, ``target``, ``weight``, or a dict from
        names to keys or tables.
    versus
        Key of the co-expression.
    universe
        ``unordered`` pairs, scored by the mean of both directions, or ``all_pairs`` of two different genes.
    n_null
        Permutations of gene names.
    min_units
        Genes below which there are numbers but no p-values.
    gene_symbols
        Column of ``var`` that `references` are written in; None means ``var_names``.
    allow_different_cells
        Compare edges and features that are recorded to be from different cells.
    show_progress_bar
        Show how many comparisons have been permuted.
    key_added
        Name of the result.
    mod
        Modality, for MuData.
    rng
        Seed of the permutations and of the planted signals.
    copy
        Return a changed copy instead of writing into `adata`.

    Returns
    -------
    None, or the copy. Sets ``uns[key_added]``, a dict of frames and parameters, and rows of ``uns["tests"]``
    (analysis A29) for every set of edges: ``<versus>`` (the primary one), ``mean_product``, and one for each
    reference, named after it.

    ``["summary"]``
        One row for each set of edges and ``against`` (``<versus>`` by absolute value, ``<versus>_signed``,
        ``mean_product``, ``mean_sum``, and references): ``rho`` (Spearman over pairs); ``r2`` (of linear regression);
        ``null_sd, z, p_value`` of `rho` under permuted genes, two-sided; ``auroc`` and ``rho_max`` of references
        (the largest `rho` that so few listed pairs allow); ``n, n_pos, n_units, status``.
    ``["bins"]``
        One row for each set of edges and twentieth of the pairs by co-expression: ``bin``, ``coexpression`` (median),
        ``low, median, high`` (quartiles of the rank of the edge among all pairs, from 0 to 1), ``n``.
    ``["detection"]``
        What each registered comparison says when ``delta`` standard deviations are added to the edges of a random half
        of the listed pairs (of what lists none: of the twentieth of the pairs that is highest in it): ``edges,
        against, delta``, ``statistic`` (Spearman), ``ci_low, ci_high`` (less and more what is just not significant at
        5 % under permuted genes), and ``detected``: it is above 0.
    ``["params"]``
        All parameters, and hashes.

    Raises
    ------
    KeyError
        Edges, gene features, a column of a reference, or `gene_symbols` do not exist.
    ValueError
        A reference is of another namespace; edges and features are from different cells; `edges` are nothing but
        `versus`; a parameter is out of range.
    TypeError
        `edges` or `references` are of a wrong type.

    Warns
    -----
    UserWarning
        Edges have no record of their cells; a table looks truncated.

    Notes
    -----
    Being listed is 0 or 1, and hardly any pair is: with a share p of listed pairs, all of them on top,
    :math:`\rho = \sqrt{3 p (1 - p) / (1 - 1/n^2)}`, so that a small `rho` says little of how well pairs are ranked,
    which is what ``auroc`` tells. Pairs that some set lacks stand at the mean under permutation.

    **Statuses.** ``constant_score``; ``too_few_units``: fewer than `min_units` genes; ``no_positives``,
    ``no_negatives``.

    About 3 ns for each pair and permutation: 2,000 genes and 1,000 permutations take about 8 s for each comparison,
    ranks included.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata, model = sps.datasets.demo(), sps.models.load("demo")
    >>> sps.pp.select_cells(adata, n_cells=200)
    >>> sps.pp.gene_features(adata)
    >>> sps.tl.attention_edges(adata, model, show_progress_bar=False)
    >>> sps.tl.correlation_edges(adata)
    >>> sps.tl.attention_vs_coexpression(adata, n_null=20, show_progress_bar=False)
    >>> adata.uns["attention_vs_coexpression"]["summary"]["against"].tolist()
    ['spearman', 'spearman_signed', 'mean_product', 'mean_sum']
    """
    start = perf_counter()
    data = adata.copy() if copy else adata
    target = resolve(data, mod)
    require_choice(universe, get_args(Pairs), argument="universe")
    require_key(key_added, argument="key_added")
    require_positive(n_null, argument="n_null", minimum=2)
    require_positive(min_units, argument="min_units", minimum=2)
    seed = resolve_seed(rng)
    found = read_references(
        target, references, edges, versus=versus, universe="all_pairs", ordered=universe == "all_pairs",
        gene_symbols=gene_symbols, allow_different_cells=allow_different_cells, allow_none=True,
    )  # fmt: skip
    others = against(found, versus, dyadic=universe == "unordered")
    asked = [one for one in found.sets if one.name != versus]
    if not asked:
        msg = f"`edges` are nothing but {versus!r}, which edges are compared with. Name others."
        raise ValueError(msg)
    compared: list[Against] = []
    seen: list[dict[str, Any]] = []
    with progress_bar(total=len(asked) * len(others), desc="comparisons", unit="pair", show=show_progress_bar) as bar:
        for one in asked:
            for other in others:
                generator = child(seed, "attention_vs_coexpression", one.name, other.name)
                compared.append(compare(found, one, other, int(n_null), int(min_units), generator))
                if other.name not in _unregistered(versus):
                    planting = partial(child, seed, "attention_vs_coexpression", "planted", one.name, other.name)
                    seen += detected(found, one, other, compared[-1], planting)
                bar.update(1)
    summary = pd.DataFrame([one.row() for one in compared])
    params = record(
        versus=versus, universe=universe, n_null=int(n_null), min_units=int(min_units),
        references=[one.name for one in found.references], gene_symbols=gene_symbols,
        allow_different_cells=allow_different_cells, same_cells=found.same_cells, seed=seed,
        edges=[one.name for one in asked], edges_slot=[one.slot for one in asked],
        edges_cells_hash=[one.cells_hash for one in asked],
    )  # fmt: skip
    result = {
        "params": params,
        "summary": summary,
        "bins": bins(found, asked, others[0]),
        "detection": pd.DataFrame(seen, columns=DETECTION),
    }
    evidence = Evidence(
        key=key_added, params=params, edges=found.records, seed=seed, wall_s=perf_counter() - start,
        reference=";".join([versus, *(one.name for one in found.references)]),
    )  # fmt: skip
    write(target, uns={key_added: result} | updated_tests(target, _rows(summary, versus), evidence))
    return data if copy else None


def _unregistered(versus: str) -> set[str]:
    """What is in the summary, and no test of its own."""
    return {f"{versus}_signed", "mean_sum"}


def _rows(summary: pd.DataFrame, versus: str) -> list[Row]:
    left_out = _unregistered(versus)
    return [
        Row(
            analysis="A29",
            name=row["against"],
            edges=row["edges"],
            hypothesis=f"Edges go with {row['against'].replace('_', ' ')} over pairs of genes",
            test_type="Spearman with gene-label permutation (Mantel)",
            role="confirmatory",
            statistic=row["z"],
            p_raw=row["p_value"],
            effect_size=row["rho"],
            effect_type="Spearman",
            unit="gene",
            n=row["n"],
            n_pos=row["n_pos"],
            n_units=row["n_units"],
            null_mean=row["null_mean"],
            null_sd=row["null_sd"],
            null_family="genes with permuted names",
            minimum_detectable=2.8 * row["null_sd"],
            is_primary=row["against"] == versus,
            status=row["status"],
        )
        for row in summary.to_dict("records")
        if row["against"] not in left_out
    ]
