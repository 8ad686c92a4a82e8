"""What a table of features can know about a band gap, from the formula alone or with the crystal.

Beside the statistics of `composition` a gap depends on how electrons fill
levels: valence electrons of each kind, the atomic levels filled from below until all electrons are
used (the last one filled and the first one free), electrons per anion (8 in the octet rule of
Mooser and Pearson), odd counts, and whether common oxidation states cancel. With a structure come
the cell and the first shell of neighbours of `mfutils.crystals.shells`.
"""

import warnings
from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import pandas as pd

from mfutils.crystals import composition, shells
from mfutils.crystals.formulas import composition_key
from mfutils.crystals.structure import ATOMIC_NUMBERS, SYMBOLS
from mfutils.errors import DataError, InputError

__all__ = ["composition_features", "structure_features"]

_NOBLE = (2, 10, 18, 36, 54, 86)
_CAPACITY = {"s": 2, "p": 6, "d": 10, "f": 14}
_FAMILIES = {
    "alkali": (3, 11, 19, 37, 55, 87),
    "alkaline_earth": (4, 12, 20, 38, 56, 88),
    "transition_metal": (*range(21, 31), *range(39, 49), *range(72, 81)),
    "f_block": (*range(57, 72), *range(89, 104)),
    "post_transition": (13, 31, 49, 50, 81, 82, 83),
    "pnictogen": (7, 15, 33),
    "chalcogen": (16, 34, 52),
    "oxygen": (8,),
    "halogen": (9, 17, 35, 53),
}
# A formula with fractions such as Al0.15Ga0.85As is written with at most this many atoms
_MOST_ATOMS = 1000
_LAST = 103  # no electron configurations are tabulated beyond lawrencium


class _Counted:
    """Whole numbers of atoms in the form in which `composition.features` reads a crystal."""

    def __init__(self, numbers):
        self.numbers = numbers

    def __len__(self):
        return len(self.numbers)


def composition_features(formulas: Iterable[str]) -> pd.DataFrame:
    """Features (n, 187) of n formulas such as "Ga2O3" or "Al0.15Ga0.85As"; all finite.

    Energies in eV, charges in e per atom; x_<symbol> are atomic fractions. The columns are the
    same for every input. Raises InputError for an empty list or a text that is no formula.
    """
    return _described([_atoms(formula) for formula in formulas])


def structure_features(table: pd.DataFrame) -> pd.DataFrame:
    """Features (n, 206) of rows with columns material_id and structure (Crystal); all finite.

    The columns of `composition_features`, those of the cell and of the first shell of neighbours;
    graphs come from the graph cache. Raises InputError for an empty table or a crystal without
    a neighbour graph.
    """
    if len(table) == 0:
        raise InputError("no crystals to describe; pass at least one row")
    # not every table knows the space groups, so the one column that needs them is left out
    bonds = shells.strong(table.assign(spacegroup=0)).drop(columns="spacegroup")
    if len(bonds) != len(table) or bonds.isna().any(axis=None):
        raise InputError(
            f"{len(table)} crystals but features of {len(bonds.dropna())}: leave out those "
            "without a neighbour graph"
        )
    described = _described(table["structure"])
    new = [name for name in bonds if name not in described]
    return pd.concat([described, bonds[new]], axis=1)


def _atoms(formula):
    """A _Counted of the smallest whole numbers of atoms with the fractions of a formula."""
    try:
        parts = [part.split(":") for part in composition_key(formula).split("|")]
    except DataError as error:
        raise InputError(str(error)) from None
    numbers = np.array([ATOMIC_NUMBERS[symbol] for symbol, _ in parts])
    fractions = np.array([float(share) for _, share in parts])
    sizes = np.arange(1, _MOST_ATOMS + 1)
    wanted = sizes[:, None] * fractions
    # the key rounds fractions to 5 decimals, so whole numbers are whole up to size * 5e-6
    whole = (np.abs(wanted - np.rint(wanted)) <= 6e-6 * sizes[:, None]).all(axis=1)
    size = int(np.argmax(whole)) if whole.any() else _MOST_ATOMS - 1
    return _Counted(np.repeat(numbers, np.maximum(np.rint(wanted[size]), 1).astype(int)))


def _described(atoms):
    described = composition.features(atoms, cell=False)
    counts = np.array([np.bincount(a.numbers, minlength=len(SYMBOLS) + 1)[1:] for a in atoms])
    if counts[:, _LAST:].any():
        bad = SYMBOLS[int(np.flatnonzero(counts.any(axis=0))[-1])]
        raise InputError(
            f"no electron configuration of {bad} is tabulated; expected elements up to "
            f"{SYMBOLS[_LAST - 1]}, so leave its compounds out"
        )
    counts = counts[:, :_LAST] // np.gcd.reduce(counts, axis=1)[:, None]
    columns = _electrons(counts) | _levels(counts) | _charges(counts)
    fractions = counts / counts.sum(axis=1, keepdims=True)
    for name, members in _FAMILIES.items():
        columns[f"share_{name}"] = fractions[:, np.array(members) - 1].sum(axis=1)
    columns |= {f"x_{symbol}": fractions[:, z] for z, symbol in enumerate(SYMBOLS[:_LAST])}
    return pd.concat([described, pd.DataFrame(columns)], axis=1)


def _electrons(counts):
    """Valence electrons of each kind, holes, electron affinity and electronegativity."""
    table = _elements()
    fractions = counts / counts.sum(axis=1, keepdims=True)
    out, total = {}, fractions @ table["valence"].sum(axis=1)
    for column, kind in enumerate(_CAPACITY):
        out[f"valence_{kind}"] = fractions @ table["valence"][:, column]
        out[f"valence_{kind}_share"] = out[f"valence_{kind}"] / total
        out[f"holes_{kind}"] = fractions @ table["holes"][:, column]
    out["valence_total"] = total
    out["odd_electrons"] = (counts @ np.arange(1, _LAST + 1)) % 2.0
    affinity, chi = table["affinity"], table["electronegativity"]
    out["affinity_mean"] = fractions @ affinity
    out["affinity_max"] = np.where(counts > 0, affinity, -np.inf).max(axis=1)
    masked = np.where(counts > 0, chi, -np.inf)
    out["electronegativity_range"] = masked.max(axis=1) - np.where(counts > 0, chi, np.inf).min(1)
    # Mooser and Pearson: electrons that can bond, per anion; 8 is an octet
    rows, anion = np.arange(len(counts)), masked.argmax(axis=1)
    out["electrons_per_anion"] = counts @ table["bonding"] / counts[rows, anion]
    out["octet_distance"] = np.abs(out["electrons_per_anion"] - 8)
    out["anion_share"] = fractions[rows, anion]
    out["anion_electronegativity"] = chi[anion]
    others = np.where(np.arange(_LAST) == anion[:, None], 0.0, fractions)
    weight = np.maximum(others.sum(axis=1), 1e-12)
    cation = np.where(others.sum(axis=1) > 0, others @ chi / weight, chi[anion])
    out["polarity"] = chi[anion] - cation
    return out


def _levels(counts):
    """Atomic levels filled from below with all valence electrons (eV): last filled, first free."""
    orbitals = _elements()["orbitals"]
    filled, free, room = np.empty((3, len(counts)))
    character = np.zeros((2, len(counts), len(_CAPACITY)))
    for row, count in enumerate(counts):
        levels = sorted(
            (energy, "spdf".index(kind), _CAPACITY[kind] * int(count[z]), electrons * int(count[z]))
            for z in np.flatnonzero(count)
            for energy, kind, electrons in orbitals[z]
        )
        left, last = sum(level[3] for level in levels), 0
        for last, level in enumerate(levels):  # noqa: B007
            if left <= level[2]:
                break
            left -= level[2]
        # a level that is full hands on to the next; without a next one there is no known gap
        full = left == levels[last][2] and last + 1 < len(levels)
        following = last + 1 if full else last
        filled[row], free[row] = levels[last][0], levels[following][0]
        room[row] = left / levels[last][2]
        character[0, row, levels[last][1]] = 1
        character[1, row, levels[following][1]] = 1
    out = {"level_filled": filled, "level_free": free, "level_gap": free - filled}
    out["level_occupation"] = room
    for column, kind in enumerate(_CAPACITY):
        out[f"filled_is_{kind}"] = character[0, :, column]
        out[f"free_is_{kind}"] = character[1, :, column]
    return out


def _charges(counts):
    """Do common oxidation states cancel? One state per element, the anion's below zero."""
    table = _elements()
    residual, ways, charge = np.empty((3, len(counts)))
    for row, count in enumerate(counts):
        present = np.flatnonzero(count)
        anion = present[np.argmax(table["electronegativity"][present])]
        total, moved = np.zeros(1), np.zeros(1)
        for z in present:
            states = table["states"][z]
            if z == anion and len(present) > 1:
                states = states[states < 0] if (states < 0).any() else states
            total = (total[:, None] + count[z] * states).ravel()
            moved = (moved[:, None] + count[z] * np.abs(states)).ravel()
        size = count.sum()
        best = np.abs(total).min()
        residual[row] = best / size
        ways[row] = np.log1p(np.sum((total == 0) & (moved > 0)))
        charge[row] = moved[np.abs(total) == best].max() / size
    return {
        "charge_residual": residual,
        "charge_neutral": (residual == 0).astype(float),
        "charge_ways": ways,
        "charge_moved": charge,
    }


@lru_cache(maxsize=1)
def _elements():
    """By atomic number from 1: valence and holes (103, 4), bonding (103,)
    electrons, levels, states, affinity, chi."""
    from pymatgen.core import Element  # a third of a second, only needed here

    valence, holes = np.zeros((2, _LAST, len(_CAPACITY)))
    orbitals, states, affinity, chi = [], [], [], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # gaps in the table are filled below
        for z, symbol in enumerate(SYMBOLS[:_LAST]):
            element = Element(symbol)
            core = max((n for n in _NOBLE if n < z + 1), default=0)
            energies = element.atomic_orbitals_eV if element.data.get("Atomic orbitals") else {}
            levels, seen = [], 0
            for n, kind, electrons in element.full_electronic_structure:
                seen += electrons
                if seen <= core:
                    continue
                valence[z, "spdf".index(kind)] += electrons
                holes[z, "spdf".index(kind)] += _CAPACITY[kind] - electrons
                # beyond the table the outer levels of heavy atoms lie near -4 eV
                levels.append((energies.get(f"{n}{kind}", -4.0), kind, electrons))
            orbitals.append(levels)
            common = element.common_oxidation_states or element.oxidation_states or (0,)
            states.append(np.array(common, dtype=float))
            affinity.append(_number(element.data.get("Electron affinity")))
            chi.append(_number(element.X))
    # a full d shell does not bond, and of the f block three electrons do
    bonding = valence[:, 0] + valence[:, 1] + np.where(valence[:, 2] < 10, valence[:, 2], 0)
    bonding[np.array(_FAMILIES["f_block"]) - 1] = 3
    return {
        "bonding": bonding, "valence": valence, "holes": holes, "orbitals": orbitals,
        "states": states, "affinity": _filled(affinity), "electronegativity": _filled(chi),
    }  # fmt: skip


def _number(value):
    try:
        return float(value)
    except (TypeError, ValueError):
        return np.nan


def _filled(values):
    values = np.array(values)
    return np.where(np.isfinite(values), values, np.nanmean(values))
