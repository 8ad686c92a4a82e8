"""A crystal as three arrays, checked once: the light structure behind graphs and readers.

Atom i lies at f_i A, f fractional coordinates, rows of A the lattice vectors in Angstrom.
Graph building needs no more than that, and plain arrays are read, hashed and stored a hundred
times faster than site objects. Everything that a neighbour graph cannot
represent (disorder, a flat cell, atoms on top of each other, an unknown element) is refused
here with one line that says what and where.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from ase.data import chemical_symbols

from mfutils.crystals import neighbors
from mfutils.errors import InputError

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = ["ATOMIC_NUMBERS", "SYMBOLS", "Crystal", "Skip", "check", "from_arrays", "from_pymatgen"]

SYMBOLS = tuple(chemical_symbols[1:])  # H to Og, by atomic number
# symbol -> atomic number; the isotopes of hydrogen are hydrogen
ATOMIC_NUMBERS = {symbol: z for z, symbol in enumerate(SYMBOLS, start=1)} | {"D": 1, "T": 1}
# A coordinate beyond this many cells is a defect, and would cost digits of the distances.
_FAR = 1e4
_LONGEST = 1e3  # Angstrom; a longer lattice vector is a defect
_LEAST_VOLUME = 0.01  # cubic Angstrom per atom; hydrogen under pressure has above 1


@dataclass(frozen=True, slots=True, eq=False)
class Crystal:
    """lattice (3, 3) float64 in Angstrom, frac_coords (n, 3) float64, numbers (n,) int64."""

    lattice: np.ndarray
    frac_coords: np.ndarray
    numbers: np.ndarray

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def positions(self) -> np.ndarray:
        """Cartesian coordinates (n, 3) in Angstrom."""
        return self.frac_coords @ self.lattice

    @property
    def volume(self) -> float:
        """Cell volume in cubic Angstrom."""
        return abs(float(np.linalg.det(self.lattice)))


@dataclass(frozen=True, slots=True)
class Skip:
    """A structure that was left out: its row in the input, its id and the one-line reason."""

    row: int
    id: str
    reason: str


def from_arrays(
    lattice: npt.ArrayLike, frac_coords: npt.ArrayLike, numbers: npt.ArrayLike, *,
    name: str = "structure",
) -> Crystal:  # fmt: skip
    """A checked Crystal from a lattice (3, 3) or (9,), coordinates (n, 3) or (3n,), numbers (n,).

    The flat forms are those of the Parquet columns. Raises InputError; `name` opens its message.
    """
    try:
        lattice = np.ascontiguousarray(lattice, dtype=np.float64).reshape(3, 3)
        frac_coords = np.ascontiguousarray(frac_coords, dtype=np.float64).reshape(-1, 3)
        given = np.asarray(numbers)
        with np.errstate(invalid="ignore"):  # NaN is refused below
            numbers = given.astype(np.int64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"{name}: arrays are not a crystal ({' '.join(str(error).split())}); expected a "
            "lattice of 9 numbers in Angstrom, 3 coordinates and 1 atomic number per atom"
        ) from None
    if numbers.ndim != 1 or (given.dtype.kind not in "iu" and not np.array_equal(given, numbers)):
        raise InputError(f"{name}: atomic numbers must be a flat array of whole numbers")
    return check(Crystal(lattice, frac_coords, numbers), name=name)


def from_pymatgen(structure: "Structure", *, name: str = "structure") -> Crystal:
    """A checked Crystal from an ordered pymatgen Structure; charges and properties are dropped.

    Raises InputError on partial occupancy, a slab, a species that is no element; see `check`.
    """
    if not all(structure.lattice.pbc):
        raise InputError(
            f"{name}: periodic along {sum(structure.lattice.pbc)} axes only; expected a crystal "
            "that is periodic along all three"
        )
    numbers = np.empty(len(structure), dtype=np.int64)
    for i, site in enumerate(structure):
        species = site.species
        if len(species) != 1 or abs(species.num_atoms - 1.0) > 1e-6:
            raise InputError(
                f"{name}: partial occupancy at site {i} ({species}); expected one element "
                "with occupancy 1 per site, so order the structure or leave it out"
            )
        # a dummy species such as X0+ has a placeholder for its atomic number
        (specie,) = species
        numbers[i] = ATOMIC_NUMBERS.get(getattr(specie, "symbol", ""), 0)
        if numbers[i] == 0:
            raise InputError(_unknown(name, specie))
    lattice = np.array(structure.lattice.matrix, dtype=np.float64)
    frac_coords = np.array(structure.frac_coords, dtype=np.float64).reshape(-1, 3)
    return check(Crystal(lattice, frac_coords, numbers), name=name)


def _unknown(name, species):
    return f"{name}: unknown element {str(species)!r}; expected a symbol from H to Og"


def check(crystal: Crystal, *, name: str = "structure") -> Crystal:
    """`crystal` itself when a neighbour graph of it makes sense; raises InputError when not."""
    lattice, frac_coords, numbers = crystal.lattice, crystal.frac_coords, crystal.numbers
    if len(numbers) == 0:
        raise InputError(f"{name}: no atoms; expected at least one")
    if len(numbers) != len(frac_coords):
        raise InputError(
            f"{name}: {len(numbers)} atomic numbers but {len(frac_coords)} positions; "
            "expected one of each per atom"
        )
    if numbers.min() < 1 or numbers.max() > len(SYMBOLS):
        bad = int(numbers[(numbers < 1) | (numbers > len(SYMBOLS))][0])
        raise InputError(f"{name}: unknown element with atomic number {bad}; expected 1 to 118")
    if not (abs(frac_coords) < _FAR).all():  # written so that NaN fails as well
        raise InputError(
            f"{name}: a fractional coordinate is not finite or beyond {_FAR:g} cells; "
            "expected values near 0 to 1 (are these Cartesian coordinates?)"
        )
    lengths = np.sqrt((lattice * lattice).sum(axis=1))
    if not (lengths < _LONGEST).all():
        raise InputError(
            f"{name}: a lattice vector is {lengths.max():g} Angstrom long; expected finite lengths "
            f"below {_LONGEST:g} Angstrom"
        )
    volume = crystal.volume
    if not volume > max(_LEAST_VOLUME * len(numbers), 1e-8 * lengths.prod()):
        raise InputError(
            f"{name}: cell has no volume ({volume:.3g} cubic Angstrom for {len(numbers)} atoms); "
            "expected three independent lattice vectors in Angstrom"
        )
    i, j, distance = neighbors.closest_pair(lattice, frac_coords)
    if i >= 0:
        raise InputError(
            f"{name}: atoms {i} ({SYMBOLS[numbers[i] - 1]}) and {j} ({SYMBOLS[numbers[j] - 1]}) "
            f"lie on top of each other ({distance:.3g} Angstrom apart); expected at least "
            f"{neighbors.MIN_DISTANCE} Angstrom, so remove one of them"
        )
    return crystal
