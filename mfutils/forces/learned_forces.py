"""Small learned force fields: an energy whose gradient is the force, and two that skip the energy.

An atom is described by sums over its neighbours of radial functions times products of directions,
M_q^l(i) = sum_j R_q(d_ij) u_ij (x) ... (x) u_ij (l times), one channel per element, u the unit
vector. Their squared norms z do not change under rotation; with l up to 3 they hold the Legendre
sums of section 6.2. Fixed random features phi(z) make every model linear in its weights, so one
least-squares problem fits it:

- `AtomicEnergy`: E = sum_i w . phi(z_i), F = -dE/dx by the chain rule;
- `DirectForces`: F_i = sum_q (W phi(z_i))_q M_q^1(i), which turns with the crystal, without energy;
- `DirectForces(equivariant=False)`: F_i = W phi(z_i, M^1(i)), components taken as plain numbers.

Serves section 6.4. Energies in eV, lengths in Angstrom.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mfutils.errors import InputError
from mfutils.forces.invariants import Frames, Invariants, sum_rows

__all__ = ["AtomicEnergy", "DirectForces"]

_LEAST_SPREAD = 1e-2  # smallest standard deviation of an invariant, relative to the largest


class _RandomFeatures:
    """phi(z): the standardised z itself and tanh of random combinations of it, with slopes."""

    def __init__(self, count, seed):
        self.count, self.rng = count, np.random.default_rng(seed)

    def fit(self, z):
        self.mean, self.std = z.mean(axis=0), z.std(axis=0)
        # Not the bare std: a slightly closer pair would count as a thousand of a short-range one
        self.std = np.maximum(self.std, _LEAST_SPREAD * self.std.max())
        if self.std.max() == 0:
            raise InputError("all surroundings are equal; expected frames that differ")
        size = z.shape[1]
        self.weights = self.rng.normal(size=(self.count, size)) / np.sqrt(size)
        self.bias = self.rng.uniform(-1, 1, self.count)
        return self

    def __call__(self, z):
        scaled = (z - self.mean) / self.std
        inner = np.tanh(scaled @ self.weights.T + self.bias)
        return np.hstack([scaled, inner])

    def pull(self, z, gradient):
        """d/dz of phi(z) . gradient for gradient (f,): (n, size)."""
        size = z.shape[1]
        inner = np.tanh((z - self.mean) / self.std @ self.weights.T + self.bias)
        back = (1 - inner**2) * gradient[size:] @ self.weights
        return (back + gradient[:size]) / self.std

    def push(self, z, tangents):
        """d phi along the tangents (e, size, 3) of rows z (e, size): (e, f, 3)."""
        scaled = tangents / self.std[:, None]
        inner = np.tanh((z - self.mean) / self.std @ self.weights.T + self.bias)
        moved = np.matmul(self.weights, scaled)
        return np.concatenate([scaled, (1 - inner**2)[:, :, None] * moved], axis=1)


class _Model:
    def __init__(self, elements, *, cutoff, n_radial, features, ridge, seed):
        self.elements = tuple(int(z) for z in elements)
        self.cutoff, self.ridge = cutoff, ridge
        self.invariants = Invariants(len(self.elements), cutoff, n_radial)
        self.basis = _RandomFeatures(features, seed)
        self.weights = None

    def _positions(self, frames, positions):
        if self.weights is None:
            raise InputError("the model has no weights yet; call fit first")
        return frames.positions if positions is None else np.asarray(positions, float)

    def _solve(self, rows, targets):
        """Ridge regression; columns are scaled so that `ridge` has no unit."""
        scale = np.sqrt((rows**2).mean(axis=0))
        scale[scale <= 1e-9 * scale.max()] = np.inf  # rounding noise is no feature
        rows = rows / scale
        normal = rows.T @ rows + self.ridge * len(rows) * np.eye(rows.shape[1])
        solved = np.linalg.solve(normal, rows.T @ targets)
        return (solved.T / scale).T


class AtomicEnergy(_Model):
    """A sum of learned atomic energies, whose forces are its negative gradient.

    elements: atomic numbers; `features` random features on `n_radial` radial functions per element
    within `cutoff` (Angstrom); `ridge` is relative to the mean square of a feature.
    """

    def __init__(
        self, elements: Sequence[int], *, cutoff: float = 5.0, n_radial: int = 8,
        features: int = 300, ridge: float = 1e-7, seed: int = 0,
    ):  # fmt: skip
        super().__init__(
            elements, cutoff=cutoff, n_radial=n_radial, features=features, ridge=ridge, seed=seed
        )

    def fit(
        self, frames: Frames, energies: npt.ArrayLike, forces: npt.ArrayLike, *,
        energy_weight: float = 10.0,
    ) -> "AtomicEnergy":  # fmt: skip
        """Fit to energies (f,) in eV and forces (n, 3) in eV/Angstrom; returns self.

        The energy per atom counts `energy_weight` times as much as a force component.
        """
        energies, forces = _labels(frames, energies, forces)
        z, _, tangents = self.invariants(frames, frames.positions, derivative=True)
        self.basis.fit(z)
        phi = np.hstack([self.basis(z), np.eye(len(self.elements))[frames.species]])
        summed = np.zeros((frames.count, phi.shape[1]))
        np.add.at(summed, frames.frame, phi)
        atoms = np.bincount(frames.frame, minlength=frames.count)[:, None]
        rows = np.zeros((len(frames.positions), 3, phi.shape[1]))
        for part in np.array_split(np.arange(len(tangents)), max(1, len(tangents) // 2000)):
            centre = frames.centre[part]
            moved = self.basis.push(z[centre], tangents[part]).transpose(0, 2, 1)
            flat, n = moved.reshape(len(part), -1), len(rows)
            force = sum_rows(centre, flat, n) - sum_rows(frames.neighbor[part], flat, n)
            rows[..., : moved.shape[2]] += force.reshape(n, *moved.shape[1:])
        rows = np.vstack([energy_weight * summed / atoms, rows.reshape(-1, rows.shape[2])])
        targets = np.concatenate([energy_weight * energies / atoms[:, 0], forces.ravel()])
        self.weights = self._solve(rows, targets)
        return self

    def energy(self, frames: Frames, positions: npt.ArrayLike | None = None) -> np.ndarray:
        """Energies (f,) in eV, of the atoms at `positions` (n, 3) if given."""
        z, _, _ = self.invariants(frames, self._positions(frames, positions))
        split = -len(self.elements)
        atomic = self.basis(z) @ self.weights[:split] + self.weights[split:][frames.species]
        return np.bincount(frames.frame, weights=atomic, minlength=frames.count)

    def forces(self, frames: Frames, positions: npt.ArrayLike | None = None) -> np.ndarray:
        """Forces (n, 3) in eV/Angstrom: the chain rule through every edge."""
        positions = self._positions(frames, positions)
        z, _, tangents = self.invariants(frames, positions, derivative=True)
        slope = self.basis.pull(z, self.weights[: -len(self.elements)])
        pull = np.einsum("es,esa->ea", slope[frames.centre], tangents)
        n = len(positions)
        return sum_rows(frames.centre, pull, n) - sum_rows(frames.neighbor, pull, n)


class DirectForces(_Model):
    """Forces without an energy: equivariant by construction, or plain numbers per component."""

    def __init__(
        self, elements: Sequence[int], *, cutoff: float = 5.0, n_radial: int = 8,
        features: int = 30, ridge: float = 1e-7, equivariant: bool = True, seed: int = 0,
    ):  # fmt: skip
        super().__init__(
            elements, cutoff=cutoff, n_radial=n_radial, features=features, ridge=ridge, seed=seed
        )
        self.equivariant = equivariant

    def _inputs(self, z, first):
        return z if self.equivariant else np.hstack([z, first.reshape(len(z), -1)])

    def _rows(self, frames, z, first):
        own = np.eye(len(self.elements))[frames.species]
        phi = np.hstack([self.basis(self._inputs(z, first)), own])
        if not self.equivariant:
            return phi
        # a vector per feature and channel: (n, 3, features * channels)
        return np.einsum("nf,nca->nafc", phi, first).reshape(len(z), 3, -1)

    def fit(self, frames: Frames, energies: npt.ArrayLike, forces: npt.ArrayLike) -> "DirectForces":
        """Fit to forces (n, 3) in eV/Angstrom; `energies` are not used; returns self."""
        _, forces = _labels(frames, energies, forces)
        z, first, _ = self.invariants(frames, frames.positions)
        self.basis.fit(self._inputs(z, first))
        rows = self._rows(frames, z, first)
        if self.equivariant:
            rows, forces = rows.reshape(-1, rows.shape[2]), forces.ravel()
        self.weights = self._solve(rows, forces)
        return self

    def forces(self, frames: Frames, positions: npt.ArrayLike | None = None) -> np.ndarray:
        """Forces (n, 3) in eV/Angstrom, of the atoms at `positions` (n, 3) if given."""
        z, first, _ = self.invariants(frames, self._positions(frames, positions))
        return self._rows(frames, z, first) @ self.weights


def _labels(frames, energies, forces):
    energies, forces = np.asarray(energies, float), np.asarray(forces, float)
    if energies.shape != (frames.count,) or forces.shape != frames.positions.shape:
        raise InputError(
            f"energies {energies.shape} and forces {forces.shape} for {frames.count} frames of "
            f"{len(frames.positions)} atoms; expected one energy per frame, one force per atom"
        )
    if not (np.isfinite(energies).all() and np.isfinite(forces).all()):
        raise InputError("a label is not finite; expected energies in eV, forces in eV/Angstrom")
    return energies, forces
