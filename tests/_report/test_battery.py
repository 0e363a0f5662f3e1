from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

import scepsis as sps
from scepsis._report._battery import battery, first_criterion
from scepsis._report._findings import has_earned

if TYPE_CHECKING:
    from collections.abc import Callable

    import anndata as ad


def text_of(parts: list[str]) -> str:
    """What a section says, without its markup."""
    plain = unescape(re.sub(r"<[^>]+>", " ", " ".join(parts)))
    return re.sub(r"\s+", " ", plain.replace("\u00a0", " "))


def sections(adata: ad.AnnData) -> dict[str, str]:
    return {title: text_of(parts) for title, parts in battery(adata)}


@pytest.fixture(scope="module")
def audited() -> ad.AnnData:
    """A small part of the built-in screen, audited on its network."""
    adata = sps.datasets.demo()
    labels = adata.obs["perturbation"].astype(str)
    kept = labels.value_counts().loc[lambda counts: counts >= 50].index[:14]
    adata = adata[labels.isin(kept).to_numpy(), :150].copy()
    sps.tl.audit(
        adata, edges="spearman", reference=adata.uns["simulate_screen"]["network"], n_null=60, n_boot=100, n_seeds=1,
        joint_mode="diagonal", skip="explain_edges", show_progress_bar=False,
    )  # fmt: skip
    return adata


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_result_has_a_section_with_its_numbers(audited: ad.AnnData) -> None:
    found = sections(audited)
    assert list(found) == [
        "Verdict", "Incremental value", "What gene features leave", "Against degrees", "Among matched targets",
        "Tests and corrections", "What could have been found",
    ]  # fmt: skip
    criteria = audited.uns["verdict"]["criteria"]
    assert criteria["reason"].iloc[-1] in found["Verdict"]
    gains = audited.uns["incremental_value"]["gains"]
    for value in gains.loc[gains["metric"] == "auroc", "gene_only"]:
        assert f"{value:.3f}" in found["Incremental value"]
    summary = audited.uns["degree_null"]["summary"]
    row = summary[(summary["edges"] == "spearman") & (summary["statistic"] == "pooled")].iloc[0]
    assert (
        f"{row['observed']:.3f} {row['degree']:+.3f} {row['residual']:+.3f} {row['z']:.2f}".replace("-", "−")
        in (found["Against degrees"])
    )
    kept = audited.uns["residualize_edges"]["summary"].query("variant == 'magnitude'")["retention"].dropna()
    assert f"{100 * kept.iloc[0]:.3g} %" in found["What gene features leave"].replace("−", "-")
    families = audited.uns["correct_tests"]["families"]
    assert f"{len(audited.uns['tests'])} tests on record" in found["Tests and corrections"]
    assert "confirmatory all" in found["Tests and corrections"]
    assert str(families["n"].iloc[0]) in found["Tests and corrections"]
    scored = audited.uns["perturbation_auroc"]["detection"]
    told = {
        "gain in AUROC over gene features spearman perturbation held out, logistic model": audited.uns[
            "incremental_value"
        ]["detection"],
        "AUROC of responders spearman against detection rate": scored[scored["versus"] == "detection_rate"],
    }
    for words, detection in told.items():
        seen = detection.loc[detection["detected"], "delta"]
        smallest = f"{seen.min():g} sd" if len(seen) else "none up to 2 sd"
        assert f"{words} {smallest}" in found["What could have been found"]


def test_names_of_methods_and_tests_are_words(audited: ad.AnnData) -> None:
    found = sections(audited)["What could have been found"]
    for raw in ("gbdt", "ols", "vs_", "gain/", "auroc", "detection_rate"):
        assert raw not in found
    assert "spearman gene features taken away by linear model" in found
    assert "Trivial gene-level baselines against detection rate difference of AUROC" in found


def test_sections_appear_only_with_their_result(audited: ad.AnnData) -> None:
    adata = audited.copy()
    for key in ("verdict", "degree_null", "correct_tests"):
        del adata.uns[key]
    assert not {"Verdict", "Against degrees", "Tests and corrections"} & set(sections(adata))
    adata.uns = {"tests": audited.uns["tests"]}
    assert sections(adata) == {}


def test_reruns_and_tests_added_since_are_told(empty: ad.AnnData, enter: Callable[..., None]) -> None:
    for margin in (0.02, 0.05, 0.02):
        enter(empty, {"analysis": "A01", "name": "x", "p_raw": 0.5}, params={"margin": margin})
    sps.tl.correct_tests(empty)
    assert "A01 of attention (tool): run 3 times with 2 settings." in sections(empty)["Tests and corrections"]
    assert "anew" not in sections(empty)["Tests and corrections"]
    enter(empty, {"analysis": "A04", "name": "y", "p_raw": 0.5})
    assert "Tests were added since" in sections(empty)["Tests and corrections"]


def test_the_page_holds_the_sections(audited: ad.AnnData, tmp_path: Any) -> None:
    page = sps.report(audited, tmp_path / "page.html").read_text()
    titles = re.findall(r"<h2>([^<]*)</h2>", page)
    assert titles.index("Verdict") < titles.index("Figures") < titles.index("Against degrees")
    assert "that is not asked here" not in page
    criteria, evidence = audited.uns["verdict"]["criteria"], audited.uns["verdict"]["evidence"]
    assert criteria["reason"].iloc[-1] in page
    often = evidence.loc[(evidence["criterion"] == "a") & (evidence["test_id"] != ""), "n_runs"].max()
    assert f"run {'once' if often == 1 else 'twice'} with" in page


@pytest.mark.parametrize(("passed", "expected"), [(True, True), (False, False), (None, False)])
def test_words_are_earned_by_the_verdict_where_there_is_one(
    empty: ad.AnnData,
    enter_all: Callable[..., None],
    make_contrasts: Callable[..., pd.DataFrame],
    passed: Any,
    expected: bool,
) -> None:
    changes = {True: {}, False: {"vs_mean": {"effect_size": -1.0}}, None: {"vs_mean": {"status": "label_leak"}}}[passed]
    enter_all(empty, changes)
    sps.tl.verdict(empty)
    judged = first_criterion(empty)
    assert judged == {"attention": passed}
    for difference in (0.2, -0.2):
        table = make_contrasts(difference)
        assert has_earned(table, "attention", judged) is expected
        assert has_earned(table, "attention", {}) is (difference > 0)


@pytest.fixture
def make_contrasts(make_contrast_row: Callable[..., pd.Series]) -> Callable[[float], pd.DataFrame]:
    """Contrasts of attention with each trivial feature, all with the same difference."""

    def make(difference: float) -> pd.DataFrame:
        names = ("variance", "mean", "detection_rate")
        return pd.DataFrame([make_contrast_row("attention", name, "baseline", difference) for name in names])

    return make
