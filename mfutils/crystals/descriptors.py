"""Fixed-length descriptions of a crystal: Coulomb matrix, SOAP and shells of the diffraction.

- Coulomb matrix: C_ij = Z_i Z_j / |r_i - r_j|, C_ii = 0.5 Z_i^2.4. Distances make it blind to
  rotations; sorting its rows by norm, or keeping its sorted eigenvalues, to permutations. It knows
  the atoms of one cell only.
- SOAP power spectrum (dscribe): the density of Gaussians around an atom is expanded in radial
  functions and spherical harmonics, p_nn'l = sum_m c_nlm c*_n'lm, kernel k = (p . p')^zeta.
- Reciprocal shells: partial structure factors S_s(k) = sum_{i of s} exp(i k r_i) at reciprocal
  lattice vectors, |S_s(k)|^2 averaged over shells of |k|.

Serves section 6.1.
"""

import functools
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from mfutils.crystals.graph import StructureLike, as_crystal
from mfutils.errors import InputError

__all__ = [
    "coulomb_matrix",
    "coulomb_spectrum",
    "reciprocal_shells",
    "reciprocal_vectors",
    "soap",
    "soap_kernel",
    "sorted_coulomb",
]

_MOST_VECTORS = 2_000_000


def coulomb_matrix(crystal: StructureLike) -> np.ndarray:
    """Coulomb matrix (n, n) of the atoms of one cell as they stand, in e^2/Angstrom units of Z.

    The diagonal is 0.5 Z^2.4 as published for distances in bohr; the mixture of units is that of
    the formula in use. No periodic image enters: this is a descriptor for molecules.
    """
    crystal = as_crystal(crystal)
    z = crystal.numbers.astype(float)
    difference = crystal.positions[:, None] - crystal.positions[None]
    distance = np.sqrt((difference**2).sum(axis=-1))
    np.fill_diagonal(distance, 1.0)
    if distance.min() < 1e-6:
        i, j = np.unravel_index(distance.argmin(), distance.shape)
        raise InputError(f"atoms {i} and {j} coincide; a Coulomb matrix needs distances above 0")
    matrix = z[:, None] * z / distance
    np.fill_diagonal(matrix, 0.5 * z**2.4)
    return matrix


def _padded(length, n):
    if length is not None and length < n:
        raise InputError(f"length {length} is below the {n} atoms of the crystal; raise it")
    return n if length is None else length


def coulomb_spectrum(crystal: StructureLike, *, length: int | None = None) -> np.ndarray:
    """Eigenvalues of the Coulomb matrix by falling size, padded with zeros to `length`."""
    values = np.linalg.eigvalsh(coulomb_matrix(crystal))
    out = np.zeros(_padded(length, len(values)))
    out[: len(values)] = values[np.argsort(-abs(values), kind="stable")]
    return out


def sorted_coulomb(crystal: StructureLike, *, length: int | None = None) -> np.ndarray:
    """Upper triangle of the Coulomb matrix, rows sorted by falling norm, padded to `length` atoms.

    Where two rows have equal norms their order, and with it the triangle, is not defined.
    """
    matrix = coulomb_matrix(crystal)
    size = _padded(length, len(matrix))
    order = np.argsort(-np.linalg.norm(matrix, axis=1), kind="stable")
    out = np.zeros((size, size))
    out[: len(matrix), : len(matrix)] = matrix[np.ix_(order, order)]
    return out[np.triu_indices(size)]


@functools.cache
def _soap(species, r_cut, n_max, l_max, sigma, average, periodic):
    # dscribe costs seconds to import and is not needed by the other descriptors
    from dscribe.descriptors import SOAP

    return SOAP(
        species=list(species),
        r_cut=r_cut,
        n_max=n_max,
        l_max=l_max,
        sigma=sigma,
        average=average,
        periodic=periodic,
    )


def soap(
    crystal: StructureLike, *, species: Iterable[int | np.integer], cutoff: float = 5.0,
    n_max: int = 6, l_max: int = 4, sigma: float = 0.5, average: str = "off",
    periodic: bool = True,
) -> np.ndarray:  # fmt: skip
    """SOAP power spectrum of every atom (n, f), or (f,) of the crystal, by dscribe.

    `species` lists the atomic numbers that have channels; cutoff and sigma (width of the
    Gaussians) in Angstrom. average "off" gives one row per atom, "outer" the mean of the rows,
    "inner" the spectrum of the mean coefficients. With `periodic` False the cell is a molecule.
    Raises InputError for an element without channel and settings that make no sense.
    """
    crystal = as_crystal(crystal)
    species = tuple(sorted({int(z) for z in species}))
    if missing := sorted(set(crystal.numbers.tolist()) - set(species)):
        raise InputError(f"elements {missing} have no channel; add them to species {species}")
    if average not in ("off", "inner", "outer"):
        raise InputError(f"average is {average!r}; expected off, inner or outer")
    if not (cutoff > 1 and sigma > 0 and n_max >= 1 and l_max >= 0):
        raise InputError(
            f"cutoff {cutoff}, sigma {sigma}, n_max {n_max}, l_max {l_max}; expected a cutoff "
            "above 1 Angstrom, a positive sigma, n_max of 1 or more and l_max of 0 or more"
        )
    from ase import Atoms

    atoms = Atoms(
        numbers=crystal.numbers, positions=crystal.positions, cell=crystal.lattice, pbc=periodic
    )
    if periodic:
        # dscribe puts images around the cell as given, so atoms must stand inside it
        atoms.wrap(eps=0.0)
    return _soap(species, cutoff, n_max, l_max, sigma, average, periodic).create(atoms)


def soap_kernel(a: npt.ArrayLike, b: npt.ArrayLike, *, zeta: float = 2.0) -> np.ndarray:
    """Normalised kernel (p . p' / |p| |p'|)^zeta between rows of a (n, f) and b (m, f): (n, m).

    Power spectra have no negative overlap, so the kernel lies in [0, 1]; raises InputError for
    rows of zeros, different lengths or zeta <= 0.
    """
    a, b = np.atleast_2d(np.asarray(a, float)), np.atleast_2d(np.asarray(b, float))
    if a.shape[1] != b.shape[1]:
        raise InputError(f"spectra of {a.shape[1]} and {b.shape[1]} numbers; use one setting")
    if not zeta > 0:
        raise InputError(f"zeta is {zeta!r}; expected a number above 0")
    norm_a, norm_b = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    if norm_a.min() == 0 or norm_b.min() == 0:
        raise InputError("a spectrum is all zeros; an atom without density has no kernel")
    return np.clip((a @ b.T) / norm_a[:, None] / norm_b, 0.0, None) ** zeta


def reciprocal_vectors(lattice: npt.ArrayLike, k_max: float) -> np.ndarray:
    """Reciprocal lattice vectors k (m, 3) with 0 < |k| <= `k_max`, in 1/Angstrom (2 pi included).

    Of k and -k, which have the same |S|^2, one is kept.
    """
    lattice = np.asarray(lattice, float)
    reciprocal = 2 * np.pi * np.linalg.inv(lattice).T
    # |h_i| = |k . a_i| / 2 pi <= k_max |a_i| / 2 pi, whatever the angles
    reach = np.floor(k_max * np.linalg.norm(lattice, axis=1) / (2 * np.pi) + 1e-9).astype(int)
    if np.prod(2.0 * reach + 1) > _MOST_VECTORS:
        raise InputError(f"k_max {k_max:g} needs over {_MOST_VECTORS} vectors; lower it")
    axes = [np.arange(-r, r + 1) for r in reach]
    h = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    h = h[len(h) // 2 + 1 :]  # the grid is symmetric: its second half holds one of each pair
    k = h @ reciprocal
    return k[np.linalg.norm(k, axis=1) <= k_max * (1 + 1e-12)]


def reciprocal_shells(
    crystal: StructureLike, *, species: Iterable[int | np.integer], k_max: float = 8.0,
    shells: int = 24, cross: bool = False, normalize: str = "intensity",
) -> np.ndarray:  # fmt: skip
    """|S_s(k)|^2 in shells of |k| (channels, shells), for every element s of `species`.

    Shells have triangular weights that overlap and add up to one, so no value jumps when a |k|
    crosses a border. With `cross`, Re S_s(k) S_t(k)* of every pair of elements follows: without it
    the places of the sublattices relative to each other are lost.

    normalize "mean" divides by the weight of the vectors in the shell, as an average does; a
    larger cell of the same crystal then has more vectors, most of them extinct, and other
    averages. "intensity" (the default) divides by the volume of the shell in reciprocal space
    and by the number of atoms and is the same for every cell. An empty shell is 0.
    Raises InputError for an element that is missing from `species`.
    """
    crystal = as_crystal(crystal)
    species = sorted({int(z) for z in species})
    if missing := sorted(set(crystal.numbers.tolist()) - set(species)):
        raise InputError(f"elements {missing} have no channel; add them to species {species}")
    if normalize not in ("mean", "intensity"):
        raise InputError(f"normalize is {normalize!r}; expected mean or intensity")
    if not (k_max > 0 and shells >= 2):
        raise InputError(f"k_max {k_max}, {shells} shells; expected k_max above 0, two shells up")
    width = k_max / shells
    centers = width * (np.arange(shells) + 0.5)
    k = reciprocal_vectors(crystal.lattice, k_max)
    length = np.linalg.norm(k, axis=1)
    weights = np.clip(1 - abs(length[:, None] - centers) / width, 0.0, None)
    phases = np.exp(1j * (k @ crystal.positions.T))
    factors = np.stack([phases[:, crystal.numbers == s].sum(axis=1) for s in species])
    products = list(abs(factors) ** 2)
    if cross:
        pairs = zip(*np.triu_indices(len(species), 1), strict=True)
        products += [(factors[s] * factors[t].conj()).real for s, t in pairs]
    summed = np.stack(products) @ weights
    if normalize == "mean":
        total = weights.sum(axis=0)
        return np.divide(summed, total, out=np.zeros_like(summed), where=total > 0)
    # Both halves of reciprocal space count. The density of k is V / (2 pi)^3 and |S|^2 at the
    # k of the small cell grows with the square of the number of cells, so divide by V and n.
    volume = 4 * np.pi * centers**2 * width
    density = crystal.volume / (2 * np.pi) ** 3
    return 2 * summed / (density * volume * len(crystal))
