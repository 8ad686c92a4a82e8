"""kill -9 at random moments of a real run: a rerun gives the very bytes of an undisturbed one.

The victim is the runner, its worker, the kernel, or all of them at once (a power cut). The
long mode strikes fifty times on a light notebook and ten times on a notebook of the study.
"""

import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter

import compendium
import pytest
from trials import LONG, STEM, keep, processes_of, trials

VICTIMS = ("runner", "worker", "kernel", "everything")


def command_line(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as handle:
            return handle.read().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def pick(project, runner, victim):
    """Process ids to kill; fewer than wanted when they have not started or have ended."""
    if victim == "runner":
        return [runner]
    found = processes_of(project.root)
    if victim == "everything":
        return found
    sign = {"worker": "mfutils.compendium.runner.worker", "kernel": "ipykernel_launcher"}[victim]
    return [pid for pid in found if sign in command_line(pid)]


def strike(project, victim, after):
    """Start a run, kill `victim` after so many seconds; return how the runner ended."""
    process = subprocess.Popen(
        project.command("run"),
        cwd=project.root,
        env=project.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    time.sleep(after)
    for pid in pick(project, process.pid, victim):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    said = process.communicate(timeout=200)[0]
    assert "Traceback" not in said, said
    return process.returncode


def stored(project):
    return len(list((project.root / "build" / "cache").rglob("*.pkl")))


def campaign(project, stem, count, rng, fault, name):
    """Strike `count` runs, each from an empty build folder; keep the counts of outcomes."""
    start = time.monotonic()
    first = project.call("run")
    usual = time.monotonic() - start
    assert first.returncode == 0, first.stdout + first.stderr
    undisturbed = compendium.results(project, stem)
    log = project.root / "log"
    outcomes = Counter()
    for number in range(count):
        for folder in ("figures", "build"):
            shutil.rmtree(project.root / folder, ignore_errors=True)
        log.unlink(missing_ok=True)
        victim = VICTIMS[number % len(VICTIMS)]
        ended = strike(project, victim, rng.uniform(0.1, 1.0) * usual)
        visible = project.folder(stem).exists()
        if visible:
            assert project.files(stem) == {
                name: content for name, content in undisturbed.items() if name != "executed"
            }, "what is visible is whole"
        kept = stored(project)
        assert visible or ended != 0, "a run that published nothing must not end as a success"
        again = project.call("run")
        assert again.returncode == 0, again.stdout + again.stderr
        assert compendium.results(project, stem) == undisturbed
        assert not list((project.root / "build" / "running").glob("*"))
        if log.exists() and kept:
            values = log.read_text().split()
            # The one that was in progress may be computed twice, no other
            assert len(values) <= len(set(values)) + 1
        when = "after" if visible else "before"
        outcomes[f"struck {when} publication, rerun byte-identical"] += 1
        keep(fault, name, outcomes)


def test_kill_at_random_moments(tmp_path):
    project = compendium.light(tmp_path / "compendium")
    fault = "kill -9 at random moments of a run"
    campaign(project, STEM, trials(2, 50), random.Random(12), fault, "kill-light")
    deadline = time.monotonic() + 60
    while processes_of(project.root):
        assert time.monotonic() < deadline, "an orphan lives on"
        time.sleep(0.2)


def test_kill_a_notebook_of_the_study(tmp_path):
    stem = "02_1_correlation_and_vif"
    if not LONG:
        pytest.skip("long mode only: MFUTILS_LONG=1")
    project = compendium.real(tmp_path / "compendium", stem)
    fault = f"kill -9 at random moments of {stem}, smoke"
    campaign(project, stem, 10, random.Random(34), fault, "kill-real")
