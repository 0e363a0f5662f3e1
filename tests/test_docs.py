"""What the documents say is what there is."""

from __future__ import annotations

import doctest
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scepsis import pl
from scepsis._core import _keys

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
SLOTS = (ROOT / "docs" / "slots.md").read_text()


def fences(text: str, language: str) -> list[str]:
    """Code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def slot_names() -> list[str]:
    """Every name that `_keys` can build, with placeholders."""
    names = [
        value
        for name, value in vars(_keys).items()
        if name.isupper() and isinstance(value, str) and name not in {"RANDOMIZED", "RESIDUAL"}
    ]
    edges = _keys.EdgeKeys("<key>")
    arguments = {
        "layer": (13,),
        "head": (13, 2),
        "scale": ("uniform_fold",),
        "residual": ("<residualizer>",),
        "group": ("<slug>",),
        "owns": None,
    }
    for name, member in inspect.getmembers(_keys.EdgeKeys):
        if name.startswith("_") or name == "key":
            continue
        if isinstance(member, property):
            names.append(getattr(edges, name))
        elif arguments[name] is not None:  # a new builder has to be added here, and to the page
            built = getattr(edges, name)(*arguments[name])
            names.append(built if isinstance(built, str) else built.key)
    effects = _keys.EffectKeys("<key>")
    names += [
        getattr(effects, name) for name, member in inspect.getmembers(_keys.EffectKeys) if isinstance(member, property)
    ]
    return names


@pytest.mark.parametrize("name", slot_names())
def test_slot_is_in_the_table(name: str) -> None:
    assert f'["{name}"]' in SLOTS


@pytest.mark.parametrize("slug", _keys.RESERVED_SLUGS)
def test_reserved_slug_is_named(slug: str) -> None:
    assert f"`{slug}`" in SLOTS


def test_ci_runs_the_commands_of_the_readme() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    commands = [line for block in fences(README, "bash") for line in block.splitlines()]
    for variable, expected in (
        ("test_line", 'python -m pip install -e ".[test]" && python -m pytest'),
        ("demo_line", "python -m pip install . && scepsis demo"),
    ):
        (pattern,) = re.findall(rf"^{variable}=\$\(grep -m1 -E '(.*)' README\.md\)$", script, flags=re.MULTILINE)
        found = [line for line in README.splitlines() if re.search(pattern, line)]
        assert found == [expected]
        assert expected in commands
        assert f"${{{variable}%%&&*}}" in script
        assert f"${{{variable}#*&& }}" in script


def test_readme_names_no_option_that_does_not_exist() -> None:
    audit = [line for block in fences(README, "bash") for line in block.splitlines() if "scepsis audit" in line]
    helped = subprocess.run(
        [sys.executable, "-m", "scepsis", "audit", "--help"], check=True, capture_output=True, text=True, timeout=120
    ).stdout
    for option in {word for line in audit for word in line.split() if word.startswith("--")}:
        assert option in helped


def test_command_line_page_names_every_option() -> None:
    page = (ROOT / "docs" / "command_line.md").read_text()
    for command in ("demo", "audit"):
        helped = subprocess.run(
            [sys.executable, "-m", "scepsis", command, "--help"],
            check=True,
            capture_output=True,
            text=True,
            timeout=120,
        ).stdout
        for option in set(re.findall(r"--[a-z][a-z-]+", helped)) - {"--help"}:
            assert f"`{option}" in page


def test_quickstart_of_the_readme_runs(tmp_path: Path) -> None:
    quickstart, whole = fences(README, "python")
    # the call as it stands, but for what takes minutes
    left_out = "skip=['explain_edges', 'residualize_edges', 'rank_heads', 'ablate_heads']"
    quick = f"joint_mode='diagonal', n_null=100, n_boot=100, n_seeds=1, {left_out}"
    assert whole.count("reference=network)") == 1
    whole = whole.replace("reference=network)", f"reference=network, {quick})")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"{quickstart}\n{whole}"],
        check=False,
        capture_output=True,
        text=True,
        timeout=550,
        cwd=tmp_path,
        env=os.environ | {"MPLBACKEND": "Agg"},
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "audit.html").stat().st_size > 10_000


def test_page_on_interventions_runs(tmp_path: Path) -> None:
    blocks = fences((ROOT / "docs" / "interventions.md").read_text(), "python")
    told = """
assert results.set_index("condition")["reachable"].to_dict() == {"mlp_1": "no"} | dict.fromkeys(
    ["top_1", "top_2", "top_4", "uniform_top_4", "mlp_0"], "yes"
)
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", "\n".join([*blocks, told])],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        cwd=tmp_path,
        env=os.environ | {"MPLBACKEND": "Agg"},
    )
    assert done.returncode == 0, done.stderr


def test_links_between_documents_lead_somewhere() -> None:
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "benchmarks" / "README.md"]:
        for link in re.findall(r"\]\((?!https?://|#)([^)#]+)", path.read_text()):
            assert (path.parent / link).exists(), f"{path.name}: {link}"


def test_citations_have_an_entry() -> None:
    entries = set(re.findall(r"^@\w+\{(\w+),", (ROOT / "docs" / "references.bib").read_text(), flags=re.MULTILINE))
    texts = [path.read_text() for folder in ("src", "docs") for path in (ROOT / folder).rglob("*.[pm][yd]")]
    cited = {
        key.strip()
        for text in texts
        for keys in re.findall(r":cite:[pt]:`([^`]+)`|\{cite:[pt]\}`([^`]+)`", text)
        for key in "".join(keys).split(",")
    }
    assert cited <= entries


def test_gallery_has_every_plot_by_its_own_example() -> None:
    page = (ROOT / "docs" / "gallery.md").read_text()
    names = re.findall(r"^## (\w+)$", page, flags=re.MULTILINE)
    assert names == sorted(pl.__all__), "run scripts/make_gallery.py"
    for name, code in zip(names, fences(page, "python"), strict=True):
        examples = doctest.DocTestParser().get_examples(getattr(pl, name).__doc__)
        assert code.rstrip() == "".join(one.source for one in examples).rstrip(), "run scripts/make_gallery.py"
        assert (ROOT / "docs" / "gallery" / f"{name}.png").stat().st_size > 2_000
    assert {path.stem for path in (ROOT / "docs" / "gallery").glob("*.png")} == set(names)
