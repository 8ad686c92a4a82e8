"""Noise factors against Monte Carlo, numerical integration and the table of the study."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import integrate, stats

from mfutils.errors import InputError
from mfutils.study.s04_2.label_noise import (
    KINDS,
    LEVELS,
    add_noise,
    expected_error,
    expected_factor,
    zero_probability,
)

THETAS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.9, 1.0)


def test_levels_are_table_4_3():
    percent = {level: [100 * LEVELS[level][name] for name in "ABCD"] for level in LEVELS}
    assert percent["high"] == pytest.approx([90, 60, 30, 0])
    assert percent["medium"] == pytest.approx([60, 40, 20, 0])
    assert percent["low"] == pytest.approx([30, 20, 10, 0])
    assert percent["none"] == [0, 0, 0, 0]


@pytest.mark.parametrize("theta", THETAS)
def test_expectations_against_integrals_over_sigma(theta):
    """Integrals over the normal sigma itself, by quadrature, not over the factor."""
    sigma = stats.norm(theta, theta)

    def mean(function):
        edges = [theta - 9 * theta, 0.0, 1.0, theta + 9 * theta]
        parts = [
            integrate.quad(lambda s: function(max(1 - s, 0.0)) * sigma.pdf(s), a, b)[0]
            for a, b in pairwise(edges)
        ]
        return sum(parts)

    assert expected_factor(theta, "sampling") == pytest.approx(mean(lambda f: f), abs=1e-7)
    error = mean(lambda f: abs(1 - f))
    assert expected_error(theta, "sampling") == pytest.approx(error, abs=1e-7)
    assert zero_probability(theta, "sampling") == pytest.approx(sigma.sf(1.0), abs=1e-12)


@pytest.mark.parametrize("level", ["low", "medium", "high"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_noisy_subset_agrees_with_its_expectation(kind, level):
    truth = np.random.default_rng(3).gamma(2.0, 1.0, 40_000)
    for theta in LEVELS[level].values():
        noisy = add_noise(truth, theta, kind, seed=5)
        error = np.abs(noisy - truth)
        spread = 4 * error.std() / np.sqrt(len(truth))
        assert error.mean() == pytest.approx(
            expected_error(theta, kind) * truth.mean(), abs=spread + 1e-12
        )
        share = (noisy == 0).mean()
        expected = zero_probability(theta, kind)
        assert share == pytest.approx(expected, abs=4 * np.sqrt(0.25 / len(truth)))
        # a subset that was multiplied twice, or not at all, fails this
        ratio = noisy.sum() / truth.sum()
        assert ratio == pytest.approx(expected_factor(theta, kind), abs=0.02)


def test_scaling_is_exact_and_draws_nothing():
    truth = np.array([0.0, 1.0, 4.0])
    np.testing.assert_allclose(add_noise(truth, 0.3, "scaling", seed=0), [0.0, 0.7, 2.8])
    np.testing.assert_array_equal(add_noise(truth, 0.0, "sampling", seed=0), truth)


def test_one_seed_is_one_set_of_normal_numbers_for_every_level():
    truth = np.ones(500)
    low, high = (add_noise(truth, theta, "sampling", seed=4) for theta in (0.1, 0.3))
    inside = (low > 0) & (high > 0)
    np.testing.assert_allclose((1 - high)[inside] / 0.3, (1 - low)[inside] / 0.1)
    assert not np.array_equal(low, add_noise(truth, 0.1, "sampling", seed=5))
    mixed = add_noise(truth, np.repeat([0.1, 0.3], 250), "sampling", seed=4)
    np.testing.assert_array_equal(mixed, np.concatenate([low[:250], high[250:]]))


def test_arrays_of_theta():
    thetas = np.array([0.0, 0.3, 0.9])
    for function in (expected_factor, expected_error, zero_probability):
        for kind in KINDS:
            expected = [function(float(t), kind) for t in thetas]
            np.testing.assert_allclose(function(thetas, kind), expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0], 0.3, "white"), "unknown noise kind 'white'"),
        (([1.0], -0.1, "sampling"), r"theta is -0\.1: expected noise coefficients from 0 to 1"),
        (([1.0], [0.5, 1.2], "scaling"), r"theta is 1\.2"),
        (([1.0, 2.0], [0.1, 0.2, 0.3], "scaling"), r"2 labels but theta of shape \(3,\)"),
        (([1.0, -2.0], 0.1, "scaling"), r"label 1 is -2\.0"),
        (([1.0, np.nan], 0.1, "sampling"), "label 1 is nan"),
        (([[1.0]], 0.1, "sampling"), "2-d"),
        (([1.0], np.nan, "sampling"), "theta is nan"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(InputError, match=message):
        add_noise(*arguments, seed=0)
