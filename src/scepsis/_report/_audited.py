"""Everything that a report is made from, read out of the data at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scepsis._core._edge_slots import edge_params, stale
from scepsis._core._keys import GENE_FEATURES, LOGNORMALIZE, MATCH_GENES, SELECT_CELLS, SELECT_PANEL, EffectKeys
from scepsis._core._results import read_frame, read_result
from scepsis._report._battery import first_criterion
from scepsis._report._findings import told

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

MAKER = "scepsis.tl.perturbation_auroc(adata)"
#: Suffix of the key under which the edges of single layers are scored, apart from the main table.
LAYERS = "_layers"
PREPARED = (LOGNORMALIZE, SELECT_CELLS, SELECT_PANEL, MATCH_GENES, GENE_FEATURES)


@dataclass(frozen=True)
class Audited:
    """A scored table, with what it was made from."""

    key: str
    units: pd.DataFrame
    summary: pd.DataFrame
    contrasts: pd.DataFrame
    deciles: pd.DataFrame
    params: dict[str, Any]
    #: Key in ``varp`` of each predictor that has one, by predictor, and the record of its edges where there is any.
    slots: dict[str, str]
    records: dict[str, dict[str, Any]]
    #: Edges whose cells or genes are no longer those of the data, with which of them.
    changed: dict[str, list[str]]
    #: Records of what was prepared, by function.
    prepared: dict[str, dict[str, Any]]
    #: Entry of the effects that edges were scored against; empty when it is gone.
    effects: dict[str, Any]
    effects_key: str
    n_obs: int
    n_vars: int
    #: Whether edges meet the first criterion of the verdict, for those that it judged.
    judged: dict[str, bool | None]

    @property
    def edges(self) -> list[str]:
        """Predictors that were asked for, the audited one first."""
        asked = self.summary[self.summary["kind"] == "edges"]
        return [str(name) for name in asked["predictor"]]

    @property
    def told(self) -> pd.DataFrame:
        """Comparisons that a reader needs."""
        return told(self.contrasts, self.edges)

    @property
    def layers_key(self) -> str:
        return f"{self.key}{LAYERS}"


def read_audited(adata: AnnData, key: str = "perturbation_auroc") -> Audited:
    """Read a scored table and all that belongs to it; raise `KeyError` when there is none."""
    entry = read_result(adata, key, maker=MAKER)
    frames = {
        name: read_frame(adata, key, name, maker=MAKER)
        for name in ("per_perturbation", "summary", "contrasts", "by_mean_decile")
    }
    if not (frames["summary"]["kind"] == "edges").any():
        msg = f"`adata.uns[{key!r}]['summary']` scores no edges. Call `{MAKER}` anew, with `edges=`."
        raise ValueError(msg)
    params = dict(entry["params"])
    slots = _slots(adata, params)
    found = {name: edge_params(adata, slot) for name, slot in slots.items()}
    records = {name: record for name, record in found.items() if record}
    effects_key = str(params.get("effects", EffectKeys().key))
    effects = adata.uns.get(EffectKeys(effects_key).uns, {})
    return Audited(
        key=key,
        units=frames["per_perturbation"],
        summary=frames["summary"],
        contrasts=frames["contrasts"],
        deciles=frames["by_mean_decile"],
        params=params,
        slots=slots,
        records=records,
        changed={name: what for name, record in records.items() if (what := stale(adata, record))},
        prepared={name: dict(adata.uns[name]["params"]) for name in PREPARED if name in adata.uns},
        effects=dict(effects),
        effects_key=effects_key,
        n_obs=adata.n_obs,
        n_vars=adata.n_vars,
        judged=first_criterion(adata),
    )


def _slots(adata: AnnData, params: dict[str, Any]) -> dict[str, str]:
    """Key in ``varp`` of each predictor, from the slots on record; tables that were scored directly have none."""
    named = {f"adata.varp[{key!r}]": key for key in adata.varp}
    pairs = zip(params.get("edges", []), params.get("edges_slot", []), strict=True)
    return {str(name): named[str(slot)] for name, slot in pairs if str(slot) in named}
