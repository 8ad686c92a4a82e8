"""Chemical formulas: one spelling per crystal, one key per composition.

A label that is known only by composition finds its crystal through the atomic fractions,
x_i = n_i / sum_j n_j, whatever the order of elements or the common factor in the formula.
"""

import re
import warnings
from functools import lru_cache

import numpy as np

from mfutils.crystals.structure import ATOMIC_NUMBERS, SYMBOLS
from mfutils.errors import DataError

__all__ = ["composition_key", "reduced_formula"]

_FLAT = re.compile(r"(?:[A-Z][a-z]?(?:\d+(?:\.\d+)?)?)+")
_TERM = re.compile(r"([A-Z][a-z]?)(\d+(?:\.\d+)?)?")


def composition_key(formula: str) -> str:
    """Canonical text of the atomic fractions, e.g. "Ga2O3" -> "Ga:0.4|O:0.6".

    Formulas that differ only in the order of elements, in a common factor, or in
    parentheses share a key. Fractions are rounded to 5 decimals. Raises DataError for a
    text that is no formula, an unknown element, or a formula without atoms.
    """
    if not isinstance(formula, str):
        raise DataError(f"formula is {formula!r}; expected text such as Ga2O3")
    if _FLAT.fullmatch(formula):
        amounts: dict[str, float] = {}
        for symbol, count in _TERM.findall(formula):
            amounts[symbol] = amounts.get(symbol, 0.0) + float(count or 1)
    else:
        amounts = _nested(formula)
    unknown = [symbol for symbol in amounts if symbol not in ATOMIC_NUMBERS]
    total = sum(amounts.values())
    if unknown or total <= 0:
        content = f"the unknown element {unknown[0]}" if unknown else "no atoms"
        raise DataError(f"formula {formula!r} holds {content}; expected e.g. Ga2O3")
    return "|".join(f"{s}:{round(n / total, 5):g}" for s, n in sorted(amounts.items()) if n > 0)


def reduced_formula(numbers: np.ndarray) -> str:
    """Usual formula of the atomic numbers (n,) of a cell, e.g. [8, 8, 22] -> "TiO2"."""
    atomic, counts = np.unique(numbers, return_counts=True)
    return _formula(tuple(atomic.tolist()), tuple((counts // np.gcd.reduce(counts)).tolist()))


def _nested(formula: str) -> dict[str, float]:
    """Element amounts of a formula with brackets."""
    from pymatgen.core import Composition

    try:
        return Composition(formula).get_el_amt_dict()
    except ValueError as error:
        raise DataError(f"formula {formula!r} cannot be read; expected e.g. Ga2O3") from error


@lru_cache(maxsize=65536)  # polymorphs and prototypes share compositions
def _formula(atomic: tuple[int, ...], counts: tuple[int, ...]) -> str:
    from pymatgen.core import Composition

    symbols = [SYMBOLS[z - 1] for z in atomic]
    with warnings.catch_warnings():
        # Noble gases have no electronegativity; only the order of symbols depends on it.
        warnings.filterwarnings("ignore", message="No Pauling electronegativity")
        return Composition(dict(zip(symbols, counts, strict=True))).reduced_formula
