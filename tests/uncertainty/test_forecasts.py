"""Forecasts at and above zero: against scoringrules, integrals, counting and the guarantee."""

import numpy as np
import pytest
import scoringrules
from scipy.integrate import quad
from scipy.stats import norm

from mfutils.errors import InputError
from mfutils.uncertainty import forecasts
from mfutils.uncertainty.forecasts import Atoms, Normal, conformalise, log_score, pit_error, score


@pytest.fixture(scope="module")
def sample():
    rng = np.random.default_rng(1)
    mean, std = rng.normal(0.5, 1.5, 200), rng.uniform(0.1, 2.0, 200)
    return Normal(mean, std), np.maximum(rng.normal(mean, std), 0.0)


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


def test_many_atoms_of_a_normal_score_like_the_normal(sample):
    forecast, y = sample
    levels = norm.ppf((np.arange(4000) + 0.5) / 4000)
    atoms = Atoms(forecast.quantile(levels))
    np.testing.assert_allclose(atoms.point(), forecast.point(), atol=2e-3)
    np.testing.assert_allclose(atoms.crps(y), forecast.crps(y), atol=2e-3)
    np.testing.assert_allclose(log_score(atoms, y), log_score(forecast, y), atol=0.1)
    for ours, theirs in zip(atoms.interval(0.1), forecast.interval(0.1), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=0.01)
    assert pit_error(atoms, y) == pytest.approx(pit_error(forecast, y), abs=2e-3)


def test_log_score_by_hand():
    forecast = Atoms(np.array([[0.0, 0.05], [0.0, 0.32], [0.25, 0.33], [1.0, 0.38]]))
    zero, dense = log_score(forecast, np.array([0.0, 0.34]))
    assert np.exp(-zero) == pytest.approx(0.99 * 0.5 + 0.01 * 0.5)
    # three of four atoms lie in the bin from 0.3 to 0.4 eV, 0.1 wide
    assert np.exp(-dense) == pytest.approx((0.99 * 0.75 + 0.005 * 0.1 / 12) / 0.1)
    never = log_score(Atoms(np.zeros((3, 1))), np.array([11.0]))
    assert np.isfinite(never).all()


def test_log_score_is_a_probability(sample):
    # over all bins the probabilities add up to one, less what a forecast puts beyond 12 eV
    forecast, _ = sample
    total = np.exp(-log_score(forecast, np.zeros(200)))
    for bin_ in range(120):
        y = np.full(200, 0.1 * bin_ + 0.05)
        total = total + 0.1 * np.exp(-log_score(forecast, y))
    np.testing.assert_allclose(total, 1.0, atol=1e-4)


def test_pit_error_knows_the_right_forecast(sample):
    forecast, _ = sample
    rng = np.random.default_rng(5)
    index = rng.integers(200, size=40000)
    many = forecast.take(index)
    y = np.maximum(rng.normal(many.mean, many.std), 0.0)
    assert pit_error(many, y) < 0.005
    assert pit_error(Normal(many.mean, 0.3 * many.std), y) > 0.05
    # a forecast that is always far too high has all its PIT values at 0: integral 1/2
    assert pit_error(Normal(many.mean + 90, many.std), y) == pytest.approx(0.5, abs=0.01)


def test_levels_and_quantiles_undo_each_other():
    rng = np.random.default_rng(2)
    atoms = Atoms(rng.gamma(2.0, 1.0, (50, 30)))
    y = rng.gamma(2.0, 2.5, 30)
    levels = atoms.levels(y)
    back = np.array([atoms.take([k]).quantile([level])[0, 0] for k, level in enumerate(levels)])
    outside = (levels > 1) | (levels < 0)
    assert outside.any()
    np.testing.assert_allclose(back[outside & (y > 0)], y[outside & (y > 0)])
    below, most = atoms.below(y)
    inside = ~outside
    assert ((below <= levels) & (levels <= most + 1 / 50))[inside].all()


@pytest.mark.parametrize("kind", ["normal", "atoms"])
def test_conformal_intervals_keep_their_promise_for_a_bad_model(kind):
    rng = np.random.default_rng(7)
    hits, raw = [], []
    for draw in range(150):
        x = rng.uniform(0, 3, 260)
        y = np.maximum(rng.normal(x - 1, 0.5 + 0.3 * x), 0.0)
        forecast = Normal(0.6 * x, np.full(260, 0.1))
        if kind == "atoms":
            forecast = Atoms(forecast.quantile(norm.ppf((np.arange(40) + 0.5) / 40)))
        known, new = forecast.take(np.arange(60)), forecast.take(np.arange(60, 260))
        low, high = conformalise(known, y[:60], new, seed=draw).interval(0.1)
        hits.append(((low <= y[60:]) & (y[60:] <= high)).mean())
        raw.append(score(new, y[60:])["inside"].mean())
    assert np.mean(raw) < 0.7
    assert 0.895 <= np.mean(hits) <= 0.955  # 0.9 at least; zeros at the lower end add to it


def test_score_returns_what_the_parts_say(sample):
    forecast, y = sample
    found = score(forecast, y)
    low, high = forecast.interval(0.1)
    np.testing.assert_allclose(found["width"], high - low)
    np.testing.assert_array_equal(found["inside"], (low <= y) & (y <= high))
    np.testing.assert_allclose(found["error"], np.abs(np.maximum(forecast.mean, 0) - y))
    assert found["inside"].mean() == pytest.approx(0.9, abs=0.07)


def test_bad_input_is_refused(sample):
    forecast, y = sample
    with pytest.raises(InputError, match="std is 0"):
        Normal(np.zeros(2), np.zeros(2))
    with pytest.raises(InputError, match=r"\(K, n\)"):
        Atoms(np.zeros(3))
    with pytest.raises(InputError, match="at least 19"):
        Atoms(np.zeros((18, 2))).interval(0.1)
    with pytest.raises(InputError, match="one kind"):
        conformalise(forecast, y, Atoms(np.zeros((20, 3))))
    with pytest.raises(InputError, match="one gap per"):
        conformalise(forecast, y[:5], forecast)
    assert forecasts.__all__
