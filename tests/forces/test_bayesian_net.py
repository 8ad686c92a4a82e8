"""The evidence bound of a linear model in closed form, the network's by its own definition."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats
from test_committees import DATA

from mfutils.errors import InputError
from mfutils.forces.bayesian_net import LinearModel, fit_variational, kl_to_prior
from mfutils.forces.committees import NetworkSettings


def linear(seed, n=20, d=4):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(n, d)) @ generator.normal(size=(d, d))
    return LinearModel(x, x @ generator.normal(size=d) + 0.3 * generator.normal(size=n), 1.2, 0.3)


@given(st.integers(0, 500))
@settings(max_examples=25, deadline=None)
def test_elbo_of_the_posterior_is_the_evidence(seed):
    model = linear(seed)
    covariance = 1.44 * model.x @ model.x.T + 0.09 * np.eye(20)
    expected = stats.multivariate_normal(np.zeros(20), covariance).logpdf(model.y)
    assert model.log_evidence() == pytest.approx(expected, abs=1e-8)
    mean, precision = model.posterior()
    assert model.elbo(mean, np.linalg.inv(precision)) == pytest.approx(expected, abs=1e-6)


@given(st.integers(0, 500))
@settings(max_examples=15, deadline=None)
def test_gap_is_the_divergence_from_the_posterior(seed):
    model = linear(seed)
    exact, precision = model.posterior()
    generator = np.random.default_rng(seed)
    mean, std = exact + 0.1 * generator.normal(size=4), generator.uniform(0.05, 0.5, 4)
    spread = precision @ np.diag(std**2)
    shift = mean - exact
    kl = 0.5 * (np.trace(spread) - 4 + shift @ precision @ shift - np.linalg.slogdet(spread)[1])
    gap = model.log_evidence() - model.elbo(mean, np.diag(std**2))
    assert gap == pytest.approx(kl, rel=1e-6, abs=1e-6)


def test_mean_field_is_the_best_diagonal():
    model = linear(3)
    mean, std = model.mean_field()
    best = model.elbo(mean, np.diag(std**2))

    def loss(v):
        return -model.elbo(v[:4], np.diag(np.exp(2 * v[4:])))

    start = np.concatenate([np.zeros(4), np.full(4, -1.0)])
    found = optimize.minimize(loss, start, method="BFGS", options={"gtol": 1e-6})
    assert -found.fun == pytest.approx(best, abs=1e-4)
    np.testing.assert_allclose(np.exp(found.x[4:]), std, rtol=1e-3)
    independent = LinearModel(np.eye(4) * 2, np.arange(4.0), 1.0, 0.5)
    centre, spread = independent.mean_field()
    elbo = independent.elbo(centre, np.diag(spread**2))
    assert elbo == pytest.approx(independent.log_evidence(), abs=1e-10)


def test_kl_equals_torch():
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(5, generator=generator, dtype=torch.float64)
    std = torch.rand(5, generator=generator, dtype=torch.float64) + 0.1
    normal = torch.distributions.Normal
    prior = normal(torch.zeros_like(mean), torch.full_like(mean, 0.7))
    expected = torch.distributions.kl_divergence(normal(mean, std), prior).sum()
    assert kl_to_prior(mean, std, 0.7).item() == pytest.approx(expected.item(), abs=1e-10)
    assert kl_to_prior(mean.numpy(), std.numpy(), 0.7) == pytest.approx(expected.item(), abs=1e-10)


def test_variational_network_climbs_its_bound():
    options = NetworkSettings(hidden=8, epochs=250, learning_rate=0.02)
    fitted = fit_variational(DATA, settings=options, seed=0)
    elbo, likelihood, kl = fitted.history.T
    np.testing.assert_allclose(elbo, likelihood - kl, rtol=1e-5, atol=1e-2)
    assert np.median(elbo[-20:]) > np.median(elbo[:20])
    assert fitted.kl() == pytest.approx(kl[-1], rel=0.05)
    drawn = fitted.predict(DATA, passes=20, seed=1)
    mean, covariance = drawn.force_moments()
    truth = DATA.forces.numpy()
    assert np.abs(mean - truth).mean() < np.abs(truth).mean()
    # one noise for all forces, none of it below what was fitted
    assert np.ptp(drawn.force_noise) == pytest.approx(0, abs=1e-12)
    noise = drawn.force_noise[0, 0]
    assert (np.einsum("naa->na", covariance) >= noise).all()
    assert math.isfinite(noise)


def test_a_tight_prior_keeps_the_weights_near_zero():
    options = NetworkSettings(hidden=8, epochs=150, learning_rate=0.02)
    free, tight = (fit_variational(DATA, settings=options, prior=p, seed=0) for p in (2.0, 0.02))
    norm = [sum(float((m**2).sum()) for m in f.means) for f in (free, tight)]
    assert norm[1] < 0.2 * norm[0]


def test_refuses_bad_input():
    with pytest.raises(InputError, match="shapes"):
        LinearModel(np.zeros((3, 2)), np.zeros(4), 1.0, 1.0)
    with pytest.raises(InputError, match="must be above 0"):
        LinearModel(np.zeros((3, 2)), np.zeros(3), 0.0, 1.0)
    with pytest.raises(InputError, match="prior 0 and draws 4"):
        fit_variational(DATA, prior=0.0)
