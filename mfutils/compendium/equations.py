"""Equations as MathML, made when pages are written.

Browsers draw MathML themselves, so pages need no script and no network. The LaTeX reader is
the one of docutils.
"""

import re
from functools import cache

from docutils.utils.math import MathError, latex2mathml

from mfutils.errors import InputError

__all__ = ["mathml"]

# Commands that docutils does not know, in terms of those it does
_ALIASES = {
    r"\lVert": r"\|", r"\rVert": r"\|", r"\lvert": "|", r"\rvert": "|",
    r"\tfrac": r"\frac", r"\dfrac": r"\frac",
    # MathML stretches delimiters by itself
    r"\big": "", r"\bigl": "", r"\bigr": "", r"\Big": "", r"\Bigl": "", r"\Bigr": "",
}  # fmt: skip
_ALIAS = re.compile("|".join(re.escape(name) + r"(?![A-Za-z])" for name in _ALIASES))


@cache
def mathml(latex: str, *, block: bool) -> str:
    """MathML of one equation; block=True sets it on lines of its own.

    Raises InputError with the equation when it holds something unknown.
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
        raise InputError(f"equation {latex!r} cannot be rendered ({detail}); rewrite it") from None
