"""Eq 4.11 against a loop, its limits, and what it cannot do."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mfutils.errors import InputError
from mfutils.study.s04_2.denoising import (
    THRESHOLD,
    denoise,
    oracle,
    rescale,
    scaled_threshold,
)
from mfutils.study.s04_2.label_noise import LEVELS, add_noise
from mfutils.study.s04_2.strategies import STRATEGIES

GAPS = st.floats(0, 12)
PAIRS = st.integers(1, 20).flatmap(
    lambda n: st.tuples(arrays(float, n, elements=GAPS), arrays(float, n, elements=GAPS))
)


def by_hand(noisy, prediction, threshold):
    out = []
    for label, predicted in zip(noisy, prediction, strict=True):
        if math.fabs(predicted - label) > threshold:
            out.append(predicted)
        else:
            out.append(label)
    return out


@given(PAIRS, st.floats(0.01, 5))
def test_equation_4_11(pair, threshold):
    noisy, prediction = pair
    result = denoise(noisy, prediction, threshold)
    assert result.tolist() == by_hand(noisy, prediction, threshold)
    # a second application with the same prediction changes nothing
    assert denoise(result, prediction, threshold).tolist() == result.tolist()
    each = denoise(noisy, prediction, np.full(len(noisy), threshold))
    assert each.tolist() == result.tolist()


def test_the_border_keeps_the_label_and_the_default_is_the_studys():
    assert THRESHOLD == 0.35
    assert denoise([1.0, 1.0], [1.25, 1.5], 0.25).tolist() == [1.0, 1.5]
    assert denoise([1.0, 1.0], [1.34, 1.36]).tolist() == [1.0, 1.36]
    noisy, prediction = np.arange(3.0), np.array([5.0, 1.0, 9.0])
    assert denoise(noisy, prediction, 100).tolist() == noisy.tolist()
    assert denoise(noisy, prediction, 1e-9).tolist() == prediction.tolist()


def test_thresholds_per_label():
    result = denoise([1.0, 1.0, 1.0], [2.0, 2.0, 2.0], [0.5, 1.5, 0.9])
    assert result.tolist() == [2.0, 1.0, 2.0]
    np.testing.assert_allclose(scaled_threshold([0.0, 0.2, 1.0], factor=2.0), [1e-3, 0.4, 2.0])


def test_whether_replacing_helps_depends_on_the_models_error():
    """The question of the section: the same threshold with a good and with a poor model."""
    rng = np.random.default_rng(0)
    truth = rng.gamma(1.5, 1.0, 20_000)
    noisy = add_noise(truth, 0.2, "sampling", seed=1)
    before = np.abs(noisy - truth).mean()

    def after(std):
        prediction = truth + std * rng.standard_normal(len(truth))
        return np.abs(denoise(noisy, prediction) - truth).mean()

    assert after(0.1) < before < after(0.8)


def test_no_rule_that_picks_beats_the_oracle():
    rng = np.random.default_rng(0)
    truth = rng.gamma(1.5, 1.0, 500)
    noisy, prediction = (truth + s * rng.standard_normal(500) for s in (0.5, 0.6))
    best = np.abs(oracle(noisy, prediction, truth) - truth)
    smaller = np.minimum(np.abs(noisy - truth), np.abs(prediction - truth))
    np.testing.assert_allclose(best, smaller)
    for threshold in (0.05, 0.35, 1.0):
        assert best.mean() <= np.abs(denoise(noisy, prediction, threshold) - truth).mean()


def test_rescaling_is_unbiased_and_exact_for_scaling_noise():
    truth = np.random.default_rng(2).gamma(2.0, 1.0, 50_000)
    for theta in LEVELS["high"].values():
        exact = rescale(add_noise(truth, theta, "scaling", seed=0), theta, "scaling")
        np.testing.assert_allclose(exact, truth)
        mean = rescale(add_noise(truth, theta, "sampling", seed=0), theta, "sampling").mean()
        assert mean == pytest.approx(truth.mean(), rel=0.02)


def test_strategies_are_those_of_the_study():
    assert STRATEGIES["1by1"] == ("A", "B", "C", "D")
    assert STRATEGIES["onion"] == ("ABCD", "BCD", "CD", "D")
    assert STRATEGIES["all"] == ("ABCD",)
    assert STRATEGIES["only-true"] == ("D",)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: denoise([1.0], [1.0], 0.0), "threshold is 0: expected a difference above 0"),
        (lambda: denoise([1.0], [1.0], -0.35), r"threshold is -0\.35"),
        (lambda: denoise([1.0, 2.0], [1.0, 2.0], [0.1, 0.0]), "threshold is 0"),
        (lambda: denoise([1.0, 2.0], [1.0, 2.0], [0.1, 0.1, 0.1]), r"2 labels but \(3,\)"),
        (lambda: denoise([1.0], [1.0], np.nan), "threshold is nan"),
        (lambda: denoise([1.0, 2.0], [1.0]), "expected one prediction per label"),
        (lambda: denoise([1.0, 2.0], [1.0, np.nan]), "predictions have NaN or .* row 1"),
        (lambda: oracle([np.inf], [1.0], [1.0]), "labels have NaN or infinite"),
        (lambda: scaled_threshold([-0.1]), "negative or non-finite"),
        (lambda: scaled_threshold([0.1], factor=0), "factor is 0"),
        (lambda: rescale([1.0], 1.0, "scaling"), "nothing is left to rescale"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message):
        call()
