"""Sweeps compute each job once, survive damage and interruption, and notice changed code."""

import hashlib
import json
import logging
import os
import subprocess
import sys
import time
from dataclasses import dataclass

import numpy as np
import pytest
import sweep_jobs

from mfutils import code_hash, paths
from mfutils.compendium import sweep
from mfutils.datasets import registry
from mfutils.errors import DataError, InputError


def lines(path):
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.parametrize("workers", [1, 2])
def test_results_in_order_and_computed_once(tmp_path, workers):
    log = tmp_path / "log"
    jobs = [{"value": v, "log": str(log)} for v in (3, 1, 2, 3)]
    for _ in range(2):
        results = sweep.run(sweep_jobs.square, jobs, workers=workers, folder=tmp_path / "c")
        assert [r["value"] for r in results] == [9, 1, 4, 9]
        assert len(lines(log)) == 3


def test_interrupted_sweep_resumes(tmp_path):
    gate = tmp_path / "gate"
    jobs = [{"value": v, "gate": str(gate)} for v in range(5)]
    with pytest.raises(RuntimeError, match="went away") as caught:
        sweep.run(sweep_jobs.fragile, jobs, workers=1, folder=tmp_path / "c")
    assert "value=3" in caught.value.__notes__[0]
    assert len(list((tmp_path / "c").iterdir())) == 3
    gate.touch()
    assert sweep.run(sweep_jobs.fragile, jobs, workers=1, folder=tmp_path / "c") == list(range(5))


@pytest.mark.parametrize("damage", [b"", b"garbage", None])
def test_damaged_entry_is_rebuilt(tmp_path, caplog, damage):
    log, folder = tmp_path / "log", tmp_path / "c"
    jobs = [{"value": 4, "log": str(log)}]
    sweep.run(sweep_jobs.square, jobs, workers=1, folder=folder)
    (entry,) = folder.iterdir()
    content = entry.read_bytes()
    entry.write_bytes(content[:-1] if damage is None else damage)
    with caplog.at_level(logging.WARNING):
        assert sweep.run(sweep_jobs.square, jobs, workers=1, folder=folder)[0]["value"] == 16
    assert "damaged" in caplog.text
    assert len(lines(log)) == 2
    assert entry.read_bytes() == content


def test_nothing_is_stored_when_not_asked(tmp_path):
    log = tmp_path / "log"
    jobs = [{"value": 2, "log": str(log)}]
    for _ in range(2):
        sweep.run(sweep_jobs.square, jobs, workers=1, folder=tmp_path / "c", store=False)
    assert len(lines(log)) == 2
    assert not (tmp_path / "c").exists()


def test_key_depends_on_arguments_by_content(tmp_path):
    a = {"array": np.arange(4.0)}
    others = (np.arange(5.0), np.arange(4), np.arange(4.0).reshape(2, 2))
    same, again, *rest = sweep.job_keys(
        sweep_jobs.total, [a, {"array": np.arange(4.0)}, *({"array": other} for other in others)]
    )
    assert same == again
    assert len({same, *rest}) == 4
    assert sweep.run(sweep_jobs.total, [a], workers=1, folder=tmp_path) == [6.0]


def test_equal_dict_and_list_arguments_do_not_collide():
    jobs = [{"value": {"array": [1, 2]}}, {"value": [1, 2]}]
    assert len(set(sweep.job_keys(sweep_jobs.square, jobs))) == 2


@dataclass(frozen=True)
class Setting:
    rate: float
    sizes: tuple[int, ...] = (8,)


@dataclass(frozen=True)
class OtherSetting(Setting):
    pass


def test_dataclasses_are_arguments_by_type_and_field():
    values = [
        Setting(0.1), OtherSetting(0.1), Setting(0.2), Setting(0.1, (8, 8)), {"rate": 0.1},
        [Setting(0.1)],
    ]  # fmt: skip
    keys = sweep.job_keys(sweep_jobs.square, [{"value": value} for value in values])
    assert len(set(keys)) == len(values)
    again = sweep.job_keys(sweep_jobs.square, [{"value": Setting(rate=0.1, sizes=(8,))}])
    assert again == keys[:1]
    for odd, kind in ((Setting, "type"), (Setting({1}), "set"), ({1: 2}, "dict")):
        with pytest.raises(InputError, match=f"job argument value is a {kind}"):
            sweep.job_keys(sweep_jobs.square, [{"value": odd}])


def test_a_dataclass_as_a_result_is_stored(tmp_path):
    jobs = [{"value": 3}]
    for _ in range(2):
        (result,) = sweep.run(sweep_jobs.outcome, jobs, workers=1, folder=tmp_path)
        assert result == sweep_jobs.Outcome(3, [3, 9])


@pytest.fixture
def registered(tmp_path, monkeypatch):
    """Registers a file of one line under the name `small`; returns its path."""
    data = tmp_path / "data"
    data.mkdir()
    monkeypatch.setattr(paths, "DATA", data)
    monkeypatch.setenv("MFUTILS_DATA", str(tmp_path / "raw"))

    def register(line):
        (data / "small.csv").write_text(line)
        entry = {"file": "small.csv", "sha256": hashlib.sha256(line.encode()).hexdigest()}
        entry |= dict.fromkeys(("source", "licence", "description"), "x")
        (data / "registry.yaml").write_text(json.dumps({"small": entry}))
        return data / "small.csv"

    return register


def test_stored_results_know_the_data_that_they_rest_on(tmp_path, monkeypatch, registered):
    file, log, access = registered("1"), tmp_path / "log", tmp_path / "access.log"
    monkeypatch.setenv(registry.ACCESS_LOG, str(access))
    jobs = [{"factor": factor, "log": str(log)} for factor in (2, 3)]
    sweep_jobs.loaded.cache_clear()

    def results():
        access.unlink(missing_ok=True)
        return sweep.run(sweep_jobs.times_data, jobs, workers=1, folder=tmp_path / "c")

    def noted():
        return {tuple(line.split("\t")) for line in access.read_text().splitlines()}

    read = {("data/small.csv", hashlib.sha256(b"1").hexdigest())}
    for _ in range(2):  # computed, the second by a loader that remembers; then from the store
        assert results() == [2.0, 3.0]
        assert noted() == read
        assert len(lines(log)) == 2
    registered("5")
    sweep_jobs.loaded.cache_clear()
    assert results() == [10.0, 15.0]
    assert noted() == {("data/small.csv", hashlib.sha256(b"5").hexdigest())}
    assert len(lines(log)) == 4
    file.unlink()
    sweep_jobs.loaded.cache_clear()
    with pytest.raises(DataError, match="file is missing"):
        results()


def test_results_stay_where_large_originals_are_absent(tmp_path, monkeypatch):
    raw = tmp_path / "raw"
    raw.mkdir()
    monkeypatch.setenv("MFUTILS_DATA", str(raw))
    original, log = raw / "original", tmp_path / "log"
    original.write_text("7")
    jobs = [{"file": str(original), "log": str(log)}]
    for content, expected, computed in (("7", 7.0, 1), (None, 7.0, 1), ("8", 8.0, 2)):
        original.unlink() if content is None else original.write_text(content)
        got = sweep.run(sweep_jobs.number_in, jobs, workers=1, folder=tmp_path / "c")
        assert (got, len(lines(log))) == ([expected], computed)


def test_results_are_filed_by_module_and_function(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "CACHE", tmp_path)
    sweep.run(sweep_jobs.square, [{"value": 2}], workers=1)
    assert [p.name for p in tmp_path.iterdir()] == ["sweep_jobs.square"]


def test_code_change_changes_the_key(tmp_path, monkeypatch):
    package = tmp_path / "mfutils"
    package.mkdir()
    module, helper = package / "alpha.py", package / "beta.py"
    module.write_text("from mfutils import beta\n\ndef work():\n    return beta.ONE\n")
    helper.write_text("ONE = 1\n")
    monkeypatch.setattr(code_hash, "_PACKAGE", package)

    def work():
        return 1

    work.__module__ = "alpha"
    fake = type("Module", (), {"__file__": str(module)})
    monkeypatch.setitem(code_hash.sys.modules, "alpha", fake)
    before = code_hash.code_hash(work)
    helper.write_text("ONE = 1  # a comment changes nothing\n")
    assert code_hash.code_hash(work) == before
    helper.write_text("ONE = 2\n")
    assert code_hash.code_hash(work) != before


def test_unrecognisable_argument_and_bad_workers(tmp_path):
    with pytest.raises(InputError, match="job argument value is a set"):
        sweep.run(sweep_jobs.square, [{"value": {1}}], folder=tmp_path)
    with pytest.raises(InputError, match="workers is 0"):
        sweep.run(sweep_jobs.square, [], workers=0, folder=tmp_path)


def test_cluster_setting_without_its_package(tmp_path, monkeypatch):
    monkeypatch.setenv("MFUTILS_SCHEDULER", "tcp://nowhere:1")
    monkeypatch.setitem(code_hash.sys.modules, "distributed", None)
    with pytest.raises(InputError, match="distributed is not installed"):
        sweep.run(sweep_jobs.square, [{"value": 1}], folder=tmp_path)


SLEEPERS = """
import sys
from mfutils.compendium import sweep
import sweep_jobs
jobs = [{"seconds": 600 + i, "folder": sys.argv[1]} for i in range(2)]
sweep.run(sweep_jobs.sleep, jobs, workers=2, store=False)
"""


def test_workers_end_with_the_process_that_started_them(tmp_path):
    environment = os.environ | {"PYTHONPATH": f"{paths.ROOT}{os.pathsep}{paths.ROOT / 'tests'}"}
    command = [sys.executable, "-c", SLEEPERS, str(tmp_path)]
    parent = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        workers = await_(lambda: [int(p.name) for p in tmp_path.iterdir()], 2)
    finally:
        parent.kill()
        parent.wait()
    await_(lambda: [w for w in workers if not os.path.exists(f"/proc/{w}")], 2)


def await_(found, count, seconds=60):
    """What `found` returns once it holds `count` items."""
    deadline = time.monotonic() + seconds
    while len(items := found()) < count:
        assert time.monotonic() < deadline, items
        time.sleep(0.1)
    return items


def test_progress_is_for_people_only(monkeypatch, capsys):
    jobs = [{"value": v} for v in range(3)]
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.delenv("MFUTILS_RUN", raising=False)
    sweep.run(sweep_jobs.square, jobs, workers=1, store=False)
    assert "3/3" in capsys.readouterr().err
    monkeypatch.setenv("MFUTILS_RUN", "job.json")
    sweep.run(sweep_jobs.square, jobs, workers=1, store=False)
    assert capsys.readouterr().err == ""
