"""Gaussian-process potentials: energies and forces with a standard deviation each.

A prior on the energy of one atom in its surroundings (`potential_kernel`) makes energies and
forces of whole structures jointly Gaussian, so both train one model:
y = (energies, forces), Cov(y) = a K + noise, and a prediction is a conditional Gaussian. The
energy noise grows with the square root of the number of atoms, as independent errors per atom do.
`fit_potential` keeps every observation, which is exact and costs the cube of their number; for
hundreds of structures see `mfutils.forces.sparse_potential`. Serves section 8.2.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.optimize import minimize

from mfutils.errors import InputError
from mfutils.forces import potential_kernel
from mfutils.forces.soap import Environments, Soap

__all__ = ["GPPotential", "PotentialPrediction", "Snapshot", "descend", "fit_potential", "snapshot"]

_JITTER = 1e-10


@dataclass(frozen=True)
class Snapshot:
    """One structure with labels: environments, energy (eV), forces (n, 3) in eV/Angstrom.

    `atoms` are the numbers of the atoms whose forces may train.
    """

    environments: Environments
    energy: float
    forces: np.ndarray
    atoms: np.ndarray

    def __len__(self) -> int:
        return len(self.environments)


@dataclass(frozen=True)
class PotentialPrediction:
    """energy (eV) and its standard deviation; forces (n, 3) and their covariances (n, 3, 3)."""

    energy: float
    energy_std: float
    forces: np.ndarray
    force_cov: np.ndarray

    @property
    def force_std(self) -> np.ndarray:
        """Standard deviations (n, 3) of the force components."""
        return np.sqrt(np.einsum("naa->na", self.force_cov))


def snapshot(
    soap: Soap, row: Any, *, force_atoms: int | None = None,
    generator: np.random.Generator | None = None,
) -> Snapshot:  # fmt: skip
    """A Snapshot, described by `soap`, of a row with structure, energy (eV) and forces (n, 3).

    force_atoms limits the forces that train to that many atoms drawn by `generator`.
    """
    environments = soap.describe(row.structure, derivatives=True)
    n = len(environments)
    if force_atoms is None or force_atoms >= n:
        atoms = np.arange(n)
    else:
        atoms = np.sort(generator.choice(n, force_atoms, replace=False))
    return Snapshot(environments, float(row.energy), np.asarray(row.forces, float), atoms)


@dataclass(frozen=True)
class GPPotential:
    """A fitted exact potential; see `fit_potential`."""

    snapshots: tuple[Snapshot, ...]
    power: int
    with_forces: bool
    hyperparameters: dict[str, float]
    log_evidence: float
    _weights: np.ndarray
    _factor: np.ndarray

    def predict(
        self, environments: Environments, *, noiseless: bool = False
    ) -> PotentialPrediction:
        """PotentialPrediction for Environments with jacobians.

        noiseless=True leaves out the noise of the labels and keeps what the model does not know.
        """
        size = 1 + 3 * len(environments)
        cross = np.concatenate(
            [
                _observed(environments, s.environments, self.power, s.atoms, self.with_forces)
                for s in self.snapshots
            ],
            axis=1,
        )
        h = self.hyperparameters
        cross = h["amplitude"] ** 2 * cross
        mean = cross @ self._weights
        ee, ef, fe, ff = potential_kernel.blocks(environments, environments, self.power)
        prior = np.empty((size, size))
        prior[0, 0], prior[0, 1:], prior[1:, 0], prior[1:, 1:] = ee, ef, fe, ff
        reduced = solve_triangular(self._factor, cross.T, lower=True)
        covariance = h["amplitude"] ** 2 * prior - reduced.T @ reduced
        return _prediction(mean, covariance, len(environments), h, noise=not noiseless)


def _observed(target, source, power, atoms, with_forces):
    """Covariance (1 + 3 n, rows) of a structure's energy and forces with the labels of another."""
    ee, ef, fe, ff = potential_kernel.blocks(target, source, power)
    energy = np.concatenate([[ee], fe])[:, None]
    if not with_forces:
        return energy
    columns = (3 * atoms[:, None] + np.arange(3)).ravel()
    return np.hstack([energy, np.vstack([ef[None, :], ff])[:, columns]])


def _prediction(mean, covariance, n, h, *, noise):
    variance = max(covariance[0, 0], 0.0) + (n * h["energy_noise"] ** 2 if noise else 0.0)
    index = 1 + np.arange(3 * n).reshape(n, 3)
    blocks = covariance[index[:, :, None], index[:, None, :]]
    blocks = blocks + (h["force_noise"] ** 2 * np.eye(3) if noise else 0.0)
    energy = float(mean[0] + n * h["energy_per_atom"])
    return PotentialPrediction(energy, float(np.sqrt(variance)), mean[1:].reshape(n, 3), blocks)


def fit_potential(
    snapshots: Sequence[Snapshot], *, power: int = 2, forces: bool = True,
    amplitude: float | None = None, noise: tuple[float | None, float | None] | None = None,
) -> GPPotential:  # fmt: skip
    """Exact GPPotential from a list of Snapshot.

    forces=False trains on energies alone. amplitude (eV) and noise, a pair (energy noise per
    square root of atoms in eV, force noise in eV/Angstrom), are fitted by the evidence where None.
    The prior mean is the mean energy per atom. Raises InputError without snapshots.
    """
    if not snapshots:
        raise InputError("no snapshots to train on; expected at least one")
    power = potential_kernel.checked_power(power)
    sizes = np.array([len(s) for s in snapshots])
    base = sum(s.energy for s in snapshots) / sizes.sum()
    target, scale, is_force, columns = [], [], [], []
    for s in snapshots:
        target.append([s.energy - base * len(s)])
        scale.append([np.sqrt(len(s))])
        is_force.append([False])
        if forces:
            labels = s.forces[s.atoms].ravel()
            target.append(labels)
            scale.append(np.ones(len(labels)))
            is_force.append(np.ones(len(labels), dtype=bool))
        columns.append(
            np.vstack(
                [
                    _observed(t.environments, s.environments, power, s.atoms, forces)[
                        _kept(t, forces)
                    ]
                    for t in snapshots
                ]
            )
        )
    target, scale, is_force = map(np.concatenate, (target, scale, is_force))
    kernel = np.hstack(columns)
    kernel = 0.5 * (kernel + kernel.T)

    def factor(h):
        deviation = scale * np.where(is_force, h[2], h[1])
        total = h[0] ** 2 * kernel
        total[np.diag_indices(len(total))] += deviation**2 + _JITTER * h[0] ** 2 * np.diag(kernel)
        lower = cho_factor(total, lower=True)
        weights = cho_solve(lower, target)
        log_det = 2 * np.log(np.diag(lower[0])).sum()
        evidence = -0.5 * (target @ weights + log_det + len(target) * np.log(2 * np.pi))
        return np.tril(lower[0]), weights, float(evidence)

    given = (amplitude, *(noise or (None, None)))
    start = np.log(
        [g if g is not None else d for g, d in zip(given, (1.0, 0.01, 0.1), strict=True)]
    )
    free = [i for i, g in enumerate(given) if g is None and (forces or i != 2)]

    def loss(logs):
        full = start.copy()
        full[free] = logs
        try:
            return -factor(np.exp(full))[2]
        except np.linalg.LinAlgError:
            return 1e10

    best = start.copy()
    if free:
        best[free] = descend(loss, start[free])
    h = np.exp(best)
    lower, weights, evidence = factor(h)
    names = ("amplitude", "energy_noise", "force_noise")
    hyper = dict(zip(names, map(float, h), strict=True)) | {"energy_per_atom": float(base)}
    return GPPotential(tuple(snapshots), power, forces, hyper, evidence, weights, lower)


def descend(loss: Callable[[np.ndarray], float], start: np.ndarray) -> np.ndarray:
    """Logarithms of hyperparameters at a minimum of `loss`, by the downhill simplex."""
    # SciPy's own first simplex has no width where a start is 0, that is, where a parameter is 1
    simplex = np.vstack([start, start + np.eye(len(start))])
    options = {"initial_simplex": simplex, "xatol": 1e-3, "fatol": 1e-3, "maxfev": 400}
    return minimize(loss, start, method="Nelder-Mead", options=options).x


def _kept(target, forces):
    """Rows of `_observed` that are labels of a snapshot."""
    columns = (1 + 3 * target.atoms[:, None] + np.arange(3)).ravel()
    return np.concatenate([[0], columns]) if forces else np.array([0])
