"""The exact Gaussian log likelihood and its maximisation, shared by every model of section 2.2/4.1.

log p(y) = -1/2 y^T K^-1 y - 1/2 log|K| - n/2 log 2 pi, with the gradient
dL/dtheta = 1/2 sum((a a^T - K^-1) * dK/dtheta), a = K^-1 y. A covariance gives, at a theta, its
matrix and the pullback that turns a gradient by the matrix into one by theta (see `kernels`).
Everything is float64 LAPACK: one Cholesky factor gives the value, one inverse all gradients.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy.linalg import lapack
from scipy.optimize import minimize

from mfutils.gp.kernels import Pullback

__all__ = [
    "Covariance",
    "Factor",
    "LogNormalPrior",
    "factorise",
    "local_maxima",
    "log_likelihood",
    "maximise",
    "rank_starts",
]

LOG_2PI = float(np.log(2.0 * np.pi))
# Relative diagonal shifts tried in turn: rounding alone can make a smooth kernel indefinite.
JITTER = (0.0, 1e-10, 1e-8, 1e-6)


class Covariance(Protocol):
    """What a likelihood needs of a `kernels.Kernel` or a `joint_covariance.JointCovariance`."""

    def evaluate(self, theta: np.ndarray) -> tuple[np.ndarray, Pullback]:
        """Covariance (n, n) of y at theta (p,), and its pullback."""


class Factor:
    """Lower Cholesky factor (n, n) of a covariance, with the solves that prediction needs.

    LAPACK is called directly: the inverse from a factor is not in scipy, and around the small
    matrices of two fidelities the checks of `scipy.linalg.cho_solve` cost more than the solve.
    """

    def __init__(self, lower: np.ndarray):
        self.lower = lower
        self.log_det = 2.0 * float(np.log(np.diagonal(lower)).sum())

    def solve(self, rhs: np.ndarray) -> np.ndarray:
        """K^-1 rhs for rhs (n,) or (n, m)."""
        return lapack.dpotrs(self.lower, rhs, lower=1)[0]

    def half_solve(self, rhs: np.ndarray) -> np.ndarray:
        """L^-1 rhs for rhs (n, m), whose column norms are the variance reductions of eq 2.7."""
        return lapack.dtrtrs(self.lower, rhs, lower=1)[0]

    def inverse(self) -> np.ndarray:
        """K^-1 (n, n), symmetric."""
        return _symmetric(lapack.dpotri(self.lower, lower=1)[0])

    def log_density(self, y: np.ndarray, solved: np.ndarray) -> float:
        """log N(y | 0, K) of y (n,), given solved = K^-1 y."""
        return -0.5 * (float(y @ solved) + self.log_det + len(y) * LOG_2PI)


def _symmetric(half):
    """The symmetric matrix (n, n) with the lower triangle `half`, whose upper one is 0."""
    out = half + half.T
    out.flat[:: len(out) + 1] *= 0.5
    return out


def factorise(matrix: np.ndarray) -> Factor | None:
    """Cholesky factor of a symmetric (n, n) matrix, or None when it is not positive definite."""
    scale = float(np.diagonal(matrix).mean())
    for jitter in JITTER:
        trial = np.array(matrix, order="F")
        if jitter:
            trial[np.diag_indices_from(trial)] += jitter * scale
        lower, info = lapack.dpotrf(trial, lower=1, clean=1, overwrite_a=1)
        if info == 0:
            return Factor(lower)
    return None


class LogNormalPrior:
    """Weak independent normal priors on (log) parameters: centre and width, each (p,)."""

    def __init__(self, centre: npt.ArrayLike, width: npt.ArrayLike):
        self.centre = np.asarray(centre, dtype=float)
        self.precision = 1.0 / np.square(np.asarray(width, dtype=float))
        self.log_normaliser = 0.5 * float(np.log(self.precision / (2.0 * np.pi)).sum())

    def __call__(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Log density up to a constant, and its gradient."""
        gap = theta - self.centre
        return -0.5 * float(self.precision @ np.square(gap)), -self.precision * gap


def log_likelihood(
    covariance: Covariance, theta: np.ndarray, y: np.ndarray, *, gradient: bool = True
) -> tuple[float, np.ndarray | None]:
    """Log likelihood of y (n,) at theta and its gradient; (-inf, zeros) outside the domain.

    The gradient is None where none is asked for.
    """
    return _read(*covariance.evaluate(theta), theta, y, gradient)


def _read(matrix, pullback, theta, y, gradient=True):
    factor = factorise(matrix) if np.isfinite(matrix).all() else None
    if factor is None:
        return -np.inf, np.zeros(len(theta))
    alpha = factor.solve(y)
    value = factor.log_density(y, alpha)
    if not gradient:
        return value, None
    # Nobody needs the factor any more: its memory serves the inverse, then the outer product
    buffer = lapack.dpotri(factor.lower, lower=1, overwrite_c=1)[0]
    weight = _symmetric(buffer)
    weight *= -0.5
    weight += np.multiply.outer(0.5 * alpha, alpha, out=buffer)
    return value, pullback(weight)


def local_maxima(
    covariance: Covariance,
    y: np.ndarray,
    starts: Sequence[np.ndarray],
    bounds: np.ndarray,
    *,
    prior: LogNormalPrior | None = None,
) -> list[np.ndarray]:
    """Local maxima of the (penalised) log likelihood reached from the starts, best first.

    starts (k, p) and bounds (p, 2) are in the parameters of the covariance; each start is followed
    to convergence by L-BFGS-B. Returns a list of theta (p,).
    """
    # In units of the prior widths flat directions are not much flatter than the others
    unit = np.ones(len(bounds)) if prior is None else 1.0 / np.sqrt(prior.precision)

    # Arrays freed at every step would go back to the system, which hands them out page by page
    memory = []

    def objective(scaled):
        theta = scaled * unit
        memory[:] = evaluated = covariance.evaluate(theta)
        value, slope = _read(*evaluated, theta, y)
        if prior is not None:
            extra, extra_slope = prior(theta)
            value, slope = value + extra, slope + extra_slope
        # L-BFGS-B cannot step back from an infinity, only from something very bad
        return (-value, -slope * unit) if np.isfinite(value) else (1e25, np.zeros_like(theta))

    optima = [
        minimize(
            objective,
            np.clip(np.asarray(start, dtype=float), bounds[:, 0], bounds[:, 1]) / unit,
            jac=True,
            method="L-BFGS-B",
            bounds=bounds / unit[:, None],
            options={"maxiter": 500, "ftol": 1e-9, "gtol": 1e-4, "maxls": 40},
        )
        for start in starts
    ]
    return [result.x * unit for result in sorted(optima, key=lambda result: result.fun)]


def maximise(
    covariance: Covariance,
    y: np.ndarray,
    starts: Sequence[np.ndarray],
    bounds: np.ndarray,
    *,
    prior: LogNormalPrior | None = None,
) -> np.ndarray:
    """The best of the local maxima; arguments as there."""
    return local_maxima(covariance, y, starts, bounds, prior=prior)[0]


def rank_starts(
    covariance: Covariance,
    y: np.ndarray,
    starts: Sequence[np.ndarray],
    *,
    prior: LogNormalPrior | None = None,
    keep: int = 2,
    spread: bool = True,
) -> list[np.ndarray]:
    """The `keep` most likely starts, best first; spread: no two with equal first parameter.

    Starts that differ in their lengthscale (the first parameter) lie in different basins.
    """

    def score(theta):
        value, _ = log_likelihood(covariance, theta, y, gradient=False)
        return value + (prior(theta)[0] if prior is not None else 0.0)

    chosen, seen = [], set()
    for start in sorted(starts, key=score, reverse=True):
        first = round(float(start[0]), 9)
        if not spread or first not in seen:
            chosen.append(start)
            seen.add(first)
    return chosen[:keep]
