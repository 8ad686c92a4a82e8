"""A full disk and a read-only one, real ones: small disks in memory (root only, else skipped).

One-line errors, nothing half-written, and a rerun with room equals an undisturbed run. What
happens at every single write is in test_publication_faults.py; the graph cache, which costs a
warning only, in tests/crystals/test_graph_cache.py; a read-only data directory in
tests/datasets/test_fetch.py.
"""

import contextlib
import errno
import random
import shutil
from collections import Counter

import compendium
import numpy as np
import pytest
import sweep_jobs
from trials import STEM, disk, keep, nearly_full, one_line, read_only, trials

from mfutils import files
from mfutils.compendium import sweep
from mfutils.datasets import fetch
from mfutils.errors import DataError

WORK = """\
table = pd.DataFrame({"n": range(3000)}) * scale
artifacts.save_table(table, "table_1")
print("x" * 20000)
"""


def reason(result):
    """The one line that says why a run failed, wherever the runner puts it."""
    if result.returncode == 2:
        return one_line(result.stderr)
    assert result.returncode == 1
    assert "Traceback" not in result.stdout + result.stderr
    return one_line("\n".join(x for x in result.stdout.splitlines() if "FAILED in" in x))


def test_full_disk_during_a_run(tmp_path):
    rng = random.Random(5)
    with disk(tmp_path / "disk", 24) as folder:
        project = compendium.light(folder / "compendium", WORK)
        assert project.call("run").returncode == 0
        undisturbed = compendium.results(project)
        # The phases of a run need from no space at all to about 200 kB
        room = (
            [0, 40_000] if trials(0, 1) == 0 else [0, *(rng.randrange(240_000) for _ in range(19))]
        )
        outcomes = Counter()
        for free in room:
            shutil.rmtree(project.root / "figures")
            shutil.rmtree(project.root / "build")
            with nearly_full(folder, free):
                result = project.call("run")
                if result.returncode:
                    assert "No space left on device" in reason(result) or free, reason(result)
                    assert not project.folder(STEM).exists()
                    outcomes["one-line error, nothing published, rerun identical"] += 1
                else:
                    outcomes["enough room, published"] += 1
            assert project.call("run").returncode == 0
            assert compendium.results(project) == undisturbed
    keep("a disk that fills during a run", "disk-full", outcomes)


def test_read_only_disk(tmp_path):
    with disk(tmp_path / "disk", 24) as folder:
        project = compendium.light(folder / "compendium", WORK)
        with read_only(folder):
            result = project.call("run")
            assert result.returncode == 2
            assert "Read-only file system" in one_line(result.stderr)
            assert "never" in project.call("status").stdout
        assert not (project.root / "figures").exists()
        assert project.call("run").returncode == 0
        with read_only(folder):
            assert "fresh" in project.call("status").stdout
            assert "Read-only file system" in one_line(project.call("run", "--force").stderr)
    keep(
        "a read-only disk: run, run --force and status", "disk-read-only",
        Counter({"one-line error, nothing written": 2, "status works": 2}),
    )  # fmt: skip


def test_stores_on_a_full_disk(tmp_path):
    """What is written in one step is there whole or not at all, and leaves no partial file."""
    outcomes = Counter()
    with disk(tmp_path / "disk", 4) as folder:
        (folder / "kept.txt").write_text("old")
        for free in np.linspace(0, 200_000, trials(5, 50)).astype(int):
            with nearly_full(folder, int(free)):
                before = sorted(p.name for p in folder.iterdir())
                try:
                    files.write_bytes(folder / "kept.txt", b"new" * 50_000)
                except OSError as error:
                    assert error.errno == errno.ENOSPC
                    assert (folder / "kept.txt").read_text() == "old"
                    outcomes["old file whole"] += 1
                else:
                    assert (folder / "kept.txt").read_bytes() == b"new" * 50_000
                    outcomes["new file whole"] += 1
                assert sorted(p.name for p in folder.iterdir()) == before
            files.write_bytes(folder / "kept.txt", b"old")
        with nearly_full(folder, 0):
            jobs = [{"array": np.arange(20.0)}]
            with pytest.raises(OSError, match="No space left"):
                sweep.run(sweep_jobs.total, jobs, workers=1, folder=folder / "sweep")
            assert not list(folder.rglob("*.pkl*"))
        assert sweep.run(sweep_jobs.total, jobs, workers=1, folder=folder / "sweep") == [190.0]
    keep("a file written in one step on a full disk", "disk-write", outcomes)


class _Answer:
    """A response that gives a megabyte."""

    status_code, headers = 200, {}

    class raw:
        @staticmethod
        def stream(size, decode_content):
            return iter([bytes(size)] * 4)


def test_a_download_that_fills_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "_get", lambda *_: contextlib.nullcontext(_Answer))
    with disk(tmp_path / "disk", 4) as folder, nearly_full(folder, 100_000):
        part = folder / "gaps.gz.part"
        with pytest.raises(DataError, match=r"cannot be written \(No space left") as caught:
            fetch._download(fetch._Target("http://127.0.0.1/", "gaps.gz"), folder)
        one_line(str(caught.value))
        assert not (folder / "gaps.gz").exists()
        part.unlink()
    keep("a download that fills the disk", "disk-download", Counter({"one-line error": 1}))
