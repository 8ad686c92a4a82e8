"""Is a force field the gradient of an energy? Tests that need only a function of positions.

Forces F = -grad E do no work on a closed path, have a symmetric Jacobian dF_i/dx_j, and equal the
finite differences of E. The sum over atoms is zero when E does not change under translation. None
of this can be read off the error of a force; each is a function below. Positions are (n, 3) in
Angstrom, energies in eV, forces (n, 3) in eV/Angstrom, masses (n,) in atomic units.
Serves section 6.4.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import constants

from mfutils.errors import InputError

__all__ = [
    "circle",
    "finite_difference_forces",
    "jacobian",
    "loop_work",
    "velocity_verlet",
]

# One atomic mass unit times (Angstrom/fs)^2 in eV
KINETIC_UNIT = constants.atomic_mass * 1e10 / constants.electron_volt


def finite_difference_forces(
    energy: Callable[[np.ndarray], float], positions: npt.ArrayLike, *, step: float = 1e-4
) -> np.ndarray:
    """-dE/dx by central differences of `energy`(positions) -> eV: (n, 3), error of order step^2."""
    positions = np.asarray(positions, float)
    forces = np.empty_like(positions)
    for index in np.ndindex(positions.shape):
        values = []
        for sign in (1, -1):
            moved = positions.copy()
            moved[index] += sign * step
            values.append(energy(moved))
        forces[index] = (values[1] - values[0]) / (2 * step)
    return forces


def jacobian(
    forces: Callable[[np.ndarray], np.ndarray], positions: npt.ArrayLike, *, step: float = 1e-4
) -> np.ndarray:
    """dF_i/dx_j (3n, 3n) by central differences of `forces`(positions), in eV/Angstrom^2."""
    positions = np.asarray(positions, float)
    size = positions.size
    matrix = np.empty((size, size))
    for column in range(size):
        values = []
        for sign in (1, -1):
            moved = positions.copy()
            moved.flat[column] += sign * step
            values.append(np.asarray(forces(moved)).ravel())
        matrix[:, column] = (values[0] - values[1]) / (2 * step)
    return matrix


def circle(
    positions: npt.ArrayLike, *, radius: float = 0.2, points: int = 64, seed: int = 0
) -> np.ndarray:
    """A closed path (points, n, 3) around `positions`: a random ellipse through all coordinates.

    Every atom moves by at most about `radius` (Angstrom) along each axis.
    """
    positions = np.asarray(positions, float)
    if not radius > 0 or points < 4:
        raise InputError(f"radius {radius}, {points} points; expected above 0 and at least 4")
    u, v = np.random.default_rng(seed).uniform(-1, 1, (2, *positions.shape))
    angle = 2 * np.pi * np.arange(points) / points
    turn = np.cos(angle)[:, None, None] * u + np.sin(angle)[:, None, None] * v
    return positions + radius / np.sqrt(2) * turn


def loop_work(forces: Callable[[np.ndarray], np.ndarray], path: npt.ArrayLike) -> float:
    """Work of `forces`(positions) along the closed `path` (p, n, 3), in eV.

    The trapezoidal rule on a smooth closed path converges faster than any power of 1/p.
    Raises InputError for a path with fewer than four points.
    """
    path = np.asarray(path, float)
    if path.ndim != 3 or len(path) < 4:
        raise InputError(f"path of shape {path.shape}; expected (p, n, 3) with p of 4 or more")
    angle = 2 * np.pi / len(path)
    # the tangent of a periodic path is exact from its Fourier coefficients
    order = np.fft.fftfreq(len(path), 1 / len(path))
    if len(path) % 2 == 0:
        order[len(path) // 2] = 0
    tangent = np.fft.ifft(1j * order[:, None, None] * np.fft.fft(path, axis=0), axis=0).real
    return float(angle * sum((forces(x) * t).sum() for x, t in zip(path, tangent, strict=True)))


def velocity_verlet(
    forces: Callable[[np.ndarray], np.ndarray], positions: npt.ArrayLike,
    velocities: npt.ArrayLike, masses: npt.ArrayLike, *, step: float = 1.0, count: int = 100,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Positions (count + 1, n, 3) and kinetic energies (count + 1,) in eV, `step` in fs.

    velocities (n, 3) in Angstrom/fs. Time-reversible; with forces that are a gradient the sum of
    kinetic and potential energy stays near its start for ever. Raises InputError when atoms run
    away, which forces that are none can cause.
    """
    x, v = np.array(positions, float), np.array(velocities, float)
    mass = KINETIC_UNIT * np.asarray(masses, float)[:, None]
    path, kinetic = [x.copy()], [0.5 * float((mass * v**2).sum())]
    force = forces(x)
    for number in range(count):
        v = v + 0.5 * step * force / mass
        x = x + step * v
        force = forces(x)
        v = v + 0.5 * step * force / mass
        if not (abs(v) < 10).all():
            raise InputError(f"atoms run away in step {number + 1}; take a shorter step")
        path.append(x.copy())
        kinetic.append(0.5 * float((mass * v**2).sum()))
    return np.array(path), np.array(kinetic)
