"""Executed notebooks as single files: ``python -m mfutils.compendium.pages [--profile quick]``.

Every page holds its style, its pictures and its equations (as MathML), so it can be sent by
mail and read without a network. nbconvert makes them; nothing is executed.
"""

import argparse
import html
import shutil
import sys
from pathlib import Path

import nbformat
from jinja2 import pass_context
from nbconvert.exporters import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from mfutils import files, paths
from mfutils.compendium.equations import mathml
from mfutils.errors import InputError

__all__ = ["main", "page", "write_pages"]

_STYLE = """\
main { max-width: 62rem; margin: 0 auto; padding: 1rem }
math[display="block"] { margin: 0.8rem 0 }
.jp-RenderedImage img { max-width: 100%; height: auto }
"""
# JupyterLab's look without the parts that a page would fetch from the network
_TEMPLATE = (
    "{% extends 'index.html.j2' %}"
    "{% block html_head_js %}{% endblock %}"
    "{% block html_head_js_mathjax %}{% endblock %}"
    "{% block html_head_js_mermaidjs %}{% endblock %}"
    "{% block jupyter_widgets %}{% endblock %}"
    "{% block html_head_css %}<style>" + _STYLE + "</style>{% endblock %}"
    "{% block data_png scoped %}<div class='jp-RenderedImage jp-OutputArea-output'>"
    "<img alt='Output of the cell above' src='data:image/png;base64,"
    "{{ output.data['image/png'] }}'></div>{% endblock %}"
)
_INDEX = """\
<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>body {{ max-width: 40rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.6 sans-serif }}
ul {{ list-style: none; padding: 0 }}</style></head>
<body><h1>{title}</h1>
<ul>
{items}
</ul></body></html>
"""


class _Renderer(IPythonRenderer):
    """Markdown with equations as MathML instead of TeX for a script."""

    def block_math(self, body: str) -> str:
        return mathml(body, block=True)

    def inline_math(self, body: str) -> str:
        return mathml(body, block=False)


class _Exporter(HTMLExporter):
    @pass_context
    def markdown2html(self, context, source: str) -> str:
        folder = context["resources"]["metadata"].get("path", "")
        renderer = _Renderer(escape=False, embed_images=True, path=folder)
        return MarkdownWithMath(renderer=renderer).render(source)


def _title(notebook: nbformat.NotebookNode, stem: str) -> str:
    """The first heading of a notebook."""
    lines = (line for cell in notebook.cells[:1] for line in cell.source.splitlines())
    return next((line.removeprefix("# ") for line in lines if line.startswith("# ")), stem)


def page(executed: Path) -> tuple[str, str]:
    """(title, HTML) of one executed notebook.

    Cells tagged ``remove-cell`` are left out. Raises InputError when the file is no notebook or
    an equation cannot be read.
    """
    try:
        notebook = nbformat.read(executed, as_version=4)
    except (OSError, ValueError, nbformat.ValidationError) as error:
        raise InputError(
            f"{executed}: not an executed notebook ({type(error).__name__}); run it again"
        ) from None
    notebook.cells = [c for c in notebook.cells if "remove-cell" not in c.metadata.get("tags", [])]
    notebook.metadata["title"] = _title(notebook, executed.stem)
    exporter = _Exporter(raw_template=_TEMPLATE, embed_images=True, anchor_link_text="")
    text, _ = exporter.from_notebook_node(
        notebook, resources={"metadata": {"name": executed.stem, "path": str(paths.NOTEBOOKS)}}
    )
    return notebook.metadata["title"], text


def write_pages(profile: str, target: Path | None = None) -> Path:
    """Write a page of every notebook that ran in a profile, and an index; returns the index.

    target defaults to build/html/<profile>; what stood there before is removed. Raises
    InputError when a notebook has no executed copy in this profile.
    """
    stems = sorted(p.stem for p in paths.NOTEBOOKS.glob("*.ipynb"))
    executed = paths.BUILD / profile / "executed"
    if missing := [s for s in stems if not (executed / f"{s}.ipynb").exists()]:
        raise InputError(
            f"{len(missing)} of {len(stems)} notebooks have not run in the profile {profile} "
            f"(first: {missing[0]}); run: make figures PROFILE={profile}"
        )
    target = target or paths.BUILD / "html" / profile
    made = {stem: page(executed / f"{stem}.ipynb") for stem in stems}
    shutil.rmtree(target, ignore_errors=True)  # pages of notebooks that are gone must not stay
    target.mkdir(parents=True)
    for stem, (_, text) in made.items():
        files.write_text(target / f"{stem}.html", text)
    items = "\n".join(
        f'<li><a href="{stem}.html">{html.escape(title)}</a></li>'
        for stem, (title, _) in made.items()
    )
    title = f"Notebooks of the compendium, {profile} profile"
    files.write_text(target / "index.html", _INDEX.format(title=title, items=items))
    print(f"{len(stems)} pages: {target / 'index.html'}")
    return target / "index.html"


def main(arguments: list[str] | None = None) -> int:
    """Command line; 1 with a message when a notebook never ran."""
    parser = argparse.ArgumentParser(prog="python -m mfutils.compendium.pages")
    parser.add_argument("--profile", default="quick")
    try:
        write_pages(parser.parse_args(arguments).profile)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
