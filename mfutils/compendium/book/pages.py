"""One page of the book from one executed notebook.

Pictures among the outputs give way to numbered figures with caption, alternative text and
links to the data; tables keep their output and gain a caption. Names and captions are those
that the notebook passed to `artifacts.save_figure` and `artifacts.save_table`.
"""

import ast
import copy
from pathlib import Path

import nbformat
from nbformat.v4 import new_markdown_cell

from mfutils.compendium.book import exhibits

__all__ = ["saved_names", "write_page"]

_SAVERS = {"save_figure": "figure", "save_table": "table"}


def saved_names(source: str) -> list[tuple[str, str]]:
    """(kind, name) of every literal name that a cell saves, in the order of the text."""
    names = []
    for node in ast.walk(ast.parse(_plain(source))):
        if not isinstance(node, ast.Call):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        if called not in _SAVERS:
            continue
        given = [*node.args[1:2], *(k.value for k in node.keywords if k.arg == "name")]
        if given and isinstance(given[0], ast.Constant):
            names.append((node.lineno, _SAVERS[called], given[0].value))
    return [(kind, name) for _, kind, name in sorted(names)]


def _plain(source):
    """The cell without lines of IPython's own."""
    return "\n".join("" if line.lstrip()[:1] in "%!" else line for line in source.splitlines())


def write_page(
    executed: Path, figures: Path, target: Path, *, saved: dict, full: bool = False
) -> Path:
    """Write the page of one executed notebook into the folder `target`.

    figures is the folder of its artifacts and saved what it recorded about them (name ->
    kind, caption). Files that the page shows or links to are copied beside it, the notebook
    without outputs among them. full: link to the page of the results at full scale. Returns the
    path of the page.
    Raises DataError when a file of a recorded figure or table is not there.
    """
    notebook = nbformat.read(executed, as_version=4)
    assets = target / executed.stem
    assets.mkdir(parents=True, exist_ok=True)
    _download(notebook, assets / f"{executed.stem}.ipynb")
    cells = []
    for cell in notebook.cells:
        names = []
        if cell.cell_type == "code":
            names = [n for n in saved_names(cell.source) if n[1] in saved]
            drawn = [name for kind, name in names if kind == "figure"]
            _finish_outputs(cell, bool(drawn))
            if drawn:
                _fold(cell, "Show the code that draws the figure")
            if "solution" in cell.metadata.get("tags", []):
                _fold(cell, "Show a solution")
        cells.append(cell)
        for kind, name in names:
            note = exhibits.caption_of(name, saved)
            if kind == "figure":
                text = exhibits.figure(executed.stem, name, note, figures, assets)
            else:
                text = exhibits.table(name, note, figures, assets)
            cells.append(new_markdown_cell(text, id=f"{kind}-{name}"[:64]))
    links = f"{{download}}`Notebook <{executed.stem}/{executed.stem}.ipynb>` without outputs"
    if full:
        links += f". {{doc}}`Results at the study's scale <../full/{executed.stem}>`"
    cells.insert(1, new_markdown_cell(links, id="download"))
    notebook.cells = cells
    page = target / executed.name
    nbformat.write(notebook, page)
    return page


def _finish_outputs(cell, replaced):
    """Drop pictures that a numbered figure replaces; describe the others."""
    kept = []
    for output in cell.outputs:
        if "image/png" in output.get("data", {}):
            if replaced:
                continue
            output["metadata"]["alt"] = "Output of the cell above"
        kept.append(output)
    cell.outputs = kept
    if "injected-parameters" in cell.metadata.get("tags", []):
        _fold(cell, "Show the parameters of this run")


def _fold(cell, prompt):
    """Fold the code of a cell behind one line; its output stays in sight."""
    cell.metadata["tags"] = [*cell.metadata.get("tags", []), "hide-input"]
    cell.metadata["mystnb"] = {"code_prompt_show": prompt}


def _download(notebook, path):
    """The notebook as committed: no outputs, no cell that the runner added."""
    plain = copy.deepcopy(notebook)
    plain.cells = [
        c for c in plain.cells if "injected-parameters" not in c.metadata.get("tags", [])
    ]
    for cell in plain.cells:
        for added in ("execution", "papermill"):
            cell.metadata.pop(added, None)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    plain.metadata.pop("papermill", None)
    nbformat.write(plain, path)
