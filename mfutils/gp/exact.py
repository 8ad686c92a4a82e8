"""Exact Gaussian process regression, fitted by maximum likelihood (section 2.2, eqs 2.4-2.7).

A function is modelled as a draw from a Gaussian process with covariance s^2 r(x, x'); seen through
independent noise of variance v, the posterior at x* is (eqs 2.6 and 2.7)
mean = k*^T (K + v I)^-1 y and variance = k** - k*^T (K + v I)^-1 k*. Inputs and targets are
standardised inside, the lengthscale starts near sqrt(d) (where distances of d standardised
features live), and a degenerate optimum is refitted under weak priors, never handed back as it is.
"""

import warnings
from itertools import product

import numpy as np
import numpy.typing as npt

from mfutils.gp.inputs import Standardiser, as_inputs, as_noise, as_targets, check_replicates
from mfutils.gp.kernels import Noisy, Scaled, Stationary, make_kernel
from mfutils.gp.likelihood import LogNormalPrior, factorise, maximise, rank_starts

__all__ = ["DegenerateFitWarning", "GaussianProcess", "fit_gp"]

# Bounds on standard deviations, in units of the standard deviation of y
SIGNAL_BOUNDS = (1e-3, 1e2)
NOISE_BOUNDS = (1e-4, 2.0)
# Lengthscales may range this far around sqrt(d), in standardised units
LENGTHSCALE_RANGE = 1e3
# A fit whose posterior mean explains less than this share of the variance has found nothing
EXPLAINED_FLOOR = 1e-3
# Neighbours correlated less than this cannot inform one another: the lengthscale has collapsed
NEIGHBOUR_FLOOR = 0.05
# Above this many points the starts are compared on a random subset
RANKING_POINTS = 400


class DegenerateFitWarning(UserWarning):
    """The data support no better than a degenerate Gaussian process, even under weak priors."""


class _Covariance(Noisy):
    """s^2 R(lengthscale) + noise; theta = (log l..., log s, log noise), the last two optional."""

    def __init__(self, x, kernel, ard, noise_variance):
        self.shape = make_kernel(kernel, x, ard=ard)
        self.n_lengthscales = self.shape.n_parameters
        # A linear kernel with one scale per feature has no amplitude left to fit
        self.has_signal = not (kernel == "linear" and self.n_lengthscales)
        super().__init__(Scaled(self.shape) if self.has_signal else self.shape, noise_variance)

    def signal(self, theta):
        """Signal variance, in units of the variance of y."""
        return float(np.exp(2.0 * theta[self.n_lengthscales])) if self.has_signal else 1.0

    def bounds(self, centre):
        """(p, 2) bounds of the log parameters."""
        spread = np.log(LENGTHSCALE_RANGE)
        rows = [(np.log(centre) - spread, np.log(centre) + spread)] * self.n_lengthscales
        rows += [tuple(np.log(SIGNAL_BOUNDS))] * self.has_signal
        rows += [tuple(np.log(NOISE_BOUNDS))] * (self.noise_variance is None)
        return np.array(rows)

    def prior(self, centre):
        """Weak priors: lengthscale near sqrt(d), signal near 1, noise near a tenth of it."""
        middle = [np.log(centre)] * self.n_lengthscales + [0.0] * self.has_signal
        width = [1.0] * self.n_lengthscales + [1.0] * self.has_signal
        if self.noise_variance is None:
            middle, width = [*middle, np.log(0.1)], [*width, 1.5]
        return LogNormalPrior(middle, width)

    def starts(self, centre, rng):
        """A coarse grid over lengthscale and noise, and a few random points between."""
        scales = (1.0, 0.3, 0.1, 3.0) if self.n_lengthscales else (1.0,)
        noises = (0.1, 0.5, 0.01) if self.noise_variance is None else (None,)
        grid = list(product(np.log(centre) + np.log(scales), noises))
        grid += [(np.log(centre) + rng.normal(0.0, 1.0), noises[0]) for _ in range(2)]
        out = []
        for log_l, noise in grid:
            theta = [log_l] * self.n_lengthscales + [0.0] * self.has_signal
            out.append(np.array(theta if noise is None else [*theta, np.log(noise)]))
        return out


class GaussianProcess:
    """A fitted Gaussian process; made by `fit_gp`.

    Attributes: `log_marginal_likelihood` (of y in its own units), `hyperparameters` (dict in the
    units of x and y: lengthscale, signal_std, noise_std, mean; for a linear kernel weight_std
    replaces the first two), `diagnosis` (empty, or what was wrong with the likelihood maximum
    that was refitted under weak priors).
    """

    def __init__(
        self,
        covariance: _Covariance,
        theta: np.ndarray,
        z: np.ndarray,
        scale: Standardiser,
        *,
        diagnosis: str = "",
    ):
        self._covariance, self._theta, self._scale = covariance, theta, scale
        self._lengths = np.exp(theta[: covariance.n_lengthscales])
        self._noise = covariance.noise(theta)
        self._factor = factorise(covariance.matrix(theta))
        self._z = z
        self._alpha = self._factor.solve(z)
        in_units = self._factor.log_density(z, self._alpha)
        self.log_marginal_likelihood = in_units - len(z) * float(np.log(scale.y_std))
        self.diagnosis = diagnosis

    @property
    def hyperparameters(self) -> dict[str, float | np.ndarray]:
        """Fitted values in the units of x and y; the lengthscale is (d,) when d > 1."""
        y_std, x_std = self._scale.y_std, self._scale.x_std
        length = (self._lengths if len(self._lengths) else np.ones(1)) * x_std
        signal = float(np.sqrt(self._covariance.signal(self._theta))) * y_std
        noise = np.sqrt(self._noise) * y_std
        out = {"mean": self._scale.y_mean, "noise_std": noise if np.ndim(noise) else float(noise)}
        if isinstance(self._covariance.shape, Stationary):
            out["lengthscale"] = float(length[0]) if len(length) == 1 else length
            out["signal_std"] = signal
        else:
            weight = signal / length
            out["weight_std"] = float(weight[0]) if len(weight) == 1 else weight
        return out

    def predict(
        self,
        x_new: npt.ArrayLike,
        noiseless: bool = False,
        *,
        noise: npt.ArrayLike | None = None,
        chunk: int = 4000,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Posterior mean and standard deviation at x_new (m, d), each (m,), in the units of y.

        The std includes observation noise unless noiseless. `noise` (std, scalar or (m,)) is the
        noise at the new points; by default the fitted or given one, and for noise given per point
        its root mean square.
        """
        scale, covariance = self._scale, self._covariance
        x_new = scale.x_forward(as_inputs(x_new, "x_new", columns=len(scale.x_std)))
        mean, variance = np.empty(len(x_new)), np.empty(len(x_new))
        for first in range(0, len(x_new), chunk):
            part = slice(first, first + chunk)
            cross = covariance.cross(self._theta, x_new[part])
            prior = covariance.diagonal(self._theta, x_new[part])
            mean[part] = cross @ self._alpha
            variance[part] = prior - np.square(self._factor.half_solve(cross.T)).sum(axis=0)
        # Rounding can leave -1e-16 at a noise-free training point
        variance = np.maximum(variance, 0.0) * scale.y_std**2
        if not noiseless:
            if noise is None:
                extra = np.mean(self._noise) * scale.y_std**2
            else:
                extra = as_noise(noise, len(x_new), "x_new") ** 2
            variance = variance + extra
        return scale.y_back(mean), np.sqrt(variance)

    def leave_one_out(self) -> tuple[np.ndarray, np.ndarray]:
        """Closed-form leave-one-out predictions of the training targets: (mean, std), each (n,).

        Hyperparameters stay those of the full fit; std includes observation noise.
        """
        variance = 1.0 / np.diagonal(self._factor.inverse())
        mean = self._z - self._alpha * variance
        return self._scale.y_back(mean), self._scale.y_std * np.sqrt(variance)

    def _diagnose(self):
        """Why this optimum is degenerate, or an empty string."""
        fitted = self._z - self._noise * self._alpha
        lengths, shape = self._lengths, self._covariance.shape
        if isinstance(shape, Stationary):
            correlation = shape.matrix(self._theta[: len(lengths)]).copy()
            np.fill_diagonal(correlation, 0.0)
            if np.median(correlation.max(axis=1)) < NEIGHBOUR_FLOOR:
                return f"lengthscale collapsed to {lengths.min():.2g} (standardised)"
        if fitted.var() < EXPLAINED_FLOOR * self._z.var():
            exploded = len(lengths) and lengths.min() > 100.0 * np.sqrt(len(self._scale.x_std))
            if exploded:
                return f"lengthscale exploded to {lengths.min():.2g} (standardised)"
            return "noise swallows the signal"
        return ""


def fit_gp(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    kernel: str = "rbf",
    ard: bool = False,
    noise: npt.ArrayLike | None = None,
    seed: int = 0,
) -> GaussianProcess:
    """Fit a Gaussian process to x (n, d), y (n,) by maximum marginal likelihood.

    kernel: rbf (eq 2.5), matern32, matern52 or linear. ard: one lengthscale per feature.
    noise: None learns one noise level; a number or an (n,) array is the known standard deviation
    of the observation noise in units of y. seed: randomises the extra starting points only.
    Returns a GaussianProcess. Raises InputError on mismatched lengths, NaN, fewer than two
    points, constant y, identical x, or contradicting replicates declared noise-free.
    """
    x = as_inputs(x, "x")
    y = as_targets(y, len(x))
    if noise is not None:
        noise = as_noise(noise, len(x), "y")
        check_replicates(x, y, noise)
    scale = Standardiser.of(x, y)
    inputs, z = scale.x_forward(x), scale.y_forward(y)
    variance = None if noise is None else np.square(noise / scale.y_std)
    covariance = _Covariance(inputs, kernel, ard, variance)
    if covariance.n_parameters == 0:
        return GaussianProcess(covariance, np.empty(0), z, scale)

    rng = np.random.default_rng(seed)
    centre = np.sqrt(x.shape[1])
    bounds, starts = covariance.bounds(centre), covariance.starts(centre, rng)
    ranked = covariance
    sample = np.arange(len(z))
    if len(z) > RANKING_POINTS:
        sample = rng.choice(len(z), RANKING_POINTS, replace=False)
        subset = variance[sample] if np.ndim(variance) else variance
        ranked = _Covariance(inputs[sample], kernel, ard, subset)
    # A wrong basin is the larger risk when data are few, and following one then costs little
    best = rank_starts(ranked, z[sample], starts, keep=6 if len(z) <= 300 else 2)
    theta = maximise(covariance, z, best, bounds)
    model = GaussianProcess(covariance, theta, z, scale)
    problem = model._diagnose()
    if not problem:
        return model

    prior = covariance.prior(centre)
    best = rank_starts(ranked, z[sample], starts, prior=prior, keep=4)
    theta = maximise(covariance, z, [*best, theta], bounds, prior=prior)
    model = GaussianProcess(covariance, theta, z, scale, diagnosis=problem)
    remaining = model._diagnose()
    if remaining:
        message = f"{problem}; under weak priors: {remaining}. Predictions fall back to the mean"
        warnings.warn(message, DegenerateFitWarning, stacklevel=2)
    return model
