"""Descriptors of a crystal from its composition and cell alone: the cheap end of the scale.

With x_i the fraction of element i and p_i one of its tabulated properties, a composition is
described by sum_i x_i p_i, by the mean deviation sum_i x_i |p_i - mean|, and by the smallest
and largest p_i; the cell adds volume per atom, mass density, packing and size.
"""

import warnings
from collections.abc import Collection
from functools import lru_cache
from typing import Protocol

import numpy as np
import pandas as pd
from ase.units import create_units

from mfutils.crystals.structure import SYMBOLS
from mfutils.errors import InputError

__all__ = ["PROPERTIES", "Atoms", "features"]

# pymatgen attribute -> short name; units are pymatgen's (eV, angstrom, kelvin, u).
PROPERTIES = {
    "Z": "number",
    "row": "period",
    "group": "group",
    "mendeleev_no": "mendeleev",
    "X": "electronegativity",
    "ionization_energy": "ionisation",
    "atomic_mass": "mass",
    "atomic_radius": "radius",
    "melting_point": "melting",
}
_DALTON_PER_A3 = 1e27 * create_units("2018")["_amu"]  # g/cm3


class Atoms(Protocol):
    """What has atoms: a Crystal, or atomic numbers alone where no feature of the cell is asked."""

    numbers: np.ndarray

    def __len__(self) -> int: ...


def features(structures: Collection[Atoms], *, cell: bool = True) -> pd.DataFrame:
    """Features (n, 37) of n crystals, or (n, 41) with those of the cell; all finite.

    A property that is not tabulated for an element (the electronegativity of neon) counts as
    the mean over the elements that have it. Raises InputError for an empty list.
    """
    if len(structures) == 0:
        raise InputError("no crystals to describe; pass at least one")
    table = _element_table()
    fractions = np.zeros((len(structures), len(SYMBOLS)))
    for row, structure in enumerate(structures):
        counts = np.bincount(structure.numbers, minlength=len(SYMBOLS) + 1)[1:]
        fractions[row] = counts / len(structure)
    present = fractions > 0
    columns: dict[str, np.ndarray] = {"n_elements": present.sum(axis=1).astype(float)}
    for name, values in table.items():
        mean = fractions @ values
        columns[f"{name}_mean"] = mean
        columns[f"{name}_deviation"] = (fractions * np.abs(values - mean[:, None])).sum(axis=1)
        columns[f"{name}_min"] = np.where(present, values, np.inf).min(axis=1)
        columns[f"{name}_max"] = np.where(present, values, -np.inf).max(axis=1)
    if cell:
        n_sites = np.array([len(s) for s in structures], dtype=float)
        volume = np.array([s.volume for s in structures]) / n_sites
        spheres = fractions @ (4 / 3 * np.pi * table["radius"] ** 3)
        columns["volume_per_atom"] = volume
        columns["density"] = columns["mass_mean"] / volume * _DALTON_PER_A3
        columns["packing"] = spheres / volume
        columns["log_sites"] = np.log(n_sites)
    return pd.DataFrame(columns)


@lru_cache(maxsize=1)
def _element_table() -> dict[str, np.ndarray]:
    """Property -> values (118,) by atomic number, gaps filled with the mean."""
    from pymatgen.core import Element  # a third of a second, only needed here

    table = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # gaps in the table are filled below
        for attribute, name in PROPERTIES.items():
            raw = [getattr(Element(symbol), attribute, None) for symbol in SYMBOLS]
            values = np.array([np.nan if v is None else float(v) for v in raw])
            table[name] = np.where(np.isfinite(values), values, np.nanmean(values))
    return table
