"""The files that the benchmarks write: entries merged, tables between marks, exponents."""

import importlib
import json

import numpy as np
import pandas as pd
import pytest

from mfutils import paths

FOLDER = paths.ROOT / "benchmarks"
REQUIRED = {
    "cgcnn_step_vs_cgconv", "cgcnn_epoch_vs_dense", "megnet_step_vs_matgl",
    "graphs_vs_get_all_neighbors", "graphs_vs_ase", "graphs_vs_matgl",
    "gp_descriptor_vs_gpytorch", "mlp_loo_vs_loop",
}  # fmt: skip


@pytest.fixture
def module(monkeypatch):
    """Imports a module of the benchmarks; it is forgotten afterwards."""
    monkeypatch.syspath_prepend(FOLDER)

    def load(name):
        monkeypatch.delitem(importlib.sys.modules, name, raising=False)
        found = importlib.import_module(name)
        monkeypatch.delitem(importlib.sys.modules, name)
        return found

    return load


def test_committed_results_are_complete_and_consistent(module):
    entries = json.loads((FOLDER / "results.json").read_text())
    assert {entry["name"] for entry in entries} >= REQUIRED
    for entry in entries:
        assert entry["ratio"] == pytest.approx(entry["peer_s"] / entry["ours_s"], rel=1e-2)
        assert entry["peer"]
        assert entry["equal_to"]
    assert module("run").table(entries) in (FOLDER / "README.md").read_text()


def test_a_run_keeps_the_other_results(module, tmp_path, monkeypatch):
    run = module("run")
    entry = {"ours_s": 1.0, "peer_s": 3.0, "ratio": 3.0, "peer": "a peer", "equal_to": "0"}
    (tmp_path / "results.json").write_text(json.dumps([entry | {"name": "old"}]))
    printed = json.dumps([entry | {"name": "new"}])
    (tmp_path / "bench_new.py").write_text(f"print({printed!r})")
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- results -->\nx\n<!-- /results -->\nafter\n")
    monkeypatch.setattr(run, "FOLDER", tmp_path)
    monkeypatch.setattr(run, "fill", lambda mark, text: fill(mark, text, readme))
    fill = module("readme").fill
    run.main([])
    entries = json.loads((tmp_path / "results.json").read_text())
    assert [e["name"] for e in entries] == ["new", "old"]
    text = readme.read_text()
    assert text.startswith("before\n<!-- results -->\n| benchmark")
    assert text.endswith("|\n<!-- /results -->\nafter\n")
    with pytest.raises(SystemExit, match="no benchmark other; known: new"):
        run.main(["other"])
    (tmp_path / "bench_new.py").write_text('print(\'{"name": "new"}\')')
    with pytest.raises(SystemExit, match="prints no ours_s"):
        run.main(["new"])
    with pytest.raises(SystemExit, match="0 places marked nothing"):
        fill("nothing", "text", readme)


def test_exponents_and_the_scaling_figure(module, tmp_path, monkeypatch):
    report = module("scaling_report")
    size = np.array([10, 100, 1000])
    assert report.exponent(size, 3e-3 * size**1.5) == pytest.approx(1.5)
    rows = []
    for name in (*report.CRYSTALS, *report.MODELS, *report.STEP):
        rows += [
            {"series": name, "size": int(n), "cpu_s": n * 1e-3, "longest_s": n * 5e-4,
             "peak_gib": 0.5}
            for n in size
        ]  # fmt: skip
    written = {}
    monkeypatch.setattr(report, "fill", written.__setitem__)
    report.write(rows, tmp_path)
    assert len(pd.read_csv(tmp_path / "scaling.csv")) == len(rows)
    assert (tmp_path / "scaling.png").stat().st_size > 10_000
    assert written["scaling"].count("\n") == 1 + 6
    assert "| graphs | 10 to 1,000 | 0.01 to 1 | 0.50 | 1.00 |" in written["scaling"]
