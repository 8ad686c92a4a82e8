"""Run one notebook in a temporary folder and move its results into place.

The order makes a kill at any moment harmless: artifacts and stamp are written to a
folder of their own, which replaces the old one by renaming; a stamp therefore never
stands beside artifacts of another run. A failure keeps the executed copy under
`build/failed/` and leaves the old results untouched, marked as failed.
"""

import fcntl
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mfutils import files, paths
from mfutils.compendium.runner import staleness, worker
from mfutils.datasets import registry
from mfutils.errors import InputError

__all__ = ["Outcome", "locked", "run_notebook", "stop_all", "time_limit"]

_VERSIONS = ("numpy", "scipy", "pandas", "scikit-learn", "torch", "gpytorch", "matplotlib")


# What the processes of each run carry as MFUTILS_RUN, for `stop_all`.
_running: set[str] = set()
_stopped = threading.Event()


@dataclass(frozen=True)
class Outcome:
    """What one run did: wall and CPU seconds, peak memory, counts or the error."""

    stem: str
    ok: bool
    seconds: float
    cpu_seconds: float
    mib: float
    figures: int = 0
    tables: int = 0
    where: str = ""
    error: str = ""
    kept: str = ""


@contextmanager
def locked(stem: str, profile: str, waiting: Callable[[], object] | None = None) -> Iterator[None]:
    """Hold the lock of one notebook in one profile; `waiting()` is called if it is taken.

    The system frees the lock when its holder dies, however it dies.
    """
    path = paths.BUILD / "locks" / f"{profile}.{stem}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as handle:
        while not _try_lock(handle):
            if waiting:
                waiting()
                waiting = None
            # Asked again and again: a thread that sleeps in flock cannot be interrupted
            if _stopped.wait(0.2):
                raise KeyboardInterrupt
        yield


def _try_lock(handle) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def time_limit() -> float | None:
    """Seconds that one notebook may take: the setting MFUTILS_TIMEOUT, or None for no limit."""
    text = os.environ.get("MFUTILS_TIMEOUT", "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < threading.TIMEOUT_MAX:
        raise InputError(f"MFUTILS_TIMEOUT is {text!r}; give seconds above 0, or unset it")
    return seconds


def commit() -> str:
    """Short git commit with +dirty when tracked files differ, or "unknown"."""
    git = ["git", "-C", str(paths.ROOT)]
    try:
        head = subprocess.run(
            [*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True
        )
        # Generated files must not mark their own commit as dirty.
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--", ".", ":!figures"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.stdout.strip() + ("+dirty" if changed.stdout.strip() else "")


def provenance(stem: str, profile: str, inputs: dict) -> dict:
    """What is embedded in every artifact: where it comes from, never when."""
    versions = {"python": platform.python_version()}
    for name in _VERSIONS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "commit": commit(),
        "notebook": stem,
        "profile": profile,
        "parameters_sha256": staleness.digest(json.dumps(inputs["parameters"]))[:16],
        "inputs_sha256": staleness.digest(json.dumps(inputs, sort_keys=True))[:16],
        "seed": inputs["parameters"].get("seed"),
        "versions": versions,
    }


def run_notebook(
    stem: str,
    profile: str,
    inputs: dict,
    *,
    processes: int = 1,
    progress: Callable[[int, int], object] | None = None,
) -> Outcome:
    """Execute a notebook and publish its artifacts; the caller holds its lock.

    `progress(cell, of)` is called before each cell. Raises OSError when the results
    cannot be written (full disk, read-only folder); nothing is published then.
    """
    running = paths.BUILD / "running"
    running.mkdir(parents=True, exist_ok=True)
    for leftover in running.glob(f"{profile}.{stem}.*"):
        shutil.rmtree(leftover, ignore_errors=True)
    work = running / f"{profile}.{stem}.{os.getpid()}"
    (work / "out").mkdir(parents=True)
    origin = provenance(stem, profile, inputs)
    run = {"stem": stem, "folder": str(work / "out"), "provenance": origin}
    job = {
        "notebook": str(paths.NOTEBOOKS / f"{stem}.ipynb"),
        "executed": str(work / "executed.ipynb"),
        "parameters": inputs["parameters"],
        "cwd": str(paths.NOTEBOOKS),
    }
    files.write_text(work / "run.json", json.dumps(run))
    files.write_text(work / "job.json", json.dumps(job))
    try:
        event, usage, seconds = _execute(work, processes, progress)
        if _stopped.is_set():
            raise KeyboardInterrupt
        cost = {
            "seconds": seconds,
            "cpu_seconds": usage.ru_utime + usage.ru_stime,
            "mib": usage.ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024),
        }
        if event["ok"] and (unknown := staleness.unknown_modules(inputs, event["loaded"])):
            event = _refusal(unknown)
        if event["ok"]:
            counts = _publish(stem, profile, inputs, origin, work)
            return Outcome(stem, True, **cost, **counts)
        kept = _keep_failure(stem, profile, inputs, event, work)
        return Outcome(stem, False, **cost, where=event["where"], error=event["error"], kept=kept)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _execute(work: Path, processes: int, progress):
    """Run the worker; return its last event, its resource usage and the seconds."""
    # One thread per process: threads that spin on shared cores slow each other down.
    single = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    environment = (
        os.environ
        | single
        | {
            "MFUTILS_RUN": str(work / "run.json"),
            registry.ACCESS_LOG: str(work / "access.log"),
            "MFUTILS_PROCESSES": str(processes),
            "PYTHONPATH": os.pathsep.join(
                filter(None, [str(paths.ROOT), os.environ.get("PYTHONPATH")])
            ),
            "PYTHONHASHSEED": "0",
            "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        }
    )
    event = {"ok": False, "where": "start", "error": "the worker ended without a word"}
    began = time.perf_counter()
    with open(work / "stderr.log", "w+", encoding="utf-8") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "mfutils.compendium.runner.worker", str(work / "job.json")],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment,
            cwd=paths.ROOT,
            start_new_session=True,
        )
        run = environment["MFUTILS_RUN"]
        limit, late = time_limit(), threading.Event()
        alarm = threading.Timer(limit or 0, lambda: (late.set(), worker.kill_run(run)))
        alarm.daemon = True
        _running.add(run)
        try:
            if limit:
                alarm.start()
            for line in process.stdout:
                try:
                    news = json.loads(line)
                except ValueError:
                    continue
                if "ok" in news:
                    event = news
                elif progress:
                    progress(news["cell"], news["of"])
                    event = event | {"where": f"cell {news['cell']}"}
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        finally:
            alarm.cancel()
            _running.discard(run)
            # Whatever ended the worker, its kernel must not live on
            worker.kill_run(run)
        if late.is_set() and process.returncode:
            event["error"] = f"stopped after {limit:g} s, the limit set by MFUTILS_TIMEOUT"
        elif process.returncode and event.get("error", "").endswith("a word"):
            errors.seek(0)
            last = [line.strip() for line in errors if line.strip()][-1:] or ["no message"]
            event["error"] = f"the worker ended with code {process.returncode} ({last[0]})"
    return event, usage, time.perf_counter() - began


def stop_all() -> None:
    """Kill every running worker with its kernel; nothing counts as failed."""
    _stopped.set()
    for run in list(_running):
        worker.kill_run(run)


def _refusal(unknown: list[str]) -> dict:
    """Why results are not published whose stamp would not know all the code behind them."""
    names, they = ", ".join(unknown), "it" if len(unknown) == 1 else "them"
    return {
        "ok": False,
        "where": "its imports",
        "error": f"{names} took part, but no import statement leads to {they}, so the stamp would "
        f"not notice a change; import {they} by a statement",
    }


def _publish(stem: str, profile: str, inputs: dict, origin: dict, work: Path) -> dict:
    out, target = work / "out", paths.FIGURES / profile / stem
    artifacts = {p.name: files.sha256_of(p) for p in sorted(out.iterdir())}
    log = work / "access.log"
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    data = dict(sorted({tuple(line.split("\t")) for line in lines}))
    stamp = {"artifacts": artifacts, "data": data, "inputs": inputs, "provenance": origin}
    files.write_text(out / "stamp.json", json.dumps(stamp, indent=1, sort_keys=True) + "\n")
    executed = paths.BUILD / profile / "executed" / f"{stem}.ipynb"
    executed.parent.mkdir(parents=True, exist_ok=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(work / "executed.ipynb", executed)
    replaced = work / "replaced"
    if target.exists():
        os.rename(target, replaced)
    try:
        os.rename(out, target)
    except OSError:
        if replaced.exists():
            os.rename(replaced, target)
        raise
    for suffix in ("json", "ipynb"):
        (paths.BUILD / "failed" / profile / f"{stem}.{suffix}").unlink(missing_ok=True)
    kinds = [name.rpartition(".")[2] for name in artifacts]
    return {"figures": kinds.count("png"), "tables": kinds.count("md")}


def _keep_failure(stem: str, profile: str, inputs: dict, event: dict, work: Path) -> str:
    folder = paths.BUILD / "failed" / profile
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / f"{stem}.ipynb"
    if (work / "executed.ipynb").exists():
        os.replace(work / "executed.ipynb", kept)
    record = {"inputs": inputs, "where": event["where"], "error": event["error"]}
    files.write_text(folder / f"{stem}.json", json.dumps(record, indent=1) + "\n")
    return str(kept.relative_to(paths.ROOT)) if kept.exists() else ""
