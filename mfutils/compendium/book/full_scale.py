"""Pages of the committed results at the scale of the study, one per notebook.

The notebooks of a book have run in one profile, by default a quick one. What `figures/full` holds
of the same notebooks, figures, tables and values, stands on pages of its own.
"""

import json
from pathlib import Path

from mfutils import paths
from mfutils.compendium import published
from mfutils.compendium.book import exhibits
from mfutils.compendium.book.pages import saved_names
from mfutils.compendium.book.printed import values_table
from mfutils.compendium.runner import parameters
from mfutils.errors import DataError

__all__ = ["write_pages"]

_DATA = {"chen2021": "the study's own band gaps", "open": "the embedded crystals"}


def write_pages(stems: list[str], target: Path) -> list[str]:
    """Write the page of every notebook that has full results into `target`, and their index.

    Returns the stems with a page. Raises DataError for results that cannot be read.
    """
    full = [stem for stem in stems if (paths.FIGURES / "full" / stem / "values.json").exists()]
    titles = [_write_page(stem, target) for stem in full]
    if full:
        # the bare titles: the suffix of every page would fill the navigation
        listed = "\n".join(f"{t} <{stem}>" for t, stem in zip(titles, full, strict=True))
        (target / "index.md").write_text(
            "# At the study's scale\n\nResults of the full profile, from the committed folder "
            "`figures/full`. The notebooks of this book ran at a smaller scale and explain them.\n"
            f"\n```{{toctree}}\n:maxdepth: 1\n\n{listed}\n```\n",
            encoding="utf-8",
        )
    return full


def _write_page(stem, target):
    """Write one page; returns the title of its notebook."""
    figures, assets = paths.FIGURES / "full" / stem, target / stem
    assets.mkdir(parents=True)
    saved, dataset, settings = _recorded(figures)
    notebook = parameters.read_notebook(paths.NOTEBOOKS / f"{stem}.ipynb")
    title = "".join(notebook["cells"][0]["source"]).partition("\n")[0].removeprefix("# ")
    about = f"Data: {_DATA[dataset]}. " if dataset in _DATA else ""
    parts = [
        f"# At the study's scale: {title}",
        f"{about}{{doc}}`The notebook <../notebooks/{stem}>` explains what is shown here.",
    ]
    cells = parameters.code_cells(notebook)
    in_order = [name for cell in cells for _, name in saved_names(cell["source"])]
    for name in dict.fromkeys([*(n for n in in_order if n in saved), *saved]):
        caption = exhibits.caption_of(name, saved)
        if saved[name].get("kind") == "figure":
            parts.append(exhibits.figure(f"full-{stem}", name, caption, figures, assets))
        else:
            parts.append(exhibits.written_table(name, caption, figures, assets))
    if rows := published.check("full", [stem]):
        parts += ["## Printed beside ours", values_table(rows)]
    knobs = ["| parameter | value |", "|---|---|"]
    knobs += [f"| `{name}` | {value} |" for name, value in settings.items()]
    parts += ["## Parameters of this run", "\n".join(knobs)]
    (target / f"{stem}.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return title


def _recorded(figures):
    """(artifacts, data set, parameters) of a run, from its values and its stamp."""
    try:
        values = json.loads((figures / "values.json").read_text(encoding="utf-8"))
        stamp = json.loads((figures / "stamp.json").read_text(encoding="utf-8"))
        return values["artifacts"], values["dataset"], stamp["inputs"]["parameters"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise DataError(f"{figures}: cannot be read ({error}); restore it from git") from error
