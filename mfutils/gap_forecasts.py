"""Forecasts of a quantity that is never negative and often exactly zero (section 5.2).

A measured gap is 0 with some probability and spread out above. A forecast is here either a normal
distribution with everything below 0 moved to 0 (a censored normal, the Tobit likelihood), or K
equally likely values. Both are scored by the same rules: CRPS in eV, a log score of the bin in
which the gap falls, and the distribution of the PIT values u = F(y), where a value with
probability of its own counts as spread over its step. `conformalise` replaces the levels that a
model claims by the levels at which calibration samples were found: a split conformal predictive
system (Vovk et al. 2018), with guaranteed intervals.
"""

import math

import numpy as np
from scipy.special import ndtr, ndtri

from mfutils import calibration, calibration_curves
from mfutils.errors import InputError

__all__ = ["Atoms", "Normal", "conformalise", "log_score", "pit_error", "score"]

# A log score of bins: a gap of exactly 0 is one bin, the others are this wide, up to _TOP
_BIN, _TOP = 0.1, 12.0  # eV
# This share of every forecast is spread, half at 0 and half up to _TOP: no surprise costs infinity
_SPREAD = 0.01


class Normal:
    """N(mean, std^2) of n samples (n,), in eV, with what lies below 0 moved to 0."""

    def __init__(self, mean, std):
        calibration.nll(mean, mean, std)  # refuses bad arrays
        self.mean, self.std = np.asarray(mean, dtype=float), np.asarray(std, dtype=float)

    def __len__(self):
        return len(self.mean)

    def take(self, rows):
        """The forecast of some of the samples."""
        return Normal(self.mean[rows], self.std[rows])

    def moments(self):
        """Mean and std (n,) before anything is moved to 0."""
        return self.mean, self.std

    def point(self):
        """The median (n,)."""
        return np.maximum(self.mean, 0.0)

    def levels(self, y, seed=0):
        """Where y (n,) lies: z = (y - mean) / std."""
        return (y - self.mean) / self.std

    def quantile(self, levels):
        """Values (k, n) at the levels (k,), z as of `levels`."""
        return np.maximum(self.mean + np.outer(levels, self.std), 0.0)

    def interval(self, alpha):
        """(low, high), each (n,), that the forecast believes in with probability 1 - alpha."""
        return tuple(self.quantile(ndtri([0.5 * alpha, 1 - 0.5 * alpha])))

    def below(self, y):
        """P(Y < y) and P(Y <= y), each (n,)."""
        share = ndtr((y - self.mean) / self.std)
        return np.where(y > 0, share, 0.0), np.where(y >= 0, share, 0.0)

    def crps(self, y):
        """Continuous ranked probability score (n,) in eV."""
        # of the uncensored normal, less the integral of its squared distribution below 0
        c = -self.mean / self.std
        phi = np.exp(-0.5 * c**2) / math.sqrt(2 * math.pi)
        part = c * ndtr(c) ** 2 + 2 * phi * ndtr(c) - ndtr(c * math.sqrt(2)) / math.sqrt(math.pi)
        return calibration.crps(y, self.mean, self.std) - self.std * part


class Atoms:
    """K equally likely values (K, n) of n samples, in eV; negative ones are moved to 0."""

    def __init__(self, values):
        values = np.asarray(values, dtype=float)
        if values.ndim != 2 or not values.size or not np.isfinite(values).all():
            raise InputError(f"values have shape {values.shape}; expected (K, n), finite")
        self.values = np.sort(np.maximum(values, 0.0), axis=0)

    def __len__(self):
        return self.values.shape[1]

    def take(self, rows):
        """The forecast of some of the samples."""
        return Atoms(self.values[:, rows])

    def moments(self):
        """Mean and std (n,), the std not below a hundredth of an eV."""
        return self.values.mean(axis=0), np.maximum(self.values.std(axis=0), 0.01)

    def point(self):
        """The median (n,)."""
        return np.median(self.values, axis=0)

    def levels(self, y, seed=0):
        """Where y (n,) lies in (0, 1), by chance within a step; outside, eV are added to it."""
        low, high = self.below(y)
        chance = np.random.default_rng(seed).uniform(size=len(low))
        inside = low + chance * (high - low)
        beyond = np.maximum(y - self.values[-1], 0) - np.maximum(self.values[0] - y, 0)
        return inside + beyond

    def quantile(self, levels):
        """Values (k, n) at the levels (k,), not below 0."""
        levels = np.asarray(levels, dtype=float)
        rows = np.clip(np.ceil(levels * len(self.values)) - 1, 0, len(self.values) - 1)
        beyond = np.maximum(levels - 1, 0) + np.minimum(levels, 0)
        return np.maximum(self.values[rows.astype(int)] + beyond[:, None], 0.0)

    def interval(self, alpha):
        """(low, high), each (n,): ranks (K + 1) alpha / 2, down, and (K + 1)(1 - alpha / 2), up.

        Raises InputError when there are too few values for alpha.
        """
        count = len(self.values)
        low = math.floor((count + 1) * 0.5 * alpha + 1e-9)
        high = math.ceil((count + 1) * (1 - 0.5 * alpha) - 1e-9)
        if not 0 < alpha < 1 or high > count:
            raise InputError(
                f"{count} values are too few for alpha = {alpha:g}; expected at least "
                f"{math.ceil(2 / alpha) - 1 if 0 < alpha < 1 else 'one, and 0 < alpha < 1'}"
            )
        # no gap lies below 0, so rank 0 needs no value
        return (self.values[low - 1] if low else np.zeros(len(self))), self.values[high - 1]

    def below(self, y):
        """P(Y < y) and P(Y <= y), each (n,)."""
        return (self.values < y).mean(axis=0), (self.values <= y).mean(axis=0)

    def crps(self, y):
        """Continuous ranked probability score (n,) in eV."""
        return calibration_curves.crps_samples(y, self.values)


def conformalise(known, y, new, *, seed=0):
    """Atoms for the samples of the forecast `new`, calibrated on the forecast `known` of y (m,).

    One atom per calibration sample: the new forecast at the level where that sample was found.
    `interval(alpha)` then holds a new gap with probability of at least 1 - alpha when known and
    new samples are exchangeable, whatever the model. Both forecasts must be of one kind.
    """
    y = np.asarray(y, dtype=float)
    if type(known) is not type(new) or y.shape != (len(known),):
        raise InputError(
            f"{type(known).__name__} of {len(known)} samples, {y.shape} gaps and "
            f"{type(new).__name__}; expected one kind of forecast and one gap per known sample"
        )
    return Atoms(new.quantile(known.levels(y, seed=seed)))


def log_score(forecast, y):
    """-log of the probability of y's bin (n,): a mass for 0, a density per eV above."""
    y = np.asarray(y, dtype=float)
    lower = _BIN * np.floor(np.maximum(y - 1e-9, 0) / _BIN)
    zero = y == 0
    at_most = forecast.below(np.where(zero, 0.0, lower + _BIN))[1]
    mass = at_most - np.where(zero, 0.0, forecast.below(lower)[1])
    background = np.where(zero, 0.5, 0.5 * _BIN / _TOP)
    mass = (1 - _SPREAD) * mass + _SPREAD * background
    return -np.log(mass / np.where(zero, 1.0, _BIN))


def pit_error(forecast, y, *, points=400):
    """Integral over u of |mean distribution of the PIT values - u|, steps spread evenly."""
    low, high = forecast.below(np.asarray(y, dtype=float))
    grid = (np.arange(points) + 0.5) / points
    width = np.maximum(high - low, 1e-12)
    share = np.clip((grid[:, None] - low) / width, 0.0, 1.0).mean(axis=1)
    return float(np.abs(share - grid).mean())


def score(forecast, y, *, alpha=0.1):
    """Dict of arrays (n,) of one forecast: error, crps, log, nll (Gaussian, with mean and std of
    the forecast), inside (of the interval) and width of the interval (eV)."""
    y = np.asarray(y, dtype=float)
    low, high = forecast.interval(alpha)
    return {
        "error": np.abs(forecast.point() - y),
        "crps": forecast.crps(y),
        "log": log_score(forecast, y),
        "nll": calibration.nll(y, *forecast.moments()),
        "inside": (low <= y) & (y <= high),
        "width": high - low,
    }
