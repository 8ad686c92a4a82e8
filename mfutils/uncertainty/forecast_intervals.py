"""Conformal intervals for forecasts with an atom at zero (section 5.2).

Give each calibration gap the smallest share b of its forecast whose central interval holds it,

    b = max(0, 1 - 2 P(Y <= y), 2 P(Y < y) - 1),

take the ceil((n + 1)(1 - alpha))-th smallest b, and give every new crystal the central interval of
that share. An interval between two ranks spends alpha / 2 on misses below its lower end; where
that end is 0 no gap can lie below, and the interval holds more than it promises. Here the whole
alpha is spent where misses can happen. For a normal forecast b is counted in standard deviations,
and beyond all values of a forecast in eV.
"""

import numpy as np

from mfutils.errors import InputError
from mfutils.uncertainty import conformal
from mfutils.uncertainty.forecasts import Normal

__all__ = ["central_shares", "conformal_interval"]

_EDGE = 1e-9  # shares are compared at their exact values


def central_shares(forecast, y):
    """b (n,) of gaps y (n,) in a Normal or Atoms forecast: 0 when y is the median itself."""
    y = np.asarray(y, dtype=float)
    if isinstance(forecast, Normal):
        z = forecast.levels(y)
        # a gap of 0 is inside as soon as the lower end has reached 0
        return np.where(y > 0, np.abs(z), np.maximum(-z, 0.0))
    below, at_most = forecast.below(y)
    share = np.maximum(np.maximum(1 - 2 * at_most, 2 * below - 1), 0.0)
    values = forecast.values
    return share + np.maximum(y - values[-1], 0) + np.maximum(values[0] - y, 0)


def conformal_interval(known, y, new, alpha):
    """(low, high), each (m,): intervals of the forecast `new` calibrated on `known` of y (n,).

    Holds a new gap with probability of at least 1 - alpha when known and new samples are
    exchangeable. Raises InputError for forecasts of two kinds, and as `conformal.bound`.
    """
    if type(known) is not type(new) or np.shape(y) != (len(known),):
        raise InputError(
            f"{type(known).__name__} of {len(known)} samples, gaps {np.shape(y)} and "
            f"{type(new).__name__}; expected one kind of forecast and one gap per known sample"
        )
    bound = conformal.bound(central_shares(known, y), alpha) + _EDGE
    if isinstance(new, Normal):
        return tuple(new.quantile([-bound, bound]))
    inside, beyond = min(bound, 1.0), max(bound - 1.0, 0.0)
    return tuple(new.quantile([0.5 * (1 - inside) - beyond, 0.5 * (1 + inside) + beyond]))
