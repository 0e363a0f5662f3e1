"""One version, wherever it is read."""

from __future__ import annotations

import ast
import re
from importlib.metadata import version
from pathlib import Path

import pytest

import scepsis

ROOT = Path(__file__).parents[1]


def test_metadata_has_the_version_of_the_package() -> None:
    assert version("scepsis") == scepsis.__version__


def test_version_is_written_once_in_the_code() -> None:
    written = [
        path.name
        for path in (ROOT / "src").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value == scepsis.__version__
    ]
    assert written == ["_version.py"]
    assert scepsis.__version__ not in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize(
    ("file", "pattern"),
    [("CITATION.cff", r"^version: (\S+)$"), ("CHANGELOG.md", r"^## \[(\d\S*)\] - \d{4}-\d\d-\d\d$")],
)
def test_documents_name_the_version(file: str, pattern: str) -> None:
    found = re.findall(pattern, (ROOT / file).read_text(), flags=re.MULTILINE)
    assert found[0] == scepsis.__version__


def test_release_date_is_the_same_everywhere() -> None:
    (cited,) = re.findall(r"^date-released: (\S+)$", (ROOT / "CITATION.cff").read_text(), flags=re.MULTILINE)
    assert f"## [{scepsis.__version__}] - {cited}" in (ROOT / "CHANGELOG.md").read_text()
