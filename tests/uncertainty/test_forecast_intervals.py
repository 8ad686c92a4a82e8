"""Conformal intervals at and above zero: by brute force, and their promise."""

import numpy as np
import pytest
from scipy.stats import norm

from mfutils.errors import InputError
from mfutils.uncertainty.forecast_intervals import (
    central_shares,
    conformal_interval,
    conformal_level,
    conformalise,
    interval_scores,
    shortest_interval,
)
from mfutils.uncertainty.forecasts import CensoredNormal, Draws


def _forecast(kind, x):
    forecast = CensoredNormal(0.7 * x - 0.3, 0.1 + 0.2 * np.abs(x))
    if kind == "draws":
        forecast = Draws(forecast.quantile(norm.ppf((np.arange(50) + 0.5) / 50)))
    return forecast


def _interval(forecast, b):
    """The central interval of a share b, as the text says, with extension beyond the values."""
    if isinstance(forecast, CensoredNormal):
        return forecast.quantile([-b, b]).T
    return forecast.quantile(
        [0.5 * (1 - min(b, 1)) - max(b - 1, 0), 0.5 + 0.5 * min(b, 1) + max(b - 1, 0)]
    ).T


@pytest.fixture
def draws():
    rng = np.random.default_rng(3)
    return Draws(np.where(rng.random((40, 200)) < 0.5, 0.0, rng.gamma(2, 1, (40, 200))))


@pytest.mark.parametrize("kind", ["normal", "draws"])
def test_the_share_is_the_smallest_whose_interval_holds_the_value(kind):
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


@pytest.mark.parametrize("kind", ["normal", "draws"])
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


@pytest.mark.parametrize("kind", ["normal", "draws"])
def test_a_conformal_system_keeps_its_promise_for_a_bad_model(kind):
    rng = np.random.default_rng(7)
    hits, raw = [], []
    for draw in range(150):
        x = rng.uniform(0, 3, 260)
        y = np.maximum(rng.normal(x - 1, 0.5 + 0.3 * x), 0.0)
        forecast = CensoredNormal(0.6 * x, np.full(260, 0.1))
        if kind == "draws":
            forecast = Draws(forecast.quantile(norm.ppf((np.arange(40) + 0.5) / 40)))
        known, new = forecast.take(np.arange(60)), forecast.take(np.arange(60, 260))
        for shares, system in ((hits, conformalise(known, y[:60], new, seed=draw)), (raw, new)):
            low, high = system.interval(0.1)
            shares.append(((low <= y[60:]) & (y[60:] <= high)).mean())
    assert np.mean(raw) < 0.7
    assert 0.895 <= np.mean(hits) <= 0.955  # 0.9 at least; zeros at the lower end add to it


def test_shortest_interval_by_brute_force(draws):
    low, high = shortest_interval(draws, 0.7)
    for row, a, b in zip(draws.values, low, high, strict=True):
        inside = np.mean((row >= a) & (row <= b))
        best = min(row[k + 139] - row[k] for k in range(61))
        assert inside >= 0.7
        # nesting may only widen the shortest one
        assert best - 1e-12 <= b - a
    zero_low, zero_high = shortest_interval(draws, 0.0)
    assert np.array_equal(zero_low, zero_high)


def test_intervals_are_nested_and_scores_say_so(draws):
    y = np.random.default_rng(6).gamma(1.5, 1, len(draws))
    scores = interval_scores(draws, y)
    for level in np.arange(0, 1.001, 0.05):
        low, high = shortest_interval(draws, level)
        inside = (y >= low) & (y <= high)
        assert np.array_equal(inside, scores <= level + 1e-9)


def test_conformal_level_covers():
    rng = np.random.default_rng(7)
    covered = []
    for _ in range(60):
        scale = rng.gamma(2, 1, 300)
        y = np.where(rng.random(300) < 0.5, 0, scale * rng.exponential(1, 300))
        draws = Draws(np.where(rng.random((300, 100)) < 0.5, 0, rng.exponential(1, (300, 100))))
        known, new = draws.take(np.arange(200)), draws.take(np.arange(200, 300))
        level, widen = conformal_level(interval_scores(known, y[:200]), 0.1)
        low, high = shortest_interval(new, level)
        covered.append(np.mean((y[200:] >= low - widen) & (y[200:] <= high + widen)))
    assert np.mean(covered) > 0.89


def test_bad_input_is_refused(draws):
    forecast = CensoredNormal(np.zeros(30), np.ones(30))
    for method in (conformal_interval, lambda *a: conformalise(*a[:3])):
        with pytest.raises(InputError, match="one kind"):
            method(forecast, np.zeros(30), Draws(np.zeros((3, 20))), 0.1)
        with pytest.raises(InputError, match="one finite number for each"):
            method(forecast, np.zeros(4), forecast, 0.1)
    with pytest.raises(InputError, match="too few"):
        conformal_interval(forecast.take(np.arange(5)), np.zeros(5), forecast, 0.1)
    with pytest.raises(InputError, match="between 0 and 1"):
        shortest_interval(draws, 1.2)
    with pytest.raises(InputError, match="too few"):
        conformal_level([0.1, 0.2], 0.1)
    with pytest.raises(InputError, match="one finite number"):
        interval_scores(draws, [1.0])
