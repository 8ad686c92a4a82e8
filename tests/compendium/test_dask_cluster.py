"""Sweeps on a Dask cluster of separate processes: equal results, faults, foreign code and data."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import dask as dask_library
import distributed
import numpy as np
import pytest
import sweep_jobs

from mfutils.compendium import dask_cluster, sweep
from mfutils.errors import InputError

HERE = Path(sweep_jobs.__file__).parent
JOBS = 12


def wait_for(condition, what, seconds=60):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"timed out: {what}"
        time.sleep(0.02)
    return found


class Cluster:
    """A scheduler and workers as processes of their own, on loopback and free ports."""

    def __init__(self, folder):
        self.folder, self.running = folder, []
        self.file = folder / "scheduler.json"
        self.start("scheduler", "--scheduler-file", self.file, "--port", 0)

    def start(self, kind, *options, code=HERE):
        """A process `dask <kind>` that finds the functions of the tests in `code`."""
        options = [*options, "--host", "127.0.0.1", "--no-dashboard"]
        command = [sys.executable, "-m", "dask", kind, *map(str, options)]
        environment = os.environ | {"PYTHONPATH": str(code), "OMP_NUM_THREADS": "1"}
        environment.pop("MFUTILS_SCHEDULER", None)
        with open(self.folder / f"{kind}.{len(self.running)}.log", "wb") as log:
            process = subprocess.Popen(
                command, env=environment, cwd=self.folder, stdout=log, stderr=log
            )
        self.running.append(process)
        return process

    def worker(self, *, threads=1, code=HERE):
        return self.start(
            "worker", "--scheduler-file", self.file, "--no-nanny", "--nthreads", threads,
            "--local-directory", self.folder, code=code,
        )  # fmt: skip

    def stop(self, *processes):
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture(scope="module")
def dask(tmp_path_factory):
    running = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        yield running
    finally:
        running.stop(*running.running)


@pytest.fixture
def workers(dask):
    """Starts workers that end with the test."""
    started = []

    def start(**options):
        started.append(dask.worker(**options))
        wait_for(dask.file.is_file, "no scheduler file")
        return started[-1]

    yield start
    dask.stop(*started)


def test_a_worker_killed_mid_run_costs_only_what_it_had_not_finished(
    dask, workers, tmp_path, monkeypatch
):
    victim, survivor = workers(), workers()
    # A worker that came late would find nothing left to do
    with distributed.Client(scheduler_file=str(dask.file)) as client:
        client.wait_for_workers(2, timeout=120)
    marks, stored = tmp_path / "marks", tmp_path / "stored"
    marks.mkdir()
    jobs = [{"seed": seed, "folder": str(marks), "seconds": 0.3} for seed in range(JOBS)]

    def seeds(end, process):
        return {int(path.name.split(".")[0]) for path in marks.glob(f"*.{process.pid}.{end}")}

    safe = set()

    def stopped_at_work():
        victim.send_signal(signal.SIGSTOP)
        if seeds("begun", victim) - seeds("done", victim):
            return True
        victim.send_signal(signal.SIGCONT)
        return False

    def kill():
        # In the middle of a job, after both have finished some
        wait_for(lambda: min(len(seeds("done", p)) for p in (victim, survivor)) >= 2, "no progress")
        wait_for(stopped_at_work, "the victim is idle")
        safe.update(path.name for path in stored.iterdir())
        victim.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    monkeypatch.setenv("MFUTILS_SCHEDULER", str(dask.file))
    results = sweep.run(sweep_jobs.slow_fit, jobs, folder=stored)
    killer.join()
    assert victim.wait(10) == -signal.SIGKILL

    begun, finished = seeds("begun", victim), seeds("done", survivor)
    twice = begun & seeds("begun", survivor)
    keys = [f"{key}.pkl" for key in sweep.job_keys(sweep_jobs.slow_fit, jobs)]
    assert begun - seeds("done", victim) <= twice
    assert twice
    assert not {keys[seed] for seed in twice} & safe
    assert begun | finished == set(range(JOBS))
    assert len(list(marks.glob("*.begun"))) == JOBS + len(twice)
    assert sorted(path.name for path in stored.iterdir()) == sorted(keys)

    # Everything is stored now: no cluster is asked, and nothing is computed
    monkeypatch.setenv("MFUTILS_SCHEDULER", "tcp://127.0.0.1:1")
    np.testing.assert_array_equal(sweep.run(sweep_jobs.slow_fit, jobs, folder=stored), results)
    assert len(list(marks.glob("*.begun"))) == JOBS + len(twice)

    monkeypatch.delenv("MFUTILS_SCHEDULER")
    quick = [job | {"seconds": 0.0} for job in jobs]
    here = sweep.run(sweep_jobs.slow_fit, quick, workers=1, store=False)
    np.testing.assert_array_equal(here, results)


def test_a_failing_job_ends_the_sweep_and_names_itself(dask, workers, tmp_path):
    workers()
    gate, stored = tmp_path / "gate", tmp_path / "stored"
    jobs = [{"value": value, "gate": str(gate)} for value in range(5)]
    options = {"folder": stored, "scheduler": dask.file}
    with pytest.raises(RuntimeError, match="went away") as caught:
        sweep.run(sweep_jobs.fragile, jobs, **options)
    assert "fragile(value=3" in caught.value.__notes__[0]
    gate.touch()
    assert sweep.run(sweep_jobs.fragile, jobs, **options) == list(range(5))


def test_a_worker_with_other_code_refuses(dask, workers, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(HERE / "sweep_jobs.py", other)
    with open(other / "sweep_jobs.py", "a", encoding="utf-8") as handle:
        handle.write("\n\nEDITED = True\n")
    workers(code=other)
    log, stored = tmp_path / "log", tmp_path / "stored"
    jobs = [{"value": value, "log": str(log)} for value in range(3)]
    with pytest.raises(
        InputError, match=r"worker tcp://127.* another code of sweep_jobs.square"
    ) as e:
        sweep.run(sweep_jobs.square, jobs, folder=stored, scheduler=dask.file)
    assert "\n" not in str(e.value)
    assert not log.exists()
    assert not stored.exists()


def test_a_worker_with_several_threads_refuses(dask, workers, tmp_path):
    workers(threads=2)
    with pytest.raises(InputError, match=r"has 2 threads.*--nthreads 1"):
        sweep.run(sweep_jobs.square, [{"value": 1}], folder=tmp_path, scheduler=dask.file)


def test_foreign_data_and_unknown_functions_are_refused():
    name = ("sweep_jobs", "square")
    dask_cluster._own.cache_clear()
    function, code, data = dask_cluster._own(*name)
    assert function is sweep_jobs.square
    assert "open_bandgap" in data
    assert dask_cluster._same(name, (code, data), "here") is sweep_jobs.square
    # A file that only one side has is no difference
    fewer = {key: value for key, value in data.items() if key != "open_bandgap"}
    assert dask_cluster._same(name, (code, fewer | {"more": "ff"}), "here") is sweep_jobs.square
    with pytest.raises(InputError, match="here has another file of open_bandgap"):
        dask_cluster._same(name, (code, data | {"open_bandgap": "00"}), "here")
    with pytest.raises(InputError, match=r"cannot import sweep_jobs\.cube"):
        dask_cluster._same(("sweep_jobs", "cube"), (code, data), "here")
    with pytest.raises(InputError, match=r"cannot import no_such_module\.f"):
        dask_cluster._same(("no_such_module", "f"), (code, data), "here")


def test_bad_settings(tmp_path):
    job = [{"value": 1}]
    with (
        dask_library.config.set({"distributed.comm.timeouts.connect": "300ms"}),
        pytest.raises(InputError, match=r"no Dask scheduler at tcp://127.0.0.1:1 ") as caught,
    ):
        sweep.run(sweep_jobs.square, job, folder=tmp_path, scheduler="tcp://127.0.0.1:1")
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"no Dask scheduler at .*missing.json"):
        sweep.run(sweep_jobs.square, job, folder=tmp_path, scheduler=tmp_path / "missing.json")
    (tmp_path / "odd.json").write_text("[]")
    with pytest.raises(InputError, match=r"no Dask scheduler at .*odd.json"):
        sweep.run(sweep_jobs.square, job, folder=tmp_path, scheduler=tmp_path / "odd.json")
    with pytest.raises(InputError, match="no Dask scheduler at nonsense://x"):
        sweep.run(sweep_jobs.square, job, folder=tmp_path, scheduler="nonsense://x")

    def local(value):
        return value

    local.__module__ = "__main__"
    with pytest.raises(InputError, match="local is defined in a notebook or script"):
        dask_cluster.compute("tcp://127.0.0.1:1", local, job, finished=print)
