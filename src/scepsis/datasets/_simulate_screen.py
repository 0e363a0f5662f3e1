from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scepsis._core._rng import resolve_seed
from scepsis.datasets._knobs import Knobs
from scepsis.datasets._screen_cells import draw_screen
from scepsis.datasets._screen_truth import assemble
from scepsis.datasets._world import draw_world

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

    from scepsis._core._types import Seed


def simulate_screen(  # noqa: PLR0913 - every knob is a parameter
    *,
    n_genes: int = 600,
    n_regulators: int = 60,
    n_other: int = 20,
    n_controls: int = 2000,
    cells_per_perturbation: float = 90,
    wiring: float = 0.2,
    resp_bias: float = 4.0,
    resp_frac: float = 0.11,
    pert_resp: float = 0.15,
    n_programs: int = 4,
    dominance: float = 0.85,
    loading: float = 0.7,
    program_sd: float = 0.6,
    amplitude: float = 1.0,
    inert: float = 0.15,
    out_degree: float = 12,
    hub_sd: float = 0.7,
    weight: float = 0.7,
    activating: float = 0.7,
    shared: float = 0.6,
    spectral_radius: float = 0.6,
    u_sd: float = 0.6,
    q_sd: float = 0.4,
    n_states: int = 5,
    shares: Sequence[float] | None = None,
    state_frac: float = 0.15,
    state_sd: float = 0.5,
    n_donors: int = 3,
    donor_sd: float = 0.10,
    n_batches: int = 4,
    batch_sd: float = 0.08,
    batch_depth_sd: float = 0.15,
    guides: int = 3,
    efficiency: float = 0.8,
    dead_guides: float = 0.1,
    escape: float = 0.1,
    cells_sd: float = 0.25,
    die: float = 0.1,
    depth: float = 1.0,
    depth_sd: float = 0.35,
    depth_stress: float = 0.05,
    n_housekeeping: int = 10,
    housekeeping_log_mean: float = 6.0,
    log_mean: float = -0.3,
    log_mean_sd: float = 1.0,
    log_mean_floor: float = -1.3,
    dispersion: float = 0.10,
    dispersion_low: float = 0.05,
    rng: Seed = 0,
    cells_rng: Seed = None,
) -> AnnData:
    r"""
    Simulate a CRISPRi screen whose regulatory network is known.

    One knob, `wiring`, decides which world it is. At 0.2 the response to a perturbation runs mostly through
    programmes that many perturbations share, so a gene's own mean, variance and detection rate tell responders from
    the others, and the true network does not. At 1 it runs along the network, and true edges win. The network and
    the control cells are the same in all of these worlds.

    The log rate of gene :math:`j` in cell :math:`c`, in state :math:`s` and with guide against gene :math:`g`, is

    .. math::

        \eta_{cj} = m_j + S_{sj} + D_{dj} + B_{bj} + \sum_m f_{cm} \Lambda_{mj} + \lambda_j q_c
        + \sum_i u_{ci} M_{s,ij} + [j = g] \log(1 - e_c) + w \log(1 - e_c) M_{s,gj},

    with programme activities :math:`f_{cm} \sim N(0, \sigma_f) + (1 - w) a_g \pi_{gm} e_c / 0.8`, quality
    :math:`q_c`, regulator activities :math:`u_{ci}`, knock-down :math:`e_c` (0 in controls), `wiring` :math:`w`, and
    total effects :math:`M_s = (I - W_s)^{-1}` of the network (direct and indirect; the last term leaves out
    :math:`j = g`). Counts are negative binomial with mean :math:`\exp(\eta_{cj} + l_c)` and variance
    :math:`\mu + \phi_j \mu^2`; there is no further drop-out. Logarithms are natural.

    Parameters
    ----------
    n_genes
        Genes in all: regulators, other perturbed genes, ordinary genes, housekeeping genes.
    n_regulators
        Regulators (names ``TF01``, ...). They alone have edges out, and all of them are perturbed.
    n_other
        Perturbed genes that regulate nothing (``GENE01``, ... from the first on).
    n_controls
        Control cells, with the label ``"non-targeting"``.
    cells_per_perturbation
        Cells per perturbation before `cells_sd` and `die` act; no perturbation has fewer than 20. With 0 there are
        only control cells.
    wiring
        Share of a perturbation's response that travels along network edges.
    resp_bias
        How steeply the chance of belonging to a programme rises with expression (logit per standard deviation).
    resp_frac
        Share of ordinary genes that belong to a programme.
    pert_resp
        The same for perturbed genes, whatever their expression.
    n_programs
        Co-expression programmes, drawn independently of the network.
    dominance
        Share of programme genes, and of a perturbation's response, that goes to the first programme for certain.
    loading
        Mean absolute loading of a programme gene.
    program_sd
        Standard deviation of programme activities in control cells.
    amplitude
        Mean strength of the programme response to a perturbation.
    inert
        Share of perturbations without a programme response.
    out_degree
        Mean number of direct targets of a regulator; each has at least two.
    hub_sd
        How unequal genes are as targets (log odds); large values give a few genes most of the regulators.
    weight
        Mean absolute weight of an edge.
    activating
        Share of edges with a positive weight.
    shared
        Share of edges that exist in all states; every other edge lives in one state, 1.3 times as strong.
    spectral_radius
        Upper limit for the edges among regulators, per state; weights among them are scaled down to it.
    u_sd
        Standard deviation of regulator activities: how much the network shows in control cells.
    q_sd
        Standard deviation of cell quality, which moves all but housekeeping genes together.
    n_states
        Cell states.
    shares
        Share of cells in each state, of length `n_states`. Evenly falling when not given.
    state_frac
        Share of genes that a state moves.
    state_sd
        How far it moves them.
    n_donors
        Donors, each with cells in equal parts.
    donor_sd
        How far a donor moves every gene.
    n_batches
        Batches, likewise.
    batch_sd
        How far a batch moves every gene.
    batch_depth_sd
        Standard deviation of log depth between batches.
    guides
        Guides per perturbed gene.
    efficiency
        Mean knock-down by a working guide; Beta distributed, 0.97 at most.
    dead_guides
        Share of guides that do nothing.
    escape
        Share of perturbed cells that a guide does nothing to.
    cells_sd
        Spread of the number of cells between perturbations (log).
    die
        Loss of cells per unit of amplitude (log).
    depth
        Factor on all expected counts.
    depth_sd
        Standard deviation of log depth between cells of a batch.
    depth_stress
        Loss of log depth per unit of amplitude at a knock-down of 0.8.
    n_housekeeping
        Highly expressed genes (``HK01``, ...) that neither respond nor are regulated. They hold most of a cell's
        counts, so that a response does not move the totals.
    housekeeping_log_mean
        Mean of their log mean counts.
    log_mean
        Mean, over ordinary genes, of log mean counts at depth 1.
    log_mean_sd
        Standard deviation of log mean counts.
    log_mean_floor
        Soft lower limit of log mean counts, as left by a choice of variable genes; minus infinity for none.
    dispersion
        :math:`\phi` of highly expressed genes.
    dispersion_low
        What is added to :math:`\phi` at a log mean of 0; it falls with expression.
    rng
        Seed of everything: genes, programmes, network and guides, and of the cells unless `cells_rng` is given. Each
        part has a generator of its own, so a knob changes what it is about and leaves the rest as it was.
    cells_rng
        Seed of the cells alone: another sample of cells from the same world.

    Returns
    -------
    Annotated data with

    ``X``
        Counts, cells x genes, CSR of whole numbers as float32.
    ``obs["perturbation"]``, ``["guide"]``, ``["cell_state"]``, ``["donor"]``, ``["batch"]``
        Labels, categorical.
    ``obs["knockdown"]``, ``["log_depth"]``, ``["quality"]``
        Truth: share of the target's expression that is gone, :math:`l_c`, :math:`q_c`.
    ``var["ensembl_id"]``
        Identifiers in Ensembl's form, made up (``ENSG9...``).
    ``var["is_regulator"]``, ``["is_perturbed"]``, ``["is_housekeeping"]``, ``["is_responder"]``
        Truth: roles; a responder belongs to a programme.
    ``var["log_mean"]``, ``["dispersion"]``
        Truth: :math:`m_j` and :math:`\phi_j`.
    ``varp["regulation"]``
        Truth, dense, regulator in the row, target in the column: signed direct weight :math:`W_{s,ij}` in the state
        where it is largest; 0 where no state has the edge.
    ``varp["regulation_<state>"]``
        Truth: direct weights in one state, for example ``varp["regulation_state1"]``.
    ``varp["total_effect"]``
        Truth: expected total effect in the screen, :math:`\sum_s p_s M_s` over states with shares :math:`p_s`, direct
        and indirect; 0 on the diagonal.
    ``varm["responsiveness"]``
        Truth: loadings :math:`\Lambda`, genes x programmes.
    ``uns["simulate_screen"]``
        ``params``; ``states`` (state, share, edges_key); ``network`` (source, target, weight as in
        ``varp["regulation"]``, state, which is ``"all"`` for a shared edge); ``perturbations`` (perturbation,
        is_regulator, n_cells, amplitude :math:`a_g`, and :math:`\pi_{gm}` as ``program1``, ...); ``guides`` (guide,
        perturbation, knockdown it reaches).

    Raises
    ------
    ValueError
        A knob is out of its range, or there are too few genes for the roles asked for.

    Notes
    -----
    The defaults were fitted by hand to figures that :cite:t:`kendiukhov2026` reports for a genome-scale screen in
    K562 cells. Agreement with them is a fit, and no evidence that those cells work this way. Memory is that of three
    dense arrays of one perturbation's cells, or of the control cells, by genes; the default takes about a second.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.simulate_screen(
    ...     n_genes=120, n_regulators=10, n_other=2, n_controls=100, cells_per_perturbation=20
    ... )
    >>> adata.varp["regulation"].shape
    (120, 120)
    """
    given: dict[str, Any] = dict(locals())
    knobs = Knobs(**{name: value for name, value in given.items() if name not in {"rng", "cells_rng"}})
    knobs.check()
    seed = resolve_seed(rng)
    cells_seed = seed if cells_rng is None else resolve_seed(cells_rng)
    world = draw_world(knobs, seed)
    return assemble(knobs, world, draw_screen(knobs, world, cells_seed), seed=seed, cells_seed=cells_seed)
