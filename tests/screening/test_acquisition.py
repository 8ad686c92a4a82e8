"""Acquisition functions against botorch, scipy's quadrature and sampling."""

import warnings
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from mfutils.errors import InputError
from mfutils.screening import acquisition as acq

NUMBER = st.floats(-20, 20, allow_subnormal=False)
SPREAD = st.floats(1e-3, 10, allow_subnormal=False)


def botorch(name, mean, std, **options):
    """An analytic acquisition function of botorch for a model that predicts mean and std."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates its own compiler
        from botorch.acquisition import analytic
        from botorch.models.deterministic import GenericDeterministicModel

        if "best_f" in options:  # a plain number becomes single precision
            options["best_f"] = torch.tensor(options["best_f"], dtype=torch.float64)
        peer = getattr(analytic, name)(GenericDeterministicModel(lambda x: x), **options)
    moments = torch.tensor(mean)[:, None], torch.tensor(std)[:, None]
    peer._mean_and_sigma = lambda x: moments
    return peer(torch.zeros(len(mean), 1, 1, dtype=torch.float64)).numpy()


@pytest.fixture(scope="module")
def gaussians():
    rng = np.random.default_rng(0)
    return rng.normal(0, 2, 200), rng.lognormal(-1, 1.5, 200)


@pytest.mark.parametrize("maximise", [True, False])
def test_expected_improvement_is_botorchs(gaussians, maximise):
    mean, std = gaussians
    expected = botorch("ExpectedImprovement", mean, std, best_f=0.3, maximize=maximise)
    ours = acq.expected_improvement(mean, std, 0.3, maximise=maximise)
    np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-12)
    logs = botorch("LogExpectedImprovement", mean, std, best_f=0.3, maximize=maximise)
    ours = acq.log_expected_improvement(mean, std, 0.3, maximise=maximise)
    np.testing.assert_allclose(ours, logs, rtol=1e-8, atol=1e-10)


def test_bound_and_probability_are_botorchs(gaussians):
    mean, std = gaussians
    expected = botorch("UpperConfidenceBound", -mean, std, beta=4.0)
    np.testing.assert_allclose(-acq.lower_confidence_bound(mean, std, w2=2.0), expected)
    expected = botorch("ProbabilityOfImprovement", mean, std, best_f=0.3, maximize=False)
    np.testing.assert_allclose(acq.probability_below(mean, std, 0.3), expected, atol=1e-12)


def test_log_improvement_survives_the_far_tail():
    z = -np.array([3.0, 30.0, 49.9, 50.1, 200.0, 1e4])
    ours = acq.log_expected_improvement(-z, 1.0, 0.0)
    # E[max(Z + z, 0)] = phi(z) / z^2 (1 - 3 / z^2 + ...) for z to minus infinity
    leading = norm.logpdf(z) - 2 * np.log(-z) + np.log1p(-3 / z**2 + 15 / z**4 - 105 / z**6)
    np.testing.assert_allclose(ours[1:], leading[1:], rtol=1e-9)
    assert (np.diff(ours) < 0).all()
    assert acq.expected_improvement(200.0, 1.0, 0.0) == 0


def integral(f, mean, std, knots):
    """Integral of f against N(mean, std), piecewise between knots, by Gauss and Legendre."""
    nodes, weights = np.polynomial.legendre.leggauss(80)
    edges = np.unique(np.clip([mean - 12 * std, *knots, mean + 12 * std], mean - 12 * std,
                              mean + 12 * std))  # fmt: skip
    total = 0.0
    for a, b in pairwise(edges):
        y = (a + b) / 2 + (b - a) / 2 * nodes
        total += (b - a) / 2 * float(weights @ (f(y) * norm.pdf(y, mean, std)))
    return total


@given(NUMBER, SPREAD, NUMBER, st.floats(0.01, 20))
@settings(deadline=None)
def test_utility_moments_are_integrals(mean, std, low, width):
    for high in (low + width, np.inf):
        value, spread = acq.utility_moments(mean, std, low, high)
        knots = [p for p in (low, high) if np.isfinite(p)]

        def u(y, high=high):
            return np.clip(y, low, high) - low

        first = integral(u, mean, std, knots)
        variance = integral(lambda y, u=u, f=first: (u(y) - f) ** 2, mean, std, knots)
        assert value == pytest.approx(first, abs=1e-10, rel=1e-10)
        # A variance far below that of y is a difference of larger numbers
        assert spread**2 == pytest.approx(variance, abs=1e-12 * max(1, width, std) ** 2, rel=1e-8)
        assert 0 <= value <= high - low


def test_utility_moments_by_adaptive_quadrature():
    def integrand(y, power):
        return min(max(y - 2.8, 0.0), 0.8) ** power * norm.pdf(y, 3.1, 0.4)

    first, second = (
        quad(integrand, -2, 8, args=(k,), points=[2.8, 3.6], epsabs=1e-13)[0] for k in (1, 2)
    )
    value, spread = acq.utility_moments(3.1, 0.4, 2.8, 3.6)
    assert value == pytest.approx(first)
    assert spread == pytest.approx(np.sqrt(second - first**2))


@given(NUMBER, SPREAD, NUMBER, st.floats(0.01, 20))
def test_window_probability(mean, std, low, width):
    ours = acq.window_probability(mean, std, low, low + width)
    expected = norm.cdf(low + width, mean, std) - norm.cdf(low, mean, std)
    assert ours == pytest.approx(expected, abs=1e-13)
    left = acq.window_probability(mean, std, -np.inf, low)
    right = acq.window_probability(mean, std, low + width, np.inf)
    assert left + ours + right == pytest.approx(1)
    # Mirrored windows are equally likely, also where both sides are tiny
    mirrored = acq.window_probability(-mean, std, -low - width, -low)
    assert mirrored == pytest.approx(ours, rel=1e-12, abs=0)


def test_moments_of_the_margin_against_sampling():
    rng = np.random.default_rng(1)
    mean, std, low, high = 3.1, 0.4, 2.8, 3.6
    u = np.clip(rng.normal(mean, std, 2_000_000), low, high) - low
    value, spread = acq.utility_moments(mean, std, low, high)
    assert value == pytest.approx(u.mean(), abs=4 * u.std() / np.sqrt(len(u)))
    assert spread == pytest.approx(u.std(), rel=3e-3)


def test_entropy_and_information():
    p = np.linspace(0, 1, 101)
    expected = norm.entropy() * 0 + np.array([0 if q in (0, 1) else -q * np.log(q)
                                              - (1 - q) * np.log(1 - q) for q in p])  # fmt: skip
    np.testing.assert_allclose(acq.classification_entropy(p), expected, atol=1e-15)
    assert p[acq.classification_entropy(p).argmax()] == 0.5
    # I(y; f) = h(y) - h(y | f), differences of normal entropies
    std, noise = np.array([0.1, 1.0, 7.0]), 0.5
    expected = norm.entropy(scale=np.hypot(std, noise)) - norm.entropy(scale=noise)
    np.testing.assert_allclose(acq.mutual_information(std, noise), expected)
    mean = np.array([0.0, 0.9, 3.0])
    score = acq.boundary_information(mean, std, noise, 1.0, 0.2)
    assert score.argmax() == 1
    assert acq.boundary_information(mean, std, noise, 9.0, 0.2).argmax() == 2


def test_known_candidates():
    assert acq.expected_improvement(1.0, 0.0, 1.5) == 0.5
    assert acq.expected_improvement(2.0, 0.0, 1.5) == 0.0
    assert acq.log_expected_improvement(2.0, 0.0, 1.5) == -np.inf
    assert acq.log_expected_improvement(1.0, 0.0, 1.5) == pytest.approx(np.log(0.5))
    inside = acq.window_probability([0.9, 1.0, 1.5, 2.0, 2.1], 0.0, 1.0, 2.0)
    assert inside.tolist() == [0, 1, 1, 1, 0]
    assert acq.probability_below([0.9, 1.0, 1.1], 0.0, 1.0).tolist() == [1, 1, 0]
    value, spread = acq.utility_moments([0.0, 1.5, 9.0], 0.0, 1.0, 2.0)
    assert value.tolist() == [0, 0.5, 1]
    assert spread.tolist() == [0, 0, 0]


def test_exchange_line():
    # Along equal scores w2 / w1 units of mean buy one unit of std
    a = acq.lower_confidence_bound(0.10, 0.05, w1=2.0, w2=3.0)
    b = acq.lower_confidence_bound(0.10 + 3.0 / 2.0 * 0.02, 0.07, w1=2.0, w2=3.0)
    assert a == pytest.approx(b)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: acq.expected_improvement([0.0], [-1.0], 0.0), "negative"),
        (lambda: acq.expected_improvement([0.0, 1.0], [1.0, 1.0, 1.0], 0.0), "one std per mean"),
        (lambda: acq.expected_improvement([0.0], [1.0], np.nan), "best"),
        (lambda: acq.window_probability(0.0, 1.0, 2.0, 2.0), "empty"),
        (lambda: acq.classification_entropy([0.2, 1.2]), r"outside \[0, 1\]"),
        (lambda: acq.mutual_information(1.0, 0.0), "positive"),
        (lambda: acq.boundary_information(0.0, 1.0, 1.0, 0.0, -1.0), "delta"),
        (lambda: acq.utility_moments(0.0, 1.0, -np.inf), "low is infinite"),
        (lambda: acq.lower_confidence_bound(0.0, 1.0, w1=0, w2=0), "weights"),
        (lambda: acq.probability_below(np.inf, 1.0, 0.0), "not finite"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message):
        call()
