"""The posterior against quadrature over the true gap, and the noise level that it recovers."""

import math

import numpy as np
import pytest
from scipy import integrate, stats

from mfutils.errors import InputError
from mfutils.study.s04_2.denoising import denoise, oracle
from mfutils.study.s04_2.label_noise import LEVELS, add_noise
from mfutils.study.s04_2.label_posterior import LabelPosterior, fit_label_posterior

PARAMETERS = {"a": 0.5, "b": -1.5, "c0": -0.1, "c1": 1.1, "s0": 0.4, "s1": 0.2}


def made_up(n, level, *, error=0.4, seed=0):
    """Truth with 40 % metals, noisy labels of four subsets, and a model's predictions."""
    rng = np.random.default_rng(seed)
    truth = rng.gamma(2.0, 1.2, n) * (rng.random(n) > 0.4)
    subset = rng.choice(list("ABCD"), n, p=[0.5, 0.2, 0.2, 0.1])
    theta = np.array([LEVELS[level][name] for name in subset])
    noisy = add_noise(truth, theta, "sampling", seed=seed + 1)
    prediction = np.maximum(truth + (error + 0.1 * truth) * rng.standard_normal(n), 0.0)
    return truth, noisy, prediction, subset


def normal(x, mean, std):
    return math.exp(-0.5 * ((x - mean) / std) ** 2) / (std * math.sqrt(2 * math.pi))


def by_quadrature(t, p, theta):
    """Posterior mean and distribution function of T, by integrals over T itself."""
    q = PARAMETERS
    zero = 1 / (1 + math.exp(-q["a"] - q["b"] * p))
    mean, std = q["c0"] + q["c1"] * p, q["s0"] + q["s1"] * p + 0.02
    if t == 0:
        prior = stats.truncnorm((0 - mean) / std, np.inf, loc=mean, scale=std)
        lost = stats.norm(theta, theta).sf(1.0)
        truly = zero / (zero + (1 - zero) * lost)
        return (1 - truly) * prior.mean(), lambda x: truly + (1 - truly) * prior.cdf(x)

    def joint(x):
        return normal(t / x, 1 - theta, theta) / x * normal(x, mean, std)

    top = mean + 9 * std + 1
    options = {"limit": 200, "points": [max(mean, 0.1), min(t, top - 0.1)]}
    norm = integrate.quad(joint, 1e-9, top, **options)[0]
    first = integrate.quad(lambda x: x * joint(x), 1e-9, top, **options)[0]
    return first / norm, lambda x: integrate.quad(joint, 1e-9, x, limit=200)[0] / norm


@pytest.mark.parametrize("theta", [0.2, 0.6, 0.9])
def test_mean_and_median_against_quadrature(theta):
    model = LabelPosterior(PARAMETERS, {"A": theta, "D": 0.0}, 0.0)
    t = np.array([0.0, 0.0, 0.3, 1.0, 2.5, 4.0])
    p = np.array([0.1, 3.0, 0.5, 1.5, 2.0, 4.5])
    letters = np.full(len(t), "A")
    mean = model.correct(t, p, letters)
    median = model.correct(t, p, letters, point="median")
    for i in range(len(t)):
        expected, below = by_quadrature(t[i], p[i], theta)
        assert mean[i] == pytest.approx(expected, abs=0.01)
        if median[i] > 0:
            # steps of the grid of factors are 6 to 9 percent wide
            assert below(0.93 * median[i]) <= 0.5 <= below(1.07 * median[i]) + 1e-6
        else:
            assert below(1e-9) >= 0.5


def test_noise_free_labels_are_left_alone():
    truth, noisy, prediction, subset = made_up(400, "medium")
    model = LabelPosterior(PARAMETERS, LEVELS["medium"], 0.0)
    corrected = model.correct(noisy, prediction, subset)
    free = subset == "D"
    np.testing.assert_array_equal(corrected[free], truth[free])
    assert (corrected >= 0).all()
    assert not np.array_equal(corrected[~free], noisy[~free])


@pytest.mark.parametrize("level", ["low", "medium", "high"])
def test_it_beats_label_prediction_and_every_threshold(level):
    truth, noisy, prediction, subset = made_up(3000, level)
    model = fit_label_posterior(noisy, prediction, subset, theta=LEVELS[level])
    noisy_part = subset != "D"

    def error(labels):
        return np.abs(labels - truth)[noisy_part].mean()

    ours = error(model.correct(noisy, prediction, subset, point="median"))
    assert ours < error(noisy)
    assert ours < error(prediction)
    for threshold in (0.1, 0.35, 0.7, 1.0, 1.5, 2.5):
        assert ours < error(denoise(noisy, prediction, threshold))
    assert error(oracle(noisy, prediction, truth)) < error(noisy)  # the harness can tell


@pytest.mark.parametrize("level", ["low", "medium", "high"])
def test_unknown_noise_is_recovered(level):
    _, noisy, prediction, subset = made_up(6000, level, seed=3)
    model = fit_label_posterior(noisy, prediction, subset, limit=6000)
    assert model.theta["D"] == 0
    for name in "ABC":
        assert model.theta[name] == pytest.approx(LEVELS[level][name], abs=0.06)
    # the prior's spread grows with the prediction, and small predictions mean metals
    assert model.parameters["s1"] > 0.02
    assert model.parameters["b"] < 0


def test_known_noise_is_kept_and_a_subset_of_labels_can_fit():
    _, noisy, prediction, subset = made_up(800, "medium")
    use = np.random.default_rng(0).random(800) < 0.5
    model = fit_label_posterior(noisy, prediction, subset, theta=LEVELS["medium"], use=use)
    assert model.theta == LEVELS["medium"]
    again = fit_label_posterior(
        noisy[use], prediction[use], subset[use], theta=LEVELS["medium"], limit=10**6
    )
    for name, value in model.parameters.items():
        assert again.parameters[name] == pytest.approx(value, rel=1e-6)


def test_bad_input():
    _, noisy, prediction, subset = made_up(60, "medium")
    with pytest.raises(InputError, match="theta is missing for subset B"):
        fit_label_posterior(noisy, prediction, subset, theta={"A": 0.3, "D": 0.0})
    with pytest.raises(InputError, match=r"theta of A is -0\.3: expected 0 to 1"):
        fit_label_posterior(noisy, prediction, subset, theta={**LEVELS["low"], "A": -0.3})
    with pytest.raises(InputError, match="10 labels to fit the posterior"):
        fit_label_posterior(noisy[:10], prediction[:10], subset[:10])
    with pytest.raises(InputError, match="unknown subset 'E'"):
        fit_label_posterior(noisy, prediction, np.full(60, "E"))
    with pytest.raises(InputError, match=r"expected \(n,\) each"):
        fit_label_posterior(noisy, prediction[:5], subset)
    with pytest.raises(InputError, match="not finite"):
        fit_label_posterior(noisy, prediction * np.nan, subset)
    model = LabelPosterior(PARAMETERS, {"A": 0.3}, 0.0)
    with pytest.raises(InputError, match="no noise of subset B"):
        model.correct(np.ones(2), np.ones(2), ["A", "B"])
    with pytest.raises(InputError, match="point is 'mode'"):
        model.correct(np.ones(1), np.ones(1), ["A"], point="mode")
