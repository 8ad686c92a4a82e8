"""The first cell of every notebook: installs the clone on a hosted service, nothing elsewhere."""

import importlib.metadata
import json
import subprocess
import sys

import pytest

from mfutils import paths

CELLS = {
    path.stem: [c for c in json.loads(path.read_text(encoding="utf-8"))["cells"]]
    for path in sorted(paths.NOTEBOOKS.glob("*.ipynb"))
}
SOURCE = "".join(
    next(c["source"] for c in CELLS["01_1_multi_fidelity_sources"] if c["id"] == "hosted")
)


def test_every_notebook_has_the_same_cell_in_the_same_place():
    for stem, cells in CELLS.items():
        assert "".join(cells[1]["source"]) == SOURCE, stem
        assert {"hosted", "remove-cell"} <= set(cells[1]["metadata"]["tags"]), stem


def test_it_does_nothing_where_the_library_is_installed(monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: pytest.fail("installed again"))
    before = list(sys.path)
    exec(SOURCE, {})
    assert sys.path == before


@pytest.fixture
def bare(monkeypatch):
    """A Python without the library; returns the list of the commands that it was asked to run."""
    commands = []
    monkeypatch.setattr(importlib.metadata, "distributions", lambda: iter(()))
    monkeypatch.setattr(subprocess, "run", lambda command, check: commands.append((command, check)))
    monkeypatch.setattr(sys, "path", list(sys.path))
    return commands


@pytest.mark.parametrize("place", ["notebooks", ".", "mfutils/datasets"])
def test_it_installs_the_clone_around_it(bare, monkeypatch, place):
    monkeypatch.chdir(paths.ROOT / place)
    exec(SOURCE, {})
    ((command, check),) = bare
    assert command[1:4] == ["-m", "pip", "install"]
    assert command[-1] == str(paths.ROOT)
    assert check
    assert sys.path[0] == str(paths.ROOT)


def test_it_finds_the_clone_below_the_working_directory(bare, monkeypatch):
    monkeypatch.chdir(paths.ROOT.parent)
    exec(SOURCE, {})
    assert (paths.ROOT.parent / sys.path[0] / "mfutils").is_dir()


def test_without_a_clone_it_says_what_to_do(bare, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="clone the repository first"):
        exec(SOURCE, {})
    assert bare == []
