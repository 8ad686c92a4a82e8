"""Forecasts with an atom at zero, against scoringrules and brute force."""

import numpy as np
import pytest

from mfutils.errors import InputError
from mfutils.uncertainty import forecasts

scoringrules = pytest.importorskip("scoringrules")


@pytest.fixture
def forecast():
    rng = np.random.default_rng(3)
    values = np.where(rng.random((40, 200)) < 0.5, 0.0, rng.gamma(2, 1, (40, 200)))
    return np.sort(values, axis=1)


def test_crps_is_that_of_scoringrules(forecast):
    y = np.random.default_rng(4).gamma(1, 1, len(forecast))
    assert np.allclose(forecasts.crps(y, forecast), scoringrules.crps_ensemble(y, forecast))


def test_crps_of_a_point_is_the_absolute_error():
    assert np.allclose(forecasts.crps([2.0, 0.0], np.full((2, 7), 0.5)), [1.5, 0.5])


def test_hurdle_against_drawing(forecast):
    rng = np.random.default_rng(5)
    positive = np.sort(rng.gamma(2, 1, (40, 200)), axis=1)
    zero = rng.random(40)
    made = forecasts.hurdle(zero, positive)
    assert (np.diff(made, axis=1) >= 0).all()
    assert np.allclose(forecasts.zero_probability(made), zero, atol=0.006)
    expected = (1 - zero) * positive.mean(axis=1)
    assert np.allclose(made.mean(axis=1), expected, atol=0.05)
    assert (forecasts.hurdle(np.ones(40), positive) == 0).all()
    assert np.array_equal(forecasts.hurdle(np.zeros(40), positive), positive)


def test_pool_is_the_mixture():
    a, b = np.zeros((1, 100)), np.full((1, 100), 2.0)
    assert forecasts.zero_probability(forecasts.pool([a, b], [3, 1]))[0] == pytest.approx(
        0.75, abs=0.011
    )
    assert np.array_equal(forecasts.pool([b]), b)


def test_shortest_interval_by_brute_force(forecast):
    low, high = forecasts.shortest_interval(forecast, 0.7)
    for row, a, b in zip(forecast, low, high, strict=True):
        inside = np.mean((row >= a) & (row <= b))
        best = min(row[k + 139] - row[k] for k in range(61))
        assert inside >= 0.7
        # nesting may only widen the shortest one
        assert best - 1e-12 <= b - a
    zero_low, zero_high = forecasts.shortest_interval(forecast, 0.0)
    assert np.array_equal(zero_low, zero_high)


def test_intervals_are_nested_and_scores_say_so(forecast):
    y = np.random.default_rng(6).gamma(1.5, 1, len(forecast))
    scores = forecasts.interval_scores(y, forecast)
    for level in np.arange(0, 1.001, 0.05):
        low, high = forecasts.shortest_interval(forecast, level)
        inside = (y >= low) & (y <= high)
        assert np.array_equal(inside, scores <= level + 1e-9)


def test_conformal_level_covers():
    rng = np.random.default_rng(7)
    covered = []
    for _ in range(60):
        scale = rng.gamma(2, 1, 300)
        y = np.where(rng.random(300) < 0.5, 0, scale * rng.exponential(1, 300))
        draws = np.sort(np.where(rng.random((300, 100)) < 0.5, 0, rng.exponential(1, (300, 100))))
        level, widen = forecasts.conformal_level(
            forecasts.interval_scores(y[:200], draws[:200]), 0.1
        )
        low, high = forecasts.shortest_interval(draws[200:], level)
        covered.append(np.mean((y[200:] >= low - widen) & (y[200:] <= high + widen)))
    assert np.mean(covered) > 0.89


@pytest.mark.parametrize(
    "call",
    [
        lambda f: forecasts.crps([1.0], f),
        lambda f: forecasts.crps(np.ones(40), f[:, ::-1]),
        lambda f: forecasts.hurdle(np.full(40, 1.2), f),
        lambda f: forecasts.pool([f, f[:3]]),
        lambda f: forecasts.pool([f, f], [1, -1]),
        lambda f: forecasts.shortest_interval(f, 1.2),
        lambda f: forecasts.median(f[0]),
        lambda f: forecasts.conformal_level([0.1, 0.2], 0.1),
    ],
)
def test_bad_input(call, forecast):
    with pytest.raises(InputError):
        call(forecast)
