"""The nearest periodic image of an atom, by rounding and for certain.

Between atoms i and j of a crystal with lattice A (rows) lead the vectors (f_j - f_i + s) A, one for
every integer shift s. The minimum image convention takes the shortest. Rounding the fractional
difference, s = -round(f_j - f_i), finds it in a cell with right angles; in a skewed cell it can
miss it. The certain way, that of ASE, searches the neighbours of the rounded image in a cell of
short vectors (Minkowski reduction). Serves section 6.2.
"""

import numpy as np
import numpy.typing as npt
from ase.geometry import find_mic

from mfutils.errors import InputError

__all__ = ["half_width", "nearest_image", "rounded_image"]


def _checked(lattice, difference):
    lattice, difference = np.asarray(lattice, float), np.atleast_2d(np.asarray(difference, float))
    if lattice.shape != (3, 3) or abs(np.linalg.det(lattice)) < 1e-10:
        raise InputError(f"lattice {lattice.tolist()}; expected three independent vectors")
    if difference.ndim != 2 or difference.shape[1] != 3 or not np.isfinite(difference).all():
        raise InputError(
            f"differences of shape {difference.shape}; expected finite fractional numbers (p, 3)"
        )
    return lattice, difference


def rounded_image(
    lattice: npt.ArrayLike, difference: npt.ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """Shift (p, 3) and length (p,) in Angstrom of the image found by rounding.

    lattice (3, 3) in Angstrom, difference (p, 3) or (3,) fractional; raises InputError for a flat
    lattice and for what is not finite.
    """
    lattice, difference = _checked(lattice, difference)
    shift = -np.rint(difference).astype(int)
    return shift, np.linalg.norm((difference + shift) @ lattice, axis=1)


def nearest_image(
    lattice: npt.ArrayLike, difference: npt.ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """Shift (p, 3) and length (p,) in Angstrom of the shortest vector (difference + shift) A.

    Arguments and errors are those of `rounded_image`. Which of several equally short vectors is
    taken is up to ASE.
    """
    lattice, difference = _checked(lattice, difference)
    vector, _ = find_mic(difference @ lattice, lattice)
    shift = np.rint(np.linalg.solve(lattice.T, vector.T).T - difference).astype(int)
    return shift, np.linalg.norm((difference + shift) @ lattice, axis=1)


def half_width(lattice: npt.ArrayLike) -> float:
    """Half of the smallest distance between opposite faces of the cell, in Angstrom.

    Within a cutoff below it an atom has at most one image of every other atom as a neighbour.
    """
    lattice, _ = _checked(lattice, np.zeros((1, 3)))
    return float(0.5 / np.linalg.norm(np.linalg.inv(lattice), axis=0).max())
