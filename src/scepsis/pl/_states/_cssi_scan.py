"""Recovery by the number of states, beside labels that say nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scepsis._core._resolve import resolve
from scepsis._core._results import read_frame
from scepsis.pl._style import FAINT, INK, SMALL, axes_or_new, bare, look

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from scepsis._core._types import Data

MAKER = "scepsis.tl.cssi_scan(adata, reference, use_rep=...)"


def cssi_scan(adata: Data, *, key: str = "cssi_scan", ax: Axes | None = None, mod: str | None = None) -> Axes:
    """
    Draw AUROC of the aggregate for every number of states :cite:p:`kendiukhov2026`.

    The line with markers is the aggregate over states, the dashed one all cells together, on the same pairs. The
    grey line and band are shuffled labels: their mean and one standard deviation to either side. Hollow markers are
    numbers of states of which only one was large enough. Numbers that no resolution gave are left out.

    Parameters
    ----------
    adata
        Data with a result of `scepsis.tl.cssi_scan`.
    key
        Its name.
    ax
        Axes to draw into; None makes a figure.
    mod
        Modality, for MuData.

    Returns
    -------
    The axes drawn into. Nothing is stored.

    Raises
    ------
    KeyError
        There is no such result.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.pp.select_cells(adata, n_cells=300)
    >>> sps.pp.embed_cells(adata, sps.models.load("demo"), show_progress_bar=False)
    >>> sps.tl.cssi_scan(adata, adata.uns["simulate_screen"]["network"], n_states=[2, 4], n_null=2)
    >>> ax = sps.pl.cssi_scan(adata)
    """
    table = read_frame(resolve(adata, mod), key, "scan", maker=MAKER).sort_values("n_states")
    drawn = table[table["auroc"].notna()]
    axes = axes_or_new(ax, width=6.0, height=3.8)
    states, control = look("edges"), look("control")
    x = drawn["n_states"].to_numpy(dtype=float)
    if drawn["null_mean"].notna().any():
        mean, sd = drawn["null_mean"].to_numpy(dtype=float), drawn["null_sd"].to_numpy(dtype=float)
        axes.fill_between(x, mean - sd, mean + sd, color=FAINT, alpha=0.25, linewidth=0)
        axes.plot(x, mean, color=control.colour, marker=control.marker, markersize=5, label="labels shuffled")
    axes.plot(x, drawn["pooled"].to_numpy(dtype=float), color=INK, linestyle=(0, (5, 2)), label="all cells together")
    axes.plot(x, drawn["auroc"].to_numpy(dtype=float), color=states.colour, linewidth=1.8, label="aggregate of states")
    for status, face in (("ok", states.colour), ("single_stratum", "white")):
        some = drawn[drawn["status"] == status]
        axes.plot(
            some["n_states"].to_numpy(dtype=float), some["auroc"].to_numpy(dtype=float), linestyle="none",
            marker=states.marker, markersize=7, markerfacecolor=face, markeredgecolor=states.colour,
        )  # fmt: skip
    if len(x):
        axes.set_xticks(x)
    axes.set_xlabel("number of states")
    axes.set_ylabel("AUROC against the reference")
    axes.margins(y=0.1)
    bare(axes)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False, fontsize=SMALL)
    return axes
