"""Which computed crystal is the very crystal that was measured (sections 5.1 and 5.4).

Two databases number their crystals apart. A measured crystal without a computed gap of its own is
taken to be the computed crystal with the same composition and the same space group (spglib). Where
several have both, the one whose volume per atom is nearest counts; where none has, no computed gap
of the crystal is known, however many polymorphs of it were computed.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
import spglib

__all__ = ["Twins", "find", "space_group"]

# Angstrom by which atoms may be off their site. Measured and relaxed positions of one crystal
# differ, so it is wider than the .01 with which one structure alone is read
_SYMPREC = 0.1


@dataclass(frozen=True, eq=False)
class Twins:
    """Of n measured crystals: row (n,) of the computed twin, -1 without one; same_composition and
    candidates (n,): how many computed crystals have the composition, and the space group too."""

    row: np.ndarray
    same_composition: np.ndarray
    candidates: np.ndarray


def space_group(crystal) -> int:
    """Number of the space group of a Crystal by spglib, 0 where it finds none."""
    cell = (crystal.lattice, crystal.frac_coords, crystal.numbers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # spglib announces how a later version will fail
        symmetry = spglib.get_symmetry_dataset(cell, symprec=_SYMPREC)
    return 0 if symmetry is None else int(symmetry.number)


def find(table: pd.DataFrame, rows: np.ndarray, computed: np.ndarray) -> Twins:
    """The Twins of the crystals `rows` (n,) of a table with the columns structure and composition.

    computed (c,) bool says which rows of the table have a computed gap. One that is measured and
    computed is its own twin.
    """
    composition = table["composition"].to_numpy()
    structures = table["structure"].to_numpy()
    twin = np.where(computed[rows], rows, -1)
    same, found = computed[rows].astype(int), computed[rows].astype(int)
    others = {}
    wanted = set(composition[rows[twin < 0]])
    for row in np.flatnonzero(computed):
        if composition[row] in wanted:
            others.setdefault(composition[row], []).append(row)
    group = {}
    for at in np.flatnonzero(twin < 0):
        candidates = others.get(composition[rows[at]], [])
        same[at] = len(candidates)
        if not candidates:
            continue
        number = space_group(structures[rows[at]])
        for row in candidates:
            if row not in group:
                group[row] = space_group(structures[row])
        candidates = [row for row in candidates if number and group[row] == number]
        found[at] = len(candidates)
        if candidates:
            volume = _volume(structures[rows[at]])
            twin[at] = min(candidates, key=lambda r: abs(_volume(structures[r]) - volume))
    return Twins(twin, same, found)


def _volume(crystal):
    """Volume per atom in cubic Angstrom."""
    return abs(np.linalg.det(crystal.lattice)) / len(crystal)
