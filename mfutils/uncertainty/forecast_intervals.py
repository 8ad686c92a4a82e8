"""Conformal intervals and systems for forecasts with an atom at zero.

Three ways, all with guaranteed coverage when known and new samples are exchangeable. Central
intervals (`conformal_interval`): give each known value the smallest share b of its forecast whose
central interval holds it,

    b = max(0, 1 - 2 P(Y <= y), 2 P(Y < y) - 1),

take the ceil((n + 1)(1 - alpha))-th smallest b, and give every new sample the central interval of
that share. For a normal forecast b is counted in standard deviations, and beyond all values of a
forecast in the unit of y. Whole distributions (`conformalise`): replace the levels that a model
claims by the levels at which known samples were found, a split conformal predictive system (Vovk
et al. 2018). An interval between two of its ranks spends alpha / 2 on misses below its lower end,
in vain where that end is 0; central intervals spend the whole alpha where misses can happen.
Shortest intervals (`shortest_interval`): the same with the shortest of the nested intervals that
hold a share of the values.
"""

import numpy as np
import numpy.typing as npt

from mfutils.errors import InputError
from mfutils.uncertainty import conformal
from mfutils.uncertainty.forecasts import CensoredNormal, Draws, Forecast

__all__ = [
    "central_shares",
    "conformal_interval",
    "conformal_level",
    "conformalise",
    "interval_scores",
    "shortest_interval",
]

_EDGE = 1e-9  # shares are compared at their exact values
_STEPS = 100  # nested intervals hold shares 0, 1 / _STEPS, ..., 1 of the values


def central_shares(forecast: Forecast, y: npt.ArrayLike) -> np.ndarray:
    """b (n,) of values y (n,) in a forecast: 0 when y is the median itself."""
    y = np.asarray(y, dtype=float)
    if isinstance(forecast, CensoredNormal):
        z = forecast.levels(y)
        # a 0 is inside as soon as the lower end has reached 0
        return np.where(y > 0, np.abs(z), np.maximum(-z, 0.0))
    below, at_most = forecast.below(y)
    share = np.maximum(np.maximum(1 - 2 * at_most, 2 * below - 1), 0.0)
    lowest, highest = forecast.values[:, 0], forecast.values[:, -1]
    return share + np.maximum(y - highest, 0) + np.maximum(lowest - y, 0)


def conformal_interval(
    known: Forecast, y: npt.ArrayLike, new: Forecast, alpha: float
) -> tuple[np.ndarray, np.ndarray]:
    """(low, high), each (m,): central intervals of `new` calibrated on `known` of y (n,).

    Holds a new value with probability of at least 1 - alpha. Raises InputError for forecasts of
    two kinds, and as `conformal.bound`.
    """
    y = _calibration(known, y, new)
    bound = conformal.bound(central_shares(known, y), alpha) + _EDGE
    if isinstance(new, CensoredNormal):
        levels = [-bound, bound]
    else:
        inside, beyond = min(bound, 1.0), max(bound - 1.0, 0.0)
        levels = [0.5 * (1 - inside) - beyond, 0.5 * (1 + inside) + beyond]
    low, high = new.quantile(levels).T
    return low, high


def conformalise(known: Forecast, y: npt.ArrayLike, new: Forecast, *, seed: int = 0) -> Draws:
    """Draws for the samples of the forecast `new`, calibrated on the forecast `known` of y (n,).

    One value per known sample: the new forecast at the level where that sample was found.
    `interval(alpha)` then holds a new value with probability of at least 1 - alpha, whatever the
    model. Raises InputError for forecasts of two kinds.
    """
    y = _calibration(known, y, new)
    return Draws(new.quantile(known.levels(y, seed=seed)))


def shortest_interval(forecast: Draws, level: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """(low, high), each (n,): the shortest interval that holds a share `level` of the values.

    level is a number or one per row, in [0, 1]; at 0 the interval is the median alone.
    """
    level = np.asarray(level, dtype=float)
    if not ((level >= 0) & (level <= 1)).all():
        raise InputError(f"level is {level!r}; expected numbers between 0 and 1")
    lows, highs = _nested(forecast)
    place = np.broadcast_to(np.ceil(level * _STEPS - _EDGE), len(lows)).astype(int)
    rows = np.arange(len(lows))
    return lows[rows, place], highs[rows, place]


def interval_scores(forecast: Draws, y: npt.ArrayLike) -> np.ndarray:
    """Smallest level (n,) whose shortest interval holds y (n,); above 1 by the distance if none.

    These are nonconformity scores: small where y was expected.
    """
    y = _targets(forecast, y)[:, None]
    lows, highs = _nested(forecast)
    inside = (y >= lows) & (y <= highs)
    beyond = np.maximum(lows[:, -1] - y[:, 0], y[:, 0] - highs[:, -1])
    return np.where(inside.any(axis=1), inside.argmax(axis=1) / _STEPS, 1 + np.maximum(beyond, 0))


def conformal_level(scores: npt.ArrayLike, alpha: float) -> tuple[float, float]:
    """(level, widening): the intervals that miss at most a share alpha of new samples.

    scores (n,) are `interval_scores` of samples that the model has not seen. Use the shortest
    interval of that level, and where even the whole forecast is too narrow, widen it by `widening`.
    """
    bound = conformal.bound(scores, alpha)
    return min(bound, 1.0), max(bound - 1.0, 0.0)


def _nested(forecast: Draws) -> tuple[np.ndarray, np.ndarray]:
    """Ends (n, _STEPS + 1) of nested intervals that hold more and more of the values."""
    values, rows = forecast.values, np.arange(len(forecast))
    lows, highs = [forecast.median()], [forecast.median()]
    for step in range(1, _STEPS + 1):
        count = max(1, int(np.ceil(step / _STEPS * forecast.count - _EDGE)))
        width = values[:, count - 1 :] - values[:, : forecast.count - count + 1]
        start = width.argmin(axis=1)
        # never give up what a smaller share already held: the intervals are nested
        lows.append(np.minimum(lows[-1], values[rows, start]))
        highs.append(np.maximum(highs[-1], values[rows, start + count - 1]))
    return np.stack(lows, axis=1), np.stack(highs, axis=1)


def _calibration(known: Forecast, y: npt.ArrayLike, new: Forecast) -> np.ndarray:
    """y (n,) of the known samples; InputError when the forecasts are of two kinds."""
    if type(known) is not type(new):
        raise InputError(
            f"known is a {type(known).__name__} and new a {type(new).__name__}; expected one kind "
            "of forecast"
        )
    return _targets(known, y)


def _targets(forecast: Forecast, y: npt.ArrayLike) -> np.ndarray:
    y = np.asarray(y, dtype=float)
    if y.shape != (len(forecast),) or not np.isfinite(y).all():
        raise InputError(
            f"y has shape {y.shape} for forecasts of {len(forecast)} samples; expected one finite "
            "number for each"
        )
    return y
