from __future__ import annotations

import time
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from scepsis._core._keys import HEAD_ABLATION, HEAD_RANKING
from scepsis._core._registry import Evidence, updated_tests
from scepsis._core._resolve import resolve
from scepsis._core._rng import resolve_seed
from scepsis._core._store import record, write
from scepsis.tl._causes import _ablation_inputs as inputs
from scepsis.tl._causes import _ablation_tables as tables
from scepsis.tl._causes import _held_out as held_out
from scepsis.tl._causes._ablation_rows import registry_rows
from scepsis.tl._causes._measure import Options, measure
from scepsis.tl._shared._ablation_run import Cells, controls, enough_cells, order_of
from scepsis.tl._shared._conditions import resolve_conditions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scepsis._core._types import Data, Seed
    from scepsis.models import AttentionModel, Intervention

READOUTS = ("last", "frozen")


def ablate_heads(  # noqa: PLR0913 - what is done, what is read, and against what it is held
    adata: Data,
    model: AttentionModel,
    *,
    conditions: str | Sequence[str] | Mapping[str, str | Intervention] = "paper",
    readouts: str | Sequence[str | int] = READOUTS,
    layer: int | None = None,
    primary: str | None = None,
    n_random: int = 200,
    match: str | Sequence[str] = inputs.MATCHES,
    n_exceed: int = 10,
    n_cells: int | None = None,
    n_fidelity: int = 32,
    n_insilico: int = 16,
    edges: str = "attention",
    effects: str = "perturbation",
    margin: float = 0.005,
    min_units: int = 6,
    min_positives: int = 2,
    min_candidates: int = 10,
    ranking: str = HEAD_RANKING,
    batch_size: int | None = None,
    memory_limit: int | None = None,
    show_progress_bar: bool = True,
    key_added: str = HEAD_ABLATION,
    mod: str | None = None,
    rng: Seed = 0,
    copy: bool = False,
) -> Data | None:
    r"""
    Take heads out of a model, and see whether its attention still ranks responders :cite:p:`kendiukhov2026`.

    If heads that recover a network carry regulation, taking them out must cost something *downstream* of them, more
    than taking out others does. Each intervention is run on the same cells, attention is read anew, and every
    perturbation is scored as `scepsis.tl.perturbation_auroc` does. Beside each result stands what makes it evidence:
    whether the intervention can reach the readout at all, whether it took effect, and how large a difference would
    have been seen.

    Parameters
    ----------
    adata
        Cells x genes with raw counts, effects, and the ranking of `scepsis.tl.rank_heads`.
    model
        The model that was ranked.
    conditions
        ``"paper"``: its six and thirteen conditions and its orthogonal ones; where fewer than three of its doses of
        top heads are at most half of the heads, doses 1, 2 and 4 beside. Or names: ``top_5``, ``bottom_5`` (first and
        last by the reference), ``composite_5``, ``perturbation_5``, ``entropy_5`` (those outside the top 5 that are
        nearest to them in entropy), ``random_5`` (drawn outside the top 5; ``random_5a`` is another draw), each also
        with ``uniform_`` before it (attention to all tokens alike, in place of none) or ``mean_`` (what the head gives
        on average over the tokens of 16 of the cells that heads were ranked on); ``layer_12`` (all heads of a layer),
        ``mlp_8``, ``mlp_13-15``. Or a dict from names to such names or to `scepsis.models.Intervention`.
    readouts
        Attention of ``last``, the last layer; of ``frozen``, the layer that `layer` or ``uns["select_layer"]`` names,
        left out where neither does; or of any layer, by its number. After these, made from the last hidden states,
        which everything reaches: ``insilico``, how far the embedding of each target moves when the source's token is
        taken out of the cell, and ``logits``, by how much the logit of a masked target changes then. Each needs as many
        passes as there are sources, and random sets are not run for them.
    layer
        The layer that edges are read at, 0-based. The paper's layers are placed relative to it (else to the last).
    primary
        Condition whose heads are held against random sets; ``top_5`` when not given, else the largest top set.
    n_random
        Random sets at most.
    match
        What random sets share with the primary one: ``layer`` (as many heads in every layer), ``entropy`` (the nearest
        of five times as many). ``()`` draws from all heads that can reach what is read, or, where the primary
        condition has others, from all.
    n_exceed
        Random sets that take as much after which no more are run.
    n_cells
        Cells, of those that were ranked on; by a pilot when not given (Notes).
    n_fidelity
        Cells, of those, whose hidden states are compared with and without each condition.
    n_insilico
        Cells, of those, whose source genes are taken out one by one, for ``insilico`` and ``logits``.
    edges
        Edges that the tests speak for in the registry.
    effects
        Label set.
    margin
        Largest difference of AUROCs that counts as none; the error from the choice of cells is held to a quarter of it.
    min_units
        Perturbations below which there are differences but no tests.
    min_positives
        Responders below which a perturbation is not counted.
    min_candidates
        Candidates below which a perturbation is not counted.
    ranking
        Name of the ranking.
    batch_size
        Cells per forward pass, as in `scepsis.tl.attention_edges`.
    memory_limit
        Bytes that sums may take; a quarter of the machine's memory when not given.
    show_progress_bar
        Show progress bars.
    key_added
        Name of the result.
    mod
        Modality, for MuData.
    rng
        Seed of cells and random sets.
    copy
        Return a changed copy instead of writing into `adata`.

    Returns
    -------
    None, or the copy. Sets ``uns[key_added]``:

    ``["results"]``
        One row for each condition and readout: ``condition, kind, analysis, readout, k, heads, label``; ``reachable``
        (``yes``, ``direct_only``, ``no``); ``auroc_before`` and ``auroc``, both from the heads that the condition
        leaves alone, their ``difference`` with the two-way interval ``ci_low, ci_high`` and that over perturbations
        (``oneway_low, oneway_high``), ``p_value`` (signed ranks), ``cohen_d``, ``equivalence`` within ``margin``,
        ``minimum_detectable``, ``n_units``; ``auroc_all`` of all heads and the ``difference_from_all`` (the paper's).
        Of the primary condition ``p_random`` with its smallest possible value ``p_random_floor``, ``p_randomised``,
        ``percentile``, ``null_mean, null_sd, n_null, n_possible``. ``hidden_max, hidden_at_readout, floor_at_readout,
        logit_distance, material``, and ``is_evidence``. ``status`` and ``reason``: ``structurally_null`` cannot be
        reached, ``not_applicable`` does not exist in this model, ``not_applied`` did nothing.
    ``["per_perturbation"]``
        ``condition, readout, perturbation, auroc_before, auroc, difference``.
    ``["fidelity"]``
        ``condition, what, layer, distance, floor``: cosine distance of mean hidden states that enter each layer (the
        last is what comes out), and of logits (layer -1), to those without the condition, beside what rounding makes.
    ``["doses"]``
        ``family, readout, doses, statistic, p_value, slope, is_monotone, n_units``: Page's test, one-sided, that AUROC
        falls with the number of heads taken out.
    ``["null"]``
        ``condition, readout, draw, difference`` of each random set.
    ``["held_out"]``
        ``condition, readout, ranking, k, heads_half_0, heads_half_1, n_shared, n_units, in_sample, difference, ci_low,
        ci_high, p_value, minimum_detectable, equivalence, status, reason``: the primary condition with heads chosen by
        the labels of one half of the source genes, and its effect on the perturbations of the other, both ways, beside
        the effect ``in_sample`` on the same perturbations. Empty where heads were chosen in another way.
    ``["detection"]``
        What the primary test says when a signal was planted that the intervention takes out.
    ``["params"]``
        All parameters, the cells that were run and why so many, hashes, the model and its fingerprint.
    ``uns["tests"]``
        ``<condition>/<readout>`` (A12 to A14), ``<primary>/<readout>/vs_random`` and ``/held_out``,
        ``dose/<family>/<readout>``, ``fidelity/<condition>`` (A15).

    Raises
    ------
    KeyError
        There is no ranking or no such effects.
    ValueError
        A condition, head, layer or readout that does not exist, all heads at once, something named twice; a ranking of
        another model or of cells that are no longer there; more cells than there are; a model in training mode.
    NotImplementedError
        MLPs of a family that does not name them.
    TypeError
        `conditions` of a wrong type.
    MemoryError
        The sums would not fit; nothing is computed.

    Warns
    -----
    UserWarning
        No condition reaches a readout.

    Notes
    -----
    **Reach.** Attention at layer r is made from what enters r: interventions at r or above cannot change it, and their
    null is one by construction. It is shown as 0, greyed, and tested nowhere. Where a condition touches heads of the
    layer that is read, their maps are left out of both means, so that nothing but what came through the residual stream
    is compared.

    **Evidence.** A difference or its absence is evidence if the readout can be reached, what enters it moved by more
    than rounding moves it, and some layer's hidden states moved by more than 0.02.

    **Random sets.** Besag and Clifford's sequential test on the mean drop, on the same cells: it stops when `n_exceed`
    sets took as much, so that a clear null costs few passes. Where fewer than `n_random` sets exist, all are run.

    **Cells.** On 64 cells the primary drop is jackknifed over 8 blocks; as many cells are run as bring that error down
    to ``margin / 4``, all if there are fewer. Random sets are only told from the primary one, on the same cells: those
    that bring it down to a tenth of the drop are enough, the first of all that are run (``n_cells_paired``).

    **Ranking.** Top sets by the reference are chosen on the network, not on the responders that they are judged by;
    composite and perturbation ones are, and are entered as descriptive. If the network was made from the same
    perturbations, so are the others: ``held_out`` is then what counts. Half of the labels choose heads less well.

    **Zero or mean.** Zero takes out what a head says and its constant part, which the layers above are used to; its
    mean leaves that part in place. A loss under both is not one of having left what the model knows.

    Cost: a pass without and one with each condition, from the lowest layer that it touches to the last one read, and
    one for each random set; for `n_fidelity` cells each to the last layer. With means one more over their 16 cells for
    each batch. What two conditions have in common is run once, and what cannot reach a readout is not.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata, model = sps.datasets.demo(), sps.models.load("demo")
    >>> sps.pp.select_cells(adata, n_cells=60)
    >>> sps.tl.perturbation_effects(adata, n_null_splits=1, show_progress_bar=False)
    >>> network = adata.uns["simulate_screen"]["network"]
    >>> sps.tl.rank_heads(adata, model, reference=network, show_progress_bar=False)
    >>> ask = {"n_random": 4, "n_cells": 20, "n_fidelity": 4, "show_progress_bar": False}
    >>> sps.tl.ablate_heads(adata, model, conditions=["top_1", "mlp_1"], readouts="last", **ask)
    >>> adata.uns["head_ablation"]["results"][["condition", "reachable", "status"]].to_numpy().tolist()
    [['top_1', 'yes', 'ok'], ['mlp_1', 'no', 'structurally_null']]
    """
    start = time.perf_counter()
    data = adata.copy() if copy else adata
    target = resolve(data, mod)
    least = {"min_units": min_units, "min_positives": min_positives, "min_candidates": min_candidates}
    matched = inputs.require_options(
        match,
        key_added,
        margin=margin,
        n_cells=n_cells,
        n_random=n_random,
        n_exceed=n_exceed,
        n_fidelity=n_fidelity,
        n_insilico=n_insilico,
        **least,
    )
    seed = resolve_seed(rng)
    given = inputs.given(target, model, ranking, edges, effects, {name: int(value) for name, value in least.items()})
    frozen = inputs.frozen_layer(target, model, layer)
    readout = inputs.layers_read(readouts, model, frozen)
    heads = given.ranking["heads"]
    batch = cache(partial(controls, target, model, given.cells, given.tokens, seed))
    at = model.n_layers - 1 if frozen is None else frozen
    made = resolve_conditions(conditions, model, heads, at, seed, batch)
    first = inputs.primary_of(primary, made)
    made = [replace(one, is_primary=one is first) for one in made]
    layers = tuple(sorted({at for at in readout.values() if at < model.n_layers}))
    cells = Cells(
        target, model, given.tokens, given.panel, given.sources, layers, seed, batch_size,
        memory_limit, show_progress_bar,
    )  # fmt: skip
    inputs.require_runnable(cells, n_cells, len(given.cells))
    order = order_of(given.cells, seed)
    enough = enough_cells(cells, order, first, given.target, float(margin), n_cells)
    n = enough.n
    options = Options(
        int(n_random), "layer" in matched, "entropy" in matched, int(n_exceed), float(margin),
        int(n_fidelity), int(n_insilico), enough.n_paired, seed,
    )  # fmt: skip
    found = measure(cells, order[:n], made, heads, readout, given.target, options, given.half)
    params: dict[str, Any] = record(
        conditions=[one.name for one in made], readouts=list(readout), layer=frozen,
        primary="" if first is None else first.name, n_random=int(n_random), match=matched, n_exceed=int(n_exceed),
        n_cells_run=n, n_cells_paired=enough.n_paired, n_fidelity=min(int(n_fidelity), n),
        n_insilico=min(int(n_insilico), n), edges=edges, effects=effects, margin=float(margin), ranking=ranking,
        seed=seed, batch_size=batch_size, **least, **enough.record, **found.record, **given.provenance,
    )  # fmt: skip
    trends = tables.doses(found.measured)
    result = {
        "params": params,
        "results": tables.results(found.measured, found.bites, readout, float(margin)),
        "per_perturbation": tables.per_perturbation(found.measured, given.screen.names),
        "fidelity": tables.fidelity(found.bites),
        "doses": trends,
        "null": tables.null_draws(found.measured),
        "held_out": held_out.table(found.held_out),
        "detection": tables.detection(found.measured, edges),
    }
    tests = registry_rows(
        found.measured, trends, found.bites, readout, edges, margin=float(margin),
        n_pairs=found.n_pairs, n_pos=found.n_pos, held=found.held_out,
    )  # fmt: skip
    evidence = Evidence(
        key=key_added, params=params, edges={edges: given.record}, effects=effects,
        labels_hash=params["labels_hash"], seed=seed, wall_s=time.perf_counter() - start,
    )  # fmt: skip
    write(target, uns={key_added: result} | updated_tests(target, tests, evidence))
    return data if copy else None
