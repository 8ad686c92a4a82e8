"""Figures and tables as the book shows them: with number, caption, data and alternative text."""

import csv
import shutil
from pathlib import Path

from mfutils.errors import DataError

__all__ = ["caption_of", "figure", "table", "written_table"]


def _copied(name, suffix, figures, assets):
    source = figures / f"{name}{suffix}"
    if not source.exists():
        raise DataError(f"{source} is missing; run the notebook again")
    shutil.copy2(source, assets / source.name)
    return f"{assets.name}/{source.name}"


def caption_of(name: str, saved: dict[str, dict]) -> str:
    """Caption that the notebook recorded for the artifact `name`, else its name in words."""
    return saved[name].get("caption") or name.replace("_", " ")


def figure(label: str, name: str, caption: str, figures: Path, assets: Path) -> str:
    """Markdown of the figure `name` of the folder figures, numbered under the label.

    Its picture, its data and its vector form are copied to the folder assets, beside the page.
    Raises DataError when one is missing.
    """
    picture = _copied(name, ".png", figures, assets)
    data = _copied(name, ".csv", figures, assets)
    vector = _copied(name, ".svg", figures, assets)
    with open(assets / f"{name}.csv", encoding="utf-8", newline="") as lines:
        columns = ", ".join(next(csv.reader(lines)))
    described = f"{caption}. Plotted quantities: {columns}".replace("\n", " ")
    return (
        f"```{{figure}} {picture}\n:name: {label}-{name}\n:alt: {described}\n:width: 100%\n\n"
        f"{caption}. {{download}}`Data <{data}>`, {{download}}`SVG <{vector}>`.\n```"
    )


def table(name: str, caption: str, figures: Path, assets: Path) -> str:
    """Markdown of the caption of a table that the page shows already, with its data."""
    return f"*{caption}.* {{download}}`Data <{_copied(name, '.csv', figures, assets)}>`"


def written_table(name: str, caption: str, figures: Path, assets: Path) -> str:
    """`table`, followed by the rows as the notebook wrote them."""
    head = table(name, caption, figures, assets)
    lines = (figures / f"{name}.md").read_text(encoding="utf-8").splitlines()
    rows = "\n".join(line for line in lines if line.startswith("|"))
    return f"{head}\n\n{rows}"
