"""A crystal whose sites are shared: several elements, or an element and nothing, by occupancy.

Site i lies at f_i A as in `mfutils.crystals.structure`; occupancy (n, 118) says which share of it
each element has, in the column of its atomic number less one. Shares of a site add up to at most
1; what is missing is a vacancy. With every share 0 or 1 it is the ordered crystal.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mfutils.crystals.structure import SYMBOLS, Crystal, check
from mfutils.errors import InputError

__all__ = ["DisorderedCrystal", "from_occupancies"]

_ROUNDING = 1e-3  # published occupancies are rounded to three digits


@dataclass(frozen=True, slots=True, eq=False)
class DisorderedCrystal:
    """lattice (3, 3) in Angstrom, frac_coords (n, 3), occupancy (n, 118), all float64."""

    lattice: np.ndarray
    frac_coords: np.ndarray
    occupancy: np.ndarray

    def __len__(self) -> int:
        return len(self.frac_coords)

    @property
    def ordered(self) -> bool:
        """Whether every site holds one whole atom."""
        return bool((self.occupancy.max(axis=1) > 1 - _ROUNDING).all())

    @property
    def numbers(self) -> np.ndarray:
        """Atomic number (n,) int64 of the element with the largest share of each site."""
        return self.occupancy.argmax(axis=1) + 1

    def as_ordered(self) -> Crystal:
        """The same crystal as a Crystal; raises InputError when a site is shared."""
        if not self.ordered:
            site = int(np.flatnonzero(self.occupancy.max(axis=1) <= 1 - _ROUNDING)[0])
            raise InputError(f"site {site} is shared; expected one whole atom per site")
        return Crystal(self.lattice, self.frac_coords, self.numbers)


def from_occupancies(
    lattice: npt.ArrayLike,
    frac_coords: npt.ArrayLike,
    occupancies: list[dict[int, float]],
    *,
    name: str = "structure",
) -> DisorderedCrystal:
    """A checked DisorderedCrystal from a lattice (3, 3) in Angstrom, coordinates (n, 3) and shares.

    occupancies: for each site, atomic number -> share of it. Raises InputError, with `name` in
    front, on shares that are not in (0, 1] or add up to more than 1, and as `structure.check`.
    """
    lattice = np.array(lattice, dtype=float).reshape(3, 3)
    frac_coords = np.array(frac_coords, dtype=float).reshape(-1, 3)
    if len(occupancies) != len(frac_coords):
        raise InputError(
            f"{name}: {len(frac_coords)} positions and {len(occupancies)} sites; expected one each"
        )
    table = np.zeros((len(occupancies), len(SYMBOLS)))
    for site, shares in enumerate(occupancies):
        for number, share in shares.items():
            if not 1 <= number <= len(SYMBOLS):
                raise InputError(
                    f"{name}: atomic number {number} at site {site}; expected 1 to 118"
                )
            if not 0 < share <= 1 + _ROUNDING:
                raise InputError(
                    f"{name}: occupancy {share:g} of {SYMBOLS[number - 1]} at site {site}; "
                    "expected a share above 0 and at most 1"
                )
            table[site, number - 1] += min(share, 1.0)
        if not 0 < table[site].sum() <= 1 + _ROUNDING:
            raise InputError(
                f"{name}: occupancies of site {site} add up to {table[site].sum():g}; "
                "expected a sum above 0 and at most 1"
            )
    crystal = DisorderedCrystal(lattice, frac_coords, table)
    check(Crystal(lattice, frac_coords, crystal.numbers), name=name)
    return crystal
