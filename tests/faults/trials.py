"""What the fault tests share: two lengths, counts of outcomes, small disks, time limits."""

import json
import os
import shutil
import signal
import subprocess
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from mfutils import paths

LONG = os.environ.get("MFUTILS_LONG") == "1"
COUNTS = paths.BUILD / "faults" / ("long" if LONG else "short")
STEM = "02_1_topic"


def trials(short: int, long: int) -> int:
    """Number of trials: `short` by default, `long` with MFUTILS_LONG=1."""
    return long if LONG else short


def keep(fault: str, name: str, outcomes: Counter) -> None:
    """Keep the counts of one fault for the table in README.md (see `table.py`)."""
    COUNTS.mkdir(parents=True, exist_ok=True)
    row = {"fault": fault, "trials": sum(outcomes.values()), "outcomes": dict(outcomes)}
    (COUNTS / f"{name}.json").write_text(json.dumps(row, indent=1) + "\n")


def one_line(text: str) -> str:
    """The only line of an error message; fails when there are several, or a traceback."""
    lines = [line for line in text.splitlines() if line.strip()]
    assert len(lines) == 1, text
    assert "Traceback" not in text
    return lines[0]


class Hang(Exception):
    """A reader needed more processor time than any file of this size can ask for."""


@contextmanager
def cpu_limit(seconds: float):
    """Raise Hang after so many seconds of processor time: a busy machine is no hang."""

    def stop(_signal, _frame):
        raise Hang(f"no end after {seconds:g} s of processor time")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no small disk can be mounted here ({done.stderr.strip()})")


@contextmanager
def disk(folder: Path, megabytes: int):
    """A small disk in memory mounted at `folder`; skips where mounting is not allowed."""
    if not shutil.which("mount") or os.geteuid() != 0:
        pytest.skip("mounting a small disk needs the rights of root")
    folder.mkdir(parents=True)
    _mount("-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def nearly_full(folder: Path, free: int):
    """Fill the disk of `folder` but for about `free` bytes."""
    filler = folder / "filler"
    with open(filler, "wb", buffering=0) as handle, suppress(OSError):
        while True:
            handle.write(bytes(1 << 14))
    if free:
        os.truncate(filler, max(0, filler.stat().st_size - free))
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def read_only(folder: Path):
    """Mount the disk of `folder` read-only: root too may not write then."""
    _mount("-o", "remount,ro", str(folder))
    try:
        yield
    finally:
        _mount("-o", "remount,rw", str(folder))


def processes_of(root: Path) -> list[int]:
    """Ids of all living processes that were started for the compendium at `root`."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and str(root).encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue  # gone, or another user's
    return [pid for pid in found if pid != os.getpid()]


def damages(whole, rng, count):
    """Copies with a flipped bit, cut short, or with bytes added."""
    for number in range(count):
        at = rng.randrange(len(whole))
        if number % 3 == 0:
            yield whole[:at]
        elif number % 3 == 1:
            yield whole[:at] + bytes([whole[at] ^ 1 << rng.randrange(8)]) + whole[at + 1 :]
        else:
            yield whole[:at] + rng.randbytes(3) + whole[at:]
