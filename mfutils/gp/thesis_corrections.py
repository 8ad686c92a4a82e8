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

from typing import NamedTuple

import numpy as np
from scipy.linalg import lapack
from scipy.optimize import minimize

from mfutils.errors import InputError
from mfutils.gp.kernels import squared_distances

__all__ = [
    "ALPHAS",
    "METHODS",
    "FixedNoiseSurrogate",
    "ThesisFit",
    "fit_thesis",
    "likelihood_profile",
]

METHODS = ("hf-only", "additive", "multiplicative", "comprehensive")
# Noise variances (relative to the variance of y) among which cross-validation chooses
ALPHAS = (0.01, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5)
FOLDS, FOLD_SEED = 5, 654
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

    def __init__(self, x, y, alpha, *, search="ascent"):
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

    def predict(self, x):
        """Posterior mean (m,) of the latent function at x (m, d)."""
        return self.mean + self.std * (self._kernel(squared_distances(x, self.x)) @ self._beta)

    def predict_std(self, x):
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


def likelihood_profile(x, y, alpha, lengthscales):
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


class _Data:
    """High- and low-fidelity training data of one fit, and which high points have a low value."""

    def __init__(self, x_high, y_high, x_low, y_low):
        self.x_high, self.y_high, self.x_low, self.y_low = x_high, y_high, x_low, y_low
        rows = {row.tobytes(): i for i, row in reversed(list(enumerate(x_low)))}
        self.partner = np.array([rows.get(row.tobytes(), -1) for row in x_high])


class _Fits:
    """The surrogates of one data set at one alpha; what methods share is fitted once."""

    def __init__(self, data, alpha, search):
        self.data, self.alpha, self.search, self._cache = data, alpha, search, {}
        self.rho = None

    def _surrogate(self, name, x, y):
        if name not in self._cache:
            self._cache[name] = FixedNoiseSurrogate(x, y, self.alpha, search=self.search)
        return self._cache[name]

    def low(self):
        return self._surrogate("low", self.data.x_low, self.data.y_low)

    def low_at_high(self):
        """Raw low-fidelity values at the high points, the surrogate's where there is none."""
        data = self.data
        values = data.y_low[data.partner]
        missing = data.partner < 0
        if missing.any():
            values[missing] = self.low().predict(data.x_high[missing])
        return values

    def corrected(self, method):
        """Low-fidelity values after the correction of this method."""
        data = self.data
        at_high = self.low_at_high()
        if method == "multiplicative":
            zero = np.flatnonzero(at_high == 0)
            if len(zero):
                raise InputError(
                    f"the low-fidelity value at high-fidelity point {zero[0]} is exactly zero, so "
                    "its ratio is undefined; use another correction or leave this problem out"
                )
            ratio = self._surrogate("ratio", data.x_high, data.y_high / at_high)
            return data.y_low * ratio.predict(data.x_low)
        difference = data.y_high - at_high
        delta = self._surrogate("delta", data.x_high, difference).predict(data.x_low)
        rho = 1.0
        if method == "comprehensive":
            smooth = self.low().predict(data.x_high)
            rho = self.rho = float(smooth @ (data.y_high - difference) / (smooth @ smooth))
        return rho * data.y_low + delta

    def final(self, method):
        if method == "hf-only":
            return self._surrogate(method, self.data.x_high, self.data.y_high)
        return self._surrogate(method, self.data.x_low, self.corrected(method))


class ThesisFit(NamedTuple):
    """A fitted surrogate, its cross-validated noise alpha, and rho where the method has one."""

    surrogate: FixedNoiseSurrogate
    alpha: float
    rho: float | None


def _folds(n):
    """scikit-learn's KFold(5, shuffle=True, random_state=654), as (train, validation) rows."""
    order = np.random.RandomState(FOLD_SEED).permutation(n)
    sizes = np.full(FOLDS, n // FOLDS)
    sizes[: n % FOLDS] += 1
    held = np.zeros((FOLDS, n), dtype=bool)
    for fold, rows in enumerate(np.split(order, np.cumsum(sizes)[:-1])):
        held[fold, rows] = True
    return [(np.flatnonzero(~mask), np.flatnonzero(mask)) for mask in held]


def fit_thesis(problem, methods=METHODS, *, alphas=ALPHAS, search="ascent"):
    """Fit several methods on one problem, sharing what they share: {method: ThesisFit}.

    problem has x_high (n, d), y_high, x_low (m, d), y_low, all finite. alpha is chosen by 5-fold
    cross-validation over both fidelities, scored on the noisy values left out of either. search:
    see FixedNoiseSurrogate. Raises InputError with fewer than five points in a fidelity.
    """
    full = _Data(problem.x_high, problem.y_high, problem.x_low, problem.y_low)
    for name, x in (("high", full.x_high), ("low", full.x_low)):
        if len(x) < FOLDS:
            raise InputError(
                f"{len(x)} {name}-fidelity points: the thesis protocol cross-validates in "
                f"{FOLDS} folds; add points or use protocol 'maximum-likelihood'"
            )
    score = {method: np.zeros(len(alphas)) for method in methods}
    folds = zip(_folds(len(full.x_high)), _folds(len(full.x_low)), strict=True)
    for (high, high_out), (low, low_out) in folds:
        data = _Data(full.x_high[high], full.y_high[high], full.x_low[low], full.y_low[low])
        x_out = np.concatenate([full.x_high[high_out], full.x_low[low_out]])
        y_out = np.concatenate([full.y_high[high_out], full.y_low[low_out]])
        for i, alpha in enumerate(alphas):
            fits = _Fits(data, alpha, search)
            for method in methods:
                error = fits.final(method).predict(x_out) - y_out
                score[method][i] += np.mean(np.square(error)) / FOLDS
    chosen = {method: alphas[int(np.argmin(values))] for method, values in score.items()}
    done = {}
    for method, alpha in chosen.items():
        fits = _Fits(full, alpha, search)
        done[method] = ThesisFit(fits.final(method), alpha, fits.rho)
    return done
