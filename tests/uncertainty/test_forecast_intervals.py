"""Conformal intervals at and above zero: by brute force, and their promise."""

import numpy as np
import pytest
from scipy.stats import norm

from mfutils.errors import InputError
from mfutils.uncertainty.forecast_intervals import central_shares, conformal_interval
from mfutils.uncertainty.forecasts import Atoms, Normal, conformalise


def _forecast(kind, x):
    forecast = Normal(0.7 * x - 0.3, 0.1 + 0.2 * np.abs(x))
    if kind == "atoms":
        forecast = Atoms(forecast.quantile(norm.ppf((np.arange(50) + 0.5) / 50)))
    return forecast


def _interval(forecast, b):
    """The central interval of a share b, as the text says, with extension beyond the values."""
    if isinstance(forecast, Normal):
        return forecast.quantile([-b, b])
    return forecast.quantile(
        [0.5 * (1 - min(b, 1)) - max(b - 1, 0), 0.5 + 0.5 * min(b, 1) + max(b - 1, 0)]
    )


@pytest.mark.parametrize("kind", ["normal", "atoms"])
def test_the_share_is_the_smallest_whose_interval_holds_the_gap(kind):
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 3, 60)
    y = np.maximum(rng.normal(x - 0.5, 0.8), 0.0)
    forecast = _forecast(kind, x)
    shares = central_shares(forecast, y)
    assert (shares == 0).any()
    assert (shares > 1).any()
    for row, b in enumerate(shares):
        one = forecast.take([row])
        low, high = _interval(one, b + 1e-7)
        assert low[0] <= y[row] <= high[0] + 1e-9
        if b > 0.05:
            low, high = _interval(one, b - 0.021)
            assert not low[0] <= y[row] <= high[0]


@pytest.mark.parametrize("kind", ["normal", "atoms"])
def test_the_promise_is_kept_and_less_is_wasted_than_between_ranks(kind):
    rng = np.random.default_rng(1)
    hits, widths, ranked = [], [], []
    for draw in range(120):
        x = rng.uniform(-1, 3, 300)
        y = np.maximum(rng.normal(x - 0.5, 0.8), 0.0)
        forecast = _forecast(kind, x)
        known, new = forecast.take(np.arange(100)), forecast.take(np.arange(100, 300))
        low, high = conformal_interval(known, y[:100], new, 0.1)
        hits.append(((low <= y[100:]) & (y[100:] <= high)).mean())
        widths.append((high - low).mean())
        low, high = conformalise(known, y[:100], new, seed=draw).interval(0.1)
        ranked.append(((low <= y[100:]) & (y[100:] <= high)).mean())
    assert 0.895 <= np.mean(hits) <= 0.92
    assert np.mean(hits) < np.mean(ranked)
    assert np.isfinite(widths).all()


def test_bad_input_is_refused():
    forecast = Normal(np.zeros(30), np.ones(30))
    with pytest.raises(InputError, match="one kind"):
        conformal_interval(forecast, np.zeros(30), Atoms(np.zeros((20, 3))), 0.1)
    with pytest.raises(InputError, match="one gap per"):
        conformal_interval(forecast, np.zeros(4), forecast, 0.1)
    with pytest.raises(InputError, match="too few"):
        conformal_interval(forecast.take(np.arange(5)), np.zeros(5), forecast, 0.1)
