"""Measured gaps on measured structures: 2,703 ordered and 278 disordered crystals (section 3.2).

Chen et al. 2021 list these gaps by the id of a commercial structure database; Liu et al. published
the crystals themselves beside an earlier paper, dealt into five folds (repository
liuxiaotong15/denoise, folder 5_fold_test, commit 0e4dc714). The ordered ones are the test set of
Tables 3.5 and 3.6. The structures are never part of this repository: `make data` fetches them from
the authors. Oxidation states are dropped; a crystal that no graph can represent is left out and
listed with its reason.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from mfutils.crystals import formulas
from mfutils.crystals.disordered import DisorderedCrystal, from_occupancies
from mfutils.crystals.structure import ATOMIC_NUMBERS, SYMBOLS
from mfutils.datasets import originals, which
from mfutils.errors import DataError, InputError
from mfutils.plain_values import brief, is_number

__all__ = ["COUNTS", "FOLDS", "available", "disordered", "ordered"]

FOLDS = which.ICSD_ORIGINALS
_DISORDERED = "icsd_disordered"
# Crystals in each original
COUNTS = dict(zip((*FOLDS, _DISORDERED), (541, 541, 541, 540, 540, 278), strict=True))
_COLUMNS = ["formula", "nsites", "gap", "structure"]
_SKIP_COLUMNS = ["material_id", "reason"]


def available() -> bool:
    """True when the five folds of ordered crystals are on this machine."""
    return which.icsd_available()


def ordered() -> tuple[pd.DataFrame, pd.DataFrame]:
    """The ordered crystals and what was left out.

    The first table has material_id, fold (0 to 4, the authors' own), formula, nsites, gap (eV) and
    structure (Crystal), in the authors' order; the second has material_id and reason. Raises
    DataError when a file is missing, damaged or holds another number of crystals.
    """
    rows, skips, seen = [], [], set()
    for fold, source in enumerate(FOLDS):
        for name, gap, sites in _entries(source, seen):
            try:
                crystal = _crystal(name, sites).as_ordered()
            except InputError as error:
                skips.append((name, str(error).removeprefix(f"{name}: ")))
                continue
            formula = formulas.reduced_formula(crystal.numbers)
            rows.append((name, fold, formula, len(crystal), gap, crystal))
    return _table(rows, ["material_id", "fold", *_COLUMNS]), _table(skips, _SKIP_COLUMNS)


def disordered() -> tuple[pd.DataFrame, pd.DataFrame]:
    """The disordered crystals and what was left out, as `ordered` has them but without folds.

    structure holds `DisorderedCrystal` objects; formula has the fractional amounts of the cell.
    """
    rows, skips = [], []
    for name, gap, sites in _entries(_DISORDERED, set()):
        try:
            crystal = _crystal(name, sites)
        except InputError as error:
            skips.append((name, str(error).removeprefix(f"{name}: ")))
            continue
        amounts = crystal.occupancy.sum(axis=0)
        present = np.flatnonzero(amounts)
        formula = " ".join(f"{SYMBOLS[z]}{amounts[z]:.4g}" for z in present)
        rows.append((name, formula, len(crystal), gap, crystal))
    return _table(rows, ["material_id", *_COLUMNS]), _table(skips, _SKIP_COLUMNS)


def _table(rows: list[tuple], columns: list[str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=columns)


def _entries(source: str, seen: set[str]) -> Iterator[tuple[str, float, object]]:
    """(id, gap, structure as it is written) of one original; DataError where it is damaged."""
    path, _ = originals.require(source)
    # Pairs, not a dict: a dict would silently keep the last of two crystals with one id
    pairs = originals.read_json(path, object_pairs_hook=_Pairs)
    if not isinstance(pairs, _Pairs) or len(pairs) != COUNTS[source]:
        count = f"{len(pairs)} crystals" if isinstance(pairs, _Pairs) else brief(pairs)
        raise DataError(
            f"{path}: {count}; expected an object of {COUNTS[source]} crystals by id, so "
            "delete the file and run `make data`"
        )
    for name, content in pairs:
        if name in seen:
            raise DataError(f"{path}: id {name} is repeated; delete the file and run `make data`")
        seen.add(name)
        entry = dict(content) if isinstance(content, _Pairs) else {}
        gap = entry.get("band_gap")
        if not is_number(gap) or gap < 0:
            raise DataError(f"{path}: band_gap of {name} is {brief(gap)}; expected eV, at least 0")
        yield name, float(gap), entry.get("structure")


class _Pairs(list):
    """A JSON object as it is written, with repeated names."""


def _crystal(name: str, written: object) -> DisorderedCrystal:
    """The crystal of a pymatgen structure as JSON, without oxidation states."""
    try:
        fields = dict(written)
        sites = [dict(site) for site in fields["sites"]]
        species = [[dict(part) for part in site["species"]] for site in sites]
        occupancies = [
            {ATOMIC_NUMBERS[part["element"]]: float(part["occu"]) for part in parts}
            for parts in species
        ]
        lattice = np.array(dict(fields["lattice"])["matrix"], dtype=float)
        frac_coords = np.array([site["abc"] for site in sites], dtype=float)
        if lattice.shape != (3, 3) or frac_coords.shape != (len(sites), 3):
            raise ValueError(f"lattice {lattice.shape}, coordinates {frac_coords.shape}")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{name}: not a pymatgen structure ({type(error).__name__}: {error}); expected "
            "lattice.matrix and sites with abc and species"
        ) from None
    return from_occupancies(lattice, frac_coords, occupancies, name=name)
