"""Charges for the elements of a formula, so that compositions become words.

pymatgen ranks neutral assignments by how often each element shows a state in a database of
crystals. A formula is kept when its most frequent assignment gives every element one whole,
non-zero charge; metals, elements and mixed valence have none and are left out.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mfutils.crystals.structure import ATOMIC_NUMBERS
from mfutils.errors import InputError

__all__ = ["ChargedFormulas", "assign_charges"]


@dataclass(frozen=True)
class ChargedFormulas:
    """symbols (E,) and charges (E,) of the species, cations of low electronegativity first;
    kept (k,): rows of the input; counts (k, E): atoms of each species per formula unit."""

    symbols: tuple[str, ...]
    charges: np.ndarray
    kept: np.ndarray
    counts: np.ndarray

    @property
    def names(self) -> tuple[str, ...]:
        """Species as text, such as Fe3+."""
        return tuple(
            f"{s}{abs(v)}{'+' if v > 0 else '-'}"
            for s, v in zip(self.symbols, self.charges, strict=True)
        )


def assign_charges(formulas: Sequence[str], *, n_max: int = 20, least: int = 1) -> ChargedFormulas:
    """Species and counts of the formulas (n,) that have whole, non-zero, neutral charges.

    n_max: most atoms per formula unit; least: a species must occur in that many formulas, or the
    formulas that hold it are left out. Raises InputError when nothing is left or a formula cannot
    be read.
    """
    from pymatgen.core import Composition, Element  # a third of a second, only needed here

    rows = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # noble gases have no electronegativity
        for row, formula in enumerate(formulas):
            try:
                composition = Composition(Composition(formula).reduced_formula)
                unknown = [e for e in composition.get_el_amt_dict() if e not in ATOMIC_NUMBERS]
            except ValueError as error:
                raise InputError(f"formula {row} ({formula!r}) cannot be read: {error}") from None
            if unknown:
                raise InputError(f"formula {row} ({formula!r}) holds {unknown[0]}: not an element")
            if composition.num_atoms > n_max or len(composition) < 2:
                continue
            guesses = composition.oxi_state_guesses(max_sites=-1)
            states = {s: float(v) for s, v in guesses[0].items()} if guesses else {}
            if states and all(v == round(v) and v != 0 for v in states.values()):
                amounts = composition.get_el_amt_dict()
                rows.append((row, {(s, int(v)): int(amounts[s]) for s, v in states.items()}))
    while True:
        used: dict[tuple[str, int], int] = {}
        for _, atoms in rows:
            for key in atoms:
                used[key] = used.get(key, 0) + 1
        few = {key for key, times in used.items() if times < least}
        if not few:
            break
        rows = [(row, atoms) for row, atoms in rows if few.isdisjoint(atoms)]
    if not rows:
        raise InputError(
            f"none of {len(formulas)} formulas has whole, non-zero, neutral charges with at most "
            f"{n_max} atoms: nothing to learn from"
        )
    species = sorted(used, key=lambda k: (k[1] < 0, Element(k[0]).X, k[0], k[1]))
    column = {key: i for i, key in enumerate(species)}
    counts = np.zeros((len(rows), len(species)), dtype=int)
    for i, (_, atoms) in enumerate(rows):
        for key, number in atoms.items():
            counts[i, column[key]] = number
    return ChargedFormulas(
        tuple(s for s, _ in species),
        np.array([v for _, v in species]),
        np.array([row for row, _ in rows]),
        counts,
    )
