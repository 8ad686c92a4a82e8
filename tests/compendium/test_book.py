"""The book: pages, equations, and what a browser makes of them."""

import io
import json
import shutil

import nbformat
import numpy as np
import pandas as pd
import pytest
from lxml import etree
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from sphinx.errors import SphinxError

from mfutils import paths
from mfutils.compendium import artifacts, plots
from mfutils.compendium.book import build, full_scale, mathml, pages
from mfutils.errors import DataError, InputError

TOPICS = {"01_1_first": "A capacious hypotenuse", "02_1_second": "Nothing of the kind"}
EQUATION = r"$$\mu_* = K_*^\top (K+\sigma_n^2 I)^{-1} y,\quad \lVert x\rVert^2 = \frac{a}{b}$$"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A book of two small notebooks, made through the functions that real ones use."""
    root = tmp_path_factory.mktemp("book")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("NOTEBOOKS", "FIGURES", "BUILD", "PUBLISHED"):
            (root / name).mkdir()
            patch.setattr(paths, name, root / name)
        patch.delenv("MFUTILS_RUN", raising=False)
        (root / "BUILD/quick/executed").mkdir(parents=True)
        for stem, text in TOPICS.items():
            _notebook(root, stem, text)
        _at_full_scale(root, "01_1_first")
        yield build.build("quick", root / "out").parent


def _notebook(root, stem, text):
    value = {"id": "a.b", "printed": "0.12", "where": "Table 1 | left", "class": "exact"}
    entry = {"section": "1", "values": [value]}
    (root / f"PUBLISHED/{stem}.yaml").write_text(json.dumps(entry), encoding="utf-8")
    artifacts.begin(stem)
    artifacts.record("a.b", 0.1234)
    fig, axis = plots.figure()
    axis.plot([0, 1], [0, 1])
    axis.set(xlabel="x (m)", ylabel="y (m)")
    data = pd.DataFrame({"x": [0, 1], "y": [0, 1]})
    artifacts.save_figure(fig, "fig_line", data=data, caption="A line")
    artifacts.save_table(data, "table_line", caption="Its points")
    (root / "FIGURES/quick").mkdir(exist_ok=True)
    shutil.copytree(root / "FIGURES/interactive" / stem, root / "FIGURES/quick" / stem)
    picture = {"image/png": "iVBORw0KGgo=", "text/plain": "<Figure>"}
    html = {"text/html": data.to_html(), "text/plain": str(data)}
    draw = new_code_cell('artifacts.save_figure(fig, "fig_line", data=data);')
    draw.outputs = [new_output("display_data", picture)]
    table = new_code_cell('artifacts.save_table(data, "table_line")')
    table.outputs = [new_output("execute_result", html, execution_count=2)]
    injected = new_code_cell("seed = 1", metadata={"tags": ["injected-parameters"]})
    first = new_markdown_cell(f"# {stem[1]}.{stem[3]} Topic\n\n{text}.")
    cells = [first, injected, new_markdown_cell(EQUATION), draw, table]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = new_notebook(cells=cells, metadata={"kernelspec": kernel})
    for folder in (root / "BUILD/quick/executed", root / "NOTEBOOKS"):
        nbformat.write(notebook, folder / f"{stem}.ipynb")


def _at_full_scale(root, stem):
    """Results of the full profile, with another value than the quick ones."""
    folder = root / "FIGURES/full" / stem
    shutil.copytree(root / "FIGURES/quick" / stem, folder)
    values = json.loads((folder / "values.json").read_text(encoding="utf-8"))
    values["values"]["a.b"] = 0.1189
    (folder / "values.json").write_text(json.dumps(values), encoding="utf-8")
    stamp = {"inputs": {"parameters": {"seed": 7, "sizes": [1, 2]}}}
    (folder / "stamp.json").write_text(json.dumps(stamp), encoding="utf-8")


def test_an_equation_becomes_mathml():
    found = etree.fromstring(mathml.render(r"\hat y = \sqrt{\tfrac{1}{n}\sum_i x_i^2}", block=True))
    names = {etree.QName(node).localname for node in found.iter()}
    assert {"msqrt", "mfrac", "mover"} <= names


@pytest.mark.parametrize("part", ["^2", "^{2-}", "_i", "^+"])
def test_a_charge_or_power_alone_is_an_equation(part):
    found = etree.fromstring(mathml.render(part, block=False))
    assert {etree.QName(node).localname for node in found.iter()} & {"msup", "msub"}


def test_sizes_of_delimiters_are_left_to_the_browser():
    assert mathml.render(r"\Big[ a \bigr)", block=False) == mathml.render("[ a )", block=False)


def test_an_unknown_command_names_the_equation():
    with pytest.raises(SphinxError, match=r"nosuchthing.*rewrite"):
        mathml.render(r"a + \nosuchthing{b}", block=False)


def test_names_are_found_as_the_notebook_saves_them():
    source = "%matplotlib inline\nartifacts.save_table(t, name='b')\nartifacts.save_figure(f, 'a')"
    assert pages.saved_names(source) == [("table", "b"), ("figure", "a")]
    assert pages.saved_names("artifacts.save_figure(fig, f'a_{i}')") == []


def test_a_notebook_that_never_ran_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "BUILD", tmp_path)
    with pytest.raises(InputError, match=r"have not run in the profile quick .*make figures"):
        build.collect("quick", tmp_path / "source")


def test_a_lost_figure_is_an_error(site, tmp_path):
    executed = paths.BUILD / "quick/executed/01_1_first.ipynb"
    saved = {"fig_line": {"caption": "A line"}}
    with pytest.raises(DataError, match=r"fig_line.png is missing"):
        pages.write_page(executed, tmp_path, tmp_path / "pages", saved=saved)


def test_figures_carry_number_text_and_data(site):
    page = (site / "notebooks/01_1_first.html").read_text(encoding="utf-8")
    assert "Figure 1" in page
    assert 'alt="A line. Plotted quantities: x, y"' in page
    assert "iVBORw0KGgo=" not in page
    names = {p.name for p in (site / "_downloads").rglob("*.*")}
    assert {"fig_line.csv", "fig_line.svg", "table_line.csv", "01_1_first.ipynb"} <= names


def test_the_notebook_to_download_is_the_committed_one(site):
    path = next((site / "_downloads").rglob("01_1_first.ipynb"))
    notebook = nbformat.read(path, as_version=4)
    assert all(not c.get("outputs") for c in notebook.cells)
    assert "injected-parameters" not in json.dumps(notebook)
    assert "hide-input" not in json.dumps(notebook)


def test_printed_values_stand_beside_ours(site):
    page = (site / "printed.html").read_text(encoding="utf-8")
    first, second = pd.read_html(io.StringIO(page))
    assert first.loc[0, ["where", "printed", "ours", "class"]].tolist() == [
        "Table 1 | left", 0.12, 0.1234, "exact",
    ]  # fmt: skip
    assert first.loc[0, "at full scale"] == 0.1189
    assert "at full scale" not in second
    assert len(first) == len(second) == 1


def test_results_at_full_scale_have_pages_of_their_own(site):
    page = (site / "full/01_1_first.html").read_text(encoding="utf-8")
    points, beside, knobs = pd.read_html(io.StringIO(page))
    assert points.columns.tolist() == ["x", "y"]
    assert beside.loc[0, "ours"] == 0.1189
    assert knobs["value"].tolist() == ["7", "[1, 2]"]
    assert 'alt="A line. Plotted quantities: x, y"' in page
    assert "scale: 1.1 Topic" in page
    assert "../full/01_1_first.html" in (site / "notebooks/01_1_first.html").read_text()
    assert not (site / "full/01_2_second.html").exists()


def test_full_results_without_a_stamp_are_an_error(site, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "FIGURES", tmp_path)
    shutil.copytree(paths.BUILD.parent / "FIGURES/quick/01_1_first", tmp_path / "full/01_1_first")
    with pytest.raises(DataError, match=r"01_1_first: cannot be read .*restore it from git"):
        full_scale.write_pages(["01_1_first"], tmp_path / "pages")


PICTURES = """return [...document.images].filter(i => i.offsetParent !== null)
  .map(i => [i.src, i.complete && i.naturalWidth > 0, i.alt.trim().length > 0])"""
WIDTH = "return [document.documentElement.scrollWidth, window.innerWidth]"
EQUATIONS = """return [...document.querySelectorAll('math')]
  .map(m => m.getBoundingClientRect()).map(r => [r.width, r.height])"""
# Relative luminance of text and page (WCAG 2)
CONTRAST = """const light = c => { const v = c.match(/[\\d.]+/g).slice(0, 3).map(Number)
    .map(x => x / 255).map(x => x <= .03928 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4);
    return .2126 * v[0] + .7152 * v[1] + .0722 * v[2] };
  document.documentElement.dataset.theme = arguments[0];
  const text = light(getComputedStyle(document.querySelector('article p')).color);
  const page = light(getComputedStyle(document.body).backgroundColor);
  return (Math.max(text, page) + .05) / (Math.min(text, page) + .05)"""


def sound(site, browser):
    """Every page: nothing missing, every picture described, every equation and colour visible."""
    found = sorted(p for p in site.rglob("*.html") if "_static" not in p.parts)
    browser.set_window_size(1300, 900)
    for page in found:
        browser.get(page.as_uri())
        errors = [e for e in browser.get_log("browser") if e["level"] == "SEVERE"]
        assert not errors, page
        for source, loaded, described in browser.execute_script(PICTURES):
            assert loaded, source
            assert described, source
        sizes = np.array(browser.execute_script(EQUATIONS))
        assert (sizes > 2).all(), page
    return found


def test_every_page_in_a_browser(site, browser):
    assert len(sound(site, browser)) >= 8


def test_equations_theme_and_narrow_screen(site, browser):
    browser.get((site / "notebooks/01_1_first.html").as_uri())
    assert len(browser.execute_script(EQUATIONS)) == 1
    for theme in ("light", "dark"):
        assert browser.execute_script(CONTRAST, theme) > 7, theme
    browser.set_window_size(500, 900)
    for name in ("notebooks/01_1_first", "index", "printed"):
        browser.get((site / f"{name}.html").as_uri())
        wide, window = browser.execute_script(WIDTH)
        assert wide <= window, name


def test_search_finds_a_term(site, browser):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get((site / "search.html").as_uri() + "?q=hypotenuse")
    WebDriverWait(browser, 20).until(
        lambda b: b.find_elements(By.CSS_SELECTOR, "#search-results li")
    )
    links = [
        a.get_attribute("href")
        for a in browser.find_elements(By.CSS_SELECTOR, "#search-results li a")
    ]
    assert len(links) == 1
    assert "01_1_first" in links[0]
