"""What edges are compared with over pairs of genes, and the comparison."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scepsis._core._edge_sets import require_told_apart
from scepsis._core._gene_table import FEATURES
from scepsis.stats._auroc import mann_whitney
from scepsis.stats._mantel import mantel
from scepsis.stats._planted import DELTAS, planted

if TYPE_CHECKING:
    from collections.abc import Callable

    from scepsis._core._edge_sets import EdgeSet
    from scepsis._core._references import References
    from scepsis._core._types import BoolArray, FloatArray
    from scepsis.stats._mantel import Mantel

N_BINS = 20
MEAN = FEATURES.index("mean")


@dataclass(frozen=True)
class Other:
    """Something that every pair of the panel has."""

    name: str
    matrix: FloatArray
    #: Pairs that count.
    valid: BoolArray
    #: Whether values are 0 and 1.
    listed: bool = False


@dataclass(frozen=True)
class Against:
    """Edges against something."""

    edges: str
    kind: str
    against: str
    found: Mantel
    r2: float
    auroc: float
    rho_max: float
    n: int
    n_pos: int
    n_units: int
    status: str

    def row(self) -> dict[str, Any]:
        """Row of the summary."""
        known = self.status == "ok"
        return {
            "edges": self.edges,
            "kind": self.kind,
            "against": self.against,
            "rho": self.found.correlation,
            "r2": self.r2,
            "null_mean": self.found.null_mean if known else np.nan,
            "null_sd": self.found.null_sd if known else np.nan,
            "z": self.found.z if known else np.nan,
            "p_value": self.found.p_value if known else np.nan,
            "auroc": self.auroc,
            "rho_max": self.rho_max,
            "n": self.n,
            "n_pos": self.n_pos,
            "n_units": self.n_units,
            "status": self.status,
        }


def _directions(matrix: FloatArray, *, dyadic: bool) -> FloatArray:
    """The mean of both directions where pairs have none."""
    mean: FloatArray = (matrix + matrix.T) / 2 if dyadic else matrix
    return mean


def against(found: References, versus: str, *, dyadic: bool) -> list[Other]:
    """Co-expression (magnitude, sign), expression of both genes, and references."""
    matrices = [found.matrix(one) for one in found.sets]
    known: BoolArray = np.asarray(np.isfinite(found.features).all(axis=1))
    valid = known[:, None] & known[None, :] & ~np.eye(len(known), dtype=bool)
    for matrix in matrices:
        valid &= ~np.isnan(matrix)
    valid = np.triu(valid & valid.T, 1) if dyadic else valid
    one = next(item for item in found.sets if item.name == versus)
    signed = found.matrix(one, signed=True)
    mean = found.features[:, MEAN]
    others = [
        Other(versus, _directions(found.matrix(one), dyadic=dyadic), valid),
        Other(f"{versus}_signed", _directions(signed, dyadic=dyadic), valid),
        Other("mean_product", np.outer(mean, mean), valid),
        Other("mean_sum", mean[:, None] + mean[None, :], valid),
    ]
    for reference in found.references:
        listed = reference.network.listed
        if reference.dyadic and not dyadic:
            listed = listed | listed.T
        others.append(Other(reference.name, listed.astype(np.float64), valid, listed=True))
    require_told_apart([other.name for other in others], argument="references")
    return others


def compare(
    found: References, one: EdgeSet, other: Other, n_null: int, min_units: int, rng: np.random.Generator
) -> Against:
    """Correlate the edges of a set with something over the pairs that count."""
    valid = other.valid
    dyadic = not (valid & valid.T).any()
    scores = _directions(found.matrix(one), dyadic=dyadic)
    rows, columns = valid.any(axis=1), valid.any(axis=0)
    n, n_units = int(valid.sum()), int((rows | columns).sum())
    first, second = scores[valid], other.matrix[valid]
    n_pos = int(second.sum()) if other.listed else 0
    status = "ok"
    if other.listed and n_pos in {0, n}:
        status = "no_negatives" if n_pos else "no_positives"
    elif n == 0 or np.ptp(first) == 0 or np.ptp(second) == 0:
        status = "constant_score"
    elif n_units < min_units:
        status = "too_few_units"
    tested = mantel(scores, other.matrix, valid, n_null if status == "ok" else 2, rng, ranks=True)
    area = rho_max = np.nan
    if other.listed and 0 < n_pos < n:
        listed = second > 0
        area = mann_whitney(first[listed], first[~listed])
        share = n_pos / n
        rho_max = float(np.sqrt(3 * share * (1 - share) / (1 - 1 / n**2)))
    varies = n > 1 and np.ptp(first) > 0 and np.ptp(second) > 0
    r2 = float(np.corrcoef(first, second)[0, 1] ** 2) if varies else np.nan
    return Against(one.name, one.kind, other.name, tested, r2, area, rho_max, n, n_pos, n_units, status)


DETECTION = ["edges", "against", "delta", "statistic", "ci_low", "ci_high", "detected"]


def detected(
    found: References, one: EdgeSet, other: Other, tested: Against, planting: Callable[[], np.random.Generator]
) -> list[dict[str, Any]]:
    """
    What the comparison says of signals of known strength in a random half of what is listed.

    Of what lists nothing, the twentieth of the pairs that is highest stands for it. Correlations are held to the
    permutations of the edges as they are: a signal in few pairs hardly changes how far these scatter.
    """
    from scipy.stats import rankdata

    if tested.status != "ok":
        return []
    valid = other.valid
    scores = _directions(found.matrix(one), dyadic=not (valid & valid.T).any())[valid]
    values = other.matrix[valid]
    ranks = rankdata(values)
    positive = values > 0 if other.listed else ranks > np.quantile(ranks, 1 - 1 / N_BINS)
    rows = []
    for delta in DELTAS:
        raised = rankdata(planted(scores, positive, delta, planting()))
        rho = float(np.corrcoef(raised, ranks)[0, 1])
        low, high = rho - tested.found.critical, rho + tested.found.critical
        rows.append(
            {
                "edges": one.name,
                "against": other.name,
                "delta": delta,
                "statistic": rho,
                "ci_low": max(low, -1.0),
                "ci_high": min(high, 1.0),
                "detected": bool(low > 0),
            }
        )
    return rows


def bins(found: References, asked: list[EdgeSet], other: Other) -> pd.DataFrame:
    """Quartiles of the rank of edges in parts of the pairs that are alike in co-expression."""
    from scipy.stats import rankdata

    valid = other.valid
    dyadic = not (valid & valid.T).any()
    by = other.matrix[valid]
    order = np.argsort(by, kind="stable")
    parts = [part for part in np.array_split(order, N_BINS) if len(part)]
    rows = []
    for one in asked:
        ranks = rankdata(_directions(found.matrix(one), dyadic=dyadic)[valid])
        ranks = (ranks - 0.5) / max(len(ranks), 1)
        for number, part in enumerate(parts):
            low, median, high = np.quantile(ranks[part], [0.25, 0.5, 0.75])
            rows.append(
                {
                    "edges": one.name,
                    "kind": one.kind,
                    "bin": number,
                    "coexpression": float(np.median(by[part])),
                    "low": low,
                    "median": median,
                    "high": high,
                    "n": len(part),
                }
            )
    return pd.DataFrame(rows, columns=["edges", "kind", "bin", "coexpression", "low", "median", "high", "n"])
