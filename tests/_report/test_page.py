from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import anndata as ad
import matplotlib.pyplot as plt
import numpy as np
import pytest

import scepsis as sps
from scepsis._report._findings import GATED

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd

VOID = {"meta", "img"}
WINS = {
    "attention": ("edges", 0.912, "ok"),
    "variance": ("baseline", 0.621, "ok"),
    "mean": ("baseline", 0.604, "ok"),
    "detection_rate": ("baseline", 0.591, "ok"),
}


class Page(HTMLParser):
    """A page taken apart; fails where an element is not closed, or closed by another."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.images: list[dict[str, str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attributes]
        if tag == "img":
            self.images.append({name: value or "" for name, value in attributes})

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, text: str) -> None:
        if self.open and self.open[-1] != "style" and text.strip():
            self.words.append(text.replace("\u00a0", " "))

    @property
    def text(self) -> str:
        return " ".join(self.words)


def made(adata: ad.AnnData, tmp_path: Path, **options: object) -> Page:
    return Page(sps.report(adata, tmp_path / "audit.html", **options).read_text(encoding="utf-8"))


def test_page_is_whole_and_needs_nothing_else(reported: Callable[..., ad.AnnData], tmp_path: Path) -> None:
    page = made(reported(), tmp_path)
    raw = (tmp_path / "audit.html").read_text()
    assert {"html", "head", "body", "title", "table", "figure"} <= set(re.findall(r"<(\w+)", raw))
    for tag, name, value in page.attributes:
        assert not re.match(r"(https?:)?//", value)
        assert name not in {"href", "srcset", "onclick"}
        assert tag not in {"script", "link", "iframe"}
        if name == "src":
            assert value.startswith("data:image/svg+xml;base64,")
    style = raw.split("<style>")[1].split("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style
    assert ("html", "lang", "en") in page.attributes


def test_pictures_are_inside_and_described(reported: Callable[..., ad.AnnData], tmp_path: Path) -> None:
    page = made(reported(), tmp_path)
    assert len(page.images) == 3
    for image in page.images:
        svg = ET.fromstring(base64.b64decode(image["src"].partition(",")[2]))
        assert svg.tag.endswith("svg")
        for node in svg.iter():
            for name, value in node.attrib.items():
                if name.endswith("href"):
                    assert value.startswith(("#", "data:"))
        assert len(image["alt"]) > 30
    assert "variance 0.821" in page.images[0]["alt"]
    assert plt.get_fignums() == []


def test_numbers_of_the_table_are_on_the_page(reported: Callable[..., ad.AnnData], tmp_path: Path) -> None:
    adata = reported()
    page = made(adata, tmp_path)
    result = adata.uns["perturbation_auroc"]
    for row in result["summary"].itertuples():
        start = page.words.index(
            row.predictor, page.words.index("How well each predictor ranks the genes that respond to a perturbation")
        )
        cells = page.words[start : start + 12]
        assert cells[4] == ("–" if np.isnan(row.auroc) else f"{row.auroc:.3f}")
        if np.isfinite(row.auroc):
            assert cells[5] == f"{row.ci_low:.3f} to {row.ci_high:.3f}"
    row = result["contrasts"].query("edges == 'attention' and versus == 'spearman'").iloc[0]
    assert (
        f"attention ranks responders worse than spearman: mean AUROC differs by −{-row['difference']:.3f}" in page.text
    )


def test_what_was_audited_and_on_what(reported: Callable[..., ad.AnnData], tmp_path: Path) -> None:
    text = made(reported(), tmp_path).text
    for expected in (
        "0123456789abcdef",
        "probability",
        "unrecorded",
        "280 cells x 60 genes",
        "3 labels of obs['perturbation']",
        "false discovery rate 5 %",
        "at least one call in 5 % of 20 splits",
        "exploratory",
        "Without numbers (not run): position.",
        "arXiv:2602.17532",
    ):
        assert expected in text


def test_names_are_escaped(reported: Callable[..., ad.AnnData], tmp_path: Path) -> None:
    page = made(reported(), tmp_path, title="<script>alert(1)</script> & co")
    raw = (tmp_path / "audit.html").read_text()
    assert "<script" not in raw
    assert "<b>model" not in raw
    assert "tiny <b>model</b>" in page.text
    assert page.words[0] == "<script>alert(1)</script> & co"


def test_words_for_a_mechanism_have_to_be_earned(reported: Callable[..., ad.AnnData], tmp_path: Path) -> None:
    text = made(reported(), tmp_path).text.lower()
    assert not [word for word in GATED if word in text]
    with pytest.warns(UserWarning, match="says regulatory"):
        page = made(reported(), tmp_path, title="A regulatory network")
    assert page.words[0] == "Audit of attention"
    page = made(reported(WINS), tmp_path, title="A regulatory network")
    assert page.words[0] == "A regulatory network"
    assert "ranks responders better than the variance, the mean and the detection rate" in page.text


def test_few_perturbations_allow_no_inference(reported: Callable[..., ad.AnnData], tmp_path: Path) -> None:
    text = made(reported(n_units=4), tmp_path).text
    assert "cannot be assessed here" in text
    assert "with fewer than 6 no inference is possible" in text
    assert not re.search(r"(attention|spearman) ranks responders (better than (?!features)|worse|above|below)", text)


def test_same_numbers_give_the_same_bytes(reported: Callable[..., ad.AnnData], tmp_path: Path) -> None:
    first = sps.report(reported(), tmp_path / "a.html").read_bytes()
    assert sps.report(reported(), str(tmp_path / "b.html")).read_bytes() == first


def test_layers_are_drawn_where_they_were_scored(reported: Callable[..., ad.AnnData], tmp_path: Path) -> None:
    adata = reported()
    layered = {f"attention_L{layer}": ("edges", 0.6, "ok") for layer in range(2)}
    adata.uns["perturbation_auroc_layers"] = reported(layered).uns["perturbation_auroc"]
    page = made(adata, tmp_path)
    assert len(page.images) == 4
    assert "attention_L1 0.600" in page.images[1]["alt"]


def test_changed_data_are_told(reported: Callable[..., ad.AnnData], tmp_path: Path) -> None:
    adata = reported()
    adata.uns["attention"]["params"] |= {"cells": "edge_cells", "cells_hash": "0" * 32}
    assert "The cells of the data have changed since attention was made" in made(adata, tmp_path).text


def test_result_read_back_from_disk_gives_the_same_page(
    reported: Callable[..., ad.AnnData], tmp_path: Path, roundtrips: Callable
) -> None:
    adata = reported()
    before = sps.report(adata, tmp_path / "a.html").read_bytes()
    for back in roundtrips(adata):
        assert sps.report(back, tmp_path / "b.html").read_bytes() == before


def test_data_are_left_as_they_are(reported: Callable[..., ad.AnnData], tmp_path: Path, untouched: Callable) -> None:
    adata = reported()
    with untouched(adata):
        sps.report(adata, tmp_path / "audit.html")


def test_bad_input(reported: Callable[..., ad.AnnData], tmp_path: Path) -> None:
    with pytest.raises(KeyError, match=r"scepsis\.tl\.perturbation_auroc"):
        sps.report(ad.AnnData(np.ones((2, 2), dtype=np.float32)), tmp_path / "audit.html")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        sps.report(reported(), tmp_path / "nowhere" / "audit.html")
    adata = reported()
    summary: pd.DataFrame = adata.uns["perturbation_auroc"]["summary"]
    adata.uns["perturbation_auroc"]["summary"] = summary[summary["kind"] == "baseline"]
    with pytest.raises(ValueError, match="scores no edges"):
        sps.report(adata, tmp_path / "audit.html")
    assert list(tmp_path.iterdir()) == []
