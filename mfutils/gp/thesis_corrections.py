"""The linear corrections of section 4.1 as the study ran them: the `thesis` protocol.

Additive (AC, eq 4.4): y_h = y_l + delta(x). Multiplicative (MC, eq 4.5): y_h = rho(x) y_l.
Comprehensive (CC, eq 4.7): y_h = rho y_l + delta(x) with a constant rho. delta and rho(x) are
Gaussian processes of the difference or ratio at the high-fidelity points; they correct every
low-fidelity value, and one more Gaussian process of the corrected values is the prediction. Where
no low-fidelity value exists at a high-fidelity point (inside a fold of the cross-validation) the
low-fidelity surrogate stands in.

What a reader should know: the surrogate is a bare RBF without amplitude, its single lengthscale
climbs the likelihood once, from 1; with 20 points it often ends at a useless optimum. MC divides
by values that may be near zero. CC as coded projects y_h - delta = y_l on its own smooth, so that
rho is about 1 and CC is almost AC.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.linalg import lapack
from scipy.optimize import minimize
from sklearn.model_selection import KFold

from mfutils.errors import InputError
from mfutils.gp.kernels import squared_distances
from mfutils.gp.problem import TwoFidelityProblem

__all__ = [
    "ALPHAS",
    "METHODS",
    "FixedNoiseSurrogate",
    "ThesisFit",
    "fit_thesis",
    "likelihood_profile",
]

# Noise variances (relative to the variance of y) among which cross-validation chooses
ALPHAS = (0.01, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5)
FOLDS = KFold(5, shuffle=True, random_state=654)
LENGTHSCALE_BOUNDS = np.log([[1e-5, 1e5]])
# Log lengthscales among which search="nearest" looks for basins: 0.02 to 20
SEARCH_GRID = np.linspace(np.log(0.02), np.log(20.0), 60)


class FixedNoiseSurrogate:
    """RBF without amplitude and noise alpha, on unscaled x (n, d) and standardised y (n,).

    search="ascent" climbs once from lengthscale 1: equal to scikit-learn's
    GaussianProcessRegressor(RBF(), alpha=alpha, normalize_y=True) in value, gradient and
    optimiser, and several times faster. search="nearest" takes the local maximum of the
    likelihood whose lengthscale is nearest to 1 (in logs), which is what the ascent was after.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray, alpha: float, *, search: str = "ascent"):
        self.x, self.mean = x, float(y.mean())
        std = float(y.std())
        self.std = std if std > 0 else 1.0
        z = (y - self.mean) / self.std
        raw = squared_distances(x, x)

        objective = _Objective(raw, z, alpha)
        start = _nearest_basin(objective) if search == "nearest" else 0.0
        result = minimize(
            objective, [start], jac=True, method="L-BFGS-B", bounds=LENGTHSCALE_BOUNDS
        )
        self.log_marginal_likelihood = -float(result.fun)
        self.lengthscale = float(np.exp(result.x[0]))
        self._lower, self._beta = _solve(self._kernel(raw), alpha, z)

    def _kernel(self, raw):
        return np.exp(-0.5 * raw / self.lengthscale**2)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Posterior mean (m,) of the latent function at x (m, d)."""
        return self.mean + self.std * (self._kernel(squared_distances(x, self.x)) @ self._beta)

    def predict_std(self, x: np.ndarray) -> np.ndarray:
        """Posterior std (m,) of the latent function."""
        cross = self._kernel(squared_distances(x, self.x))
        half = lapack.dtrtrs(self._lower, cross.T, lower=1)[0]
        return self.std * np.sqrt(np.maximum(1.0 - np.square(half).sum(axis=0), 0.0))


class _Objective:
    """Negative log likelihood of the standardised targets and its slope by log lengthscale."""

    def __init__(self, raw, z, alpha):
        self.raw, self.z, self.alpha = raw, z, alpha

    def __call__(self, theta):
        z = self.z
        r2 = self.raw * np.exp(-2.0 * theta[0])
        kernel = np.exp(-0.5 * r2)
        slope = kernel * r2
        lower, beta = _solve(kernel, self.alpha, z)
        # A zero diagonal of the slope: the triangle of the inverse is half of the sum
        inverse = lapack.dpotri(lower, lower=1)[0]
        value = 0.5 * (z @ beta + len(z) * np.log(2.0 * np.pi)) + _half_log_det(lower)
        gradient = 0.5 * (beta @ slope @ beta) - np.vdot(slope, inverse.T)
        return value, np.array([-gradient])


def _nearest_basin(objective):
    """Log lengthscale of the grid minimum of the objective that is nearest to zero."""
    values = np.array([objective([theta])[0] for theta in SEARCH_GRID])
    inner = (values[1:-1] <= values[:-2]) & (values[1:-1] <= values[2:])
    minima = SEARCH_GRID[1:-1][inner]
    return float(minima[np.abs(minima).argmin()]) if len(minima) else 0.0


def likelihood_profile(
    x: np.ndarray, y: np.ndarray, alpha: float, lengthscales: npt.ArrayLike
) -> np.ndarray:
    """Log marginal likelihood (k,) of standardised y (n,) at each lengthscale (k,), x (n, d)."""
    objective = _Objective(squared_distances(x, x), (y - y.mean()) / y.std(), alpha)
    return np.array([-objective([np.log(length)])[0] for length in lengthscales])


def _solve(kernel, alpha, z):
    """Cholesky factor of kernel + alpha I (kernel is overwritten), and its solve with z."""
    kernel.flat[:: len(z) + 1] += alpha
    lower, info = lapack.dpotrf(kernel.T, lower=1, clean=1, overwrite_a=1)
    if info:
        raise InputError("the kernel matrix is not positive definite: x holds too close points")
    return lower, lapack.dpotrs(lower, z, lower=1)[0]


def _half_log_det(lower):
    return float(np.log(lower.diagonal()).sum())


@dataclass(frozen=True)
class _Shared:
    """Training data of one fit at one alpha; what methods share is made when first used."""

    problem: TwoFidelityProblem
    alpha: float
    search: str

    def surrogate(self, x, y):
        return FixedNoiseSurrogate(x, y, self.alpha, search=self.search)

    @cached_property
    def low(self):
        return self.surrogate(self.problem.x_low, self.problem.y_low)

    @cached_property
    def low_at_high(self):
        """Raw low-fidelity values at the high points, the surrogate's where there is none."""
        p = self.problem
        rows = {row.tobytes(): i for i, row in reversed(list(enumerate(p.x_low)))}
        partner = np.array([rows.get(row.tobytes(), -1) for row in p.x_high])
        values, missing = p.y_low[partner], partner < 0
        if missing.any():
            values[missing] = self.low.predict(p.x_high[missing])
        return values

    @cached_property
    def delta_at_low(self):
        """The difference of the fidelities at the low points."""
        p = self.problem
        return self.surrogate(p.x_high, p.y_high - self.low_at_high).predict(p.x_low)


def _additive(shared):
    return shared.problem.y_low + shared.delta_at_low, None


def _multiplicative(shared):
    p, at_high = shared.problem, shared.low_at_high
    zero = np.flatnonzero(at_high == 0)
    if len(zero):
        raise InputError(
            f"the low-fidelity value at high-fidelity point {zero[0]} is exactly zero, so "
            "its ratio is undefined; use another correction or leave this problem out"
        )
    return p.y_low * shared.surrogate(p.x_high, p.y_high / at_high).predict(p.x_low), None


def _comprehensive(shared):
    p = shared.problem
    smooth = shared.low.predict(p.x_high)
    projected = p.y_high - (p.y_high - shared.low_at_high)
    rho = float(smooth @ projected / (smooth @ smooth))
    return rho * p.y_low + shared.delta_at_low, rho


# name -> function of a _Shared to (corrected low-fidelity values, rho or None)
_CORRECTED = {
    "additive": _additive,
    "multiplicative": _multiplicative,
    "comprehensive": _comprehensive,
}
METHODS = ("hf-only", *_CORRECTED)


@dataclass(frozen=True)
class ThesisFit:
    """A fitted surrogate, its cross-validated noise alpha, and rho where the method has one."""

    surrogate: FixedNoiseSurrogate
    alpha: float
    rho: float | None


def _fit(shared, method):
    p = shared.problem
    if method == "hf-only":
        return ThesisFit(shared.surrogate(p.x_high, p.y_high), shared.alpha, None)
    values, rho = _CORRECTED[method](shared)
    return ThesisFit(shared.surrogate(p.x_low, values), shared.alpha, rho)


def fit_thesis(
    problem: TwoFidelityProblem,
    methods: Sequence[str] = METHODS,
    *,
    alphas: Sequence[float] = ALPHAS,
    search: str = "ascent",
) -> dict[str, ThesisFit]:
    """Fit several methods on one problem, sharing what they share: {method: ThesisFit}.

    problem has x_high (n, d), y_high, x_low (m, d), y_low, all finite. alpha is chosen by 5-fold
    cross-validation over both fidelities, scored on the noisy values left out of either. search:
    see FixedNoiseSurrogate. Raises InputError with fewer than five points in a fidelity.
    """
    x_high, y_high, x_low, y_low = problem.x_high, problem.y_high, problem.x_low, problem.y_low
    for name, x in (("high", x_high), ("low", x_low)):
        if len(x) < FOLDS.n_splits:
            raise InputError(
                f"{len(x)} {name}-fidelity points: the thesis protocol cross-validates in "
                f"{FOLDS.n_splits} folds; add points or use protocol 'maximum-likelihood'"
            )
    score = {method: np.zeros(len(alphas)) for method in methods}
    for (high, high_out), (low, low_out) in zip(
        FOLDS.split(x_high), FOLDS.split(x_low), strict=True
    ):
        part = TwoFidelityProblem(x_high[high], y_high[high], x_low[low], y_low[low])
        x_out = np.concatenate([x_high[high_out], x_low[low_out]])
        y_out = np.concatenate([y_high[high_out], y_low[low_out]])
        for i, alpha in enumerate(alphas):
            shared = _Shared(part, alpha, search)
            for method in methods:
                error = _fit(shared, method).surrogate.predict(x_out) - y_out
                score[method][i] += np.mean(np.square(error)) / FOLDS.n_splits
    chosen = {method: alphas[int(np.argmin(values))] for method, values in score.items()}
    return {m: _fit(_Shared(problem, alpha, search), m) for m, alpha in chosen.items()}
