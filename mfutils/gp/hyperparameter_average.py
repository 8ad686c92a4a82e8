"""Hyperparameter uncertainty: predictions averaged over plausible hyperparameters.

The maximum of a likelihood is one point; with few data many others are nearly as good, and a
prediction from the best alone is over-confident. Around the mode of the posterior a Gaussian with
the inverse Hessian as covariance proposes a few quasi-random draws, and importance weights correct
for what is not Gaussian. The same draws estimate the evidence p(y), by which models are weighed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.stats import norm, qmc

from mfutils.errors import InputError
from mfutils.gp.likelihood import (
    LOG_2PI,
    Covariance,
    LogNormalPrior,
    factorise,
    log_likelihood,
)

__all__ = ["Draws", "MixturePosterior", "hyperparameter_draws"]

# Step of the finite differences of the gradient, in log parameters
_STEP = 1e-4
# Cholesky factors are kept between predictions up to this many numbers (128 MiB)
_KEPT_ENTRIES = 2**24
# Modes closer than this in every log parameter are one
_DISTINCT = 0.05
# Modes with less than exp(-6) of the best one's mass are left out
_NEGLIGIBLE = 6.0
# Least effective share of the draws
_EFFECTIVE = 0.25


class Predictive(Covariance, Protocol):
    """A covariance that can be asked about new points, perhaps of one of several functions."""

    # (theta, x_new (m, d), target if there are several): with the data (m, n), of itself (m,)
    cross: Callable[..., np.ndarray]
    diagonal: Callable[..., np.ndarray]


@dataclass(frozen=True)
class Draws:
    """theta (s, p), weights (s,) that sum to one, log evidence of the model, and its mode (p,)."""

    theta: np.ndarray
    weights: np.ndarray
    log_evidence: float
    mode: np.ndarray


class _Peak:
    """The Gaussian approximation of a posterior at one of its modes (Laplace)."""

    def __init__(self, posterior, mode, free, widest):
        self.mode, self.free = mode, free
        self.height, flat = posterior(mode)
        steps = _STEP * np.eye(len(mode))[free]
        slopes = [posterior(mode + step)[1] - flat for step in steps]
        hessian = -np.array(slopes).reshape(len(free), -1)[:, free] / _STEP
        curvature, self.axes = np.linalg.eigh(0.5 * (hessian + hessian.T))
        # No wider than twice the widest prior, whatever a bumpy likelihood says
        self.root = np.sqrt(np.maximum(curvature, 0.25 / widest**2))
        self.log_norm = float(np.log(self.root).sum()) - 0.5 * len(free) * LOG_2PI
        self.log_evidence = self.height - self.log_norm

    def draw(self, normal):
        """Thetas (s, p) from standard normal deviates (s, free)."""
        out = np.tile(self.mode, (len(normal), 1))
        out[:, self.free] += (normal / self.root) @ self.axes.T
        return out

    def log_density(self, thetas):
        gaps = ((thetas - self.mode)[:, self.free] @ self.axes) * self.root
        return self.log_norm - 0.5 * np.square(gaps).sum(axis=1)


def _peaks(posterior, modes, bounds, widest):
    """The one or two modes with the largest posterior mass, not height: spikes hold little."""
    distinct = []
    for mode in modes:
        if all(np.abs(mode - other).max() > _DISTINCT for other in distinct):
            distinct.append(mode)
    peaks = []
    for mode in distinct:
        free = np.flatnonzero((mode > bounds[:, 0] + 1e-6) & (mode < bounds[:, 1] - 1e-6))
        peaks.append(_Peak(posterior, mode, free, widest))
    peaks.sort(key=lambda peak: -peak.log_evidence)
    best = peaks[0]
    return [
        peak
        for peak in peaks[:2]
        if np.array_equal(peak.free, best.free)
        and peak.log_evidence > best.log_evidence - _NEGLIGIBLE
    ]


def hyperparameter_draws(
    covariance: Covariance,
    y: np.ndarray,
    modes: Sequence[np.ndarray],
    prior: LogNormalPrior,
    bounds: np.ndarray,
    *,
    draws: int = 32,
) -> Draws:
    """Importance-weighted draws of the hyperparameters around their posterior modes, each (p,).

    bounds (p, 2): a parameter that the fit left at a bound stays there in all draws, for there the
    likelihood has a slope and no width. draws: a power of two; 0 returns the heaviest mode alone,
    with the Laplace estimate of the evidence.
    """
    if draws < 0 or draws & (draws - 1):
        raise InputError(f"draws is {draws}: expected 0 or a power of two such as 32")

    def posterior(theta, *, gradient=True):
        value, slope = log_likelihood(covariance, theta, y, gradient=gradient)
        extra, extra_slope = prior(theta)
        return value + extra + prior.log_normaliser, slope + extra_slope if gradient else None

    peaks = _peaks(posterior, modes, bounds, 1.0 / np.sqrt(prior.precision.min()))
    best = peaks[0]
    if not draws or not len(best.free):
        return Draws(best.mode[None], np.ones(1), best.log_evidence, best.mode)
    normal = norm.ppf(qmc.Sobol(len(best.free), seed=0).random(draws))
    parts = np.array_split(normal, len(peaks))
    thetas = np.concatenate([p.draw(part) for p, part in zip(peaks, parts, strict=True)])
    target = np.array([posterior(theta, gradient=False)[0] for theta in thetas])
    # All draws are weighed against the whole mixture, wherever they came from (Owen and Zhou 2000)
    densities = np.array([peak.log_density(thetas) for peak in peaks])
    proposal = np.logaddexp.reduce(densities, axis=0) - np.log(len(peaks))
    ratio = target - proposal
    top = ratio.max()
    evidence = top + float(np.log(np.exp(ratio - top).mean()))
    return Draws(thetas, _tempered(ratio - top), evidence, best.mode)


def _tempered(log_ratio):
    """Weights exp(power * log_ratio), the largest power <= 1 that keeps a quarter effective.

    A Gaussian can miss the shape of the posterior so far that one draw takes all the weight and
    the spread is lost; flatter weights then err on the side of too wide.
    """

    def weights_at(power):
        weights = np.exp(power * log_ratio)
        return weights / weights.sum()

    def enough(power):
        return 1.0 / np.square(weights_at(power)).sum() >= _EFFECTIVE * len(log_ratio)

    if enough(1.0):
        return weights_at(1.0)
    low, high = 0.0, 1.0
    for _ in range(30):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if enough(middle) else (low, middle)
    return weights_at(low)


class MixturePosterior:
    """The posterior of the latent functions under weighted hyperparameter draws."""

    def __init__(self, covariance: Predictive, y: np.ndarray, draws: Draws):
        self._covariance, self._y, self._draws = covariance, y, draws
        keep = len(draws.theta) * len(y) ** 2 <= _KEPT_ENTRIES
        self._kept = [self._solve(theta) for theta in draws.theta] if keep else None

    def _solve(self, theta):
        factor = factorise(self._covariance.evaluate(theta)[0])
        return factor, factor.solve(self._y)

    def predict(self, x_new: np.ndarray, *target: int) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance (m,) at x_new (m, d), both averaged over the draws.

        target: the number of the function, where the covariance has several.
        """
        means, variances = [], []
        for index, theta in enumerate(self._draws.theta):
            factor, alpha = self._kept[index] if self._kept else self._solve(theta)
            cross = self._covariance.cross(theta, x_new, *target)
            means.append(cross @ alpha)
            reduction = np.square(factor.half_solve(cross.T)).sum(axis=0)
            variances.append(self._covariance.diagonal(theta, x_new, *target) - reduction)
        means, variances = np.array(means), np.maximum(variances, 0.0)
        mean = self._draws.weights @ means
        return mean, self._draws.weights @ (variances + np.square(means - mean))
