"""Importable functions for the tests of the sweep (worker processes import them by name)."""

import os
from pathlib import Path


def square(value, log=None):
    """value squared; leaves one line per real computation in the file `log`."""
    if log is not None:
        with open(log, "a", encoding="utf-8") as handle:
            handle.write(f"{value} {os.getpid()}\n")
    return {"value": value * value}


def fragile(value, gate):
    """Fails for value 3 until the file `gate` exists."""
    if value == 3 and not Path(gate).exists():
        raise RuntimeError("the machine went away")
    return value


def total(array):
    return float(array.sum())
