"""Operations that leave a crystal the same, or turn it, as functions one can test with.

A crystal is a lattice A (rows), fractional coordinates f and atomic numbers z. Moving all atoms,
permuting them, shifting one by a lattice vector, choosing other lattice vectors or a larger cell
changes the arrays and not the crystal. A rotation Q turns lattice and atoms together: A' = A Q^T.
Turning the atoms inside a fixed lattice is no symmetry; a descriptor must see it.
Serves section 6.1 (invariance D(g x) = D(x) and equivariance F(g x) = Q F(x)).
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from mfutils.crystals.structure import Crystal, check
from mfutils.errors import InputError

__all__ = [
    "OPERATIONS",
    "atoms_turned",
    "largest_change",
    "other_cell",
    "other_images",
    "permuted",
    "random_rotation",
    "rotated",
    "supercell",
    "translated",
]


def random_rotation(rng: np.random.Generator, *, reflect: bool = False) -> np.ndarray:
    """A random rotation matrix (3, 3), evenly spread; with `reflect` times an inversion."""
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q * np.sign(np.linalg.det(q)) * (-1 if reflect else 1)


def translated(crystal: Crystal, vector: npt.ArrayLike) -> Crystal:
    """All atoms moved by the Cartesian `vector` (3,) in Angstrom."""
    frac = crystal.frac_coords + np.linalg.solve(crystal.lattice.T, np.asarray(vector, float))
    return Crystal(crystal.lattice, frac, crystal.numbers)


def rotated(crystal: Crystal, rotation: np.ndarray) -> Crystal:
    """Lattice and atoms turned by the orthogonal matrix `rotation` (3, 3)."""
    return Crystal(crystal.lattice @ rotation.T, crystal.frac_coords, crystal.numbers)


def atoms_turned(crystal: Crystal, rotation: np.ndarray) -> Crystal:
    """The atoms of the cell turned about the origin while the lattice stays: another crystal."""
    positions = crystal.positions @ rotation.T
    frac = np.linalg.solve(crystal.lattice.T, positions.T).T
    return check(Crystal(crystal.lattice, frac, crystal.numbers), name="turned atoms")


def permuted(crystal: Crystal, order: npt.ArrayLike) -> Crystal:
    """The same atoms in the order `order` (n,), a permutation of range(n)."""
    if sorted(order) != list(range(len(crystal))):
        raise InputError(
            f"order {list(order)} is no permutation of {len(crystal)} atoms; give each index once"
        )
    return Crystal(crystal.lattice, crystal.frac_coords[order], crystal.numbers[order])


def other_images(crystal: Crystal, shifts: npt.ArrayLike) -> Crystal:
    """Atom i replaced by its image in the cell `shifts`[i] (n, 3), integers."""
    return Crystal(crystal.lattice, crystal.frac_coords + np.asarray(shifts), crystal.numbers)


def other_cell(crystal: Crystal, matrix: npt.ArrayLike) -> Crystal:
    """The same crystal with lattice vectors `matrix` @ A; `matrix` (3, 3) has determinant 1 or -1.

    Raises InputError for a matrix of other determinant, which would change the lattice.
    """
    matrix = np.asarray(matrix)
    determinant = np.linalg.det(matrix)
    if not np.array_equal(matrix, np.rint(matrix)) or abs(abs(determinant) - 1) > 1e-9:
        raise InputError(
            f"matrix has determinant {determinant:.6g}; expected whole numbers and 1 or -1"
        )
    frac = crystal.frac_coords @ np.linalg.inv(matrix)
    return Crystal(matrix @ crystal.lattice, frac - np.floor(frac), crystal.numbers)


def supercell(crystal: Crystal, times: npt.ArrayLike) -> Crystal:
    """`times` = (p, q, r) cells along the lattice vectors."""
    times = np.asarray(times)
    if times.shape != (3,) or (times < 1).any():
        raise InputError(f"supercell of {times.tolist()} cells; expected three counts above 0")
    cells = np.stack(np.meshgrid(*[np.arange(t) for t in times], indexing="ij"), -1).reshape(-1, 3)
    frac = (cells[:, None] + crystal.frac_coords).reshape(-1, 3) / times
    return Crystal(crystal.lattice * times[:, None], frac, np.tile(crystal.numbers, len(cells)))


def _unimodular(rng):
    """A product of three elementary shears with entries -1, 0 or 1, so its determinant is 1."""
    matrix = np.eye(3, dtype=int)
    for i, j in ((0, 1), (1, 2), (2, 0)):
        shear = np.eye(3, dtype=int)
        shear[i, j] = rng.choice([-1, 1])
        matrix = shear @ matrix
    return matrix


# name -> a random operation (crystal, rng) -> crystal. All leave the crystal what it is, up to
# its orientation; they differ in which arrays they touch.
OPERATIONS = {
    "translation": lambda c, rng: translated(c, rng.normal(scale=3.0, size=3)),
    "rotation": lambda c, rng: rotated(c, random_rotation(rng)),
    "reflection": lambda c, rng: rotated(c, random_rotation(rng, reflect=True)),
    "permutation": lambda c, rng: permuted(c, rng.permutation(len(c))),
    "periodic images": lambda c, rng: other_images(c, rng.integers(-2, 3, (len(c), 3))),
    "other cell": lambda c, rng: other_cell(c, _unimodular(rng)),
    "supercell": lambda c, rng: supercell(c, rng.permutation([1, 1, 2])),
}


def largest_change(
    descriptor: Callable[[Crystal], npt.ArrayLike], crystal: Crystal, operation: str, *,
    seed: int = 0, repeats: int = 1,
) -> float:  # fmt: skip
    """Largest |D(g x) - D(x)| over `repeats` random operations, relative to the largest |D(x)|.

    `descriptor` maps a Crystal to an array, `operation` is a name of OPERATIONS. A change of
    length counts as infinite: two arrays of different size cannot be compared by a model.
    Raises InputError for an unknown operation.
    """
    if operation not in OPERATIONS:
        raise InputError(f"no operation {operation!r}; choose from {', '.join(OPERATIONS)}")
    rng = np.random.default_rng(seed)
    before = np.asarray(descriptor(crystal), dtype=float)
    scale = abs(before).max()
    worst = 0.0
    for _ in range(repeats):
        after = np.asarray(descriptor(OPERATIONS[operation](crystal, rng)), dtype=float)
        if after.shape != before.shape:
            return float("inf")
        worst = max(worst, float(abs(after - before).max() / scale))
    return worst
