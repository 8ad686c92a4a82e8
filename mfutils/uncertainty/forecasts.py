"""Forecasts of a quantity that is never negative and often exactly zero, such as a band gap.

A forecast of n samples is either a normal distribution with everything below 0 moved to 0 (a
censored normal, the Tobit likelihood), or K equally likely values, (n, K) and sorted by row. Both
answer the same questions. `hurdle` makes a forecast from the probability of a zero and a forecast
of what is above it, `pool` one from several. `log_score` and `pit_error` score a forecast; in the
distribution of PIT values u = F(y) a value with a probability of its own counts as spread over its
step.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from mfutils.errors import InputError
from mfutils.uncertainty import conformal, scores

__all__ = ["CensoredNormal", "Draws", "Forecast", "hurdle", "log_score", "pit_error", "pool"]

_EDGE = 1e-12  # a cumulative share reaches a level up to rounding


@dataclass(frozen=True, eq=False)
class CensoredNormal:
    """N(mean, std^2) of n samples (n,), std above 0, with what lies below 0 moved to 0."""

    mean: np.ndarray
    std: np.ndarray

    def __post_init__(self):
        scores.nll(self.mean, self.mean, self.std)  # refuses bad arrays
        object.__setattr__(self, "mean", np.asarray(self.mean, dtype=float))
        object.__setattr__(self, "std", np.asarray(self.std, dtype=float))

    def __len__(self) -> int:
        return len(self.mean)

    def take(self, rows: npt.ArrayLike) -> "CensoredNormal":
        """The forecast of some of the samples."""
        return CensoredNormal(self.mean[rows], self.std[rows])

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and std (n,) before anything is moved to 0."""
        return self.mean, self.std

    def median(self) -> np.ndarray:
        """The median (n,)."""
        return np.maximum(self.mean, 0.0)

    def levels(self, y: npt.ArrayLike, seed: int = 0) -> np.ndarray:
        """Where y (n,) lies: z = (y - mean) / std; nothing is left to chance."""
        return (np.asarray(y, dtype=float) - self.mean) / self.std

    def quantile(self, levels: npt.ArrayLike) -> np.ndarray:
        """Values (n, k) at the levels (k,), z as of `levels`."""
        return np.maximum(self.mean[:, None] + np.outer(self.std, levels), 0.0)

    def interval(self, alpha: float) -> tuple[np.ndarray, np.ndarray]:
        """(low, high), each (n,), that the forecast believes in with probability 1 - alpha."""
        low, high = self.quantile(ndtri([0.5 * alpha, 1 - 0.5 * alpha])).T
        return low, high

    def below(self, y: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """P(Y < y) and P(Y <= y), each (n,), of y, a number or (n,)."""
        y = np.asarray(y, dtype=float)
        share = ndtr((y - self.mean) / self.std)
        return np.where(y > 0, share, 0.0), np.where(y >= 0, share, 0.0)

    def crps(self, y: npt.ArrayLike) -> np.ndarray:
        """Continuous ranked probability score (n,) of y (n,), in its unit."""
        # of the uncensored normal, less the integral of its squared distribution below 0
        c = -self.mean / self.std
        phi = np.exp(-0.5 * c**2) / math.sqrt(2 * math.pi)
        part = c * ndtr(c) ** 2 + 2 * phi * ndtr(c) - ndtr(c * math.sqrt(2)) / math.sqrt(math.pi)
        return scores.crps(y, self.mean, self.std) - self.std * part


@dataclass(frozen=True, eq=False)
class Draws:
    """K equally likely values (n, K) of n samples, sorted here; negative ones are moved to 0."""

    values: np.ndarray

    def __post_init__(self):
        values = np.asarray(self.values, dtype=float)
        if values.ndim != 2 or not values.size or not np.isfinite(values).all():
            raise InputError(f"values have shape {values.shape}; expected finite values (n, K)")
        object.__setattr__(self, "values", np.sort(np.maximum(values, 0.0), axis=1))

    def __len__(self) -> int:
        return len(self.values)

    @property
    def count(self) -> int:
        """K, the number of values of a sample."""
        return self.values.shape[1]

    def take(self, rows: npt.ArrayLike) -> "Draws":
        """The forecast of some of the samples."""
        return Draws(self.values[rows])

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and std (n,)."""
        return self.values.mean(axis=1), self.values.std(axis=1)

    def median(self) -> np.ndarray:
        """The median (n,)."""
        return np.median(self.values, axis=1)

    def zero_probability(self) -> np.ndarray:
        """Share (n,) of exact zeros."""
        return (self.values == 0).mean(axis=1)

    def levels(self, y: npt.ArrayLike, seed: int = 0) -> np.ndarray:
        """Where y (n,) lies in (0, 1), by chance within a step; outside, its distance is added."""
        y = np.asarray(y, dtype=float)
        low, high = self.below(y)
        chance = np.random.default_rng(seed).uniform(size=len(low))
        inside = low + chance * (high - low)
        above, under = y - self.values[:, -1], self.values[:, 0] - y
        return inside + (np.maximum(above, 0) - np.maximum(under, 0))

    def quantile(self, levels: npt.ArrayLike) -> np.ndarray:
        """Values (n, k) at the levels (k,) or (n, k), z as of `levels`, not below 0."""
        levels = np.asarray(levels, dtype=float)
        place = np.clip(np.ceil(levels * self.count) - 1, 0, self.count - 1).astype(int)
        place = np.broadcast_to(place, (len(self), levels.shape[-1]))
        beyond = np.maximum(levels - 1, 0) + np.minimum(levels, 0)
        return np.maximum(np.take_along_axis(self.values, place, axis=1) + beyond, 0.0)

    def interval(self, alpha: float) -> tuple[np.ndarray, np.ndarray]:
        """(low, high), each (n,): as many of the K + 1 ranks are below low as above high.

        high is the value of rank ceil((K + 1)(1 - alpha / 2)); InputError when there is none.
        """
        if not 0 < alpha < 1:
            raise InputError(f"alpha is {alpha!r}; expected a probability between 0 and 1")
        high = conformal.rank(self.count, 0.5 * alpha)
        low = self.count + 1 - high
        # nothing lies below 0, so rank 0 needs no value
        return self.values[:, low - 1] if low else np.zeros(len(self)), self.values[:, high - 1]

    def below(self, y: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """P(Y < y) and P(Y <= y), each (n,), of y, a number or (n,)."""
        y = np.asarray(y, dtype=float)[..., None]
        return (self.values < y).mean(axis=1), (self.values <= y).mean(axis=1)

    def crps(self, y: npt.ArrayLike) -> np.ndarray:
        """Continuous ranked probability score (n,) of y (n,), in its unit."""
        return scores.crps_samples(y, self.values)


Forecast = CensoredNormal | Draws


def hurdle(
    zero: npt.ArrayLike, positive: Callable[[np.ndarray], np.ndarray], *, count: int = 100
) -> Draws:
    """Draws (n, count): 0 with probability zero (n,), else a quantile of what is positive.

    positive gives values (n, count) at levels (n, count) in [0, 1], as the `quantile` of Draws
    does. Raises InputError unless every probability is in [0, 1].
    """
    zero = np.asarray(zero, dtype=float)
    if zero.ndim != 1 or not ((zero >= 0) & (zero <= 1)).all():
        raise InputError(
            f"probabilities of a zero have shape {zero.shape}; expected (n,), each from 0 to 1"
        )
    levels, zero = (np.arange(count) + 0.5) / count, zero[:, None]
    inside = np.clip((levels - zero) / np.maximum(1 - zero, 1e-12), 0, 1)
    return Draws(np.where(levels <= zero, 0.0, positive(inside)))


def pool(forecasts: Sequence[Draws], shares: npt.ArrayLike | None = None) -> Draws:
    """Linear pool of Draws of one shape: the mixture with the given shares, equal by default."""
    if not forecasts or len({f.values.shape for f in forecasts}) != 1:
        raise InputError("expected at least one forecast, all of the same shape")
    shares = np.ones(len(forecasts)) if shares is None else np.asarray(shares, dtype=float)
    if shares.shape != (len(forecasts),) or not (shares >= 0).all() or shares.sum() <= 0:
        raise InputError(f"shares are {shares}; expected one per forecast, none below 0")
    size = forecasts[0].count
    weight = np.repeat(shares / shares.sum() / size, size)
    values = np.concatenate([f.values for f in forecasts], axis=1)
    order = np.argsort(values, axis=1, kind="stable")
    values, reached = np.take_along_axis(values, order, axis=1), np.cumsum(weight[order], axis=1)
    levels = (np.arange(size) + 0.5) / size
    place = np.stack([np.searchsorted(row, levels - _EDGE) for row in reached])
    return Draws(np.take_along_axis(values, np.minimum(place, values.shape[1] - 1), axis=1))


def log_score(
    forecast: Forecast, y: npt.ArrayLike, *, width: float, top: float, spread: float = 0.01
) -> np.ndarray:
    """-log of the probability of y's bin (n,): a mass for 0, a density per unit of y above.

    A y of exactly 0 is one bin, the others are `width` wide. A share `spread` of every forecast is
    spread, half at 0 and half up to `top`, so that no surprise costs infinity.
    """
    y = np.asarray(y, dtype=float)
    lower = width * np.floor(np.maximum(y - 1e-9, 0) / width)
    zero = y == 0
    at_most = forecast.below(np.where(zero, 0.0, lower + width))[1]
    mass = at_most - np.where(zero, 0.0, forecast.below(lower)[1])
    background = np.where(zero, 0.5, 0.5 * width / top)
    mass = (1 - spread) * mass + spread * background
    return -np.log(mass / np.where(zero, 1.0, width))


def pit_error(forecast: Forecast, y: npt.ArrayLike, *, points: int = 400) -> float:
    """Integral over u of |mean distribution of the PIT values - u|, steps spread evenly."""
    low, high = forecast.below(y)
    grid = (np.arange(points) + 0.5) / points
    step = np.maximum(high - low, _EDGE)
    share = np.clip((grid[:, None] - low) / step, 0.0, 1.0).mean(axis=1)
    return float(np.abs(share - grid).mean())
