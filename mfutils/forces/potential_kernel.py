"""Covariances of energies and forces when every atom's energy is a Gaussian process.

The energy of a structure is a sum over its atoms, E = sum_i f(s_i), and f has the kernel
k(s, s') = (s . s')^p of two normalised SOAP spectra (p a whole number). Sums and derivatives of a
Gaussian process are Gaussian, so with D_a the derivative by coordinate a,

    Cov(E, E')     =  sum_ij k(s_i, s'_j),          c_ij = s_i . s'_j
    Cov(E, F'_b)   = -sum_ij k'(c_ij) s_i . D_b s'_j
    Cov(F_a, F'_b) =  sum_ij k''(c_ij) (s'_j . D_a s_i)(s_i . D_b s'_j)
                    + sum_ij k'(c_ij) D_a s_i . D_b s'_j

All covariances are for unit amplitude. Serves section 8.2.
"""

import numpy as np

from mfutils.errors import InputError
from mfutils.forces.soap import Environments

__all__ = ["blocks", "checked_power", "derivatives", "energy_variance", "force_variances", "rows"]


def checked_power(power: int) -> int:
    """`power` when it is a whole number of at least 1; InputError when not."""
    if not (isinstance(power, int | np.integer) and power >= 1):
        raise InputError(f"power of the kernel is {power!r}; expected a whole number from 1")
    return int(power)


def derivatives(cosine: np.ndarray, power: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """k, k' and k'' of c^power, each of the shape of `cosine`."""
    slope = power * cosine ** (power - 1)
    curvature = power * (power - 1) * cosine ** max(power - 2, 0)
    return cosine**power, slope, curvature


def blocks(
    first: Environments, second: Environments, power: int
) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    """Covariances of two structures: energy-energy, energy-force (3 m,), force-energy, force-force.

    first and second are Environments with jacobians, of n and m atoms; the force blocks are
    ordered atom by atom, x, y, z. Returns (scalar, (3 m,), (3 n,), (3 n, 3 m)).
    """
    moved, other = _dense(first), _dense(second)
    k, slope, curvature = derivatives(first.values @ second.values.T, power)
    # by coordinate, atom of first, atom of second
    left = np.einsum("aid,jd->aij", moved, second.values, optimize=True)
    right = np.einsum("bjd,id->bij", other, first.values, optimize=True)
    force_force = (left * curvature).reshape(len(left), -1) @ right.reshape(len(right), -1).T
    weighted = np.einsum("aid,ij->ajd", moved, slope, optimize=True)
    force_force += weighted.reshape(len(left), -1) @ other.reshape(len(right), -1).T
    return k.sum(), -(right * slope).sum((1, 2)), -(left * slope).sum((1, 2)), force_force


def _dense(environments):
    """Derivatives of every spectrum by every coordinate (3 n, n, d)."""
    n, size = environments.values.shape
    dense = np.zeros((n, n, 3, size))  # by centre, then by the atom that moves
    np.add.at(dense, (environments.center, environments.neighbor), environments.jacobian)
    np.subtract.at(dense, (environments.center, environments.center), environments.jacobian)
    return dense.transpose(1, 2, 0, 3).reshape(3 * n, n, size)


def rows(
    environments: Environments, inducing: np.ndarray, power: int, *,
    atoms: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:  # fmt: skip
    """Covariances with the local energies at `inducing` (m, d): energy (m,), forces (3 a, m).

    The forces are those of `atoms` (all by default), atom by atom; None without jacobians.
    """
    k, slope, _ = derivatives(environments.values @ inducing.T, power)
    if environments.jacobian is None:
        return k.sum(0), None
    edges = slice(None) if atoms is None else environments.touching(atoms)
    center, jacobian = environments.center[edges], environments.jacobian[edges]
    along = jacobian.reshape(-1, inducing.shape[1]) @ inducing.T
    along = along.reshape(-1, 3, len(inducing))
    along *= slope[center][:, None, :]
    total = environments.per_atom(along, edges=edges, atoms=atoms)
    return k.sum(0), -total.reshape(-1, len(inducing))


def energy_variance(environments: Environments, power: int) -> float:
    """Prior variance of the energy."""
    return float(((environments.values @ environments.values.T) ** power).sum())


def force_variances(
    environments: Environments, power: int, *, atoms: np.ndarray | None = None
) -> np.ndarray:
    """Prior covariances (a, 3, 3) of the force on each of `atoms` (all by default)."""
    atoms = np.arange(len(environments)) if atoms is None else np.asarray(atoms)
    variances = np.empty((len(atoms), 3, 3))
    order = np.argsort(environments.neighbor, kind="stable")
    starts = np.searchsorted(environments.neighbor[order], np.arange(len(environments) + 1))
    first = np.searchsorted(environments.center, np.arange(len(environments) + 1))
    for row, atom in enumerate(atoms):
        incoming = order[starts[atom] : starts[atom + 1]]
        centers, place = np.unique(environments.center[incoming], return_inverse=True)
        own = np.searchsorted(centers, atom)
        if own == len(centers) or centers[own] != atom:
            centers = np.insert(centers, own, atom)
            place = place + (place >= own)
        moved = np.zeros((len(centers), 3, environments.values.shape[1]))
        np.add.at(moved, place, environments.jacobian[incoming])
        moved[own] -= environments.jacobian[first[atom] : first[atom + 1]].sum(0)
        near = environments.values[centers]
        _, slope, curvature = derivatives(near @ near.T, power)
        left = moved @ near.T  # centre, axis, other centre
        variances[row] = np.einsum("iaj,ij,jbi->ab", left, curvature, left, optimize=True)
        weighted = np.einsum("ij,jbd->ibd", slope, moved, optimize=True)
        variances[row] += np.einsum("iad,ibd->ab", moved, weighted, optimize=True)
    return variances
