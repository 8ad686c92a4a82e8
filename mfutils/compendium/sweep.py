"""Many independent jobs, each computed once: parallel, stored as they finish, resumable.

`run(function, jobs)` calls the function once per job (a dict of keyword arguments) and returns
the results in order. A result is stored under the hash of the function's code and of its
arguments as soon as it is there, with the hashes of the data files that the job read. So a stopped
sweep continues where it was, and an edit of the code, of an argument or of the data computes only
what it changes. joblib runs the jobs on this machine; when MFUTILS_SCHEDULER holds the address of
a Dask scheduler the same call runs on that cluster (`dask_cluster`). Serves section 4.1 (300 data
sets) and every section that trains many models.
"""

import dataclasses
import hashlib
import json
import logging
import os
import pickle
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from tqdm.auto import tqdm

from mfutils import files, paths
from mfutils.code_hash import code_hash
from mfutils.compendium import dask_cluster
from mfutils.datasets import registry
from mfutils.errors import InputError

__all__ = ["job_keys", "run"]

_log = logging.getLogger(__name__)
_MAGIC = b"mfutils-sweep-2\n"
_MISS = object()


def _plain(value, where):
    """A JSON-ready stand-in that determines the value; arrays and files' bytes by their hash."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return _plain(value.item(), where)
    if isinstance(value, Path):
        return {"path": str(value)}
    if isinstance(value, bytes):
        return {"bytes": hashlib.sha256(value).hexdigest()}
    if isinstance(value, np.ndarray) and value.dtype != object:
        content = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        return {"array": [str(value.dtype), list(value.shape), content]}
    if isinstance(value, list | tuple):
        return [_plain(item, where) for item in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {"dict": {key: _plain(item, where) for key, item in value.items()}}
    kind = type(value)
    if dataclasses.is_dataclass(kind):
        name = f"{kind.__module__}.{kind.__qualname__}"
        parts = {f.name: getattr(value, f.name) for f in dataclasses.fields(kind)}
        return {"dataclass": [name, _plain(parts, where)]}
    raise InputError(
        f"job argument {where} is a {kind.__name__}: expected numbers, strings, arrays, or lists, "
        "dicts and dataclasses of them, so that the job can be recognised again"
    )


def job_keys(function: Callable, jobs: Iterable[dict]) -> list[str]:
    """Hex SHA-256 of what determines each result: the function's code and the arguments."""
    code, keys = [function.__module__, code_hash(function)], []
    for job in jobs:
        arguments = {name: _plain(value, name) for name, value in job.items()}
        content = json.dumps([*code, arguments], sort_keys=True)
        keys.append(hashlib.sha256(content.encode()).hexdigest())
    return keys


def _load(path):
    """(result, accesses) as stored, or _MISS where nothing usable is: it is computed again."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return _MISS
    start = len(_MAGIC)
    digest, body = content[start : start + 32], content[start + 32 :]
    if content[:start] != _MAGIC or hashlib.sha256(body).digest() != digest:
        _log.warning("%s is damaged: computing it again", path.name)
        return _MISS
    result, accesses = pickle.loads(body)
    if reasons := registry.changed(accesses):
        _log.info("%s: %s; computing it again", path.name, ", ".join(reasons))
        return _MISS
    return result, accesses


def _store(path, outcome):
    body = pickle.dumps(outcome, protocol=5)
    files.write_bytes(path, _MAGIC + hashlib.sha256(body).digest() + body)


def _compute(function, job, path):
    """One job: compute, store, return (result, accesses)."""
    outcome = dask_cluster.call(function, job)
    if path is not None:
        _store(path, outcome)
    return outcome


def _follow(parent):
    """End this worker soon after the process that started it, even in the middle of a job."""

    def watch():
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _bar(function, total):
    """Progress for a person at a terminal or in a notebook; under the runner there is none."""
    watched = sys.stderr.isatty() or "ipykernel" in sys.modules
    hidden = "MFUTILS_RUN" in os.environ or not watched
    return tqdm(total=total, desc=function.__name__, unit="job", disable=hidden)


def _on_cluster(scheduler, function, jobs, targets, bar):
    """(result, accesses) of the jobs; each is stored here as soon as it arrives."""
    outcomes = [_MISS] * len(jobs)

    def finished(i, outcome):
        outcomes[i] = outcome
        bar.update()
        if targets[i] is not None:
            _store(targets[i], outcome)

    dask_cluster.compute(scheduler, function, jobs, finished=finished)
    return outcomes


def _here(workers, function, jobs, targets):
    """(result, accesses) of the jobs in order, as they are there, from processes here."""
    if workers == 1:
        return (_compute(function, *each) for each in zip(jobs, targets, strict=True))
    calls = (joblib.delayed(_compute)(function, *each) for each in zip(jobs, targets, strict=True))
    # One thread each: threads that spin on shared cores slow each other down
    settings = {"n_jobs": workers, "inner_max_num_threads": 1}
    followed = {"initializer": _follow, "initargs": (os.getpid(),)}
    with joblib.parallel_config("loky", **settings, **followed):
        return joblib.Parallel(return_as="generator")(calls)


def run(
    function: Callable,
    jobs: Iterable[dict],
    *,
    workers: int | None = None,
    folder: Path | None = None,
    store: bool = True,
    scheduler: str | Path | None = None,
) -> list[Any]:
    """Results of function(**job) for every job, in order; each is computed at most once.

    function: importable (defined in a module). jobs: iterable of dicts of keyword arguments
    (numbers, strings, arrays, lists, dicts, dataclasses). workers: processes; by default
    MFUTILS_PROCESSES, else one per core. scheduler: address or scheduler file of a Dask cluster,
    by default MFUTILS_SCHEDULER; its workers then count, not `workers`. folder: where results are
    stored (build/cache/<module>.<function>). store=False computes everything and stores nothing.
    The data files behind every result are noted as if they had been read here. Results must be
    picklable; the folder is trusted, as the code is. An exception in a job ends the sweep and
    names the job; finished ones stay stored. Raises InputError as `dask_cluster.compute` does.
    """
    jobs = [dict(job) for job in jobs]
    if workers is None:
        workers = int(os.environ.get("MFUTILS_PROCESSES", os.cpu_count() or 1))
    if workers < 1:
        raise InputError(f"workers is {workers}: expected at least 1")
    targets = [None] * len(jobs)
    if store:
        own = paths.CACHE / f"{function.__module__}.{function.__qualname__}"
        targets = [Path(folder or own) / f"{key}.pkl" for key in job_keys(function, jobs)]
    outcomes, todo = [_load(target) if store else _MISS for target in targets], {}
    for index, outcome in enumerate(outcomes):
        if outcome is _MISS:
            # Equal jobs share one computation
            todo.setdefault(targets[index] or index, []).append(index)
    _log.info("%s: %d of %d jobs to compute", function.__name__, len(todo), len(jobs))
    if todo:
        _fill(outcomes, todo, function, jobs, targets, workers, scheduler)
    for _, accesses in outcomes:
        registry.replay(accesses)
    return [result for result, _ in outcomes]


def _fill(outcomes, todo, function, jobs, targets, workers, scheduler):
    """Compute the jobs that are missing; `todo` holds the indices of each distinct one."""
    first = [indices[0] for indices in todo.values()]
    scheduler = scheduler or os.environ.get("MFUTILS_SCHEDULER")
    chosen = [jobs[i] for i in first], [targets[i] for i in first]
    with _bar(function, len(first)) as bar:
        if scheduler:
            computed = _on_cluster(scheduler, function, *chosen, bar)
        else:
            computed = []
            for outcome in _here(workers, function, *chosen):
                computed.append(outcome)
                bar.update()
    for indices, outcome in zip(todo.values(), computed, strict=True):
        for index in indices:
            outcomes[index] = outcome
