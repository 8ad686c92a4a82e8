"""Sweeps compute each job once, survive damage and interruption, and notice changed code."""

import logging
import os
import subprocess
import sys
import time

import numpy as np
import pytest
import sweep_jobs

from mfutils import code_hash, paths
from mfutils.compendium import sweep
from mfutils.errors import InputError


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
    key = sweep.job_key(sweep_jobs.total, a)
    assert key == sweep.job_key(sweep_jobs.total, {"array": np.arange(4.0)})
    for other in (np.arange(5.0), np.arange(4), np.arange(4.0).reshape(2, 2)):
        assert key != sweep.job_key(sweep_jobs.total, {"array": other})
    assert sweep.run(sweep_jobs.total, [a], workers=1, folder=tmp_path) == [6.0]


def test_equal_dict_and_list_arguments_do_not_collide():
    one = sweep.job_key(sweep_jobs.square, {"value": {"array": [1, 2]}})
    two = sweep.job_key(sweep_jobs.square, {"value": [1, 2]})
    assert one != two


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
