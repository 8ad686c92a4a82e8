"""The graph benchmark runs, compares equal answers, and the whole snapshot fits in memory."""

import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from crystal_examples import random_crystal

from mfutils import paths
from mfutils.crystals.graph import build_graph
from mfutils.datasets import registry

SCRIPT = paths.ROOT / "benchmarks" / "bench_graphs.py"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("bench_graphs", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_comparison_runs_on_a_few_crystals(bench):
    entries = bench.measure(count=8, rounds=1)
    names = [entry["name"] for entry in entries]
    assert {"graphs_vs_get_all_neighbors", "graphs_vs_ase"} <= set(names)
    assert len(set(names)) == len(names)
    for entry in entries:
        assert set(entry) == {"name", "ours_s", "peer_s", "ratio", "peer", "equal_to"}
        assert entry["ratio"] == pytest.approx(entry["peer_s"] / entry["ours_s"])
        assert "on 8 crystals" in entry["equal_to"]
    assert json.loads(json.dumps(entries)) == entries


def test_unequal_answers_are_noticed(bench):
    graph = build_graph(random_crystal(1, "ordinary"), cutoff=5.0, max_neighbors=None)
    i, j = graph.edge_index
    peer = (i, j, graph.distances, graph.cell_shifts)
    bench.check_equal(graph, peer, same_pairs=True)
    for wrong in (
        (i[1:], j[1:], graph.distances[1:], graph.cell_shifts[1:]),
        (i, j, graph.distances * 1.001, graph.cell_shifts),
        (i, j, graph.distances, graph.cell_shifts + np.eye(1, 3, dtype=int)),
    ):
        with pytest.raises(AssertionError):
            bench.check_equal(graph, wrong, same_pairs=True)


@pytest.mark.data
@pytest.mark.slow
def test_the_whole_snapshot_streams_within_four_gibibytes():
    if not (registry.data_dir() / "mp.2019.04.01.subset.json.gz").is_file():
        pytest.skip("the snapshot is not in the data directory")
    command = [sys.executable, str(SCRIPT), "--full"]
    environment = os.environ | {"PYTHONPATH": str(paths.ROOT)}
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=300, env=environment
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["structures"], found["skipped"]) == (36737, 0)
    assert found["edges"] == 12 * found["atoms"]
    assert found["peak_memory_GiB"] < 4
