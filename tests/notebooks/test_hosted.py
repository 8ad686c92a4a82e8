"""The first cell of every notebook: installs the clone on a hosted service, nothing elsewhere."""

import ast
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys

import pytest

from mfutils import paths

CELLS = {
    path.stem: json.loads(path.read_text(encoding="utf-8"))["cells"]
    for path in sorted(paths.NOTEBOOKS.glob("*.ipynb"))
}
SOURCE = "".join(
    next(c["source"] for c in CELLS["01_1_multi_fidelity_sources"] if c["id"] == "hosted")
)
SCRIPT = paths.NOTEBOOKS / "hosted.py"


def test_every_notebook_has_the_same_short_cell_in_the_same_place():
    assert len(ast.parse(SOURCE).body) == 3
    for stem, cells in CELLS.items():
        assert "".join(cells[1]["source"]) == SOURCE, stem
        assert {"hosted", "remove-cell"} <= set(cells[1]["metadata"]["tags"]), stem


def test_cell_and_script_need_the_standard_library_alone():
    for source in (SOURCE, SCRIPT.read_text(encoding="utf-8")):
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                assert {alias.name for alias in node.names} <= sys.stdlib_module_names
            if isinstance(node, ast.ImportFrom):
                assert node.module.split(".")[0] in sys.stdlib_module_names


def test_it_does_nothing_where_the_library_is_installed(monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: pytest.fail("installed again"))
    monkeypatch.chdir(paths.NOTEBOOKS)
    before = list(sys.path)
    exec(SOURCE, {})
    assert sys.path == before


def test_a_copy_far_from_any_clone_runs_on_the_installed_library(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    exec(SOURCE, {})


@pytest.fixture
def bare(monkeypatch):
    """A Python without the library; returns the list of the commands that it was asked to run."""
    commands = []
    monkeypatch.setattr(importlib.metadata, "distributions", lambda: iter(()))
    monkeypatch.setattr(subprocess, "run", lambda command, check: commands.append((command, check)))
    monkeypatch.setattr(sys, "path", list(sys.path))
    return commands


@pytest.mark.parametrize("place", ["notebooks", "."])
def test_it_installs_the_clone_around_it(bare, monkeypatch, place):
    monkeypatch.chdir(paths.ROOT / place)
    exec(SOURCE, {})
    ((command, check),) = bare
    assert command[1:4] == ["-m", "pip", "install"]
    assert command[-1] == str(paths.ROOT)
    assert check
    assert sys.path[0] == str(paths.ROOT)


def test_it_finds_the_clone_below_the_working_directory(bare, monkeypatch, tmp_path):
    (tmp_path / "clone").symlink_to(paths.ROOT)
    monkeypatch.chdir(tmp_path)
    exec(SOURCE, {})
    assert bare[0][0][-1] == str(paths.ROOT)


def test_without_a_clone_it_says_what_to_do(bare, monkeypatch, tmp_path):
    shutil.copy(SCRIPT, tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="clone the repository"):
        exec(SOURCE, {})
    assert bare == []
    os.remove("hosted.py")
    exec(SOURCE, {})  # nothing to run; the first line of the cell says what to do
    assert bare == []
    assert "clone the repository first" in SOURCE.splitlines()[0]
