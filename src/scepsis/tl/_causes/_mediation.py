from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from scepsis._core._edge_slots import provenance
from scepsis._core._match import tokens_for
from scepsis._core._memory import require_memory
from scepsis._core._model_runs import model_record, require_model, warn_of_few_genes
from scepsis._core._progress import progress_bar
from scepsis._core._registry import Evidence, updated_tests
from scepsis._core._resolve import Choice, choose_cells, resolve
from scepsis._core._rng import child, resolve_seed
from scepsis._core._store import record, write
from scepsis._core._validate import (
    listing,
    require_choice,
    require_heads,
    require_integers,
    require_key,
    require_positive,
)
from scepsis.stats._shapley import MAX_EXACT, Coalitions, Single, bytes_of_sampling, n_sampled
from scepsis.tl._causes._mediation_cells import Deletion, read_cells, runs_of
from scepsis.tl._causes._mediation_tables import (
    Played,
    additivity_frame,
    certificate_frame,
    component_frame,
    interaction_frame,
    mediation_rows,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

    from scepsis._core._types import Data, Head, Mask, Seed
    from scepsis.edges._coalitions import Ablated, Component, Example
    from scepsis.models import AttentionModel
    from scepsis.tl._causes._mediation_cells import Run

logger = logging.getLogger(__name__)
NAME = "mediation"
Kind = Literal["heads", "mlps"]
Ablation = Literal["zero", "uniform"]
#: Orders that are drawn where too many components take part.
N_PERMUTATIONS = 200


def mediation(
    adata: Data,
    model: AttentionModel,
    *,
    components: Kind | Sequence[Head] = "heads",
    direction: Single = "denoise",
    layers: int | Sequence[int] | None = None,
    ablation: Ablation = "zero",
    deletion: str | Mapping[str, Sequence[str]] | None = None,
    groupby: str | None = None,
    mask_obs: Mask = None,
    n_cells: int = 64,
    n_permutations: int | None = None,
    max_passes: int = 5000,
    batch_size: int | None = None,
    show_progress_bar: bool = True,
    key_added: str = NAME,
    mod: str | None = None,
    rng: Seed = 0,
    copy: bool = False,
) -> Data | None:
    r"""
    Ask which parts of a model an effect goes through, and how far parts one by one mislead about it.

    Components (the heads of each layer, single heads, or MLPs) play a game: a coalition S is worth what the model does
    when S works as it is and all other components are ablated, :math:`v(\emptyset) = 0`, and all of them together are
    worth the total effect. What a component is worth alone is usually measured in one of two ways: put into the
    ablated model (``denoise``), or taken from the whole one (``ablate``). Neither adds up, and they err in different
    directions; the Shapley value, its average worth over all orders in which components can come in, does. With
    :math:`\mu(S)` for what a set has beyond its parts,

    .. math:: v(\{i\}) - \phi_i = -\sum_{|S| \ge 2, i \in S} \frac{\mu(S)}{|S|}, \qquad
        v(N) - v(N \setminus i) - \phi_i = \sum_{|S| \ge 2, i \in S} \mu(S) \left(1 - \frac{1}{|S|}\right).

    Kendiukhov (2026), analysis A30 :cite:p:`kendiukhov2026`.

    Parameters
    ----------
    adata
        Cells x genes with raw counts in ``layers["counts"]`` or ``X``.
    model
        From :func:`scepsis.models.load`.
    components
        ``"heads"``: the heads of each layer together. ``"mlps"``: one MLP per layer. Or ``(layer, head)`` pairs,
        each a component; all other heads work as they are.
    direction
        The single estimate that tests and certificates in the registry are about. Both are stored.
    layers
        0-based layers whose components take part; all when not given. The others work as they are.
    ablation
        What an absent head does: nothing (``"zero"``), or look at everything alike (``"uniform"``). An absent MLP adds
        nothing.
    deletion
        A gene, or ``{gene: targets}``, whose deletion is the effect that is mediated: the shift of the last hidden
        states of the targets (1 less the cosine; all other genes of the cell unless named, and in a causal model those
        ranked after the gene) when the gene's token is left out and all others keep their ranks. Without it the effect
        is on the cell itself: how far its pooled hidden state moves from where it is without all components towards
        where it is with them, as a share of its length.
    groupby
        Column of ``obs``: one run for each group, with cells of its own. A test of non-additivity needs six runs.
    mask_obs
        Cells to draw from: a boolean array or ``obs`` column; ``obs["edge_cells"]`` when not given and present.
    n_cells
        Cells of each run, drawn at random from those that can be used (that have the deleted gene and a target).
    n_permutations
        Orders that Shapley values are estimated from, half of them the reverse of the other half. When not given,
        every coalition is played among up to 12 components, and 200 orders among more.
    max_passes
        Forward passes over the cells of a run beyond which nothing is started.
    batch_size
        Cells per forward pass; without it as many as make about 8,192 tokens (131,072 on a GPU).
    show_progress_bar
        Show a progress bar.
    key_added
        Name of the result.
    mod
        Modality, for MuData.
    rng
        Seed of the choice of cells, of permutations, and of families that sample genes.
    copy
        Return a changed copy instead of writing into `adata`.

    Returns
    -------
    None, or the copy. Sets

    ``uns[key_added]``
        ``params`` and four frames. ``components``: for each ``run`` and ``component`` (``L3``, ``L3H1``; ``head`` is
        -1 for a whole layer) both single estimates and the Shapley value, with standard errors over cells
        (``..._error``), the error that drawn orders add (``sampling_error``, 0 where every coalition was played), and
        the Shapley value as a ``share`` of the total. ``additivity``: by ``run`` and ``direction`` the ``total``
        effect, the ``residual`` that single estimates leave of it, its ``lower_bound`` (the size less 1.96 standard
        errors, or 0) and that as a ``ratio`` of the total (NaN where the total is within three standard errors of 0),
        the component that is ``first``, and ``status``. ``certificates``: by ``factor``, the share of pairs of
        components whose order is certified by their biases (``by_bias``), and whether the first place is
        (``first_by_bias``); beside them the paper's, from the lower bound (``by_bound``), which is no guarantee.
        ``interactions``: by ``size``, the sum of :math:`\mu(S)`, where every coalition was played.
    ``uns["tests"]``
        ``non_additive/<direction>``, over runs, and the residual of each run, descriptive.

    Raises
    ------
    KeyError
        A gene or a column does not exist.
    MemoryError
        Orders, by `n_permutations`, that would not fit.
    NotImplementedError
        The family does not say where its MLPs are.
    RuntimeError
        An ablation did nothing: the modules that the family names are not those that it computes with.
    TypeError
        `components`, `layers` or `deletion` of a wrong type, or no model.
    ValueError
        More passes than `max_passes`, layers or heads that do not exist, a gene that no cell has, or a model in
        training mode.

    Notes
    -----
    A pass is one run of the model over the cells of a run: one per coalition, two with a deletion. Passes are made in
    an order in which neighbours share their lowest layers, and hidden states that enter a layer are kept: of n layers
    with one component each, all :math:`2^n` coalitions take :math:`2^{n+1}` layers, not :math:`n 2^n`; what is kept is
    tokens x width of one batch for each layer. The number of passes is logged before the first one, and stands beside
    the progress bar.

    The order of two components is certified when their single estimates differ by more than the sizes of both biases
    (from Shapley values), times ``factor``, plus 1.96 standard errors of the difference over paired cells. The paper's
    allowance spreads the lower bound evenly over components; that is less than the biases can be.

    Everything is a mean over cells of what each cell says, so that the bootstrap over cells has its standard errors
    in closed form, and none is drawn. Runs of one model are no independent models: the binomial test says how often
    the effects that were looked at did not add up, nothing about other models.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> model = sps.models.load("demo")
    >>> sps.tl.mediation(adata, model, n_cells=8, show_progress_bar=False)
    >>> found = adata.uns["mediation"]["components"]
    >>> total = adata.uns["mediation"]["additivity"]["total"].iloc[0]
    >>> bool(abs(found["shapley"].sum() - total) < 1e-9)
    True
    """
    from scepsis.edges._coalitions import Ablated, play, share_of_layers

    start = time.perf_counter()
    data = adata.copy() if copy else adata
    target = resolve(data, mod)
    _check(model, direction, ablation, key_added)
    _check_numbers(n_cells, n_permutations, max_passes, batch_size)
    kind, parts = _resolve_components(model, components, layers)
    ablated = Ablated(parts, ablation)
    _require_runnable(model, ablated)
    seed = resolve_seed(rng)
    chosen = choose_cells(target, mask_obs)
    match = tokens_for(target, model)
    gene, deleted = Deletion.of(target, match, deletion)
    runs = runs_of(target, groupby, chosen, seed)
    n_orders = 0 if n_permutations is None and len(parts) <= MAX_EXACT else int(n_permutations or N_PERMUTATIONS)
    n_passes = (n_sampled(len(parts), n_orders) if n_orders else 2 ** len(parts)) * (1 if deleted is None else 2)
    _require_affordable(n_passes, int(max_passes), len(parts), n_orders, len(runs), kind)
    warn_of_few_genes(match, model)
    cells = [read_cells(target, model, run, match, deletion=deleted, n_cells=int(n_cells), seed=seed) for run in runs]

    game = (
        Coalitions.sampled(len(parts), n_orders, child(seed, NAME, "permutations"))
        if n_orders
        else Coalitions.every(len(parts))
    )
    share = share_of_layers(game.members, ablated, model.n_layers)
    _say(n_passes, cells, share)
    n_plays, told = len(game.members) * sum(map(len, cells)), f"{n_passes:,} passes of {model.name}"
    with progress_bar(total=n_plays, desc=told, unit="cell", show=show_progress_bar) as bar:
        values = [
            play(model, some, game.members, ablated, batch_size=batch_size, on_cells=bar.update) for some in cells
        ]
    played = [Played(run.name, game, one) for run, one in zip(runs, values, strict=True)]

    additivity = additivity_frame(played, parts)
    params = record(
        components=kind if isinstance(components, str) else [part.label for part in parts],
        direction=direction,
        layers=ablated.layers,
        ablation=ablation if kind == "heads" else "zero",
        deletion=gene,
        targets=sorted(deletion[gene]) if isinstance(deletion, Mapping) and gene else None,
        groupby=groupby,
        n_cells=int(n_cells),
        n_permutations=0 if game.orders is None else len(game.orders),
        n_passes=n_passes,
        share_of_layers=share,
        batch_size=batch_size,
        seed=seed,
        **model_record(model, match),
        **_provenance(target, runs, chosen),
    )
    evidence = Evidence(
        key=key_added,
        params=params,
        edges={"": {name: params[name] for name in ("cells_hash", "genes_hash")}},
        seed=seed,
        wall_s=time.perf_counter() - start,
    )
    result = {
        "params": params,
        "components": component_frame(played, parts),
        "additivity": additivity,
        "certificates": certificate_frame(played),
        "interactions": interaction_frame(played),
    }
    tests = updated_tests(target, mediation_rows(additivity, direction, _what(kind, gene)), evidence)
    write(target, uns={key_added: result} | tests)
    return data if copy else None


def _check(model: AttentionModel, direction: str, ablation: str, key_added: str) -> None:
    require_model(model)
    require_key(key_added, argument="key_added")
    require_choice(direction, get_args(Single), argument="direction")
    require_choice(ablation, get_args(Ablation), argument="ablation")


def _check_numbers(n_cells: int, n_permutations: int | None, max_passes: int, batch_size: int | None) -> None:
    limits = (
        ("n_cells", n_cells, 2),
        ("n_permutations", n_permutations, 4),
        ("max_passes", max_passes, 1),
        ("batch_size", batch_size, 1),
    )
    for argument, value, minimum in limits:
        if value is not None:
            require_positive(value, argument=argument, minimum=minimum)


def _resolve_components(
    model: AttentionModel, components: Kind | Sequence[Head], layers: int | Sequence[int] | None
) -> tuple[Kind, tuple[Component, ...]]:
    """What takes part: heads or MLPs of layers, or heads one by one."""
    from scepsis.edges._coalitions import heads_of, layers_of
    from scepsis.models import Intervention

    if isinstance(components, str):
        require_choice(components, get_args(Kind), argument="components")
        return components, layers_of(model, components, _layers(model, layers))
    if layers is not None:
        msg = "Heads name their layers; pass `components=[(layer, head), ...]` or `layers`, not both."
        raise ValueError(msg)
    heads = sorted(require_heads(components, argument="components"))
    if not heads or len(set(heads)) < len(heads):
        msg = "`components` names a head twice." if heads else "`components` is empty."
        raise ValueError(msg)
    Intervention.zero_heads(heads).check(model)
    return "heads", heads_of(heads)


def _layers(model: AttentionModel, layers: int | Sequence[int] | None) -> list[int]:
    """Layers asked for, ascending, each once."""
    numbers = sorted(set(require_integers(range(model.n_layers) if layers is None else layers, argument="layers")))
    wrong = [number for number in numbers if not 0 <= number < model.n_layers]
    if wrong or not numbers:
        asked = f"asks for {listing(wrong)}" if wrong else "is empty"
        msg = f"`layers` {asked}; {model.name!r} has layers 0 to {model.n_layers - 1} (0-based)."
        raise ValueError(msg)
    return numbers


def _require_runnable(model: AttentionModel, ablated: Ablated) -> None:
    """Raise what the intervention that takes everything out raises, before any work."""
    everything = ablated.everything
    if everything is not None:
        with model.intervene(everything):
            pass


def _require_affordable(n_passes: int, max_passes: int, n: int, n_orders: int, n_runs: int, components: str) -> None:
    """Raise for more passes, or orders, than can be made."""
    if n_passes > max_passes:
        msg = (
            f"A game among {n} components ({components}) takes {n_passes:,} passes over the cells of a run ({n_runs} "
            f"to be made), over `max_passes={max_passes:,}`. Name fewer `layers=`, group heads by layer "
            "(`components='heads'`), draw fewer `n_permutations=`, or raise `max_passes`."
        )
        raise ValueError(msg)
    require_memory(
        bytes_of_sampling(n, n_orders),
        None,
        what=f"{n_orders:,} orders of {n} components",
        remedy="Draw fewer `n_permutations=`.",
    )


def _say(n_passes: int, cells: list[list[Example]], share: float) -> None:
    logger.info(
        "mediation: %d passes over %s cells, of which lower layers that coalitions share are run once (%.0f %% of all "
        "layers)",
        n_passes,
        " + ".join(str(len(some)) for some in cells),
        100 * share,
    )


def _what(kind: str, gene: str | None) -> str:
    what = "heads" if kind == "heads" else "MLPs"
    return f"{what} on the cell" if gene is None else f"{what} that pass on a deletion of {gene}"


def _provenance(adata: AnnData, runs: list[Run], chosen: Choice) -> dict[str, Any]:
    """Hashes of the cells that were drawn from, and of all genes."""
    rows = np.concatenate([run.rows for run in runs])
    mask = np.zeros(adata.n_obs, dtype=bool)
    mask[rows] = True
    whole = np.array_equal(mask, chosen.mask)
    genes = Choice(np.ones(adata.n_vars, dtype=bool), "")
    found = provenance(adata, Choice(mask, chosen.name if whole else None), genes, cells_name="", genes_name="")
    return {name: value for name, value in found.items() if name != "n_cells"}
