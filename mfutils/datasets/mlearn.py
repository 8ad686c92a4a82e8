"""Energies and forces of six elements from density functional theory, for chapter 8.

1,566 configurations of Li, Si, Ni, Cu, Ge and Mo: lattices under strain, surfaces, and snapshots
of molecular dynamics with and without a vacancy. The split into training and test is the
source's own. `data/README.md` has units, origin and licence; `build.mlearn_forces` makes the file.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from mfutils.crystals.structure import ATOMIC_NUMBERS, Crystal
from mfutils.datasets import registry
from mfutils.errors import InputError

__all__ = ["ELEMENTS", "GROUPS", "load"]

ELEMENTS = ("Ni", "Cu", "Li", "Mo", "Si", "Ge")
GROUPS = ("dynamics", "vacancy", "strained", "surface")


def load(elements: str | Sequence[str] = ELEMENTS, *, split: str | None = None) -> pd.DataFrame:
    """One row per configuration, in the order of the source.

    Columns: id, element, split ("train" or "test"), group (one of GROUPS), atoms, structure (a
    Crystal), energy (eV, the whole cell), forces (atoms, 3) in eV/Angstrom, and stress (6,): xx,
    yy, zz, yz, xz, xy as the source has it. `elements` is one symbol or several. Raises InputError
    for an unknown element or split, DataError when the file is damaged.
    """
    elements = (elements,) if isinstance(elements, str) else tuple(elements)
    unknown = [name for name in elements if name not in ELEMENTS]
    if unknown or not elements:
        asked = ", ".join(map(repr, unknown)) or "no element"
        raise InputError(f"{asked} asked for; the set has {', '.join(ELEMENTS)}")
    if split not in (None, "train", "test"):
        raise InputError(f"split is {split!r}; expected 'train', 'test' or None for both")
    filters = [("element", "in", elements)] + ([("split", "==", split)] if split else [])
    raw = pq.read_table(registry.path("mlearn"), filters=filters).to_pandas()
    table = raw[["id", "element", "split", "group", "energy"]].astype(
        dict.fromkeys(("id", "element", "split", "group"), object)
    )
    table["forces"] = [1e-4 * f.reshape(-1, 3) for f in raw["forces_1e4"]]
    table["stress"] = [s.astype(float) for s in raw["stress"]]
    table["atoms"] = [len(f) for f in table["forces"]]
    parts = zip(raw["lattice"], raw["coords_1e6"], raw["element"], strict=True)
    table["structure"] = [
        Crystal(
            lattice.reshape(3, 3),
            1e-6 * coords.reshape(-1, 3),
            np.full(len(coords) // 3, ATOMIC_NUMBERS[element]),
        )
        for lattice, coords, element in parts
    ]
    return table
