"""Many independent jobs, each computed once: parallel, stored as they finish, resumable.

`run(function, jobs)` calls the function once per job (a dict of keyword arguments) and returns
the results in order. A result is stored under the hash of the function's code and of its
arguments as soon as it is there, so a stopped sweep continues where it was, and an edit of the
code or of an argument computes only what it changes. joblib runs the jobs on this machine; when
MFUTILS_SCHEDULER holds the address of a Dask scheduler the same call runs on that cluster
(`dask_cluster`). Serves section 4.1 (300 data sets) and every section that trains many models.
"""

import hashlib
import json
import logging
import os
import pickle
import sys
import threading
import time
from pathlib import Path

import joblib
import numpy as np
from tqdm.auto import tqdm

from mfutils import files, paths
from mfutils.code_hash import code_hash
from mfutils.compendium import dask_cluster
from mfutils.errors import InputError

__all__ = ["job_key", "run"]

_log = logging.getLogger(__name__)
_MAGIC = b"mfutils-sweep-1\n"


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
    raise InputError(
        f"job argument {where} is a {type(value).__name__}: expected numbers, strings, arrays, "
        "or lists and dicts of them, so that the job can be recognised again"
    )


def job_key(function, job) -> str:
    """Hex SHA-256 of what determines a result: the function's code and the job's arguments."""
    return _key([function.__module__, code_hash(function)], job)


def _key(code, job) -> str:
    arguments = {name: _plain(value, name) for name, value in job.items()}
    content = json.dumps([*code, arguments], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _load(path):
    """(found, result); an unreadable entry counts as not found and is computed again."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return False, None
    start = len(_MAGIC)
    digest, body = content[start : start + 32], content[start + 32 :]
    if content[:start] != _MAGIC or hashlib.sha256(body).digest() != digest:
        _log.warning("%s is damaged: computing it again", path.name)
        return False, None
    return True, pickle.loads(body)


def _store(path, result):
    body = pickle.dumps(result, protocol=5)
    files.write_bytes(path, _MAGIC + hashlib.sha256(body).digest() + body)


def _compute(function, job, path):
    """One job: compute, store, return."""
    result = dask_cluster.call(function, job)
    if path is not None:
        _store(path, result)
    return result


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
    """Results of the jobs; each is stored here as soon as it arrives."""
    results = [None] * len(jobs)

    def finished(i, result):
        results[i] = result
        bar.update()
        if targets[i] is not None:
            _store(targets[i], result)

    dask_cluster.compute(scheduler, function, jobs, finished=finished)
    return results


def _here(workers, function, jobs, targets):
    """Results of the jobs in order, as they are there, from processes of this machine."""
    if workers == 1:
        return (_compute(function, *each) for each in zip(jobs, targets, strict=True))
    calls = (joblib.delayed(_compute)(function, *each) for each in zip(jobs, targets, strict=True))
    # One thread each: threads that spin on shared cores slow each other down
    settings = {"n_jobs": workers, "inner_max_num_threads": 1}
    followed = {"initializer": _follow, "initargs": (os.getpid(),)}
    with joblib.parallel_config("loky", **settings, **followed):
        return joblib.Parallel(return_as="generator")(calls)


def run(function, jobs, *, workers=None, folder=None, store=True, scheduler=None):
    """Results of function(**job) for every job, in order; each is computed at most once.

    function: importable (defined in a module). jobs: iterable of dicts of keyword arguments
    (numbers, strings, arrays, lists, dicts). workers: processes; by default MFUTILS_PROCESSES,
    else one per core. scheduler: address or scheduler file of a Dask cluster, by default
    MFUTILS_SCHEDULER; its workers then count, not `workers`. folder: where results are stored
    (build/cache/<function>). store=False computes everything and stores nothing. Results must be
    picklable; the folder is trusted, as the code is. An exception in a job ends the sweep and
    names the job; finished ones stay stored. Raises InputError as `cluster.compute` does.
    """
    jobs = [dict(job) for job in jobs]
    if workers is None:
        workers = int(os.environ.get("MFUTILS_PROCESSES", os.cpu_count() or 1))
    if workers < 1:
        raise InputError(f"workers is {workers}: expected at least 1")
    targets = [None] * len(jobs)
    if store:
        folder = Path(folder or paths.CACHE / function.__name__)
        code = [function.__module__, code_hash(function)]
        targets = [folder / f"{_key(code, job)}.pkl" for job in jobs]
    results, todo = [None] * len(jobs), {}
    for index, target in enumerate(targets):
        found, results[index] = _load(target) if store else (False, None)
        if not found:
            # Equal jobs share one computation
            todo.setdefault(target or index, []).append(index)
    _log.info("%s: %d of %d jobs to compute", function.__name__, len(todo), len(jobs))
    if not todo:
        return results
    first = [indices[0] for indices in todo.values()]
    scheduler = scheduler or os.environ.get("MFUTILS_SCHEDULER")
    chosen = [jobs[i] for i in first], [targets[i] for i in first]
    with _bar(function, len(first)) as bar:
        if scheduler:
            computed = _on_cluster(scheduler, function, *chosen, bar)
        else:
            computed = []
            for result in _here(workers, function, *chosen):
                computed.append(result)
                bar.update()
    for indices, result in zip(todo.values(), computed, strict=True):
        for index in indices:
            results[index] = result
    return results
