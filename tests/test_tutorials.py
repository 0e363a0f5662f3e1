"""The tutorials run from top to bottom, as they are committed."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "tutorials").glob("*.ipynb"))


def execute(path: Path, folder: Path) -> list[str]:
    """Run a notebook in `folder` and give the text that its cells print."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook,
        timeout=1800,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        extra_arguments=["--InteractiveShell.colors=NoColor"],
    ).execute(
        env=os.environ
        | {"SCEPSIS_ROOT": str(path.parents[1]), "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    )
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    warned = [output["text"] for output in outputs if output.get("name") == "stderr"]
    assert not [text for text in warned if "IProgress not found" not in text], "a tutorial warns about nothing"
    return [output["text"] for output in outputs if output.get("name") == "stdout"]


def test_there_is_a_tutorial() -> None:
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_tutorial_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SCEPSIS_SLOW", raising=False)
    said = execute(path, tmp_path)
    assert any(text.startswith("Not run: set SCEPSIS_DATA") for text in said)


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_tutorial_runs_on_real_data(path: Path, tmp_path: Path) -> None:
    said = execute(path, tmp_path)
    assert not any(text.startswith("Not run") for text in said)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_that_are_committed_hold_no_path_and_no_error(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    text = path.read_text()
    assert str(Path.home()) not in text
    assert "/tmp/" not in text
    assert not any(
        output.output_type == "error" for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs
    )
