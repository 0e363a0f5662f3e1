"""What every tool that runs a model over cells does alike: how cells go in, and what is said and recorded of it."""

from __future__ import annotations

import logging
import warnings
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Protocol

from scepsis._core._match import HasVocabulary
from scepsis._core._rng import cell_seeds
from scepsis._core._values import counts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anndata import AnnData
    from numpy.typing import NDArray
    from scipy import sparse

    from scepsis._core._match import Match
    from scepsis._core._types import IntArray

logger = logging.getLogger(__name__)
#: Cells read and tokenised at a time.
CELLS_AT_ONCE = 256
#: Below this share of the vocabulary, ranks no longer mean what they meant in training.
_FEW_GENES = 0.2


class RunnableModel(HasVocabulary, Protocol):
    """A model, as far as a record of its run needs it."""

    @property
    def family(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def dtype(self) -> object: ...


def require_model(model: Any) -> None:
    """Raise for what is no model, and for one in training mode: dropout would draw what no seed governs."""
    if not hasattr(model, "network") or not hasattr(model, "vocabulary"):
        msg = f"`model` takes what `scepsis.models.load` gives, not {model!r}."
        raise TypeError(msg)
    if any(module.training for module in model.network.modules()):
        msg = f"{model.name!r} is in training mode, where dropout draws; call `model.network.eval()` first."
        raise ValueError(msg)


def cell_blocks(
    adata: AnnData, rows: IntArray, seed: int
) -> Iterator[tuple[IntArray, sparse.csr_matrix, NDArray[Any]]]:
    """Yield ``(rows, counts, seeds)``, the seeds one number per cell for whatever a family draws."""
    for chosen, block in counts(adata).blocks(rows, size=CELLS_AT_ONCE):
        yield chosen, block, cell_seeds(seed, adata.obs_names[chosen])


def require_tokens(n_empty: int, n_cells: int, *, fate: str) -> None:
    """Raise `ValueError` when no cell has a token, and say what became of those without."""
    if n_empty == n_cells:
        msg = "No cell has a gene of the model's vocabulary: there is nothing to attend to."
        raise ValueError(msg)
    if n_empty:
        logger.warning("%d cells have no gene of the vocabulary and %s", n_empty, fate)


def warn_of_few_genes(match: Match, model: HasVocabulary) -> None:
    """Say when most of what the model knows was not measured; called by the tool itself."""
    n_known, n_all = int(match.owner.sum()), len(model.vocabulary.tokens)
    if n_known < _FEW_GENES * n_all:
        warnings.warn(
            f"`adata` has {n_known:,} of the {n_all:,} genes that {model.name!r} knows. Genes are ranked, or their "
            "values binned, among those present, so cells look different from those of training; keep all measured "
            "genes in `adata` where you can, and choose the panel with `scepsis.pp.select_panel`.",
            UserWarning,
            stacklevel=3,
        )


def model_record(model: RunnableModel, match: Match) -> dict[str, Any]:
    """What ties a result to the model, its weights and its reading of the genes."""
    return {
        "model": model.name,
        "family": model.family,
        "model_fingerprint": model.fingerprint,
        "vocabulary_hash": model.vocabulary.hash,
        "encoding": getattr(model, "encoding", None),  # None is not recorded
        "gene_ids": match.gene_ids,
        "dtype": str(model.dtype).removeprefix("torch."),
        "torch_version": version("torch"),
        "transformers_version": version("transformers"),
    }
