"""Sparse Gaussian-process potentials: many structures, few inducing environments.

The local energies u = f(s_m) at M chosen environments carry the whole model; with L L' = K_MM and
the rows K_NM of energies and forces, y = Phi w + noise, Phi = K_NM L^-T, w ~ N(0, a^2 I): Bayesian
linear regression in M features, so the cost grows linearly with the data. Hyperparameters
maximise the variational bound of Titsias (2009), log evidence minus
sum (prior variance - explained variance) / (2 noise^2), which the exact evidence never lies below.
Predicted variances keep what the features cannot express, a^2 (k - phi phi'). Serves section 8.2.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import cholesky, solve_triangular

from mfutils.errors import InputError
from mfutils.forces import potential_kernel
from mfutils.forces.potentials import PotentialPrediction, Snapshot, descend

__all__ = ["Rows", "SparsePotential", "choose_inducing", "fit_sparse", "rows_of"]

_JITTER = 1e-8


@dataclass(frozen=True)
class Rows:
    """What a structure needs to train or test a sparse potential.

    energy_row (m,) and force_rows (3 a, m): covariances with the inducing local energies, unit
    amplitude; energy_prior and force_prior (a, 3, 3): prior covariances; energy (eV) and forces
    (a, 3); size: number of atoms; atoms (a,): whose forces these are.
    """

    energy_row: np.ndarray
    force_rows: np.ndarray
    energy_prior: float
    force_prior: np.ndarray
    energy: float
    forces: np.ndarray
    size: int
    atoms: np.ndarray


def rows_of(snap: Snapshot, inducing: np.ndarray, power: int) -> Rows:
    """Rows of a Snapshot for inducing environments (m, d)."""
    energy, force = potential_kernel.rows(snap.environments, inducing, power, atoms=snap.atoms)
    return Rows(
        energy,
        force,
        potential_kernel.energy_variance(snap.environments, power),
        potential_kernel.force_variances(snap.environments, power, atoms=snap.atoms),
        snap.energy,
        snap.forces[snap.atoms],
        len(snap),
        snap.atoms,
    )


def choose_inducing(
    values: npt.ArrayLike, count: int, power: int, *, start: np.ndarray | None = None
) -> np.ndarray:
    """Numbers of up to `count` rows of `values` (n, d), the worst explained one first.

    Greedy (pivoted Cholesky): each choice is the environment whose local energy has the largest
    variance given those chosen before. `start` (m, d) are environments that are there already.
    """
    values = np.asarray(values, dtype=float)
    if values.ndim != 2 or not len(values):
        raise InputError(f"environments have shape {values.shape}; expected (n, d) with n above 0")
    known = np.zeros((len(values), 0))
    residual = np.ones(len(values))
    if start is not None and len(start):
        lower = _factor(start, power)
        known = solve_triangular(lower, ((start @ values.T) ** power), lower=True).T
        residual = np.maximum(1.0 - (known**2).sum(1), 0.0)
    basis = np.empty((len(values), known.shape[1] + count))
    basis[:, : known.shape[1]] = known
    width, chosen = known.shape[1], []
    for _ in range(min(count, len(values))):
        pick = int(np.argmax(residual))
        if residual[pick] < _JITTER:
            break
        column = (values @ values[pick]) ** power - basis[:, :width] @ basis[pick, :width]
        basis[:, width] = column / np.sqrt(residual[pick])
        residual = np.maximum(residual - basis[:, width] ** 2, 0.0)
        residual[pick] = 0.0
        chosen.append(pick)
        width += 1
    return np.array(chosen, dtype=int)


def _factor(inducing, power):
    kernel = (inducing @ inducing.T) ** power
    return cholesky(kernel + _JITTER * np.eye(len(kernel)), lower=True)


@dataclass(frozen=True)
class SparsePotential:
    """A fitted sparse potential; see `fit_sparse`."""

    inducing: np.ndarray
    power: int
    with_forces: bool
    hyperparameters: dict[str, float]
    bound: float
    weights: np.ndarray
    _lower: np.ndarray
    _covariance_root: np.ndarray

    def features(self, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
        """Phi of the energy (1, m) and of the forces (3 a, m)."""
        m = len(self.inducing)
        stacked = np.vstack([rows.energy_row[None, :m], rows.force_rows[:, :m]])
        phi = solve_triangular(self._lower, stacked.T, lower=True).T
        return phi[:1], phi[1:]

    def predict(self, rows: Rows, *, noiseless: bool = False) -> PotentialPrediction:
        """PotentialPrediction of the energy and of the forces on the atoms of Rows."""
        energy_phi, force_phi = self.features(rows)
        h, a2 = self.hyperparameters, self.hyperparameters["amplitude"] ** 2
        count = len(rows.atoms)
        known = energy_phi @ self._covariance_root
        missing = max(rows.energy_prior - float((energy_phi**2).sum()), 0.0)
        variance = float((known**2).sum()) + a2 * missing
        known = (force_phi @ self._covariance_root).reshape(count, 3, -1)
        phi = force_phi.reshape(count, 3, -1)
        gap = rows.force_prior - phi @ phi.transpose(0, 2, 1)
        force_cov = known @ known.transpose(0, 2, 1) + a2 * _positive(gap)
        if not noiseless:
            variance += rows.size * h["energy_noise"] ** 2
            force_cov = force_cov + h["force_noise"] ** 2 * np.eye(3)
        energy = float(energy_phi[0] @ self.weights) + rows.size * h["energy_per_atom"]
        forces = (force_phi @ self.weights).reshape(count, 3)
        return PotentialPrediction(energy, float(np.sqrt(variance)), forces, force_cov)


def _positive(matrices):
    """Symmetric matrices (n, 3, 3) with negative eigenvalues, which are rounding, set to zero."""
    values, vectors = np.linalg.eigh(0.5 * (matrices + matrices.transpose(0, 2, 1)))
    return (vectors * np.maximum(values, 0.0)[:, None, :]) @ vectors.transpose(0, 2, 1)


def fit_sparse(
    rows: Sequence[Rows], inducing: np.ndarray, *, power: int = 2, forces: bool = True,
    amplitude: float | None = None, noise: tuple[float | None, float | None] | None = None,
) -> SparsePotential:  # fmt: skip
    """SparsePotential from a list of Rows whose first columns belong to `inducing` (m, d).

    forces=False trains on energies alone. amplitude (eV) and noise, a pair (energy noise per
    square root of atoms in eV, force noise in eV/Angstrom), are fitted by the bound where None.
    """
    if not rows:
        raise InputError("no structures to train on; expected at least one")
    power = potential_kernel.checked_power(power)
    m = len(inducing)
    lower = _factor(inducing, power)
    sizes = np.array([r.size for r in rows])
    base = sum(r.energy for r in rows) / sizes.sum()
    root = np.sqrt(sizes)

    energy_phi = solve_triangular(lower, np.array([r.energy_row[:m] for r in rows]).T, lower=True).T
    target = (np.array([r.energy for r in rows]) - base * sizes) / root
    missing = np.maximum([r.energy_prior for r in rows] - (energy_phi**2).sum(1), 0) / sizes
    parts = [_part(energy_phi / root[:, None], target, missing.sum())]
    if forces:
        stacked = np.vstack([r.force_rows[:, :m] for r in rows])
        phi = solve_triangular(lower, stacked.T, lower=True).T
        prior = np.concatenate([np.einsum("naa->na", r.force_prior).ravel() for r in rows])
        missing = np.maximum(prior - (phi**2).sum(1), 0)
        parts.append(_part(phi, np.concatenate([r.forces.ravel() for r in rows]), missing.sum()))
    given = [amplitude, *(noise or (None, None))][: 1 + len(parts)]
    start = np.log([g if g is not None else d for g, d in zip(given, (1.0, 0.01, 0.1))])  # noqa: B905
    free = [i for i, g in enumerate(given) if g is None]

    def loss(logs):
        full = start.copy()
        full[free] = logs
        return -_solve(parts, np.exp(full))[0]

    best = start.copy()
    if free:
        best[free] = descend(loss, start[free])
    h = np.exp(best)
    bound, weights, covariance_root = _solve(parts, h)
    # the energies were divided by the root of the number of atoms
    bound -= float(np.log(root).sum())
    hyper = {"amplitude": float(h[0]), "energy_noise": float(h[1])}
    # without force labels nothing is known of their noise
    hyper |= {"force_noise": float(h[2]) if forces else 0.0, "energy_per_atom": float(base)}
    return SparsePotential(inducing, power, forces, hyper, bound, weights, lower, covariance_root)


def _part(phi, target, missing):
    """What the bound needs of one kind of label: Gram matrix, projection, square, count, rest."""
    return phi.T @ phi, phi.T @ target, float(target @ target), len(target), float(missing)


def _solve(parts, h):
    """Variational bound, posterior mean of the weights and a root of their covariance."""
    noises = h[1:]
    precision = np.eye(len(parts[0][0])) / h[0] ** 2
    projection = 0.0
    bound = -len(precision) * np.log(h[0])
    for (gram, project, square, count, missing), noise in zip(parts, noises, strict=True):
        precision = precision + gram / noise**2
        projection = projection + project / noise**2
        bound -= 0.5 * (square / noise**2 + count * np.log(2 * np.pi * noise**2))
        bound -= 0.5 * h[0] ** 2 * missing / noise**2
    lower = cholesky(precision, lower=True)
    half = solve_triangular(lower, projection, lower=True)
    bound += 0.5 * float(half @ half) - np.log(np.diag(lower)).sum()
    inverse = solve_triangular(lower, np.eye(len(lower)), lower=True)
    return float(bound), inverse.T @ half, inverse.T
