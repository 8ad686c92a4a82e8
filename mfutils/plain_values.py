"""Plain values out of text files: YAML and numbers as readers need them, and how to show them.

A file from elsewhere can hold anything: numbers of thousands of digits, dates that do not exist,
lists that contain themselves. What every reader has to survive is written once, here.
"""

import reprlib
import sys
from pathlib import Path
from typing import Any

import yaml

from mfutils.errors import DataError

__all__ = ["brief", "is_number", "read_yaml"]

_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring = 2, 60


def brief(value: object) -> str:
    """`value` for a message, cut short; YAML's aliases can stand for more than memory holds."""
    try:
        return _SHORT.repr(value)
    except ValueError:
        return "a number of thousands of digits"


def is_number(value: object) -> bool:
    """True for an int or float, not a bool, that is finite as a float."""
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return plain and abs(value) <= sys.float_info.max


def read_yaml(path: Path, *, remedy: str) -> Any:
    """Content of a YAML file of plain values; DataError, one line that ends in `remedy`."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except Exception as error:  # the constructors of dates, numbers and tags raise many kinds
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise DataError(f"{path}: cannot be read as YAML ({reason}); {remedy}") from error
