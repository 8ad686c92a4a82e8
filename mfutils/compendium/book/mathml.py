"""Equations as MathML, made when the book is built.

Browsers draw MathML themselves, so the pages need no script and no network. The LaTeX
reader is the one of docutils; what it cannot read stops the build with the equation's text.
"""

import re
from functools import cache

from docutils import nodes
from docutils.utils.math import MathError, latex2mathml
from sphinx.application import Sphinx
from sphinx.errors import SphinxError
from sphinx.util.math import get_node_equation_number

__all__ = ["render", "setup"]

# Commands that docutils does not know, in terms of those it does
_ALIASES = {
    r"\lVert": r"\|", r"\rVert": r"\|", r"\lvert": "|", r"\rvert": "|",
    r"\tfrac": r"\frac", r"\dfrac": r"\frac",
    # MathML stretches delimiters by itself
    r"\big": "", r"\bigl": "", r"\bigr": "", r"\Big": "", r"\Bigl": "", r"\Bigr": "",
}  # fmt: skip
_ALIAS = re.compile("|".join(re.escape(name) + r"(?![A-Za-z])" for name in _ALIASES))


@cache
def render(latex: str, *, block: bool) -> str:
    """MathML of one equation; block=True sets it on lines of its own.

    Raises SphinxError with the equation when it holds something unknown.
    """
    source = _ALIAS.sub(lambda match: _ALIASES[match.group()], latex.strip())
    if source[:1] in ("^", "_"):  # a charge or a power of something in the text before
        source = "{}" + source
    if block and r"\\" in source and r"\begin" not in source:
        source = rf"\begin{{aligned}}{source}\end{{aligned}}"
    try:
        return latex2mathml.tex2mathml(source, as_block=block)
    except (MathError, SyntaxError, LookupError, AttributeError) as error:
        detail = " ".join(str(error).split())
        raise SphinxError(f"equation {latex!r} cannot be rendered ({detail}); rewrite it") from None


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
