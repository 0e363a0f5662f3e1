from __future__ import annotations

from typing import TYPE_CHECKING

from scepsis._report._audited import read_audited
from scepsis._report._sentences import conclusion
from scepsis._report._terminal import summary_text

if TYPE_CHECKING:
    from collections.abc import Callable

    import anndata as ad


def test_rows_of_the_table_and_differences_to_the_audited_edges(reported: Callable[..., ad.AnnData]) -> None:
    audited = read_audited(reported(), "perturbation_auroc")
    head, *rows = summary_text(audited).splitlines()[: len(audited.summary) + 1]
    assert head.split()[:4] == ["predictor", "kind", "n", "AUROC"]
    assert head.endswith("attention minus it")
    for line, row in zip(rows, audited.summary.itertuples(), strict=True):
        cells = line.split()
        assert cells[:3] == [row.predictor, row.kind, str(row.n_units)]
        assert cells[3] == ("–" if row.n_units == 0 else f"{row.auroc:.3f}")
    by_name = {line.split()[0]: line for line in rows}
    assert by_name["variance"].endswith("−0.209  worse")
    assert by_name["attention_randomized"].endswith("+0.041  undecided")
    assert "not run" in by_name["position"]
    assert len({line.index("0.") for line in rows if "0." in line}) == 1
    assert summary_text(audited).endswith(conclusion(audited.contrasts, "attention"))


def test_too_few_perturbations_have_a_status_in_place_of_an_interval(reported: Callable[..., ad.AnnData]) -> None:
    text = summary_text(read_audited(reported(n_units=3), "perturbation_auroc"))
    assert "too few units" in text
    assert "better" not in text.replace("ranks responders better than features", "")
