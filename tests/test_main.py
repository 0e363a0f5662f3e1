from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import scepsis as sps
from scepsis.__main__ import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: Steps that tests of other things do without.
QUICK = (
    "--skip",
    (
        "incremental_value,explain_edges,residualize_edges,matched_evaluation,degree_null,reference_auroc,circularity,"
        "rank_heads,ablate_heads"
    ),
)
PERTURBED = tuple(f"G{index}" for index in range(8))


@pytest.fixture
def files(make_screen: Callable[..., ad.AnnData], tmp_path: Path) -> Path:
    """A folder with a screen of eight perturbed genes, edges of all pairs, and a network of the planted responders."""
    adata = make_screen(n_perturbed=55, perturbed=PERTURBED)
    adata.obs["guides"] = np.where(np.arange(adata.n_obs) % 10 == 0, 1, 5)
    adata.var["symbol"] = [f"symbol-{name}" for name in adata.var_names]
    adata.write_h5ad(tmp_path / "screen.h5ad")
    genes = adata.var_names.to_numpy()
    source, target = (side.ravel() for side in np.meshgrid(genes, genes, indexing="ij"))
    edges = pd.DataFrame({"source": source, "target": target})
    edges["weight"] = np.random.default_rng(0).random(len(edges))
    edges[edges["source"] != edges["target"]].to_csv(tmp_path / "my edges.csv", index=False)
    rows = [f"G{k}\tG{gene}\tActivation\t1" for k in range(8) for gene in range(10 + 5 * k, 15 + 5 * k)]
    (tmp_path / "net.tsv").write_text("\n".join([*rows, rows[0]]) + "\n")
    return tmp_path


def audited(folder: Path) -> ad.AnnData:
    return ad.read_h5ad(folder / "audited.h5ad")


def test_edges_are_audited_without_a_model(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = files / "out"
    code = main(
        [
            "audit",
            str(files / "screen.h5ad"),
            *("--edges", str(files / "my edges.csv")),
            *("--reference", str(files / "net.tsv")),
            *("--groupby", "perturbation", "--control", "non-targeting", "--totals", "n_umis_total"),
            *("--subset", "guides >= 3", "--n-cells", "150", "--n-top-genes", "55", "--force", "perturbed"),
            *("--out", str(out), "--rng", "3", "--n-boot", "200", "--n-null", "60", "--joint-mode", "diagonal"),
            *("--skip", "explain_edges,residualize_edges", "--n-jobs", "1"),
        ]
    )
    said = capsys.readouterr()
    assert code == 0, said.err
    adata = audited(out)
    assert (adata.obs["guides"] >= 3).all()
    assert adata.uns["lognormalize"]["params"]["totals"] == "n_umis_total"
    assert adata.uns["select_cells"]["params"]["seed"] == 3
    assert adata.var.loc[list(PERTURBED), "edge_panel"].all()
    summary = adata.uns["perturbation_auroc"]["summary"].set_index("predictor")
    assert summary.index[summary["kind"] == "edges"].tolist() == ["my_edges", "net", "spearman"]
    # the network lists the planted responders of each perturbation, the table holds noise
    assert summary.loc["net", "auroc"] > 0.9
    assert abs(summary.loc["my_edges", "auroc"] - 0.5) < 0.15
    assert np.nanmin(adata.varp["net"].toarray() if hasattr(adata.varp["net"], "toarray") else adata.varp["net"]) == 0
    assert f"{summary.loc['net', 'auroc']:.3f}" in said.out
    assert str(out / "report.html") in said.out
    assert str(out / "audited.h5ad") in said.out
    steps = adata.uns["audit"]["steps"].set_index("step")["status"]
    assert steps[["degree_null", "circularity", "incremental_value", "verdict"]].tolist() == ["run"] * 4
    assert steps[["explain_edges", "residualize_edges", "attention_edges"]].tolist() == ["skipped"] * 3
    for step in steps.index[steps == "run"]:
        assert f"{step} (" in said.out
    tests = adata.uns["tests"]
    assert set(tests.query("analysis == 'A09'")["edges"]) == {"my_edges", "spearman"}  # a network is not its own judge
    assert set(tests.query("analysis == 'A10'")["status"]) == {"ok"}
    assert (adata.uns["degree_null"]["params"]["n_null"], adata.uns["incremental_value"]["params"]["n_boot"]) == (
        60,
        200,
    )
    assert set(adata.uns["verdict"]["criteria"]["edges"]) == {"my_edges", "net", "spearman"}
    page = (out / "report.html").read_text()
    assert "Audit of my_edges" in page
    assert "No model was used." in page


def test_network_that_is_silent_about_sources_silences_nothing_else(files: Path) -> None:
    (files / "one.tsv").write_text("".join(f"G0\tG{gene}\n" for gene in range(10, 15)))
    given = ["--edges", str(files / "my edges.csv"), "--out", str(files / "out"), *QUICK]
    alone, beside = (
        audited(files / "out").uns["perturbation_auroc"]["summary"].set_index("predictor")
        for extra in ([], ["--reference", str(files / "one.tsv")])
        if main(["audit", str(files / "screen.h5ad"), *given, *extra]) == 0
    )
    names = ["my_edges", "spearman", "variance"]
    pd.testing.assert_frame_equal(alone.loc[names, ["n_units", "auroc"]], beside.loc[names, ["n_units", "auroc"]])
    assert beside.loc["one", "n_units"] == 1
    assert beside.loc["one", "auroc"] > 0.7


def test_labels_and_network_may_be_written_in_symbols(files: Path) -> None:
    adata = ad.read_h5ad(files / "screen.h5ad")
    labels = adata.obs["perturbation"].astype(str)
    adata.obs["perturbation"] = labels.where(labels == "non-targeting", "symbol-" + labels)
    adata.write_h5ad(files / "symbols.h5ad")
    net = pd.read_csv(files / "net.tsv", sep="\t", header=None)
    net[[0, 1]] = "symbol-" + net[[0, 1]]
    net.to_csv(files / "net.tsv", sep="\t", header=False, index=False)
    given = ["--edges", str(files / "my edges.csv"), "--reference", str(files / "net.tsv")]
    options = ["--gene-symbols", "symbol", "--out", str(files / "out"), *QUICK]
    assert main(["audit", str(files / "symbols.h5ad"), *given, *options]) == 0
    summary = audited(files / "out").uns["perturbation_auroc"]["summary"].set_index("predictor")
    assert summary.loc["net", "auroc"] > 0.9
    assert summary.loc["my_edges", "n_units"] == summary.loc["net", "n_units"] > 5


def test_given_layer_is_used(files: Path) -> None:
    adata = ad.read_h5ad(files / "screen.h5ad")
    sps.pp.lognormalize(adata)
    adata.layers["mine"] = adata.layers["lognorm"]
    del adata.layers["lognorm"]
    adata.write_h5ad(files / "layer.h5ad")
    options = ["--layer", "mine", "--out", str(files / "out"), *QUICK]
    assert main(["audit", str(files / "layer.h5ad"), "--edges", str(files / "my edges.csv"), *options]) == 0
    back = audited(files / "out")
    assert "lognorm" not in back.layers
    for key in ("perturbation_effects", "spearman"):
        assert "mine" in back.uns[key]["params"]["values"]


def test_torch_is_not_needed_for_edges(files: Path) -> None:
    code = (
        "import sys\n"
        "class NoTorch:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in {'torch', 'transformers'}:\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, NoTorch())\n"
        "from scepsis.__main__ import main\n"
        f"code = main(['audit', {str(files / 'screen.h5ad')!r}, '--edges', {str(files / 'my edges.csv')!r}, "
        f"'--out', {str(files / 'out')!r}, '--n-boot', '50', '--joint-mode', 'diagonal', '--skip', 'explain_edges'])\n"
        "sys.exit(code or 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def small_demo() -> ad.AnnData:
    """Part of the built-in screen: 80 control cells and all cells of eight regulators."""
    adata = sps.datasets.demo()
    labels = adata.obs["perturbation"].astype(str)
    named = [label for label in labels.unique() if label != "non-targeting"]
    counts = labels.value_counts()
    kept = [label for label in named if counts[label] >= 50][:8]
    control = labels.index[labels == "non-targeting"][:80]
    return adata[labels.isin(kept) | labels.index.isin(control)].copy()


def test_model_is_audited_with_its_companions(
    small_demo: ad.AnnData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small_demo.write_h5ad(tmp_path / "screen.h5ad")
    assert (
        main(
            [
                "audit",
                str(tmp_path / "screen.h5ad"),
                "--model",
                "demo",
                "--n-cells",
                "60",
                "--out",
                str(tmp_path),
                *QUICK,
            ]
        )
        == 0
    )
    said = capsys.readouterr()
    adata = audited(tmp_path)
    kinds = adata.uns["perturbation_auroc"]["summary"].set_index("predictor")["kind"]
    expected = {
        "attention": "edges",
        "spearman": "edges",
        "attention_uniform_fold": "scale",
        "attention_centered": "scale",
        "attention_randomized": "control",
        "variance": "baseline",
    }
    assert expected.items() <= kinds.to_dict().items()
    assert list(adata.uns["perturbation_auroc"]["params"]["missing_companions"]) == []
    layers = adata.uns["perturbation_auroc_layers"]["summary"]["predictor"]
    assert {"attention_L0", "attention_L1", "attention_randomized_L0", "spearman"} <= set(layers)
    for name in expected:
        assert name in said.out
    assert (tmp_path / "report.html").read_text().count("<figure>") == 4


def test_one_layer_of_a_model_is_exploratory(small_demo: ad.AnnData, tmp_path: Path) -> None:
    small_demo.write_h5ad(tmp_path / "screen.h5ad")
    given = ["--model", "demo", "--layers", "1", "--n-cells", "60", "--out", str(tmp_path), *QUICK]
    assert main(["audit", str(tmp_path / "screen.h5ad"), *given]) == 0
    adata = audited(tmp_path)
    assert list(adata.uns["attention"]["params"]["layers"]) == [1]
    assert "perturbation_auroc_layers" not in adata.uns
    assert "exploratory" in (tmp_path / "report.html").read_text()


def test_demo_runs_the_whole_path(
    small_demo: ad.AnnData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sps.datasets, "demo", small_demo.copy)
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--seed", "1"]) == 0
    assert audited(tmp_path / "scepsis-demo").uns["attention_randomized"]["params"]["seed"] == 1
    said = capsys.readouterr().out
    assert "report: scepsis-demo" in said
    (call,) = re.findall(r"^  (sps\.tl\.audit\(.*\))$", said, flags=re.MULTILINE)
    named = inspect.signature(sps.tl.audit).bind(*ast.parse(call, mode="eval").body.args)
    assert list(named.arguments) == ["adata", "model"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--groupby", "nothing"], "'nothing'"),
        (["--control", "NT"], "'NT' does not occur"),
        (["--totals", "nothing"], "'nothing'"),
        (["--layer", "nothing"], "'nothing'"),
        (["--gene-symbols", "nothing"], "'nothing'"),
        (["--subset", "nothing > 1"], "'nothing'"),
        (["--subset", "@x"], "'@' is not allowed"),
        (["--subset", "batch.str.len() > 1"], "not allowed"),
        (["--layer", "a", "--totals", "b"], "give one of them"),
        (["--layers", "one"], "not a whole number"),
        (["--n-cells", "-3"], "-n-cells"),
        (["--n-cells", "0"], "n_cells"),
        (["--reference", "nowhere.tsv"], "no file 'nowhere.tsv'"),
        (["--force", "NOPE"], "NOPE"),
        (["--model", "nowhere"], "nowhere"),
        (["--nonsense"], "--nonsense"),
        (["--skip", "dance"], "'dance'"),
        (["--joint-mode", "some"], "some"),
    ],
)
def test_mistakes_are_named_in_one_line(
    files: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    given = ["audit", str(files / "screen.h5ad"), "--edges", str(files / "my edges.csv"), "--out", str(files / "out")]
    assert main([*given, *options]) == 2
    said = capsys.readouterr()
    *notes, last = said.err.splitlines()
    assert last.startswith("scepsis: error: ")
    assert message in last
    assert all(note.startswith("note: ") for note in notes)
    assert "Traceback" not in said.err
    assert not (files / "out" / "report.html").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "command"),
        (["audit"], "SCREEN.h5ad"),
        (["audit", "screen.h5ad"], "--model DIR"),
        (["audit", "nowhere.h5ad", "--edges", "edges.csv"], "no file 'nowhere.h5ad'"),
        (["dance"], "dance"),
    ],
)
def test_arguments_that_make_no_sense(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert list(tmp_path.iterdir()) == []


def test_out_must_be_a_folder(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["audit", str(files / "screen.h5ad"), "--edges", str(files / "my edges.csv")]
    assert main([*given, "--out", str(files / "net.tsv")]) == 2
    assert "is a file" in capsys.readouterr().err


def test_traceback_is_shown_on_request(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", str(files / "nowhere.h5ad"), "--edges", "x.csv", "--traceback"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--version", "--help"):
        with pytest.raises(SystemExit) as left:
            main([option])
        assert left.value.code == 0
    assert f"scepsis {sps.__version__}" in capsys.readouterr().out


def test_asking_for_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom scepsis.__main__ import main\n"
        "try:\n    main(['audit', '--help'])\nexcept SystemExit:\n"
        "    sys.exit(bool({'torch', 'matplotlib', 'scanpy', 'sklearn', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
