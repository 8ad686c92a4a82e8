"""Hosts and their lithiated phases in a table of formation energies (section 7.6).

A host M becomes Li_x M. In a table of formulas both are rows of their own; they belong together
when what is left of a formula without its lithium is a multiple of the host's. Energies per atom
become energies per formula unit of the host, so that x and E can go to `voltages`.
"""

import warnings
from collections.abc import Iterable

import numpy as np
import pandas as pd
from pymatgen.core import Composition

from mfutils.errors import InputError

__all__ = ["lithiated_phases", "system_amounts"]


def lithiated_phases(table: pd.DataFrame) -> pd.DataFrame:
    """One row per phase of every host that the table holds bare and lithiated.

    table has formula and formation_energy_per_atom (eV/atom); of equal formulas the lowest energy
    counts. Columns: host, formula, x (lithium per host formula unit), atoms (per host formula
    unit), energy (eV per host formula unit), row (position in the table); sorted by host, then x.
    """
    missing = {"formula", "formation_energy_per_atom"} - set(table)
    if missing:
        raise InputError(f"the table lacks {', '.join(sorted(missing))}; it has {list(table)}")
    with warnings.catch_warnings():
        # Noble gases are sorted by an electronegativity that they do not have
        warnings.filterwarnings("ignore", "No Pauling electronegativity")
        return _joined(table)


def _joined(table):
    energies = table["formation_energy_per_atom"].to_numpy(float)
    lowest = {}
    for row in np.argsort(energies, kind="stable"):
        if np.isfinite(energies[row]):
            lowest.setdefault(_parsed(table, row).reduced_formula, int(row))
    lithiated = []
    for row in lowest.values():
        whole = _parsed(table, row)
        rest = Composition({e: n for e, n in whole.items() if e.symbol != "Li"})
        if not rest:
            continue
        host, units = rest.get_reduced_composition_and_factor()
        if host.reduced_formula in lowest:
            atoms = whole.num_atoms / units
            lithiated.append(
                {
                    "host": host.reduced_formula,
                    "formula": whole.reduced_formula,
                    "x": whole["Li"] / units,
                    "atoms": atoms,
                    # molecules such as O2 are reduced formulas of two atoms
                    "energy": energies[row] * atoms,
                    "row": row,
                }
            )
    phases = pd.DataFrame(lithiated, columns=["host", "formula", "x", "atoms", "energy", "row"])
    several = phases.groupby("host")["x"].transform("size") > 1
    return phases[several].sort_values(["host", "x"], kind="stable").reset_index(drop=True)


def system_amounts(
    table: pd.DataFrame, elements: Iterable[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(amounts (n, e), energies (n,), rows (n,)) of all phases made of `elements` alone.

    Atoms and eV per formula unit; one row of zero energy per element comes first (row -1).
    """
    symbols = list(elements)
    amounts, energies, rows = list(np.eye(len(symbols))), [0.0] * len(symbols), [-1] * len(symbols)
    values = table["formation_energy_per_atom"].to_numpy(float)
    for row in range(len(table)):
        whole = _parsed(table, row)
        names = {element.symbol for element in whole}
        if len(names) > 1 and names <= set(symbols) and np.isfinite(values[row]):
            amounts.append([whole[symbol] for symbol in symbols])
            energies.append(values[row] * whole.num_atoms)
            rows.append(row)
    return np.array(amounts, dtype=float), np.array(energies), np.array(rows)


def _parsed(table, row):
    formula = table["formula"].iloc[row]
    try:
        whole = Composition(formula)
    except (ValueError, TypeError) as error:
        raise InputError(f"formula {formula!r} in row {row} cannot be read ({error})") from error
    if not whole or not whole.valid:
        raise InputError(f"formula {formula!r} in row {row} names no known element; correct it")
    return whole
