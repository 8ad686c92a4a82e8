"""The nearest periodic image of an atom, by rounding and for certain.

Between atoms i and j of a crystal with lattice A (rows) lead the vectors (f_j - f_i + s) A, one for
every integer shift s. The minimum image convention takes the shortest. Rounding the fractional
difference, s = -round(f_j - f_i), finds it in a cell with right angles; in a skewed cell it can
miss it. The certain way takes short lattice vectors and searches every s that could be shorter
than the rounded one: component m of the fractional vector is at most |r| |b_m|, with b_m the
columns of the inverse of A.
Serves section 6.2.
"""

from itertools import permutations

import numpy as np

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


def rounded_image(lattice, difference):
    """Shift (p, 3) and length (p,) of the image found by rounding; `difference` is fractional."""
    lattice, difference = _checked(lattice, difference)
    shift = -np.rint(difference).astype(int)
    return shift, np.linalg.norm((difference + shift) @ lattice, axis=1)


def nearest_image(lattice, difference):
    """Shift (p, 3) and length (p,) in Angstrom of the shortest vector (difference + shift) A.

    Of shifts with equal lengths (to 1e-9) the first in lexicographic order is taken. The search
    runs in short vectors of the same lattice, so a skewed cell costs no more than another.
    """
    lattice, difference = _checked(lattice, difference)
    matrix = _short_vectors(lattice)
    short = matrix @ lattice
    start = difference @ np.linalg.inv(matrix)
    base, length = rounded_image(short, start)
    reach = length.max() * np.linalg.norm(np.linalg.inv(short), axis=0)
    # |start + base| <= 1/2, so half a cell is added to the bound of the fractional vector
    axes = [np.arange(-n, n + 1) for n in np.floor(reach + 0.5 + 1e-9).astype(int)]
    offsets = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    moved = offsets @ short
    best, shortest = np.empty((len(start), 3), dtype=int), np.empty(len(start))
    for p, vector in enumerate((start + base) @ short):
        lengths = np.linalg.norm(vector + moved, axis=1)
        equal = (base[p] + offsets[lengths <= lengths.min() + 1e-9]) @ matrix
        best[p] = equal[np.lexsort(equal.T[::-1])[0]]
        shortest[p] = lengths.min()
    return best, shortest


def _short_vectors(lattice):
    """Whole numbers M (3, 3), determinant 1, whose rows of M A are short: pairwise reduction."""
    matrix, vectors = np.eye(3, dtype=int), lattice.copy()
    shortened = True
    while shortened:
        shortened = False
        for i, j in permutations(range(3), 2):
            times = int(np.rint(vectors[i] @ vectors[j] / (vectors[j] @ vectors[j])))
            shorter = vectors[i] - times * vectors[j]
            if times and shorter @ shorter < (1 - 1e-9) * (vectors[i] @ vectors[i]):
                vectors[i], shortened = shorter, True
                matrix[i] -= times * matrix[j]
    return matrix


def half_width(lattice):
    """Half of the smallest distance between opposite faces of the cell, in Angstrom.

    Within a cutoff below it an atom has at most one image of every other atom as a neighbour.
    """
    lattice, _ = _checked(lattice, np.zeros((1, 3)))
    return float(0.5 / np.linalg.norm(np.linalg.inv(lattice), axis=0).max())
