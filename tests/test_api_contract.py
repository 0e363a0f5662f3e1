"""The rules of the house (CONTRIBUTING.md), held for every public function and every file."""

from __future__ import annotations

import ast
import doctest
import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import pytest

import scepsis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "scepsis"
NAMESPACES = ("datasets", "get", "models", "pl", "pp", "references", "tl")
TOOLS = ("pp", "tl")
FILES = sorted(SRC.rglob("*.py"))
TREES = {path: ast.parse(path.read_text()) for path in FILES}


def public() -> Iterator[tuple[str, Any]]:
    """Dotted name and object of everything public."""
    for space in NAMESPACES:
        for name in getattr(scepsis, space).__all__:
            yield f"{space}.{name}", getattr(getattr(scepsis, space), name)
    yield "report", scepsis.report


def space_of(name: str) -> str:
    """Namespace of a dotted name."""
    return name.partition(".")[0]


def last(name: str) -> str:
    return name.rpartition(".")[2]


OBJECTS = dict(public())
FUNCTIONS = {name: item for name, item in OBJECTS.items() if inspect.isfunction(item)}
ON_DATA = {name: item for name, item in FUNCTIONS.items() if space_of(name) not in {"datasets", "models", "references"}}
MAKERS = {name: item for name, item in FUNCTIONS.items() if space_of(name) in TOOLS}
PLOTS = {name: item for name, item in FUNCTIONS.items() if name.startswith("pl.")}

each_function = pytest.mark.parametrize("name", FUNCTIONS)
each_on_data = pytest.mark.parametrize("name", ON_DATA)
each_maker = pytest.mark.parametrize("name", MAKERS)
each_plot = pytest.mark.parametrize("name", PLOTS)
each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SRC)))


def parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(function).parameters)


def sections(docstring: str) -> dict[str, str]:
    """Numpydoc sections of a cleaned docstring; the text before them is under ""."""
    parts = re.split(r"^(\w[\w ]*)\n-{3,}$", inspect.cleandoc(docstring), flags=re.MULTILINE)
    return {"": parts[0].strip()} | {
        title: text.strip("\n") for title, text in zip(parts[1::2], parts[2::2], strict=True)
    }


def imports(tree: ast.AST, *, at_runtime: bool = True) -> set[str]:
    """Dotted names of imported modules; those for type checkers only are left out."""
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if at_runtime and id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def docstring_lines(node: ast.AST) -> int:
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node, clean=False):
        return node.body[0].end_lineno - node.body[0].lineno + 1
    return 0


def calls_of(tree: ast.AST) -> set[str]:
    """Names of everything that is called."""
    return {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


# 1. One public function per file, and small files and functions


@each_function
def test_function_has_a_file_of_its_own(name: str) -> None:
    path = Path(inspect.getfile(OBJECTS[name]))
    here = last(name)
    assert path.stem == ("_page" if name == "report" else f"_{here}")
    assert path.relative_to(SRC).parts[0] == ("_report" if name == "report" else space_of(name))
    functions = {
        node.name for node in TREES[path].body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    }
    assert functions == {here}


@each_file
def test_file_and_functions_are_small(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400
    long = {
        node.name: lines
        for node in ast.walk(TREES[path])
        if isinstance(node, ast.FunctionDef)
        and (lines := node.end_lineno - node.body[0].lineno + 1 - docstring_lines(node)) > 70
    }
    assert long == {}


# 2. Imports run downwards

#: What may not be imported, wherever in the file, by which folder.
FORBIDDEN = {
    "_core": ("stats", "edges", "models", "pp", "tl", "get", "datasets", "references", "pl", "_report"),
    "stats": ("_core.", "edges", "models", "pp", "tl", "get", "datasets", "references", "pl", "_report"),
    "edges": ("_core.", "pp", "tl", "get", "datasets", "references", "pl", "_report"),
    "models": ("stats", "edges", "pp", "tl", "get", "datasets", "references", "pl", "_report"),
    "pp": ("tl", "get", "datasets", "references", "pl", "_report"),
    "tl": ("pp", "get", "datasets", "references", "pl", "_report"),
    "get": ("pp", "tl", "datasets", "references", "pl", "_report", "stats", "edges", "models"),
    "datasets": ("pp", "tl", "get", "references", "pl", "_report"),
    "references": ("stats", "edges", "models", "pp", "tl", "get", "datasets", "pl", "_report"),
    "pl": ("pp", "tl", "datasets", "references", "_report", "stats", "edges", "models"),
    "_report": ("stats", "edges"),
    "__main__.py": ("stats", "edges"),
}
ALLOWED = ("scepsis._core._rng", "scepsis._core._types")
#: Tools that call other tools, by their public names; no further ones.
CONDUCTORS = ("audit", "cross_context", "sensitivity_scan", "specification_curve")


def conducts(path: Path) -> bool:
    """Whether a file is that of a conductor."""
    return path.relative_to(SRC).parts[0] == "tl" and path.stem.removeprefix("_") in CONDUCTORS


#: Functions on all modalities of a MuData at once: it comes first, and no modality is named.
ON_CONTEXTS = ("tl.cross_context", "pl.cross_context")
NO_CONTAINERS = ("stats", "edges", "models")


@each_file
def test_imports_run_downwards(path: Path) -> None:
    layer = path.relative_to(SRC).parts[0]
    found = imports(TREES[path])
    wrong = {
        item
        for item in found
        for folder in FORBIDDEN.get(layer, ())
        if item.startswith(f"scepsis.{folder}") and not item.startswith(ALLOWED)
    }
    if conducts(path):
        wrong = {item for item in wrong if not re.fullmatch(r"scepsis\.pp(\.[a-z]\w*)?", item)}
    assert wrong == set()
    if layer in NO_CONTAINERS:
        assert {item for item in found if item.split(".")[0] in {"anndata", "mudata", "pandas", "scanpy"}} == set()


@each_file
def test_tools_import_no_other_tool(path: Path) -> None:
    layer = path.relative_to(SRC).parts[0]
    own = ".".join(("scepsis", *path.relative_to(SRC).with_suffix("").parts))
    tools = {inspect.getmodule(item).__name__ for name, item in MAKERS.items() if name.startswith(f"{layer}.")}
    found = imports(TREES[path])
    others = {tool for tool in tools - {own} if any(item.startswith(f"{tool}.") for item in found)}
    assert others == set(), "a tool is called by its public name, by a conductor"
    if layer in TOOLS and not conducts(path):
        assert found & ({"scepsis.pp", "scepsis.tl"} | {f"scepsis.{name}" for name in MAKERS}) == set()


@each_file
def test_groups_of_tools_import_no_other_group(path: Path) -> None:
    """What tools of two groups have in common lies in ``tl/_shared``, which knows no group."""
    layer, *parts = path.relative_to(SRC).parts
    if layer == "tl" and len(parts) > 1:
        found = imports(TREES[path], at_runtime=False)
        groups = {item.split(".")[2] for item in found if item.startswith("scepsis.tl._")}
        assert groups <= {parts[0], "_shared"}


@each_file
def test_namespaces_are_lazy(path: Path) -> None:
    if path.name == "__init__.py":
        assert imports(TREES[path]) <= {"__future__.annotations", "lazy_loader"}


# 3. Signatures


@each_on_data
def test_first_argument_is_the_data(name: str) -> None:
    first = next(iter(parameters(OBJECTS[name]).values()))
    assert (first.name, first.annotation) == (("mdata", "MuData") if name in ON_CONTEXTS else ("adata", "Data"))


@each_function
def test_at_most_three_are_positional_and_none_is_hidden(name: str) -> None:
    kinds = [item.kind for item in parameters(OBJECTS[name]).values()]
    assert kinds.count(inspect.Parameter.POSITIONAL_OR_KEYWORD) <= 3
    assert set(kinds) <= {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}


@each_function
def test_everything_is_annotated(name: str) -> None:
    signature = inspect.signature(OBJECTS[name])
    assert signature.return_annotation is not inspect.Signature.empty
    assert all(item.annotation is not inspect.Parameter.empty for item in signature.parameters.values())


@each_function
def test_switches_are_keywords(name: str) -> None:
    for item in parameters(OBJECTS[name]).values():
        if isinstance(item.default, bool):
            assert item.kind is inspect.Parameter.KEYWORD_ONLY


@each_maker
def test_tool_can_copy(name: str) -> None:
    copy = parameters(OBJECTS[name])["copy"]
    assert (copy.kind, copy.default, copy.annotation) == (inspect.Parameter.KEYWORD_ONLY, False, "bool")
    assert inspect.signature(OBJECTS[name]).return_annotation in {
        "AnnData | MuData | None",
        "Data | None",
        "MuData | None",
    }


@pytest.mark.parametrize("name", [name for name in ON_DATA if name not in ON_CONTEXTS])
def test_modality_can_be_named(name: str) -> None:
    mod = parameters(OBJECTS[name])["mod"]
    assert (mod.kind, mod.default, mod.annotation) == (inspect.Parameter.KEYWORD_ONLY, None, "str | None")


@pytest.mark.parametrize("name", [name for name in MAKERS if name.startswith("tl.")])
def test_tool_names_its_result(name: str) -> None:
    key = parameters(OBJECTS[name])["key_added"]
    assert (key.kind, key.annotation) in {
        (inspect.Parameter.KEYWORD_ONLY, "str"),
        (inspect.Parameter.KEYWORD_ONLY, "str | None"),
    }


# 4 and 5. One spelling per slot, one writer

DISTINCTIVE = re.compile(r"edge_cells|edge_panel|token_id|in_vocabulary|.*_(n_cells|position|lfc|qval|randomized)")
#: Columns of frames, which share a word with a slot.
COLUMNS = {"max_position_embeddings"}
SLOTS = {"obs", "var", "obsm", "varm", "obsp", "varp", "uns", "layers"}


@each_file
def test_slots_are_spelled_in_one_place(path: Path) -> None:
    if path.name == "_keys.py":
        return
    documentation = {id(node.body[0].value) for node in ast.walk(TREES[path]) if docstring_lines(node)}
    spelled = {
        node.value
        for node in ast.walk(TREES[path])
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in documentation
        and DISTINCTIVE.fullmatch(node.value)
        and node.value not in COLUMNS
    }
    assert spelled == set()


@each_file
def test_results_are_written_by_one_writer(path: Path) -> None:
    if path.name == "_store.py" or path.relative_to(SRC).parts[0] == "datasets":
        return
    written = [
        ast.unparse(target)
        for node in ast.walk(TREES[path])
        if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Delete)
        for target in (node.targets if isinstance(node, ast.Assign | ast.Delete) else [node.target])
        if isinstance(target, ast.Subscript) and isinstance(target.value, ast.Attribute) and target.value.attr in SLOTS
    ]
    assert written == []


@each_maker
def test_tool_writes_once_and_last(name: str) -> None:
    functions = [node for node in TREES[Path(inspect.getfile(OBJECTS[name]))].body if isinstance(node, ast.FunctionDef)]
    (tool,) = (node for node in functions if node.name == last(name))
    writers = {node.name for node in functions if node is not tool and calls_of(node) & {"write"}} | {"write"}
    statements = [index for index, statement in enumerate(tool.body) if calls_of(statement) & writers]
    assert len(statements) == 1
    assert len(tool.body) - statements[0] <= 3, "what follows the writing is a word to the user, and the copy"
    assert ast.unparse(tool.body[-1]) == "return data if copy else None"


# 6. Direction is written down


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if last(name).startswith(("edge", "attention"))])
def test_direction_is_documented(name: str) -> None:
    text = OBJECTS[name].__doc__.lower()
    assert "source" in text
    assert "target" in text


# 7. Seeds


@each_function
def test_seed_is_called_rng(name: str) -> None:
    assert set(parameters(OBJECTS[name])) & {"seed", "random_state", "random_seed", "generator"} == set()


@each_file
def test_nothing_is_seeded_globally(path: Path) -> None:
    calls = calls_of(TREES[path])
    assert calls & {"np.random.seed", "random.seed", "torch.manual_seed", "torch.cuda.manual_seed_all"} == set()
    assert not {call for call in calls if re.fullmatch(r"np\.random\.(rand|randn|choice|permutation|shuffle)", call)}


# 8. Import is silent


@each_file
def test_import_does_nothing(path: Path) -> None:
    calls = {
        ast.unparse(node.value.func)
        for node in TREES[path].body
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    }
    assert calls == set()


# 9. Errors


@each_file
def test_input_is_not_checked_by_assert_and_no_error_is_swallowed(path: Path) -> None:
    nodes = list(ast.walk(TREES[path]))
    assert not [node for node in nodes if isinstance(node, ast.Assert)]
    silent = [
        node
        for node in nodes
        if isinstance(node, ast.ExceptHandler) and all(isinstance(inner, ast.Pass) for inner in node.body)
    ]
    assert silent == []
    assert not re.search(r"\b(TODO|FIXME|XXX)\b", path.read_text())


# 10. Plots


@each_plot
def test_plot_takes_and_returns_axes(name: str) -> None:
    known = parameters(OBJECTS[name])
    assert (known["ax"].kind, known["ax"].default) == (inspect.Parameter.KEYWORD_ONLY, None)
    assert known["ax"].annotation == "Axes | None"
    assert inspect.signature(OBJECTS[name]).return_annotation == "Axes"
    assert set(known) & {"show", "save", "return_fig", "copy"} == set()


# 11. Docstrings and the documentation


@each_function
def test_docstring_describes_the_signature(name: str) -> None:
    found = sections(OBJECTS[name].__doc__)
    assert re.match(r"[A-Z].*[.:]$", found[""].splitlines()[0])
    described = re.findall(r"^(\w.*)$", found.get("Parameters", ""), flags=re.MULTILINE)
    assert described == list(parameters(OBJECTS[name])), "names only: types and defaults are in the signature"
    assert found["Returns"]


@each_function
def test_docstring_of_input_checks(name: str) -> None:
    found = sections(OBJECTS[name].__doc__)
    if "Raises" in found:
        assert set(re.findall(r"^(\w.*)$", found["Raises"], flags=re.MULTILINE)) <= {
            "FileNotFoundError",
            "IndexError",
            "KeyError",
            "MemoryError",
            "NotImplementedError",
            "RuntimeError",
            "TypeError",
            "ValueError",
        }


@pytest.mark.filterwarnings("ignore::UserWarning")
@each_function
def test_example_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    examples = doctest.DocTestFinder(recurse=False).find(OBJECTS[name], name)
    assert examples[0].examples
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    runner.run(examples[0], out=said.append)
    plt.close("all")
    assert runner.summarize(verbose=False).failed == 0, "".join(said)


@pytest.mark.parametrize("name", OBJECTS)
def test_public_name_is_in_the_documentation(name: str) -> None:
    page = ROOT / "docs" / "api" / f"{space_of(name)}.md"
    assert re.search(rf"^   {re.escape(name)}$", page.read_text(), flags=re.MULTILINE)


def test_documentation_names_nothing_else() -> None:
    pages = (ROOT / "docs" / "api").glob("*.md")
    named = {line.strip() for page in pages for line in re.findall(r"^   [a-z]+\.\w+$", page.read_text(), re.MULTILINE)}
    assert named == set(OBJECTS) - {"report"}


# 12. Tests lie where the code lies


@each_function
def test_function_has_a_test_file(name: str) -> None:
    path = Path(inspect.getfile(OBJECTS[name])).relative_to(SRC)
    assert (ROOT / "tests" / path.parent / f"test{path.stem}.py").is_file()
