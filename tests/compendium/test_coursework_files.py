"""The student version of every notebook gives nothing away; the files are whole."""

import json
import re

import nbformat
import pytest

from mfutils import paths
from mfutils.compendium import coursework, coursework_files
from mfutils.errors import DataError, InputError

NOTEBOOKS = sorted(paths.NOTEBOOKS.glob("*.ipynb"))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    target = tmp_path_factory.mktemp("course") / "coursework"
    coursework_files.write(target)
    return target


def _lines(source):
    """Lines of code that say something, without spaces."""
    found = {re.sub(r"\s+", "", line.split("#")[0]) for line in source.splitlines()}
    return {line for line in found if len(line) > 24}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_no_line_of_a_solution_is_in_the_student_version_or_the_library(path, written):
    notebook = nbformat.read(path, as_version=4)
    made = (written / "student" / path.name).read_text(encoding="utf-8")
    cells = json.loads(made)["cells"]
    shown = re.sub(r"\s+", "", "".join("".join(c["source"]) for c in cells) + json.dumps(cells))
    library = "".join(p.read_text(encoding="utf-8") for p in (paths.ROOT / "mfutils").rglob("*.py"))
    library = re.sub(r"\s+", "", library)
    for item in coursework.exercises(notebook):
        kept = coursework.student(notebook)
        stub = next(c.source for c in kept.cells if c.id == item["solution"].id)
        assert stub != item["solution"].source
        for line in _lines(item["solution"].source) - _lines(stub):
            assert line not in shown, (item["name"], line)
            assert line not in library, (item["name"], line)
    assert all(not c.get("outputs") for c in cells)


def test_both_versions_are_valid_and_the_marks_add_up(written):
    for path in NOTEBOOKS:
        for version in ("student", "instructor"):
            nbformat.validate(nbformat.read(written / version / path.name, as_version=4))
    sheets = sorted((written / "sheets").iterdir())
    assert sheets
    for page in sheets:
        text = page.read_text(encoding="utf-8")
        points = [int(n) for n in re.findall(r"\| (\d+) \|$", text, flags=re.M)]
        assert f"**Points.** {sum(points)}." in text


def test_writing_twice_gives_the_same_bytes(written):
    before = {p: p.read_bytes() for p in written.rglob("*") if p.is_file()}
    coursework_files.write(written)
    assert before == {p: p.read_bytes() for p in written.rglob("*") if p.is_file()}


def test_a_malformed_exercise_leaves_the_old_files(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "NOTEBOOKS", tmp_path)
    cell = nbformat.v4.new_markdown_cell("x", metadata={"tags": ["exercise"]})
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "01_1_x.ipynb")
    (tmp_path / "old").mkdir()
    (tmp_path / "old/kept").touch()
    with pytest.raises(InputError, match=r"01_1_x.ipynb: .*no solution"):
        coursework_files.write(tmp_path / "old")
    assert (tmp_path / "old/kept").exists()


@pytest.mark.parametrize("text", ["- a", "1: {goals: []}", "1: [", "\x00"])
def test_a_damaged_list_of_chapters_is_named(text, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "DATA", tmp_path)
    (tmp_path / "coursework.yaml").write_text(text)
    with pytest.raises(DataError, match=r"coursework.yaml"):
        coursework_files.write(tmp_path / "out")
