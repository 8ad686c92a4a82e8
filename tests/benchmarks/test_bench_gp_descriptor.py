"""The descriptor benchmark runs on a small network, and notices a peer that does better."""

import importlib.util
import sys

import pytest
import torch

from mfutils import paths

FOLDER = paths.ROOT / "benchmarks"
SMALL = {"epochs": 8, "samples": 60}


@pytest.fixture
def bench(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(FOLDER)
    path = FOLDER / "bench_gp_descriptor.py"
    spec = importlib.util.spec_from_file_location("bench_gp_descriptor", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module.paths, "CACHE", tmp_path / "cache")
    yield module
    sys.modules.pop("turns", None)


def test_the_comparison_runs(bench):
    threads = torch.get_num_threads()
    found = bench.measure(rounds=1, iterations=30, **SMALL)
    assert torch.get_num_threads() == threads
    assert found["name"] == "gp_descriptor_vs_gpytorch"
    assert found["ratio"] == pytest.approx(found["peer_s"] / found["ours_s"])
    assert "ours higher by" in found["equal_to"]
    assert "on 60 x 128" in found["equal_to"]


def test_a_worse_fit_and_another_function_are_noticed(bench, monkeypatch):
    fit = bench.descriptor_gp.fit_descriptor_gp

    def worse(x, y):
        model = fit(x, y)
        model.log_marginal_likelihood -= 5.0
        return model

    monkeypatch.setattr(bench.descriptor_gp, "fit_descriptor_gp", worse)
    with pytest.raises(SystemExit, match="at our hyperparameters GPyTorch finds"):
        bench.measure(rounds=1, iterations=2, **SMALL)
    monkeypatch.setattr(bench, "check_same_function", lambda *_: 0.0)
    with pytest.raises(SystemExit, match="the peer's log likelihood is higher by"):
        bench.measure(rounds=1, iterations=200, **SMALL)
