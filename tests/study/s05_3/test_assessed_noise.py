"""Noise assessed from labels that were made noisy on purpose, and the linear correction."""

import numpy as np
import pytest

from mfutils.errors import InputError
from mfutils.study.s04_2.label_noise import LEVELS, add_noise, expected_factor
from mfutils.study.s05_3.assessed_noise import assess_noise, drop_steps, fidelity_weights


@pytest.fixture(scope="module")
def drawn():
    """Truth of a model's form: T ~ N(p, s^2) with s known, noisy in the subsets."""
    rng = np.random.default_rng(4)
    n = 40_000
    prediction, std = rng.uniform(2, 6, n), rng.uniform(0.1, 0.4, n)
    true = prediction + std * rng.normal(size=n)
    subset = rng.choice(list("ABCD"), n)
    theta = np.array([LEVELS["medium"][s] for s in subset])
    return true, add_noise(true, theta, "sampling", seed=0), prediction, std, subset


def test_factor_and_square_are_those_of_the_noise(drawn):
    true, noisy, prediction, std, subset = drawn
    noise = assess_noise(noisy, prediction, std, subset)
    for name in "ABC":
        theta, rows = LEVELS["medium"][name], subset == name
        assert noise.factor[name] == pytest.approx(expected_factor(theta, "sampling"), abs=0.02)
        exact = np.square(1 - noisy[rows] / true[rows]).mean()
        assert noise.square[name] == pytest.approx(exact, rel=0.05)
    assert (noise.factor["D"], noise.square["D"]) == (1.0, 0.0)
    expected = noise.square_error(prediction, std, subset)
    for name in "ABCD":
        rows = subset == name
        assert expected[rows].mean() == pytest.approx(
            np.square(noisy - true)[rows].mean(), rel=0.06, abs=1e-12
        )


def test_correction_is_the_best_line_and_knows_its_variance(drawn):
    true, noisy, prediction, std, subset = drawn
    fixed, variance = assess_noise(noisy, prediction, std, subset).correct(
        noisy, prediction, std, subset
    )
    for name in "ABC":
        rows = subset == name
        error = np.square(fixed - true)[rows].mean()
        assert error == pytest.approx(variance[rows].mean(), rel=0.05)
        assert error < min(
            np.square(noisy - true)[rows].mean(), np.square(prediction - true)[rows].mean()
        )
        # no other gain does better
        t, p = noisy[rows], prediction[rows]
        m = expected_factor(LEVELS["medium"][name], "sampling")
        others = [np.square(p + g * (t - m * p) - true[rows]).mean() for g in (0, 0.05, 0.2, 1)]
        assert error < min(others) * 1.005
    clean = subset == "D"
    assert (fixed[clean] == noisy[clean]).all()
    assert (variance[clean] == 0).all()


def test_use_leaves_labels_out(drawn):
    _, noisy, prediction, std, subset = drawn
    spoilt = noisy.copy()
    spoilt[::2] = 50.0
    use = np.arange(len(noisy)) % 2 == 1
    part = assess_noise(spoilt, prediction, std, subset, use=use)
    assert part.factor["A"] == pytest.approx(
        assess_noise(noisy, prediction, std, subset).factor["A"], abs=0.02
    )


def test_order_and_weights():
    assert drop_steps({"A": 2.0, "B": 1.0, "D": 1.5}) == ("ABD", "BD", "B")
    assert drop_steps({"A": 1.0, "B": 1.0}) == ("AB", "B")
    weights = fidelity_weights({"A": 2.0, "B": 1.0}, np.array(["A", "B", "A"]))
    assert weights.tolist() == [0.25, 1.0, 0.25]


def test_bad_input():
    one, letters = np.ones(3), np.array(["A", "B", "D"])
    with pytest.raises(InputError, match="each"):
        assess_noise(one, one[:2], one, letters)
    with pytest.raises(InputError, match="negative"):
        assess_noise(one, one, -one, letters)
    with pytest.raises(InputError, match="every prediction is 0"):
        assess_noise(one, 0 * one, one, letters)
    with pytest.raises(InputError, match="errors of"):
        drop_steps({"X": 1.0})
    with pytest.raises(InputError, match="errors of"):
        drop_steps({"A": np.nan})
    with pytest.raises(InputError, match="assess it first"):
        fidelity_weights({"A": 1.0}, letters)
