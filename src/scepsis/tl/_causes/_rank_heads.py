from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scepsis._core._edge_slots import own_masks, provenance
from scepsis._core._groups import Groups
from scepsis._core._keys import HEAD_RANKING, EdgeKeys
from scepsis._core._match import tokens_for
from scepsis._core._model_runs import warn_of_few_genes
from scepsis._core._network import read_network
from scepsis._core._resolve import choose_cells, choose_genes, resolve
from scepsis._core._rng import child, resolve_seed
from scepsis._core._screen import read_screen
from scepsis._core._store import record, write
from scepsis._core._validate import require_choice, require_key, require_positive
from scepsis.tl._shared._head_scores import RANKINGS, Labels, rank
from scepsis.tl._shared._request import Maps
from scepsis.tl._shared._run import Run, owned_panel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

    from scepsis._core._types import Data, Mask, Seed
    from scepsis.edges._attention import Extraction
    from scepsis.models import AttentionModel


def rank_heads(  # noqa: PLR0913 - a network, a screen and a model have options of their own
    adata: Data,
    model: AttentionModel,
    *,
    reference: pd.DataFrame | None = None,
    by: Sequence[str] = RANKINGS,
    layers: int | Sequence[int] | None = None,
    effects: str = "perturbation",
    min_targets: int = 3,
    min_positives: int = 2,
    min_candidates: int = 10,
    mask_obs: Mask = None,
    mask_var: Mask = None,
    reference_name: str = "reference",
    gene_symbols: str | None = None,
    batch_size: int | None = None,
    memory_limit: int | None = None,
    show_progress_bar: bool = True,
    key_added: str = HEAD_RANKING,
    mod: str | None = None,
    rng: Seed = 0,
    copy: bool = False,
) -> Data | None:
    r"""
    Rank the heads of a model by how well each alone recovers regulation :cite:p:`kendiukhov2026`.

    One pass over the cells reads, for every head, attention from the genes that labels are known for (regulators of
    the reference, perturbed genes) to the panel, averaged over cells. No map of all genes is ever held.

    Parameters
    ----------
    adata
        Cells x genes with raw counts.
    model
        From :func:`scepsis.models.load`.
    reference
        Network ``source, target``, for the rankings ``reference`` and ``composite``.
    by
        Which rankings: ``reference``, pooled AUROC over all pairs of regulators and genes; ``perturbation``, mean over
        perturbations of the AUROC of responders; ``composite``, the product of both; ``entropy``, the most focused
        first.
    layers
        0-based layers whose heads are ranked; all when not given.
    effects
        Label set of the screen, for the rankings ``perturbation`` and ``composite``.
    min_targets
        Listed targets that make a gene a regulator.
    min_positives
        Responders below which a perturbation is not counted.
    min_candidates
        Candidates below which a perturbation is not counted.
    mask_obs
        Cells: a boolean array or ``obs`` column. ``obs["edge_cells"]`` when not given and present, else all.
    mask_var
        Panel genes, likewise with ``var["edge_panel"]``; required above 5,000 genes.
    reference_name
        Name of the reference, for the record.
    gene_symbols
        Column of ``var`` that the reference names genes by; ``var_names`` when not given.
    batch_size
        Cells per forward pass, as in `scepsis.tl.attention_edges`.
    memory_limit
        Bytes that the sums may take; a quarter of the machine's memory when not given.
    show_progress_bar
        Show a progress bar.
    key_added
        Name of the result.
    mod
        Modality, for MuData.
    rng
        Seed of the halves that the cross-fitted ranking is made on, and of families that draw genes.
    copy
        Return a changed copy instead of writing into `adata`.

    Returns
    -------
    None, or the copy. Sets ``uns[key_added]``:

    ``["heads"]``
        One row for each head: ``layer, head, reference_auroc, perturbation_auroc, composite``; ``entropy``,
        :math:`-\sum_j a_j \ln a_j` in nats, and ``concentration``, :math:`n \sum_j a_j^2` (1 when a head looks at all
        `n` tokens alike, `n` when at one), both the mean over cells and the rows read, over all tokens of a cell;
        ``rank_<ranking>`` (1 is first, 0 without a value); ``rank_<ranking>_half_0`` and ``_half_1``, by the labels
        of one half of the source genes alone.
    ``["cross_fit"]``
        For each ranking by labels and each number `k` of best heads (up to half of them): their mean value where they
        were chosen (``in_sample``) and, chosen on one half, on the other (``held_out``), beside the mean over all heads
        (``of_all``) and Spearman's ``rank_correlation`` of the two halves.
    ``["sources"]``
        ``gene, half, is_regulator, is_perturbed`` of the genes whose rows were read.
    ``["params"]``
        All parameters, hashes of cells, genes, reference and labels, the model and its fingerprint.

    Raises
    ------
    KeyError
        Effects, masks or columns of the reference do not exist.
    TypeError
        A ranking by the reference without one.
    ValueError
        A ranking or layer that does not exist, a reference of another namespace, a panel without genes of the
        vocabulary, or none that labels are known for.
    MemoryError
        The sums would not fit; nothing is computed.

    Notes
    -----
    The best of 324 heads is better than a head. What the ranking is worth elsewhere is ``held_out``: source genes are
    split in two halves, regulators and other perturbed genes alike, heads ranked on one and looked at on the other.
    Heads without a value (no regulator, no perturbation that counts) have NaN and rank 0.

    Cost: one forward pass up to the last layer plus, per cell and head, the weights of the source genes over all of the
    cell's tokens. Memory: ``8 * heads * sources * panel`` bytes.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata, model = sps.datasets.demo(), sps.models.load("demo")
    >>> sps.pp.select_cells(adata, n_cells=100)
    >>> network = adata.uns["simulate_screen"]["network"]
    >>> sps.tl.rank_heads(adata, model, reference=network, by=["reference", "entropy"], show_progress_bar=False)
    >>> len(adata.uns["head_ranking"]["heads"]) == model.n_layers * model.n_heads
    True
    """
    data = adata.copy() if copy else adata
    target = resolve(data, mod)
    rankings = _rankings(by, reference)
    require_key(key_added, argument="key_added")
    require_key(reference_name, argument="reference_name")
    for argument, value in (
        ("min_targets", min_targets), ("min_positives", min_positives), ("min_candidates", min_candidates),
        ("batch_size", 1 if batch_size is None else batch_size),
    ):  # fmt: skip
        require_positive(value, argument=argument)
    seed = resolve_seed(rng)
    heads = _heads(model, layers)
    cells, genes = choose_cells(target, mask_obs), choose_genes(target, mask_var)
    match = tokens_for(target, model)
    panel = owned_panel(match, genes)
    labels = _labels(
        target, panel, reference, rankings, effects, gene_symbols, min_targets, min_positives, min_candidates, seed
    )
    from scepsis.edges._heads import HeadPlan

    read = tuple(sorted({layer for layer, _ in heads}))
    plan = HeadPlan(len(panel), read, heads, sources=tuple(labels.sources.tolist()))
    run = HeadRun(target, model, cells, Groups.none(target.n_obs), match, panel, plan, seed, batch_size)
    run.require_fit(memory_limit)
    warn_of_few_genes(match, model)

    sums: Any = run.extract(show=show_progress_bar)
    ranked = rank(sums, labels, rankings)

    keys = EdgeKeys(key_added)
    params = record(
        by=rankings, effects=effects, min_targets=int(min_targets), min_positives=int(min_positives),
        min_candidates=int(min_candidates), reference_name=reference_name, gene_symbols=gene_symbols,
        n_perturbations=ranked.n_perturbations, n_regulators=len(labels.row_of_regulator),
        reference_hash="" if labels.network is None else labels.network.hash,
        labels_hash="" if labels.screen is None else str(labels.screen.params.get("labels_hash", "")),
        **run.record(sums),
        **provenance(target, cells, genes, cells_name=keys.cells, genes_name=keys.genes),
    )  # fmt: skip
    result = {
        "params": params,
        "heads": ranked.frame(),
        "cross_fit": ranked.cross_fit(),
        "sources": _sources(target, panel, labels),
    }
    write(target, uns={key_added: result}, **own_masks(keys, cells, genes))
    return data if copy else None


class HeadRun(Run):
    """A pass that reads every head."""

    what = "attention of heads"
    cheaper = "fewer `layers`"

    def reader(self) -> type[Extraction]:
        """What reads; imported late, for it needs torch."""
        from scepsis.edges._heads import HeadExtraction

        return HeadExtraction


def _rankings(by: Sequence[str], reference: pd.DataFrame | None) -> list[str]:
    asked = [by] if isinstance(by, str) else list(dict.fromkeys(by))
    for one in asked:
        require_choice(one, RANKINGS, argument="by")
    if not asked:
        msg = f"`by` is empty; it takes {', '.join(map(repr, RANKINGS))}."
        raise ValueError(msg)
    needing = [one for one in asked if one in {"reference", "composite"}]
    if needing and not isinstance(reference, pd.DataFrame):
        msg = (
            f"Ranking by {needing[0]!r} needs a network: pass `reference=` with the columns 'source' and 'target', or "
            "leave it out, `by=('perturbation', 'entropy')`."
        )
        raise TypeError(msg)
    return [one for one in RANKINGS if one in asked]


def _heads(model: AttentionModel, layers: int | Sequence[int] | None) -> tuple[tuple[int, int], ...]:
    return tuple((layer, head) for layer in Maps.of(model, layers, None).layers for head in range(model.n_heads))


def _labels(
    adata: AnnData,
    panel: np.ndarray[Any, Any],
    reference: pd.DataFrame | None,
    rankings: list[str],
    effects: str,
    gene_symbols: str | None,
    min_targets: int,
    min_positives: int,
    min_candidates: int,
    seed: int,
) -> Labels:
    """Network and screen, as far as they are ranked by; entropy alone takes what there is."""
    network = None
    if reference is not None:
        network = read_network(adata, reference, panel, min_targets=min_targets, gene_symbols=gene_symbols)
    screen = read_screen(adata, effects, panel) if {"perturbation", "composite"} & set(rankings) else None
    labels = Labels.of(
        panel, network, screen, min_positives=int(min_positives), min_candidates=int(min_candidates),
        rng=child(seed, "rank_heads", "halves"),
    )  # fmt: skip
    if not len(labels.sources):
        msg = (
            f"No gene of the panel is a regulator (at least {min_targets} listed targets in it) or was perturbed, so "
            "there are no rows to read. Put such genes into the panel: `scepsis.pp.select_panel(adata, model, "
            "force=[...])`; or pass a `reference` with regulators among them."
        )
        raise ValueError(msg)
    return labels


def _sources(adata: AnnData, panel: np.ndarray[Any, Any], labels: Labels) -> pd.DataFrame:
    n = len(labels.sources)
    return pd.DataFrame(
        {
            "gene": adata.var_names[panel[labels.sources]].to_numpy(dtype=object),
            "half": labels.half,
            "is_regulator": np.isin(np.arange(n), labels.row_of_regulator),
            "is_perturbed": np.isin(np.arange(n), labels.row_of_perturbation),
        }
    )
