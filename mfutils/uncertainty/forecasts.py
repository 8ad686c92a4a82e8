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

from mfutils.errors import InputError
from mfutils.uncertainty import conformal, scores

__all__ = [
    "Atoms",
    "Normal",
    "conformal_level",
    "conformalise",
    "crps",
    "hurdle",
    "interval_scores",
    "log_score",
    "median",
    "pit_error",
    "pool",
    "score",
    "shortest_interval",
    "zero_probability",
]

# A log score of bins: a gap of exactly 0 is one bin, the others are this wide, up to _TOP
_BIN, _TOP = 0.1, 12.0  # eV
# This share of every forecast is spread, half at 0 and half up to _TOP: no surprise costs infinity
_SPREAD = 0.01


class Normal:
    """N(mean, std^2) of n samples (n,), in eV, with what lies below 0 moved to 0."""

    def __init__(self, mean, std):
        scores.nll(mean, mean, std)  # refuses bad arrays
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
        return scores.crps(y, self.mean, self.std) - self.std * part


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
        return scores.crps_samples(y, self.values)


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
        "nll": scores.nll(y, *forecast.moments()),
        "inside": (low <= y) & (y <= high),
        "width": high - low,
    }


def hurdle(zero, positive):
    """Forecasts (n, K): 0 with probability zero (n,), else one of the sorted positive (n, K)."""
    positive, zero = _checked(positive), np.asarray(zero, dtype=float)
    if zero.shape != positive.shape[:1] or not ((zero >= 0) & (zero <= 1)).all():
        raise InputError(
            f"{len(positive)} forecasts and probabilities of shape {zero.shape}; expected one "
            "between 0 and 1 for each"
        )
    levels = (np.arange(positive.shape[1]) + 0.5) / positive.shape[1]
    left = np.maximum(1 - zero, 1e-12)[:, None]
    inside = np.clip((levels - zero[:, None]) / left, 0, 1)
    place = np.minimum((inside * positive.shape[1]).astype(int), positive.shape[1] - 1)
    return np.where(levels < zero[:, None], 0.0, np.take_along_axis(positive, place, axis=1))


def pool(forecasts, shares=None):
    """Linear pool (n, K) of forecasts (each (n, K)): the mixture with the given shares."""
    forecasts = [_checked(f) for f in forecasts]
    if not forecasts or len({f.shape for f in forecasts}) != 1:
        raise InputError("expected at least one forecast, all of the same shape")
    shares = np.ones(len(forecasts)) if shares is None else np.asarray(shares, dtype=float)
    if shares.shape != (len(forecasts),) or not (shares >= 0).all() or shares.sum() <= 0:
        raise InputError(f"shares are {shares}; expected one per forecast, none below 0")
    size = forecasts[0].shape[1]
    weight = np.repeat(shares / shares.sum() / size, size)
    values = np.concatenate(forecasts, axis=1)
    order = np.argsort(values, axis=1, kind="stable")
    values, reached = np.take_along_axis(values, order, axis=1), np.cumsum(weight[order], axis=1)
    levels = (np.arange(size) + 0.5) / size
    place = np.stack([np.searchsorted(row, levels - 1e-12) for row in reached])
    return np.take_along_axis(values, np.minimum(place, values.shape[1] - 1), axis=1)


def median(forecast):
    """Median (n,) of each forecast."""
    return np.median(_checked(forecast), axis=1)


def zero_probability(forecast):
    """Share (n,) of exact zeros."""
    return (_checked(forecast) == 0).mean(axis=1)


def crps(y, forecast):
    """Continuous ranked probability score (n,) of K equally likely values, in the unit of y."""
    forecast = _checked(forecast)
    y, size = _targets(y, forecast), forecast.shape[1]
    # E|X - X'| of sorted values: 2 / K^2 sum_k (2 k + 1 - K) x_k, k from 0
    rank = 2 * np.arange(size) + 1 - size
    return np.abs(forecast - y[:, None]).mean(axis=1) - forecast @ rank / size**2


def shortest_interval(forecast, level):
    """(low, high), each (n,): the shortest interval that holds a share `level` of the values.

    level is a number or one per row, in [0, 1]; at 0 the interval is the median alone.
    """
    lows, highs = _nested(_checked(forecast))
    if not ((np.asarray(level) >= 0) & (np.asarray(level) <= 1)).all():
        raise InputError(f"level is {level!r}; expected numbers between 0 and 1")
    size = lows.shape[1] - 1
    place = np.broadcast_to(np.ceil(np.asarray(level, float) * size - 1e-9), len(lows)).astype(int)
    rows = np.arange(len(lows))
    return lows[rows, place], highs[rows, place]


def interval_scores(y, forecast):
    """Smallest level (n,) whose shortest interval holds y; above 1 by the distance when none does.

    These are nonconformity scores: small where y was expected.
    """
    forecast = _checked(forecast)
    y = _targets(y, forecast)[:, None]
    lows, highs = _nested(forecast)
    inside = (y >= lows) & (y <= highs)
    size = lows.shape[1] - 1
    beyond = np.maximum(lows[:, -1] - y[:, 0], y[:, 0] - highs[:, -1])
    return np.where(inside.any(axis=1), inside.argmax(axis=1) / size, 1 + np.maximum(beyond, 0))


def conformal_level(scores, alpha):
    """(level, widening): the intervals that miss at most a share alpha of new rows.

    scores (n,) are `interval_scores` of rows that the model has not seen. Use the shortest interval
    of that level, and where even the whole forecast is too narrow, widen it by `widening`.
    """
    scores = np.sort(np.asarray(scores, dtype=float))
    bound = scores[conformal.rank(len(scores), alpha) - 1]
    return float(min(bound, 1)), float(max(bound - 1, 0))


def _nested(forecast, steps=100):
    """Ends (n, steps + 1) of nested intervals that hold shares 0, 1/steps, ..., 1 of the values."""
    size = forecast.shape[1]
    middle = np.median(forecast, axis=1)
    lows, highs = [middle], [middle]
    rows = np.arange(len(forecast))
    for step in range(1, steps + 1):
        count = max(1, int(np.ceil(step / steps * size - 1e-9)))
        width = forecast[:, count - 1 :] - forecast[:, : size - count + 1]
        start = width.argmin(axis=1)
        # never give up what a smaller share already held: the intervals are nested
        lows.append(np.minimum(lows[-1], forecast[rows, start]))
        highs.append(np.maximum(highs[-1], forecast[rows, start + count - 1]))
    return np.stack(lows, axis=1), np.stack(highs, axis=1)


def _checked(forecast):
    forecast = np.asarray(forecast, dtype=float)
    if forecast.ndim != 2 or not forecast.size or not np.isfinite(forecast).all():
        raise InputError(
            f"forecast has shape {forecast.shape}; expected finite values (n, K), sorted by row"
        )
    if (np.diff(forecast, axis=1) < 0).any():
        raise InputError("a forecast is not sorted; sort its values along the second axis")
    return forecast


def _targets(y, forecast):
    y = np.asarray(y, dtype=float)
    if y.shape != forecast.shape[:1] or not np.isfinite(y).all():
        raise InputError(f"y has shape {y.shape} for {len(forecast)} forecasts; one number each")
    return y
