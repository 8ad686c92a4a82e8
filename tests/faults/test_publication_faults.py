"""A run stopped at each of its writes: what is visible is the old result, the new, or nothing.

The notebook itself is replaced by a stand-in that leaves its files at once, so that a kill
and a full disk can strike before every single operation on the file system. `test_kill.py`
strikes real runs at random moments.
"""

import json
import os
import signal
import sys
import traceback
from collections import Counter

import pytest
from trials import STEM, keep, trials

from mfutils import paths
from mfutils.compendium.runner import publish, staleness

FULL = OSError(28, "No space left on device")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CHANGES = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate"}


class Usage:
    ru_utime = ru_stime = ru_maxrss = 0.0


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Folders of a compendium of its own; the published stamp of version 1 is in place."""
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "BUILD", tmp_path / "build")
    monkeypatch.setattr(paths, "FIGURES", tmp_path / "figures")
    monkeypatch.setattr(publish, "commit", lambda: "unknown")
    (tmp_path / "build").mkdir()
    return tmp_path


def inputs(version):
    same = dict.fromkeys(("code", "lock", "published"), "0")
    return {**same, "modules": {}, "parameters": {"version": version}}


def stand_in(version, good):
    """Leaves what a worker leaves: artifacts and the executed notebook, or a failure."""

    def execute(work, processes, progress):
        for name in ("table_1.csv", "values.json"):
            (work / "out" / name).write_text(f"{name} of version {version}\n" * 50)
        (work / "executed.ipynb").write_text(f"executed version {version}")
        event = {"ok": good, "loaded": [], "where": "cell 1", "error": "ValueError: bad luck"}
        return event, Usage, 0.1

    return execute


def run(place, version, *, strike=None, at=None, good=True):
    """Run in a child process; `strike` happens at the write number `at`.

    Returns the exit status, and the error that came out of the run with the number of writes.
    """
    answer = place / "answer"
    child = os.fork()
    if child == 0:
        writes = 0
        armed = True

        def hook(event, arguments):
            nonlocal writes
            change = event in CHANGES
            change |= event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITES
            if armed and change and str(place) in str(arguments[0]):
                writes += 1
                if strike and (writes == at or (writes > at and strike == "full for good")):
                    if strike == "kill":
                        os.kill(os.getpid(), signal.SIGKILL)
                    # A full disk can still delete
                    if event not in ("os.remove", "os.rmdir"):
                        raise FULL

        try:
            sys.addaudithook(hook)
            publish._execute = stand_in(version, good)
            with publish.locked(STEM, "smoke"):
                publish.run_notebook(STEM, "smoke", inputs(version))
            text = ""
        except OSError as error:
            text = str(error)
        except BaseException:
            text = "DEPTHS " + traceback.format_exc()
        armed = False
        answer.write_text(json.dumps([text, writes]))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if status:
        return status, None, None
    return 0, *json.loads(answer.read_text())


def visible(place):
    """Which version is published in full: 1, 2 or None; fails on anything between."""
    folder = place / "figures" / "smoke" / STEM
    if not folder.exists():
        return None
    stamp = json.loads((folder / "stamp.json").read_text())
    version = stamp["inputs"]["parameters"]["version"]
    assert staleness.state(STEM, "smoke", inputs(version)).fresh
    assert {p.name for p in folder.iterdir()} == {"table_1.csv", "values.json", "stamp.json"}
    assert (folder / "table_1.csv").read_text() == f"table_1.csv of version {version}\n" * 50
    return version


def leftovers(place):
    return [*(place / "build" / "running").iterdir(), *place.rglob("*.part")]


@pytest.mark.parametrize("strike", ["kill", "full once", "full for good"])
def test_struck_at_every_write(place, strike):
    assert run(place, 1)[:2] == (0, "")
    _, error, writes = run(place, 2)
    assert error == ""
    assert writes > 12
    outcomes = Counter()
    for at in range(1, writes + 1):
        run(place, 1)
        assert visible(place) == 1
        status, error, _ = run(place, 2, strike=strike, at=at)
        found = visible(place)
        if strike == "kill":
            assert status == signal.SIGKILL
            what = {1: "old result", 2: "new result", None: "nothing"}[found] + " visible"
        else:
            assert status == 0
            assert "No space left" in error or error == ""
            assert not error.startswith("DEPTHS"), error
            # A disk that fills for good between two renames may leave no result, never a half
            assert found in ((1, None) if error else (2,))
            what = "one-line error, old result visible" if error else "new result visible"
            what = what if found else "one-line error, nothing visible"
        outcomes[what + ", rerun identical"] += 1
        run(place, 2)
        assert visible(place) == 2
        assert not leftovers(place)
    name = strike.replace(" ", "-")
    keep(f"{strike} before each write of a publication", f"publication-{name}", outcomes)
    assert sum(n for what, n in outcomes.items() if "nothing" in what) <= 1


def test_a_failure_that_cannot_be_kept_is_an_error_and_harms_nothing(place):
    run(place, 1)
    _, _, writes = run(place, 2, good=False)
    for at in range(1, writes + 1):
        _, error, _ = run(place, 2, strike="full once", at=at, good=False)
        assert not error.startswith("DEPTHS"), error
        assert visible(place) == 1
    assert not leftovers(place)


def test_locks_are_free_after_any_death(place):
    """The next run never waits for a dead one; see the waiting in test_hang.py for a living."""
    for at in range(1, trials(3, 12)):
        run(place, 1, strike="kill", at=at)
        waited = []
        with publish.locked(STEM, "smoke", lambda: waited.append(1)):  # noqa: B023
            assert not waited
