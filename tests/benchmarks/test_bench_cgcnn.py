"""The CGCNN benchmark runs on a few crystals, and notices outputs that differ."""

import importlib.util
import sys

import numpy as np
import pytest
import torch

from mfutils import paths

FOLDER = paths.ROOT / "benchmarks"


@pytest.fixture(scope="module")
def bench():
    pytest.importorskip("torch_geometric")
    sys.path.insert(0, str(FOLDER))
    try:
        spec = importlib.util.spec_from_file_location("bench_cgcnn", FOLDER / "bench_cgcnn.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(FOLDER))


def test_both_comparisons_run(bench):
    threads = torch.get_num_threads()
    try:
        entries = bench.measure(crystals=40, rounds=1)
    finally:
        torch.set_num_threads(threads)
    assert [e["name"] for e in entries] == ["cgcnn_step_vs_cgconv", "cgcnn_epoch_vs_dense"]
    for entry in entries:
        assert entry["ratio"] == pytest.approx(entry["peer_s"] / entry["ours_s"])
        assert "peer in float64" in entry["equal_to"]


def test_unequal_outputs_are_noticed(bench):
    dataset = bench.embedded_graphs(12)
    model = bench.warmed_model(dataset)
    batch = dataset.batch(np.arange(12)).to_torch()
    peer = bench.DenseCGCNN(model)
    assert bench.difference(model, peer, batch, training=True) < 1e-5
    with torch.no_grad():
        peer.output.bias += 0.01
    difference = bench.difference(model, peer, batch, training=True)
    assert difference == pytest.approx(0.01, rel=1e-2)
    with pytest.raises(SystemExit, match=r"outputs differ by 0\.01"):
        bench.check(difference, "outputs")
