"""Conformal bounds against crepes and MAPIE, against their exact law, and on bad input."""

import numpy as np
import pytest
from crepes import ConformalRegressor
from hypothesis import given, settings
from hypothesis import strategies as st
from mapie.regression import SplitConformalRegressor
from scipy import stats
from scipy.spatial.distance import mahalanobis as scipy_mahalanobis
from sklearn.linear_model import LinearRegression

from mfutils.errors import InputError
from mfutils.uncertainty import conformal

RNG = np.random.default_rng(0)
Y, MEAN, STD = RNG.normal(size=300), 0.3 * RNG.normal(size=300), RNG.uniform(0.5, 2, 300)


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.32])
def test_intervals_equal_crepes(alpha):
    known, new = slice(0, 200), slice(200, 300)
    plain = ConformalRegressor().fit(residuals=Y[known] - MEAN[known])
    low, high = plain.predict_int(MEAN[new], confidence=1 - alpha).T
    bound = conformal.bound(conformal.absolute_scores(Y[known], MEAN[known]), alpha)
    ours = conformal.interval(MEAN[new], bound)
    np.testing.assert_allclose(ours, [low, high], atol=1e-12)

    scaled = ConformalRegressor().fit(residuals=Y[known] - MEAN[known], sigmas=STD[known])
    low, high = scaled.predict_int(MEAN[new], sigmas=STD[new], confidence=1 - alpha).T
    scores = conformal.normalised_scores(Y[known], MEAN[known], STD[known])
    ours = conformal.interval(MEAN[new], conformal.bound(scores, alpha), STD[new])
    np.testing.assert_allclose(ours, [low, high], atol=1e-12)


def test_intervals_equal_mapie():
    known, new = slice(0, 200), slice(200, 300)
    identity = LinearRegression().fit(MEAN[:, None], MEAN)
    model = SplitConformalRegressor(identity, confidence_level=0.9, prefit=True)
    model.conformalize(MEAN[known, None], Y[known])
    _, limits = model.predict_interval(MEAN[new, None])
    bound = conformal.bound(conformal.absolute_scores(Y[known], MEAN[known]), 0.1)
    low, high = conformal.interval(MEAN[new], bound)
    np.testing.assert_allclose(limits[:, 0, 0], low, atol=1e-10)
    np.testing.assert_allclose(limits[:, 1, 0], high, atol=1e-10)


def test_coverage_over_random_splits_follows_its_law():
    alpha, n, total, splits = 0.1, 100, 400, 200
    covered = []
    for seed in range(splits):
        scores = np.random.default_rng(seed).standard_cauchy(total) ** 2
        bound = conformal.bound(scores[:n], alpha)
        covered.append(np.sum(scores[n:] <= bound))
    law = conformal.coverage_distribution(n, total - n, alpha)
    mean = np.mean(covered)
    assert abs(mean - law.mean()) < 4 * law.std() / np.sqrt(splits)
    assert law.mean() / (total - n) >= 1 - alpha
    # binomial interval of all test samples of all splits, widened by what a split shares
    low, high = law.ppf([0.005, 0.995])
    assert np.mean((np.array(covered) >= low) & (np.array(covered) <= high)) > 0.95


@given(st.integers(1, 400), st.floats(0.01, 0.9))
@settings(max_examples=60, deadline=None)
def test_rank_is_the_smallest_that_guarantees(n, alpha):
    needed = conformal.points_needed(alpha)
    if n < needed:
        with pytest.raises(InputError, match=f"at least {needed} are needed"):
            conformal.rank(n, alpha)
        return
    k = conformal.rank(n, alpha)
    assert k / (n + 1) >= 1 - alpha - 1e-9
    assert (k - 1) / (n + 1) < 1 - alpha + 1e-9


@pytest.mark.parametrize(("n", "alpha"), [(9, 0.1), (19, 0.05), (40, 0.1), (200, 0.32)])
def test_the_bound_is_the_right_order_statistic(n, alpha):
    scores = np.random.default_rng(n).permutation(n).astype(float)
    k = next(k for k in range(1, n + 1) if k >= (n + 1) * (1 - alpha) - 1e-9)
    assert conformal.bound(scores, alpha) == k - 1


def test_mahalanobis_and_volume():
    root = RNG.normal(size=(20, 3, 3))
    covariance = root @ root.transpose(0, 2, 1) + 0.1 * np.eye(3)
    y, mean = RNG.normal(size=(2, 20, 3))
    found = conformal.mahalanobis(y, mean, covariance)
    expected = [
        scipy_mahalanobis(a, b, np.linalg.inv(c))
        for a, b, c in zip(y, mean, covariance, strict=True)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    # a turned frame changes neither the length nor the volume
    turn = stats.special_ortho_group.rvs(3, random_state=1)
    turned = turn @ covariance @ turn.T
    np.testing.assert_allclose(conformal.mahalanobis(y @ turn.T, mean @ turn.T, turned), found)
    box = RNG.uniform(-4, 4, size=(200_000, 3))
    one = np.diag([0.5, 1.0, 1.5])[None]
    share = np.mean(conformal.mahalanobis(box, 0 * box, np.repeat(one, len(box), 0)) <= 1.7)
    assert conformal.ellipsoid_volume(one, 1.7)[0] == pytest.approx(share * 8**3, rel=0.05)


def test_gaussian_forces_need_the_chi_squared_bound():
    covariance = np.diag([0.1, 0.4, 1.0])
    y = RNG.multivariate_normal(np.zeros(3), covariance, size=20_000)
    scores = conformal.mahalanobis(y, np.zeros_like(y), np.repeat(covariance[None], len(y), 0))
    bound = conformal.bound(scores, 0.1)
    assert bound == pytest.approx(np.sqrt(stats.chi2.ppf(0.9, 3)), rel=0.02)


def test_coverage_by_group_equals_scipy():
    groups = np.array(["a"] * 30 + ["b"] * 10 + ["c"] * 5)
    scores = np.concatenate([np.linspace(0, 2, 30), np.zeros(10), np.full(5, 9.0)])
    table = conformal.coverage_by_group(scores, 1.0, groups).set_index("group")
    for name, row in table.iterrows():
        hits = int((scores[groups == name] <= 1).sum())
        exact = stats.binomtest(hits, int(row["n"])).proportion_ci(0.95, method="exact")
        assert row["coverage"] == pytest.approx(hits / row["n"])
        assert (row["low"], row["high"]) == pytest.approx((exact.low, exact.high), abs=1e-9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: conformal.bound([], 0.1), "one score per sample"),
        (lambda: conformal.bound([1.0, np.nan], 0.5), "NaN or infinity"),
        (lambda: conformal.bound(np.ones(98), 0.01), "at least 99 are needed"),
        (lambda: conformal.bound(np.ones(50), 1.0), "alpha is 1.0; expected a probability"),
        (lambda: conformal.rank(0, 0.1), "at least 9 are needed"),
        (lambda: conformal.rank(8, 0.1), "8 calibration scores .* at least 9 are needed"),
        (lambda: conformal.points_needed(1.0), "alpha is 1.0"),
        (lambda: conformal.points_needed(0), "alpha is 0"),
        (lambda: conformal.normalised_scores([1.0], [0.0], [0.0]), "std is 0 in row 0"),
        (lambda: conformal.normalised_scores([1.0], [0.0], [np.nan]), "std is nan in row 0"),
        (lambda: conformal.absolute_scores([1.0, 2.0], [0.0]), "shapes"),
        (lambda: conformal.absolute_scores([], []), "n above 0"),
        (
            lambda: conformal.mahalanobis(np.zeros((1, 3)), np.ones((1, 3)), np.zeros((1, 3, 3))),
            "row 0 has eigenvalue 0",
        ),
        (
            lambda: conformal.mahalanobis(np.zeros((1, 3)), np.ones((1, 3)), np.eye(3)),
            "expected .n, k., .n, k. and .n, k, k.",
        ),
        (lambda: conformal.coverage_by_group([1.0], 1.0, ["a", "b"]), "groups"),
    ],
)
def test_refuses_bad_input(call, message):
    with pytest.raises(InputError, match=message):
        call()
