"""Equations of the book as MathML; one that cannot be read stops Sphinx with its text."""

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import SphinxError
from sphinx.util.math import get_node_equation_number

from mfutils.compendium.equations import mathml
from mfutils.errors import InputError

__all__ = ["render", "setup"]


def render(latex: str, *, block: bool) -> str:
    """`mathml` of an equation; raises SphinxError where it raises InputError."""
    try:
        return mathml(latex, block=block)
    except InputError as error:
        raise SphinxError(str(error)) from None


def _inline(writer, node):
    writer.body.append(f'<span class="math">{render(node.astext(), block=False)}</span>')
    raise nodes.SkipNode


def _display(writer, node):
    writer.body.append('<div class="math">')
    if node["number"]:
        number = get_node_equation_number(writer, node)
        writer.body.append(f'<span class="eqno">({number})')
        writer.add_permalink_ref(node, "Link to this equation")
        writer.body.append("</span>")
    writer.body.append(render(node.astext(), block=True) + "</div>")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer under the name that `conf.py` selects."""
    app.add_html_math_renderer("mathml", (_inline, None), (_display, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
