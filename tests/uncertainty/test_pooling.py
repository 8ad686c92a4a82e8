"""Fusion rules against closed forms, scikit-learn and SciPy; bad ensembles are named."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.optimize import minimize
from sklearn.covariance import ledoit_wolf

from mfutils.errors import InputError
from mfutils.uncertainty.pooling import RULES, Calibration, fuse, weights

RNG = np.random.default_rng(0)
MEAN, STD = RNG.normal(size=(5, 30)), RNG.uniform(0.1, 2.0, (5, 30))
ensembles = st.tuples(st.integers(2, 6), st.integers(1, 8)).flatmap(
    lambda shape: st.tuples(
        arrays.arrays(float, shape, elements=st.floats(-50, 50)),
        arrays.arrays(float, shape, elements=st.floats(1e-3, 50)),
    )
)


def _correlated(m=6, c=400, seed=1):
    """Members with common errors, different size and one that promises too much."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=c)
    mixing = rng.normal(size=(m, m)) + np.ones((m, m))
    std = rng.uniform(0.5, 1.5, (m, c))
    error = std * (mixing @ rng.normal(size=(m, c))) / np.sqrt(m)
    std[0] *= 0.3
    return truth, truth + error, std


def test_inverse_std_is_the_printed_formula():
    """Eqs 3.3 to 3.5, sample by sample."""
    expected = []
    for i in range(MEAN.shape[1]):
        s = sum(1 / u for u in STD[:, i])
        expected.append(sum(m / u / s for m, u in zip(MEAN[:, i], STD[:, i], strict=True)))
    np.testing.assert_allclose(fuse(MEAN, STD)[0], expected, rtol=1e-12)


def test_inverse_variance_is_the_best_for_independent_errors():
    mean, std = fuse(MEAN, STD, "inverse-variance", spread="independent")
    precision = (1 / STD**2).sum(axis=0)
    np.testing.assert_allclose(mean, (MEAN / STD**2).sum(axis=0) / precision, rtol=1e-12)
    np.testing.assert_allclose(std, precision**-0.5, rtol=1e-12)


def test_mean_and_median():
    np.testing.assert_allclose(fuse(MEAN, STD, "mean")[0], MEAN.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(fuse(MEAN, STD, "median")[0], np.median(MEAN, axis=0), rtol=1e-12)


def test_mixture_std_equals_sampling_the_mixture():
    mean, std = MEAN[:, :3], STD[:, :3]
    for rule in ("inverse-std", "mean"):
        fused, spread = fuse(mean, std, rule)
        share = weights(mean, std, rule)
        rng = np.random.default_rng(3)
        for i in range(3):
            member = rng.choice(len(mean), 400_000, p=share[:, i])
            drawn = rng.normal(mean[member, i], std[member, i])
            assert drawn.mean() == pytest.approx(fused[i], abs=0.01)
            assert drawn.std() == pytest.approx(spread[i], rel=0.01)


@given(ensembles)
@settings(max_examples=60, deadline=None)
def test_weights_sum_to_one_and_the_result_lies_between_the_members(ensemble):
    mean, std = ensemble
    for rule in ("inverse-std", "inverse-variance", "mean", "median"):
        share = weights(mean, std, rule)
        np.testing.assert_allclose(share.sum(axis=0), 1.0, rtol=1e-12)
        assert (share >= 0).all()
        fused, spread = fuse(mean, std, rule)
        assert (fused >= mean.min(axis=0) - 1e-9).all()
        assert (fused <= mean.max(axis=0) + 1e-9).all()
        # a mixture is never narrower than its narrowest member
        assert (spread >= std.min(axis=0) * (1 - 1e-12)).all()


@given(ensembles, st.floats(0.1, 10.0), st.floats(-5.0, 5.0))
@settings(max_examples=40, deadline=None)
def test_units_do_not_matter(ensemble, factor, shift):
    mean, std = ensemble
    for rule in ("inverse-std", "inverse-variance", "mean", "median"):
        fused, spread = fuse(mean, std, rule)
        other, wider = fuse(factor * mean + shift, factor * std, rule)
        np.testing.assert_allclose(other, factor * fused + shift, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(wider, factor * spread, rtol=1e-6, atol=1e-9)


def test_covariance_weights_minimise_the_expected_squared_error():
    truth, mean, std = _correlated()
    calibration = Calibration(truth[:300], mean[:, :300], std[:, :300])
    share = weights(mean[:, 300:], std[:, 300:], "covariance", calibration=calibration)
    fused, spread = fuse(mean[:, 300:], std[:, 300:], "covariance", calibration=calibration)
    moments, _ = ledoit_wolf(((mean - truth) / std)[:, :300].T, assume_centered=True)
    assert (share >= 0).all()
    np.testing.assert_allclose(share.sum(axis=0), 1.0)
    for i in (0, 50, 99):
        sigma = np.outer(std[:, 300 + i], std[:, 300 + i]) * moments
        best = minimize(
            lambda w, sigma=sigma: w @ sigma @ w, np.full(6, 1 / 6), bounds=[(0, 1)] * 6,
            constraints={"type": "eq", "fun": lambda w: w.sum() - 1}, method="SLSQP",
            options={"ftol": 1e-14, "maxiter": 500},
        )  # fmt: skip
        np.testing.assert_allclose(share[:, i], best.x, atol=1e-4)
        assert spread[i] == pytest.approx(np.sqrt(best.fun), rel=1e-4)
    error = fused - truth[300:]
    assert np.mean((error / spread) ** 2) == pytest.approx(1.0, abs=0.35)
    plain = fuse(mean[:, 300:], std[:, 300:], "inverse-std")[0] - truth[300:]
    assert np.mean(error**2) < 0.9 * np.mean(plain**2)


def test_uncorrelated_errors_of_the_promised_size_give_inverse_variance():
    rng = np.random.default_rng(0)
    std = rng.uniform(0.5, 2.0, (4, 20_000))
    truth = rng.normal(size=20_000)
    mean = truth + std * rng.normal(size=std.shape)
    calibration = Calibration(truth, mean, std)
    share = weights(mean[:, :50], std[:, :50], "covariance", calibration=calibration)
    expected = weights(mean[:, :50], std[:, :50], "inverse-variance")
    np.testing.assert_allclose(share, expected, atol=0.02)


def test_members_that_err_alike_do_not_get_weights_of_both_signs():
    """Two near copies and one other: plain least squares would play the copies off."""
    rng = np.random.default_rng(1)
    common, truth = rng.normal(size=(2, 500))
    mean = truth + np.stack([common, 1.1 * common + 0.01 * rng.normal(size=500), 2 * common])
    std = np.ones_like(mean)
    calibration = Calibration(truth, mean, std)
    for rule in ("covariance", "stacking"):
        share = weights(mean, std, rule, calibration=calibration)
        assert (share >= 0).all()
        assert share[0].min() > 0.95


def test_stacking_finds_the_best_convex_weights():
    truth, mean, std = _correlated(seed=4)
    calibration = Calibration(truth, mean, std)
    share = weights(mean, std, "stacking", calibration=calibration)
    assert np.ptp(share, axis=1).max() == 0
    found = share[:, 0]
    assert (found >= 0).all()
    assert found.sum() == pytest.approx(1.0)

    def loss(w):
        return np.mean((w @ mean - truth) ** 2)

    best = minimize(
        loss, np.full(6, 1 / 6), bounds=[(0, 1)] * 6, method="SLSQP",
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1}, options={"ftol": 1e-14},
    )  # fmt: skip
    assert loss(found) == pytest.approx(best.fun, rel=1e-6)
    np.testing.assert_allclose(found, best.x, atol=1e-3)
    fused, spread = fuse(mean, std, "stacking", calibration=calibration)
    assert np.mean(((fused - truth) / spread) ** 2) == pytest.approx(1.0)


def test_stacking_of_exact_members_does_not_break():
    truth = np.linspace(0, 1, 20)
    mean = np.stack([truth, truth + 1])
    found = weights(mean, np.ones((2, 20)), "stacking",
                    calibration=Calibration(truth, mean, np.ones((2, 20))))  # fmt: skip
    np.testing.assert_allclose(found[:, 0], [1.0, 0.0], atol=1e-9)


GOOD = np.ones((3, 4))
ZERO, NAN = GOOD.copy(), GOOD.copy()
ZERO[1, 2] = 0.0
NAN[2, 0] = np.nan


@pytest.mark.parametrize(
    ("mean", "std", "options", "message"),
    [
        (np.empty((0, 4)), np.empty((0, 4)), {}, r"0 member\(s\)"),
        (GOOD[:1], GOOD[:1], {}, r"1 member\(s\): there is nothing to fuse"),
        (GOOD[:, :0], GOOD[:, :0], {}, "no samples"),
        (GOOD, GOOD[:2], {}, r"shape \(3, 4\) and std \(2, 4\)"),
        (GOOD[0], GOOD[0], {}, r"expected \(members, samples\)"),
        (GOOD, ZERO, {}, "std of member 1 is 0 at sample 2; expected values above 0"),
        (GOOD, -GOOD, {}, "std of member 0 is -1"),
        (GOOD, NAN, {}, "std of member 2 is NaN or infinite at sample 0"),
        (NAN, GOOD, {}, "mean of member 2 is NaN or infinite at sample 0"),
        (GOOD, GOOD, {"rule": "best"}, "rule is 'best'; expected one of inverse-std"),
        (GOOD, GOOD, {"spread": "wide"}, "spread is 'wide'"),
        (GOOD, GOOD, {"rule": "stacking"}, "give calibration=Calibration"),
        (GOOD, GOOD, {"rule": "covariance", "calibration": Calibration(
            np.zeros(4), GOOD[:2], GOOD[:2])}, "calibration has 2 members, the ensemble 3"),
    ],
)  # fmt: skip
def test_bad_ensembles_are_one_clear_line(mean, std, options, message):
    with pytest.raises(InputError, match=message) as caught:
        fuse(mean, std, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("target", "mean", "std", "message"),
    [
        (np.zeros(3), GOOD, GOOD, r"calibration targets have shape \(3,\)"),
        (np.full(4, np.nan), GOOD, GOOD, "calibration targets contain NaN"),
        (np.zeros(1), GOOD[:, :1], GOOD[:, :1], "1 calibration sample"),
        (np.zeros(4), GOOD, ZERO, "calibration std of member 1 is 0"),
    ],
)
def test_bad_calibration_sets(target, mean, std, message):
    with pytest.raises(InputError, match=message):
        Calibration(target, mean, std)


def test_a_calibration_set_without_errors_has_no_covariance():
    truth = np.zeros(4)
    perfect = Calibration(truth, np.zeros((3, 4)), GOOD)
    with pytest.raises(InputError, match="all calibration errors are 0"):
        fuse(GOOD, GOOD, "covariance", calibration=perfect)


def test_every_rule_is_reachable():
    truth, mean, std = _correlated()
    for rule in RULES:
        fused, spread = fuse(mean, std, rule, calibration=Calibration(truth, mean, std))
        assert fused.shape == spread.shape == truth.shape
        assert (spread > 0).all()
