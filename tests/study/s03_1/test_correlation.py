"""Correlations and variance inflation against eqs 2.1 to 2.3 written out."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mfutils.errors import InputError
from mfutils.study.s03_1 import correlation

values = st.floats(-1e3, 1e3, allow_nan=False).map(lambda v: round(v, 3))
small = st.integers(-3, 3)


@settings(deadline=None)
@given(x=arrays(float, 20, elements=values), y=arrays(float, 20, elements=values))
def test_pearson_is_equation_2_1(x, y):
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return
    assert correlation.pearson(x, y) == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-9)


@settings(deadline=None)
@given(x=arrays(int, 15, elements=small), y=arrays(int, 15, elements=small))
def test_spearman_shares_ranks_under_many_ties(x, y):
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return
    ranks = [[np.mean(np.flatnonzero(np.sort(v) == w)) for w in v] for v in (x, y)]
    assert correlation.spearman(x, y) == pytest.approx(np.corrcoef(*ranks)[0, 1], abs=1e-12)


def test_spearman_without_ties_is_equation_2_2():
    rng = np.random.default_rng(1)
    x, y = rng.permutation(30), rng.permutation(30)
    d = scipy.stats.rankdata(x) - scipy.stats.rankdata(y)
    assert correlation.spearman(x, y) == pytest.approx(1 - 6 * (d**2).sum() / (30 * (900 - 1)))


def test_decimals_merge_values_that_differ_by_rounding():
    x = np.arange(6.0)
    y = np.array([0.0, 1.0, 1.0 + 1e-15, 1.0 - 1e-15, 2.0, 3.0])
    exact = scipy.stats.spearmanr(x, np.round(y, 12))[0]
    assert correlation.spearman(x, y, decimals=12) == pytest.approx(exact, abs=1e-12)
    assert correlation.spearman(x, y) != pytest.approx(exact, abs=1e-6)


def test_extreme_scales_do_not_overflow():
    x = np.array([1.0, 2.0, 4.0])
    assert correlation.pearson(1e200 * x, 1e-200 * x) == pytest.approx(1.0)


def test_variance_inflation_is_the_diagonal_of_an_inverse():
    rng = np.random.default_rng(2)
    x = rng.random((40, 4))
    x[:, 3] = x[:, 0] + 0.3 * x[:, 1] + 0.1 * rng.random(40)
    centred = np.diag(np.linalg.inv(np.corrcoef(x.T)))
    assert np.allclose(correlation.variance_inflation(x), centred, rtol=1e-9)
    raw = np.diag(x.T @ x) * np.diag(np.linalg.inv(x.T @ x))
    assert np.allclose(correlation.variance_inflation(x, constant=False), raw, rtol=1e-9)
    scaled = correlation.variance_inflation(x * [1, 10, 1e12, 1e-12])
    assert np.allclose(scaled, centred, rtol=1e-9), "units must not matter"


def test_variance_inflation_of_special_columns():
    square = np.array([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
    assert np.allclose(correlation.variance_inflation(square), 1.0)
    rng = np.random.default_rng(3)
    shares = rng.dirichlet(np.ones(3), size=20)
    assert np.isinf(correlation.variance_inflation(shares)).all(), "fractions sum to one"
    assert np.isfinite(correlation.variance_inflation(shares, constant=False)).all()


def test_ranking():
    assert correlation.ranking({"Se": 0.3, "Te": 0.4, "Pb": -0.6}) == "Te>Se>Pb"
    assert correlation.ranking({"b": 1.0, "a": 1.0, "c": 2.0}) == "c>a=b"


def test_bad_input_is_named():
    with pytest.raises(InputError, match="constant"):
        correlation.pearson([1, 1, 1], [1, 2, 3])
    with pytest.raises(InputError, match="not finite"):
        correlation.spearman([1, 2, np.nan], [1, 2, 3])
    with pytest.raises(InputError, match="two arrays"):
        correlation.pearson([1, 2], [1, 2, 3])
    with pytest.raises(InputError, match="n > d"):
        correlation.variance_inflation(np.eye(3))
    with pytest.raises(InputError, match="column 1 does not vary"):
        correlation.variance_inflation(np.column_stack([np.arange(4.0), np.ones(4)]))
