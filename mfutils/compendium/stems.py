"""Stems of notebooks: what ties a notebook to its figures, printed values and targets.

`07_10_topic` is section 7.10; a second notebook of one section takes a letter, `03_2b_topic`.
"""

import re

__all__ = ["NUMBER", "is_stem", "number"]

NUMBER = r"\d\d_\d\d?[a-z]?"


def is_stem(name: str) -> bool:
    """True for a stem of the form 03_1_topic, 07_10_topic or 03_2b_topic."""
    return re.fullmatch(rf"{NUMBER}_[a-z0-9_]+", name) is not None


def number(stem: str) -> str:
    """Number of a notebook, as in `make 07_10`: its stem without the topic."""
    return "_".join(stem.split("_")[:2])
