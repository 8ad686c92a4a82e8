"""SOAP: a description of each atom's surroundings that turns with nothing, with its derivatives.

Every neighbour within the cutoff is smeared to a Gaussian; the density is expanded in radial
functions g_nl(r) = sum_k B_nk r^l exp(-a_lk r^2), orthonormal, times real spherical harmonics, and
the power spectrum p_nn'l = pi sqrt(8/(2l+1)) sum_m c_nlm c_n'lm is kept: the same for a rotated,
mirrored or relabelled structure. Gaussian times Gaussian has a closed form, so values and
derivatives are exact. A weight that falls to zero with two derivatives at the cutoff makes the
energy of a potential smooth when a neighbour leaves. Spectra are divided by their length, so the
dot product of two is 1 for equal surroundings. One element only. Serves chapter 8.
"""

import functools
import math
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.linalg import sqrtm
from scipy.special import gamma

from mfutils.crystals import neighbors
from mfutils.crystals.structure import Crystal
from mfutils.errors import InputError
from mfutils.forces import soap_kernel

__all__ = ["Environments", "Soap"]


@dataclass(frozen=True)
class Environments:
    """The described atoms of one structure.

    values (n, d): normalised spectra; center and neighbor (e,): the atoms of every edge; jacobian
    (e, 3, d): derivative of values[center] by the position of the neighbour (1/Angstrom), None
    when it was not asked for.
    """

    values: np.ndarray
    center: np.ndarray
    neighbor: np.ndarray
    jacobian: np.ndarray | None

    def __len__(self) -> int:
        return len(self.values)

    def per_atom(
        self, values: np.ndarray, *, edges: np.ndarray | slice = slice(None),
        atoms: np.ndarray | None = None,
    ) -> np.ndarray:  # fmt: skip
        """Sum values (e, 3, ...) of edges to derivatives by atomic positions (atoms, 3, ...).

        An edge moves its neighbour and, with the opposite sign, its centre. `edges` are the edges
        that have values, `atoms` the atoms that are asked for; by default all.
        """
        e, n = len(values), len(self)
        rows = np.concatenate([self.neighbor[edges], self.center[edges]])
        signs = np.repeat([1.0, -1.0], e)
        collect = sparse.csr_array((signs, (rows, np.tile(np.arange(e), 2))), shape=(n, e))
        if atoms is not None:
            collect = collect[atoms]
        flat = collect @ np.ascontiguousarray(values).reshape(e, -1)
        return flat.reshape(-1, *values.shape[1:])

    def touching(self, atoms: np.ndarray) -> np.ndarray:
        """Numbers of the edges that move one of `atoms`."""
        moved = np.zeros(len(self), dtype=bool)
        moved[atoms] = True
        return np.flatnonzero(moved[self.neighbor] | moved[self.center])

    def forces(self, slope: np.ndarray) -> np.ndarray:
        """Forces (n, 3) of an energy whose derivative by values[i] is slope[i], slope (n, d)."""
        return -self.per_atom(np.einsum("exd,ed->ex", self.jacobian, slope[self.center]))


@dataclass(frozen=True)
class Soap:
    """Settings of the descriptor; lengths in Angstrom.

    cutoff: of the neighbourhood; n_max radial functions and angular momenta up to l_max; width:
    standard deviation of the Gaussian that smears an atom.
    """

    cutoff: float = 5.0
    n_max: int = 6
    l_max: int = 4
    width: float = 0.5

    def __post_init__(self):
        if not self.cutoff > 1.0:
            raise InputError(f"cutoff is {self.cutoff!r}; expected more than 1 Angstrom")
        if not (self.n_max >= 1 and self.l_max >= 0 and self.width > 0):
            raise InputError(
                f"n_max {self.n_max!r}, l_max {self.l_max!r}, width {self.width!r}; expected at "
                "least 1, at least 0, above 0"
            )

    @property
    def size(self) -> int:
        """Number of components d of a spectrum."""
        return self.n_max * (self.n_max + 1) // 2 * (self.l_max + 1)

    def spectra(
        self, structure: Crystal, *, derivatives: bool = False
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Before normalisation: spectra (n, d), jacobian (e, 3, d), center (e,), neighbor (e,)."""
        if len(set(structure.numbers.tolist())) != 1:
            raise InputError(
                f"elements {sorted(set(structure.numbers.tolist()))} in one structure; this "
                "descriptor knows one element"
            )
        pointer, neighbor, shift, _ = neighbors.neighbor_lists(
            structure.lattice, structure.frac_coords, structure.numbers, cutoff=self.cutoff
        )
        center = np.repeat(np.arange(len(structure)), np.diff(pointer))
        frac = structure.frac_coords
        vectors = (frac[neighbor] + shift - frac[center]) @ structure.lattice
        decay, mix = _radial(self.cutoff, self.n_max, self.l_max, self.width)
        spectra, jacobian = soap_kernel.power_spectra(
            pointer, vectors, self.cutoff, decay, mix, _norms(self.l_max), derivatives
        )
        return spectra, jacobian, center, neighbor.astype(np.int64)

    def describe(self, structure: Crystal, *, derivatives: bool = False) -> Environments:
        """Environments of a Crystal, with or without jacobians."""
        spectra, jacobian, center, neighbor = self.spectra(structure, derivatives=derivatives)
        length = np.linalg.norm(spectra, axis=1, keepdims=True)
        values = spectra / length
        if not derivatives:
            return Environments(values, center, neighbor, None)
        # the derivative of a unit vector has no part along it
        along = np.einsum("exd,ed->ex", jacobian, values[center])
        jacobian -= along[:, :, None] * values[center][:, None, :]
        jacobian /= length[center][:, :, None]
        return Environments(values, center, neighbor, jacobian)


@functools.cache
def _norms(l_max):
    return soap_kernel.harmonic_norms(l_max)


@functools.cache
def _radial(cutoff, n_max, l_max, width):
    """Exponents (l, k) and combinations (l, n, k) of q_nl(R), the radial part of c_nlm.

    The primitive r^l exp(-a_lk r^2) falls to 1e-3 at the k-th of n_max distances from 1 Angstrom
    to the cutoff. Its overlap with a Gaussian of exponent b at R is, up to S_lm(R),
    (pi / (a + b))^(3/2) (b / (a + b))^l exp(-a b R^2 / (a + b)).
    """
    reach = np.linspace(1.0, cutoff, n_max)
    b = 1 / (2 * width**2)
    decay, mix = np.empty((l_max + 1, n_max)), np.empty((l_max + 1, n_max, n_max))
    for l in range(l_max + 1):  # noqa: E741 (the field's name)
        a = -np.log(1e-3 / reach**l) / reach**2
        overlap = 0.5 * gamma(l + 1.5) * (a[:, None] + a[None, :]) ** -(l + 1.5)
        orthonormal = sqrtm(np.linalg.inv(overlap)).real
        decay[l] = a * b / (a + b)
        mix[l] = orthonormal * ((math.pi / (a + b)) ** 1.5 * (b / (a + b)) ** l)
    return decay, mix
