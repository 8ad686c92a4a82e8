"""The Gaussian last layer: against scikit-learn, the exact linear model, and its bound."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.linear_model import BayesianRidge

from mfutils.errors import InputError
from mfutils.forces.bayesian_net import LinearModel
from mfutils.gp.last_layer import fit_last_layer


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(60, 8)) @ rng.normal(size=(8, 8))
    y = 3 + x @ rng.normal(size=8) * 0.4 + rng.normal(0, 0.7, 60)
    return x, y, rng.normal(size=(20, 8)) @ rng.normal(size=(8, 8))


def _linear(x, y, fitted):
    z = (x - x.mean(0)) / x.std(0)
    t = (y - y.mean()) / y.std()
    return z, LinearModel(z, t, fitted.prior, fitted.noise)


def test_posterior_and_evidence_are_those_of_the_exact_linear_model(problem):
    x, y, new = problem
    fitted = fit_last_layer(x, y)
    _, model = _linear(x, y, fitted)
    mean, precision = model.posterior()
    at = (new - x.mean(0)) / x.std(0)
    expected = y.mean() + y.std() * at @ mean
    covariance = np.linalg.inv(precision)
    std = y.std() * np.sqrt(np.einsum("nd,de,ne->n", at, covariance, at) + fitted.noise**2)
    mean_of_y, std_of_y = fitted.predict(new)
    np.testing.assert_allclose(mean_of_y, expected, rtol=1e-8)
    np.testing.assert_allclose(std_of_y, std, rtol=1e-8)
    log_evidence = model.log_evidence() - len(y) * np.log(y.std())
    assert fitted.log_evidence == pytest.approx(log_evidence, rel=1e-9)
    # the bound of this Gaussian is the evidence itself, and no other Gaussian has more
    assert model.elbo(mean, covariance) == pytest.approx(model.log_evidence(), rel=1e-9)
    assert model.elbo(mean, np.diag(np.diag(covariance))) < model.log_evidence()


def test_prior_and_noise_maximise_the_evidence(problem):
    x, y, _ = problem
    fitted = fit_last_layer(x, y)
    _, model = _linear(x, y, fitted)
    for factor in (0.97, 1.03):
        for name in ("prior", "noise"):
            other = {"prior": fitted.prior, "noise": fitted.noise}
            other[name] *= factor
            assert LinearModel(model.x, model.y, **other).log_evidence() < model.log_evidence()


def test_agrees_with_bayesian_ridge(problem):
    x, y, new = problem
    z, at = ((a - x.mean(0)) / x.std(0) for a in (x, new))
    flat = {"alpha_1": 1e-12, "alpha_2": 1e-12, "lambda_1": 1e-12, "lambda_2": 1e-12}
    peer = BayesianRidge(**flat, tol=1e-10, max_iter=5000, fit_intercept=False)
    peer.fit(z, (y - y.mean()) / y.std())
    mean, std = peer.predict(at, return_std=True)
    ours = fit_last_layer(x, y).predict(new)
    np.testing.assert_allclose(ours[0], y.mean() + y.std() * mean, rtol=1e-4)
    np.testing.assert_allclose(ours[1], y.std() * std, rtol=1e-3)


def test_mean_field_keeps_the_mean_and_one_variance_per_weight(problem):
    x, y, new = problem
    full, diagonal = (fit_last_layer(x, y, covariance=c) for c in ("full", "mean-field"))
    _, model = _linear(x, y, full)
    _, std = model.mean_field()
    at = (new - x.mean(0)) / x.std(0)
    mean_of_y, std_of_y = diagonal.predict(new, noiseless=True)
    np.testing.assert_allclose(mean_of_y, full.predict(new)[0])
    np.testing.assert_allclose(std_of_y, y.std() * np.sqrt(at**2 @ std**2), rtol=1e-8)


def test_more_descriptors_than_samples_and_duplicates_of_descriptors(problem):
    x, y, _ = problem
    wide = np.hstack([x, x, np.ones((60, 1)), np.random.default_rng(0).normal(size=(60, 90))])
    fitted = fit_last_layer(wide[:40], y[:40])
    z = wide[:40]
    scale = np.where(z.std(0) > 0, z.std(0), 1.0)
    z = (z - z.mean(0)) / scale
    t = (y[:40] - y[:40].mean()) / y[:40].std()
    model = LinearModel(z, t, fitted.prior, fitted.noise)
    mean, precision = model.posterior()
    at = (wide[40:] - wide[:40].mean(0)) / scale
    variance = np.einsum("nd,de,ne->n", at, np.linalg.inv(precision), at) + fitted.noise**2
    ours = fitted.predict(wide[40:])
    np.testing.assert_allclose(ours[0], y[:40].mean() + y[:40].std() * at @ mean, rtol=1e-6)
    np.testing.assert_allclose(ours[1], y[:40].std() * np.sqrt(variance), rtol=1e-6)
    density = multivariate_normal.logpdf(
        t, cov=fitted.prior**2 * z @ z.T + fitted.noise**2 * np.eye(40)
    )
    assert fitted.log_evidence == pytest.approx(density - 40 * np.log(y[:40].std()), rel=1e-6)


def test_bad_input_is_refused(problem):
    x, y, _ = problem
    with pytest.raises(InputError, match="full, mean-field"):
        fit_last_layer(x, y, covariance="low-rank")
    with pytest.raises(InputError, match="NaN"):
        fit_last_layer(np.where(x > 1, np.nan, x), y)
    with pytest.raises(InputError, match="inputs that vary"):
        fit_last_layer(np.ones((60, 3)), y)
    with pytest.raises(InputError, match="8"):
        fit_last_layer(x, y).predict(x[:, :5])
