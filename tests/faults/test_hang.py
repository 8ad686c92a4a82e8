"""Notebooks that never end: time limit, Ctrl-C and SIGTERM leave no process behind.

The second cell holds the interpreter's lock for ever, so that its kernel hears no message and
notices no dead parent: only a kill ends it. (What one killed worker says, and how two runs
share the work: tests/compendium/test_runner.py.)
"""

import signal
import subprocess
import time
from collections import Counter

import compendium
import pytest
from trials import STEM, keep, one_line, processes_of

SLEEP = "import time\ntime.sleep(10**6)\n"
LOCKED = 'import re\nre.match("(a+)+$", "a" * 60 + "b")\n'


def gone(project):
    """Wait until no process of the compendium lives."""
    deadline = time.monotonic() + 30
    while left := processes_of(project.root):
        assert time.monotonic() < deadline, f"processes {left} live on"
        time.sleep(0.1)


def start(project, **settings):
    return subprocess.Popen(
        project.command("run"),
        cwd=project.root,
        env=project.environment | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell that starts the tests in the background has them ignore Ctrl-C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def in_the_cell(project):
    """Wait until the notebook has opened its output folder, which the hanging cell follows."""
    deadline = time.monotonic() + 120
    running = project.root / "build" / "running"
    while not list(running.glob(f"smoke.{STEM}.*/out/values.json")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)


def test_time_limit_ctrl_c_and_sigterm(tmp_path):
    outcomes = Counter()
    project = compendium.light(tmp_path / "compendium", LOCKED)
    process = start(project, MFUTILS_TIMEOUT="10")
    said, errors = process.communicate(timeout=120)
    assert process.returncode == 1, said + errors
    assert "stopped after 10 s, the limit set by MFUTILS_TIMEOUT" in said
    assert "failed" in project.call("status").stdout
    gone(project)
    outcomes["time limit: reported as failed, no process left"] += 1

    for kind in (signal.SIGINT, signal.SIGTERM):
        process = start(project)
        in_the_cell(project)
        began = time.monotonic()
        process.send_signal(kind)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 130
        assert one_line(errors) == "interrupted; finished notebooks are kept"
        assert time.monotonic() - began < 30
        gone(project)
        assert not list((project.root / "build" / "running").iterdir())
        assert not (project.root / "figures").exists()
        outcomes[f"{kind.name}: one line, no process left"] += 1
    keep("a cell that never ends and holds the interpreter's lock", "hang", outcomes)


def test_a_killed_runner_takes_a_deaf_kernel_with_it(tmp_path):
    project = compendium.light(tmp_path / "compendium", LOCKED)
    process = start(project)
    in_the_cell(project)
    process.kill()
    process.communicate(timeout=60)
    gone(project)
    keep("kill -9 of the runner while a cell hangs", "hang-killed", Counter({"no process left": 1}))


def test_a_waiting_run_can_be_stopped(tmp_path):
    project = compendium.light(tmp_path / "compendium", SLEEP)
    first = start(project)
    in_the_cell(project)
    second = start(project)
    assert "waiting for its result" in second.stdout.readline()
    second.send_signal(signal.SIGINT)
    second.communicate(timeout=30)
    assert second.returncode == 130
    assert first.poll() is None, "the first goes on"
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=30)
    gone(project)
    keep(
        "Ctrl-C while another run holds the notebook", "hang-waiting", Counter({"ends at once": 1})
    )


@pytest.mark.parametrize("text", ["soon", "-1", "0", "nan", "1e300"])
def test_a_bad_time_limit_is_one_line(project, text):
    project.add(STEM)
    environment = project.environment | {"MFUTILS_TIMEOUT": text}
    done = subprocess.run(
        project.command("run"),
        cwd=project.root, env=environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert f"MFUTILS_TIMEOUT is '{text}'; give seconds above 0" in one_line(done.stderr)
