"""Executed notebooks as single files: what stands in them, and that they need nothing else."""

import re

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from mfutils import paths
from mfutils.compendium import pages
from mfutils.errors import InputError

PIXEL = "iVBORw0KGgo="
TOPICS = {"01_1_first": "1.1 First & foremost", "07_10_last": "7.10 Last"}


@pytest.fixture
def compendium(tmp_path, monkeypatch):
    """Two executed notebooks in a compendium of their own."""
    executed = tmp_path / "build/quick/executed"
    executed.mkdir(parents=True)
    (tmp_path / "notebooks").mkdir()
    monkeypatch.setattr(paths, "BUILD", tmp_path / "build")
    monkeypatch.setattr(paths, "NOTEBOOKS", tmp_path / "notebooks")
    for stem, title in TOPICS.items():
        picture = new_output("display_data", {"image/png": PIXEL, "text/plain": "<Figure>"})
        cells = [
            new_markdown_cell(f"# {title}\n\nText with $x_i^2$ and $$\\mu = \\frac{{a}}{{b}}$$"),
            new_code_cell("install()", metadata={"tags": ["hosted", "remove-cell"]}),
            new_code_cell("draw()", outputs=[picture]),
        ]
        notebook = new_notebook(cells=cells)
        for folder in (executed, tmp_path / "notebooks"):
            nbformat.write(notebook, folder / f"{stem}.ipynb")
    return tmp_path


def test_a_page_needs_nothing_beside_itself(compendium):
    index = pages.write_pages("quick")
    text = (index.parent / "01_1_first.html").read_text(encoding="utf-8")
    assert "<script" not in text
    assert not re.findall(r"(?:src|href)=[\"'](?!data:|#)[^\"']*", text)
    assert not re.findall(r"url\((?![\"']?data:|[\"']?#)[^)]*\)", text)
    assert f"data:image/png;base64,{PIXEL}" in text
    assert "alt='Output of the cell above'" in text.replace('"', "'")


def test_equations_are_mathml_and_the_hosted_cell_is_gone(compendium):
    _, text = pages.page(paths.BUILD / "quick/executed/01_1_first.ipynb")
    assert text.count("<math") == 2
    assert "<mfrac>" in text
    assert "\\frac" not in text
    assert "install" not in text
    assert "draw" in text


def test_the_index_lists_titles_in_order(compendium):
    text = pages.write_pages("quick").read_text(encoding="utf-8")
    links = re.findall(r'<a href="(\w+)\.html">([^<]+)</a>', text)
    assert links == [("01_1_first", "1.1 First &amp; foremost"), ("07_10_last", "7.10 Last")]


def test_old_pages_do_not_stay_and_a_second_build_is_the_same(compendium):
    index = pages.write_pages("quick")
    before = {p.name: p.read_bytes() for p in index.parent.iterdir()}
    (index.parent / "gone.html").write_text("old")
    pages.write_pages("quick")
    assert {p.name: p.read_bytes() for p in index.parent.iterdir()} == before


def test_a_notebook_that_never_ran_is_named(compendium, capsys):
    (paths.BUILD / "quick/executed/07_10_last.ipynb").unlink()
    assert pages.main(["--profile", "quick"]) == 1
    said = capsys.readouterr().err
    assert "1 of 2 notebooks have not run" in said
    assert "07_10_last" in said
    assert "make figures PROFILE=quick" in said
    assert not (paths.BUILD / "html").exists()


def test_a_broken_copy_or_equation_names_the_place(compendium):
    executed = paths.BUILD / "quick/executed/01_1_first.ipynb"
    notebook = nbformat.read(executed, as_version=4)
    notebook.cells[0].source = r"$\nosuchthing{x}$"
    nbformat.write(notebook, executed)
    with pytest.raises(InputError, match="nosuchthing"):
        pages.write_pages("quick")
    executed.write_text("{")
    with pytest.raises(InputError, match=r"01_1_first\.ipynb: not an executed notebook"):
        pages.write_pages("quick")
