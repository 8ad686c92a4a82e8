"""Forecasts at and above zero: against scoringrules, integrals, drawing and counting."""

import numpy as np
import pytest
import scoringrules
from scipy.integrate import quad
from scipy.stats import norm

from mfutils.errors import InputError
from mfutils.uncertainty.forecasts import (
    CensoredNormal,
    Draws,
    hurdle,
    log_score,
    pit_error,
    pool,
)

BINS = {"width": 0.1, "top": 12.0}


@pytest.fixture(scope="module")
def sample():
    rng = np.random.default_rng(1)
    mean, std = rng.normal(0.5, 1.5, 200), rng.uniform(0.1, 2.0, 200)
    return CensoredNormal(mean, std), np.maximum(rng.normal(mean, std), 0.0)


@pytest.fixture
def draws():
    rng = np.random.default_rng(3)
    return Draws(np.where(rng.random((40, 200)) < 0.5, 0.0, rng.gamma(2, 1, (40, 200))))


def test_crps_of_the_censored_normal(sample):
    forecast, y = sample
    with np.errstate(invalid="ignore"):  # the peer divides by 0 where nearly all is censored
        peer = scoringrules.crps_cnormal(y, lower=0.0, location=forecast.mean, scale=forecast.std)
    known = np.isfinite(peer)
    assert known.sum() > 150
    np.testing.assert_allclose(forecast.crps(y)[known], peer[known], rtol=1e-6, atol=1e-9)
    for row in range(5):
        normal = norm(forecast.mean[row], forecast.std[row])
        low = quad(lambda t, f=normal: f.cdf(t) ** 2, 0, y[row])[0]
        high = quad(lambda t, f=normal: f.sf(t) ** 2, y[row], y[row] + 40)[0]
        assert forecast.crps(y)[row] == pytest.approx(low + high, rel=1e-6)


def test_crps_of_draws(draws):
    y = np.random.default_rng(4).gamma(1, 1, len(draws))
    np.testing.assert_allclose(draws.crps(y), scoringrules.crps_ensemble(y, draws.values))
    # that of a point is the absolute error
    np.testing.assert_allclose(Draws(np.full((2, 7), 0.5)).crps([2.0, 0.0]), [1.5, 0.5])


def test_many_draws_of_a_normal_score_like_the_normal(sample):
    forecast, y = sample
    draws = Draws(forecast.quantile(norm.ppf((np.arange(4000) + 0.5) / 4000)))
    assert draws.values.shape == (200, 4000)
    np.testing.assert_allclose(draws.median(), forecast.median(), atol=2e-3)
    np.testing.assert_allclose(draws.crps(y), forecast.crps(y), atol=2e-3)
    np.testing.assert_allclose(
        log_score(draws, y, **BINS), log_score(forecast, y, **BINS), atol=0.1
    )
    for ours, theirs in zip(draws.interval(0.1), forecast.interval(0.1), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=0.01)
    assert pit_error(draws, y) == pytest.approx(pit_error(forecast, y), abs=2e-3)


def test_log_score_by_hand():
    forecast = Draws([[0.0, 0.0, 0.25, 1.0], [0.05, 0.32, 0.33, 0.38]])
    zero, dense = log_score(forecast, np.array([0.0, 0.34]), **BINS)
    assert np.exp(-zero) == pytest.approx(0.99 * 0.5 + 0.01 * 0.5)
    # three of four values lie in the bin from 0.3 to 0.4, 0.1 wide
    assert np.exp(-dense) == pytest.approx((0.99 * 0.75 + 0.005 * 0.1 / 12) / 0.1)
    never = log_score(Draws(np.zeros((1, 3))), np.array([11.0]), **BINS)
    assert np.isfinite(never).all()


def test_log_score_is_a_probability(sample):
    # over all bins the probabilities add up to one, less what a forecast puts beyond 12
    forecast, _ = sample
    total = np.exp(-log_score(forecast, np.zeros(200), **BINS))
    for bin_ in range(120):
        y = np.full(200, 0.1 * bin_ + 0.05)
        total = total + 0.1 * np.exp(-log_score(forecast, y, **BINS))
    np.testing.assert_allclose(total, 1.0, atol=1e-4)


def test_pit_error_knows_the_right_forecast(sample):
    forecast, _ = sample
    rng = np.random.default_rng(5)
    many = forecast.take(rng.integers(200, size=40000))
    y = np.maximum(rng.normal(many.mean, many.std), 0.0)
    assert pit_error(many, y) < 0.005
    assert pit_error(CensoredNormal(many.mean, 0.3 * many.std), y) > 0.05
    # a forecast that is always far too high has all its PIT values at 0: integral 1/2
    assert pit_error(CensoredNormal(many.mean + 90, many.std), y) == pytest.approx(0.5, abs=0.01)


def test_levels_and_quantiles_undo_each_other():
    rng = np.random.default_rng(2)
    draws = Draws(rng.gamma(2.0, 1.0, (30, 50)))
    y = rng.gamma(2.0, 2.5, 30)
    levels = draws.levels(y)
    back = draws.quantile(levels[:, None])[:, 0]
    outside = (levels > 1) | (levels < 0)
    assert outside.any()
    np.testing.assert_allclose(back[outside & (y > 0)], y[outside & (y > 0)])
    # one level for all rows is the same level in every row
    np.testing.assert_array_equal(
        draws.quantile([0.3])[:, 0], draws.quantile(np.full((30, 1), 0.3))[:, 0]
    )
    below, most = draws.below(y)
    assert ((below <= levels) & (levels <= most + 1 / 50))[~outside].all()


def test_hurdle_against_drawing(draws):
    rng = np.random.default_rng(5)
    positive = Draws(rng.gamma(2, 1, (40, 200)))
    zero = rng.random(40)
    made = hurdle(zero, positive.quantile, count=200)
    np.testing.assert_allclose(made.zero_probability(), zero, atol=0.006)
    expected = (1 - zero) * positive.values.mean(axis=1)
    np.testing.assert_allclose(made.moments()[0], expected, atol=0.05)
    assert (hurdle(np.ones(40), positive.quantile).values == 0).all()
    same = hurdle(np.zeros(40), positive.quantile, count=200)
    np.testing.assert_array_equal(same.values, positive.values)


def test_hurdle_with_a_continuous_part():
    levels = (np.arange(1000) + 0.5) / 1000
    made = hurdle([0.25], lambda share: -np.log1p(-share), count=1000)
    expected = np.maximum(-np.log((1 - levels) / 0.75), 0.0)  # P(Y > y) = 0.75 exp(-y)
    np.testing.assert_allclose(made.values[0], expected, atol=1e-12)


def test_pool_is_the_mixture():
    a, b = Draws(np.zeros((1, 100))), Draws(np.full((1, 100), 2.0))
    assert pool([a, b], [3, 1]).zero_probability()[0] == pytest.approx(0.75, abs=0.011)
    np.testing.assert_array_equal(pool([b]).values, b.values)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: CensoredNormal(np.zeros(2), np.zeros(2)), "std is 0"),
        (lambda d: Draws(np.zeros(3)), r"finite values \(n, K\)"),
        (lambda d: Draws([[0.0, np.nan]]), "finite"),
        (lambda d: Draws(np.zeros((2, 18))).interval(0.1), "at least 19"),
        (lambda d: d.interval(1.0), "alpha is 1.0"),
        (lambda d: d.crps([1.0]), r"expected \(n,\) and \(n, K\)"),
        (lambda d: hurdle(np.full(40, 1.2), d.quantile), "from 0 to 1"),
        (lambda d: pool([d, d.take([0, 1, 2])]), "same shape"),
        (lambda d: pool([d, d], [1, -1]), "none below 0"),
    ],
)
def test_bad_input_is_refused(call, message, draws):
    with pytest.raises(InputError, match=message):
        call(draws)
