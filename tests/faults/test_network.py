"""No network at all: a run needs none, and what needs one says so in one line.

The calls run in a network namespace of their own (root only, else skipped), where even names
cannot be resolved. Dropped connections, proxies and wrong answers: tests/datasets/test_fetch.py.
"""

import os
import shutil
import subprocess
import sys
from collections import Counter

import compendium
import pytest
from trials import LONG, STEM, keep, one_line

from mfutils import paths

# The loopback is the machine itself, and Jupyter talks to its kernels there
ALONE = [
    "unshare",
    "-n",
    "sh",
    "-c",
    'ip link set lo up 2>/dev/null || ifconfig lo up; exec "$@"',
    "sh",
]


@pytest.fixture
def alone():
    """Prefix of a command that gets no network; skips where that cannot be had."""
    if not shutil.which("unshare"):
        pytest.skip("no unshare to take the network away")
    look = "import socket; socket.create_server(('127.0.0.1', 0)); open('/proc/net/route').read()"
    probe = subprocess.run([*ALONE, sys.executable, "-c", look], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("no right to take the network away")
    return ALONE


def call(alone, arguments, *, cwd=paths.ROOT, **settings):
    return subprocess.run(
        [*alone, sys.executable, "-m", *arguments],
        cwd=cwd, env=os.environ | settings, capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip


def test_a_run_needs_no_network(tmp_path, alone):
    stem = "02_1_correlation_and_vif" if LONG else STEM
    root = tmp_path / "compendium"
    project = compendium.real(root, stem) if LONG else compendium.light(root)
    assert project.call("run").returncode == 0
    undisturbed = compendium.results(project, stem)
    shutil.rmtree(root / "figures")
    shutil.rmtree(root / "build")
    done = subprocess.run(
        [*alone, *project.command("run")],
        cwd=root, env=project.environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert compendium.results(project, stem) == undisturbed
    keep(f"a run without network ({stem})", "network-run", Counter({"same bytes": 1}))


def test_downloads_say_so_in_one_line(tmp_path, alone):
    (tmp_path / "raw").mkdir()
    data = {"MFUTILS_DATA": str(tmp_path / "raw")}
    done = call(alone, ["mfutils.datasets.fetch", "--retries", "0"], **data)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert len(lines) > 2
    for line in lines:
        assert line.startswith("error: ")
        assert "gave up after 1 attempts" in line
    assert not list((tmp_path / "raw").iterdir())
    outcomes = Counter({"download: one line per original, no file left": len(lines)})

    code = "from mfutils.datasets.build import packages; from pathlib import Path; import sys\n"
    code += f"try: packages.fetch_archive('crabnet', folder=Path({str(tmp_path)!r}) / 'packages')\n"
    code += "except packages.DataError as error: print(error, file=sys.stderr); sys.exit(3)\n"
    script = tmp_path / "fetch_crabnet.py"
    script.write_text(code)
    done = subprocess.run(
        [*alone, sys.executable, str(script)],
        env=os.environ | {"PYTHONPATH": str(paths.ROOT), "PIP_RETRIES": "0", "PIP_TIMEOUT": "2"},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert "pip could not download crabnet" in one_line(done.stderr)
    assert not list((tmp_path / "packages").iterdir())
    outcomes["package archive: one line, no file left"] += 1
    keep("no network for what needs one", "network-downloads", outcomes)
