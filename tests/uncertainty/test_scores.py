"""Scores of uncertainty against integrals, simulation and definitions written out afresh."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from mfutils.errors import InputError
from mfutils.uncertainty import conformal
from mfutils.uncertainty import scores as scoring

RNG = np.random.default_rng(0)
MEAN, STD = RNG.normal(size=400), RNG.uniform(0.3, 2.0, 400)
HONEST = MEAN + STD * RNG.normal(size=400)
finite = st.floats(-5, 5)


def test_nll_and_pit_are_those_of_scipy():
    expected = stats.norm(MEAN, STD)
    np.testing.assert_allclose(scoring.nll(HONEST, MEAN, STD), -expected.logpdf(HONEST), rtol=1e-12)
    np.testing.assert_allclose(scoring.pit(HONEST, MEAN, STD), expected.cdf(HONEST), rtol=1e-12)


@given(finite, finite, st.floats(0.05, 5.0))
@settings(max_examples=30, deadline=None)
def test_crps_is_its_integral(y, mean, std):
    cdf = stats.norm(mean, std).cdf
    below = integrate.quad(lambda t: cdf(t) ** 2, mean - 12 * std - abs(y - mean), y, limit=200)
    above = integrate.quad(
        lambda t: (1 - cdf(t)) ** 2, y, mean + 12 * std + abs(y - mean), limit=200
    )
    found = scoring.crps(np.array([y]), np.array([mean]), np.array([std]))[0]
    assert found == pytest.approx(below[0] + above[0], abs=1e-6)


def test_crps_is_the_energy_form_and_tends_to_the_absolute_error():
    rng = np.random.default_rng(1)
    a, b = rng.normal(0.4, 0.7, (2, 1_000_000))
    energy = np.abs(a - 1.3).mean() - 0.5 * np.abs(a - b).mean()
    one = np.array([1.3]), np.array([0.4])
    assert scoring.crps(*one, np.array([0.7]))[0] == pytest.approx(energy, abs=2e-3)
    assert scoring.crps(*one, np.array([1e-9]))[0] == pytest.approx(0.9, abs=1e-8)


def test_scores_are_least_for_the_truth():
    """Proper scores: promising more or less than the truth costs."""
    rng = np.random.default_rng(2)
    y = rng.normal(size=20_000)
    zero, one = np.zeros(len(y)), np.ones(len(y))
    for score in (scoring.nll, scoring.crps):
        honest = score(y, zero, one).mean()
        for factor in (0.7, 1.4):
            assert score(y, zero, factor * one).mean() > honest


def test_coverage_counts_the_targets_inside():
    inside = np.abs(HONEST - MEAN) <= 1.959963985 * STD
    assert scoring.coverage(HONEST, MEAN, STD) == inside.mean()
    levels = np.array([[0.5, 0.8], [0.9, 0.99]])
    found = scoring.coverage(HONEST, MEAN, STD, levels)
    assert found.shape == (2, 2)
    np.testing.assert_allclose(found, levels, atol=0.06)


@given(st.lists(st.floats(-4, 4), min_size=1, max_size=30))
@settings(max_examples=40, deadline=None)
def test_areas_are_integrals_of_the_empirical_distribution(z):
    z = np.array(z)
    zero, one = np.zeros(len(z)), np.ones(len(z))
    p = (np.arange(200_000) + 0.5) / 200_000
    u = np.sort(stats.norm.cdf(z))
    expected = np.abs(np.searchsorted(u, p, side="right") / len(u) - p).mean()
    assert scoring.expected_calibration_error(z, zero, one) == pytest.approx(expected, abs=2e-5)
    inside = np.sort(2 * stats.norm.cdf(np.abs(z)) - 1)
    expected = np.abs(np.searchsorted(inside, p, side="right") / len(inside) - p).mean()
    assert scoring.miscalibration_area(z, zero, one) == pytest.approx(expected, abs=2e-5)


def test_areas_at_the_extremes():
    y = RNG.normal(size=20_000)
    zero = np.zeros(len(y))
    assert scoring.miscalibration_area(y, zero, np.ones(len(y))) < 0.01
    assert scoring.miscalibration_area(y, zero, np.full(len(y), 1e-6)) == pytest.approx(
        0.5, abs=1e-3
    )
    assert scoring.miscalibration_area(y, zero, np.full(len(y), 1e6)) == pytest.approx(
        0.5, abs=1e-3
    )
    # a bias that intervals of the right width would hide from nobody who looks at the PIT
    shifted = y + 3.0
    wide = np.full(len(y), np.sqrt(10.0))
    assert scoring.expected_calibration_error(shifted, zero, wide) > 0.2
    # closed form of the miscalibration of a factor of two: z of std 1/2
    two = scoring.miscalibration_area(y, zero, np.full(len(y), 2.0))
    exact = integrate.quad(
        lambda p: abs(2 * stats.norm.cdf(2 * stats.norm.ppf(0.5 + p / 2)) - 1 - p), 0, 1
    )[0]
    assert two == pytest.approx(exact, abs=0.01)


def test_ence_is_its_definition():
    order = np.argsort(STD)
    terms = []
    for k in range(8):
        part = order[50 * k : 50 * (k + 1)]
        rmse = np.sqrt(np.mean((HONEST - MEAN)[part] ** 2))
        rmv = np.sqrt(np.mean(STD[part] ** 2))
        terms.append(abs(rmse - rmv) / rmv)
    assert scoring.ence(HONEST, MEAN, STD, bins=8) == pytest.approx(np.mean(terms), rel=1e-12)
    assert scoring.ence(HONEST, MEAN, STD / 3, bins=8) > 3 * scoring.ence(HONEST, MEAN, STD, bins=8)


@pytest.mark.parametrize(("n", "alpha"), [(9, 0.1), (19, 0.05), (40, 0.1), (200, 0.32)])
def test_conformal_bound_is_the_right_order_statistic(n, alpha):
    scores = np.random.default_rng(n).permutation(n).astype(float)
    k = next(k for k in range(1, n + 1) if k >= (n + 1) * (1 - alpha) - 1e-9)
    assert conformal.bound(scores, alpha) == k - 1


def test_conformal_covers_as_promised():
    """Over 400 splits the mean coverage is that of the order statistic, k / (n + 1)."""
    rng = np.random.default_rng(5)
    n, alpha, hits = 30, 0.2, []
    for _ in range(400):
        scores = rng.standard_cauchy(n + 200) ** 2
        hits.append((scores[n:] <= conformal.bound(scores[:n], alpha)).mean())
    expected = np.ceil(31 * 0.8) / 31
    assert np.mean(hits) == pytest.approx(expected, abs=4 * np.std(hits) / 20)
    assert np.mean(hits) >= 0.8


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: conformal.bound([], 0.1), "expected one score per sample"),
        (lambda: conformal.bound(np.ones(8), 0.1), "8 calibration scores are too few for alpha = "
         "0.1: at least 9 are needed"),
        (lambda: conformal.bound(np.ones(98), 0.01), "at least 99 are needed"),
        (lambda: conformal.bound(np.ones(50), 0.0), "alpha is 0.0; expected a probability"),
        (lambda: conformal.bound(np.ones(50), 1.0), "alpha is 1.0"),
        (lambda: conformal.bound([1.0, np.nan], 0.5), "NaN or infinity"),
        (lambda: scoring.nll([1.0], [1.0], [0.0]), "std is 0 in row 0; expected values above 0"),
        (lambda: scoring.crps([1.0], [np.nan], [1.0]), "mean is NaN or infinite in row 0"),
        (lambda: scoring.pit([1.0, 2.0], [1.0], [1.0]), r"shapes \(2,\), \(1,\), \(1,\)"),
        (lambda: scoring.ence([], [], []), "no samples"),
        (lambda: scoring.ence([1.0], [1.0], [1.0], bins=2), "bins is 2; expected .* 1 to 1"),
        (lambda: scoring.coverage([1.0], [1.0], [1.0], 1.0), "expected probabilities between"),
    ],
)  # fmt: skip
def test_bad_input_is_one_clear_line(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
