"""Forecasts of a target with an atom at zero: is there a gap, and if so, how large (section 5.2).

A hurdle splits the likelihood: y = 0 with probability p(x), else y follows a law G(y | x) on the
positive numbers. Every forecast here is a row of K equally likely values, sorted (its quantiles
at (k + 1/2) / K), so an atom at zero is a run of zeros. Forecasts of any origin can then be pooled
and judged alike: the median minimises the absolute error, and the continuous ranked probability
score is E|X - y| - E|X - X'| / 2. Intervals are the shortest that hold a share of the values;
conformal calibration chooses that share (section 8.5).
"""

import numpy as np

from mfutils import conformal
from mfutils.errors import InputError

__all__ = [
    "conformal_level",
    "crps",
    "hurdle",
    "interval_scores",
    "median",
    "pool",
    "shortest_interval",
    "zero_probability",
]


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
