"""Independent jobs on a Dask cluster: the same code and data on every machine, or no result.

A job travels as the name of its function, its arguments, the hash of the function's code
(`mfutils.code_hash`) and the hashes of the data files. A worker that finds other hashes in its own
checkout refuses the job in one line, so what is not the caller's code and data never makes a
result. Results go back to the caller as they finish, so machines share no folder, and each is let
go at once: when a worker dies, Dask gives only its unfinished jobs to others. Called by
`mfutils.compendium.sweep`; serves every section that trains many models.
"""

import importlib
import json
import logging
from collections.abc import Callable
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Any

from mfutils import files
from mfutils.code_hash import code_hash
from mfutils.datasets import originals, registry
from mfutils.errors import InputError

__all__ = ["call", "compute"]

_log = logging.getLogger(__name__)


def call(function: Callable, job: dict) -> tuple[Any, dict[str, str]]:
    """function(**job), and label -> SHA-256 of the data files that it read.

    An exception carries a note that names the job.
    """
    try:
        with registry.recording() as accesses:
            return function(**job), accesses
    except Exception as error:
        error.add_note(f"in the sweep job {function.__name__}({_short(job)})")
        raise


def _short(job):
    text = ", ".join(f"{name}={value!r}" for name, value in job.items())
    return text if len(text) <= 200 else text[:197] + "..."


def compute(
    scheduler: str | Path,
    function: Callable,
    jobs: list[dict],
    *,
    finished: Callable[[int, tuple[Any, dict[str, str]]], object],
) -> None:
    """`call` all jobs on a cluster; finished(i, (result, accesses)) as each is done.

    scheduler: address such as tcp://host:8786, or the path of a scheduler file (*.json).
    function: defined in a module that the workers can import. finished is called in this thread.
    Raises InputError when the scheduler cannot be reached or a worker has other code or data; an
    exception in a job ends the run. What was handed to `finished` before stays done.
    """
    if function.__module__ == "__main__":
        raise InputError(
            f"{function.__name__} is defined in a notebook or script, which the workers at "
            f"{scheduler} cannot import: move it into a module, or unset MFUTILS_SCHEDULER"
        )
    try:
        from distributed import Client, as_completed
    except ImportError:
        raise InputError(
            f"MFUTILS_SCHEDULER is {scheduler} but distributed is not installed: "
            "run `pip install 'dask[distributed]'` or unset MFUTILS_SCHEDULER"
        ) from None
    try:
        client = Client(_address(str(scheduler)))
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"no Dask scheduler at {scheduler} ({reason}): start one with `dask scheduler`, or "
            "correct or unset MFUTILS_SCHEDULER"
        ) from error
    with client:
        if not client.scheduler_info(n_workers=1)["workers"]:
            _log.warning("no worker at %s yet: start some with `dask worker %s`", *[scheduler] * 2)
        name = (function.__module__, function.__qualname__)
        expected = (code_hash(function), _data())
        futures = {}
        for i, job in enumerate(jobs):
            futures[client.submit(_work, name, expected, job, pure=False)] = i
        done = as_completed(list(futures))
        try:
            for future in done:
                finished(futures.pop(future), future.result())
                # A result that somebody still waits for would be computed again if lost
                future.release()
        finally:
            client.cancel(list(futures))


def _address(scheduler):
    """The address that a scheduler file holds, or what was given."""
    if not scheduler.endswith(".json"):
        return scheduler
    # Dask would wait for a missing file for ever
    return json.loads(Path(scheduler).read_text(encoding="utf-8"))["address"]


def _work(name, expected, job):
    """One job in a worker process."""
    from distributed import get_worker

    worker = get_worker()
    where = f"worker {worker.address}"
    if worker.state.nthreads != 1:
        raise InputError(
            f"{where} has {worker.state.nthreads} threads, whose random numbers would mix: start "
            "it with `dask worker --nthreads 1` and as many --nworkers as cores"
        )
    function = _same(name, expected, where)
    return call(function, job)


def _same(name, expected, where):
    """The function of this name, if its code and the data here are those expected."""
    label = ".".join(name)
    try:
        function, code, data = _own(*name)
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"{where} cannot import {label} ({error}): start it in a checkout of the same commit"
        ) from error
    compared = {f"code of {label}": (code, expected[0])}
    # A file that one side lacks is no difference: its loader says so where it is needed
    compared |= {f"file of {n}": (data[n], expected[1][n]) for n in data.keys() & expected[1]}
    for what, (ours, theirs) in sorted(compared.items()):
        if ours != theirs:
            raise InputError(
                f"{where} has another {what} (hash {ours[:12]}, the sweep's is {theirs[:12]}): "
                "bring its checkout to the same commit and start it again"
            )
    return function


@cache
def _own(module, qualname):
    """A function, the hash of its code and those of the data, as this process knows them.

    Read once: a later edit of the files does not change the code that is already loaded.
    """
    function = attrgetter(qualname)(importlib.import_module(module))
    return function, code_hash(function), _data()


def _data():
    """SHA-256 by name of the registered data files and of the originals that are here."""
    committed = {name: entry["sha256"] for name, entry in registry.entries().items()}
    present = {name: originals.find(name) for name in originals.sources()}
    return committed | {name: files.sha256_of(path) for name, path in present.items() if path}
