"""Damage to what the compendium keeps for itself: recomputed, or called stale, never believed.

The graph cache has its own campaign of bit flips in tests/crystals/test_graph_cache.py, the cache
of the snapshot in tests/datasets/test_bandgap.py, registered data files in test_registry.py there.
"""

import json
import random
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import sweep_jobs
from compendium import light
from crystal_examples import KINDS, random_crystal
from trials import STEM, damages, keep, one_line, trials

from mfutils import paths
from mfutils.compendium import sweep
from mfutils.compendium.runner import staleness
from mfutils.crystals import graph_cache
from mfutils.datasets import registry, tables

CRYSTALS = [random_crystal(0, kind) for kind in KINDS]
INPUTS = {
    "code": "a", "lock": "b", "published": "c",
    "modules": {"mfutils.gp.exact": "d"}, "parameters": {"seed": 1, "dataset": "open"},
}  # fmt: skip


def test_sweep_entries(tmp_path, caplog):
    rng = random.Random(1)
    jobs = [{"array": np.arange(6.0)}]
    assert sweep.run(sweep_jobs.total, jobs, workers=1, folder=tmp_path) == [15.0]
    (entry,) = tmp_path.iterdir()
    whole = entry.read_bytes()
    outcomes = Counter()
    for content in damages(whole, rng, trials(60, 10_000)):
        entry.write_bytes(content)
        caplog.clear()
        assert sweep.run(sweep_jobs.total, jobs, workers=1, folder=tmp_path) == [15.0]
        assert "damaged: computing it again" in caplog.text
        assert entry.read_bytes() == whole
        outcomes["recomputed, entry mended"] += 1
    keep("sweep store entries with flipped, cut and added bytes", "stores-sweep", outcomes)


def test_graph_cache_entries(tmp_path, caplog):
    rng = random.Random(2)
    options = {"cutoff": 4.0, "max_neighbors": 4, "progress": False, "folder": tmp_path}
    built = graph_cache.load_or_build(CRYSTALS[:3], **options)
    (entry,) = tmp_path.iterdir()
    outcomes = Counter()
    for content in damages(entry.read_bytes(), rng, trials(30, 3000)):
        entry.write_bytes(content)
        caplog.clear()
        again = graph_cache.load_or_build(CRYSTALS[:3], **options)
        assert np.array_equal(again.distance, built.distance)
        assert np.array_equal(again.neighbor, built.neighbor)
        outcomes["rebuilt" if "corrupt" in caplog.text else "harmless byte, same graphs"] += 1
    keep("graph cache entries with flipped, cut and added bytes", "stores-graphs", outcomes)


@pytest.fixture
def stamped(tmp_path, monkeypatch):
    """A published result with a good stamp; returns the path of the stamp."""
    monkeypatch.setattr(paths, "FIGURES", tmp_path / "figures")
    monkeypatch.setattr(paths, "BUILD", tmp_path / "build")
    monkeypatch.setattr(paths, "DATA", tmp_path / "data")
    folder = tmp_path / "figures" / "smoke" / STEM
    folder.mkdir(parents=True)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x.csv").write_text("1\n")
    (folder / "table.csv").write_text("a\n1\n")
    stamp = {
        "artifacts": {"table.csv": staleness.files.sha256_of(folder / "table.csv")},
        "data": {"data/x.csv": staleness.files.sha256_of(tmp_path / "data" / "x.csv")},
        "inputs": INPUTS,
        "provenance": {"commit": "unknown", "seed": 1},
    }
    path = folder / "stamp.json"
    path.write_text(json.dumps(stamp, indent=1, sort_keys=True) + "\n")
    assert staleness.state(STEM, "smoke", INPUTS).fresh
    return path


ODD = [
    "[" * 100_000, "null", "3", '{"inputs": 3}', '{"inputs": {}, "data": 1, "artifacts": 2}',
    json.dumps({"inputs": INPUTS, "data": [], "artifacts": {}}),
    json.dumps({"inputs": INPUTS, "data": {}, "artifacts": {"x" * 5000: ""}}),
    json.dumps({"inputs": INPUTS, "data": {"data/\0": ""}, "artifacts": {}}),
    json.dumps({"inputs": INPUTS, "data": {}, "artifacts": {"../../../../..": ""}}),
    json.dumps({"inputs": INPUTS | {"modules": []}, "data": {}, "artifacts": {}}),
]  # fmt: skip


def test_stamps(stamped):
    rng = random.Random(3)
    whole = stamped.read_bytes()
    good = json.loads(whole)
    outcomes = Counter()
    contents = [text.encode() for text in ODD]
    for content in [*contents, *damages(whole, rng, trials(300, 10_000))]:
        stamped.write_bytes(content)
        found = staleness.state(STEM, "smoke", INPUTS)
        if found.fresh:
            # What decides is untouched: the damage is in white space or in the provenance
            stamp = json.loads(content)
            assert all(stamp[key] == good[key] for key in ("artifacts", "data", "inputs")), content
            outcomes["damage outside what decides: fresh"] += 1
        else:
            assert found.status == "stale"
            assert found.reasons
            outcomes["stale"] += 1
    stamped.unlink()
    assert staleness.state(STEM, "smoke", INPUTS).status == "never"
    keep("stamp.json with flipped, cut, added bytes and odd JSON", "stores-stamp", outcomes)


def test_records_of_failures(stamped):
    rng = random.Random(4)
    record = paths.BUILD / "failed" / "smoke" / f"{STEM}.json"
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps({"inputs": INPUTS, "where": "cell 1", "error": "e"}))
    assert staleness.state(STEM, "smoke", INPUTS).status == "failed"
    outcomes = Counter()
    contents = [text.encode() for text in ODD]
    for content in [*contents, *damages(record.read_bytes(), rng, trials(300, 10_000))]:
        record.write_bytes(content)
        outcomes[f"{staleness.state(STEM, 'smoke', INPUTS).status}"] += 1
    assert outcomes.keys() == {"fresh", "failed"}
    keep("damaged records of a failed run: as if absent, or as written", "stores-failed", outcomes)


def test_costs_and_values(tmp_path):
    """Side files of a run: rubbish in them costs nothing (costs.json) or is named (values.json)."""
    project = light(tmp_path / "compendium")
    costs = project.root / "build" / "smoke" / "costs.json"
    costs.parent.mkdir(parents=True)
    costs.write_text("[1, 2]")
    done = project.call("run")
    assert done.returncode == 0, done.stderr
    assert STEM in json.loads(costs.read_text())
    printed = project.root / "data" / "published" / f"{STEM}.yaml"
    entry = "- {id: last, printed: '49', where: here, class: exact}\n"
    printed.write_text("section: '2.1'\nvalues:\n" + entry)
    assert project.call(module="mfutils.compendium.published").returncode == 0
    values = project.folder(STEM) / "values.json"
    whole = values.read_bytes()
    for content in (b"", whole[:-9], b"[]", b'{"values": 3}', b"\xff"):
        values.write_bytes(content)
        assert "artifact values.json altered" in project.call("status").stdout
        done = project.call(module="mfutils.compendium.published")
        assert done.returncode == 2
        assert "run the notebook again" in one_line(done.stderr)


FLIPS = """
import sys, random
sys.path[:0] = {path!r}
from pathlib import Path
from collections import Counter
from trials import damages
from mfutils.datasets import tables
from mfutils.errors import DataError
path, whole, count = Path(sys.argv[1]), Path(sys.argv[2]).read_bytes(), int(sys.argv[3])
frame = tables.read(Path(sys.argv[2]))
plain = frame.drop(columns="structure")
counts = Counter()
for content in damages(whole, random.Random(5), count):
    path.write_bytes(content)
    try:
        found = tables.read(path)
    except DataError as error:
        assert "\\n" not in str(error), error
        counts["one-line error"] += 1
    except Exception as error:
        counts[f"{{type(error).__name__}} from the depths"] += 1
    else:
        same = found.drop(columns="structure", errors="ignore").equals(plain)
        counts["same table" if same else "another table"] += 1
import json
print(json.dumps(counts))
"""


def test_parquet_without_its_checksum(tmp_path):
    """What the reader alone makes of damaged Parquet, in a process of its own, lest it crash."""
    source = registry.path("open_bandgap")
    frame = tables.read(source).head(40)
    small = tmp_path / "small.parquet"
    columns = {"material_id": frame["material_id"], "gap_exp": frame["gap_exp"]}
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(
        {k: pa.array(v) for k, v in columns.items()} | tables.structure_arrays(frame["structure"])
    )
    pq.write_table(table, small, compression="zstd")
    here = [str(paths.ROOT), str(paths.ROOT / "tests" / "faults"), str(paths.ROOT / "tests")]
    count = trials(60, 3000)
    done = subprocess.run(
        [sys.executable, "-c", FLIPS.format(path=here), tmp_path / "x.parquet", small, str(count)],
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    outcomes = Counter(json.loads(done.stdout))
    keep("Parquet with damaged bytes, read without its checksum", "stores-parquet", outcomes)
