"""The sparse variational Gaussian process against the exact one and GPyTorch's own bound."""

import numpy as np
import pytest
import torch

from mfutils.errors import InputError
from mfutils.gp.exact import fit_gp
from mfutils.gp.sparse import fit_sparse_gp, gpytorch


def data(n, d=1, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-3, 3, size=(n, d))
    return x, 4.0 + 2.0 * np.sin(2 * x[:, 0]) + 0.3 * rng.normal(size=n)


@pytest.mark.parametrize("kernel", ["rbf", "matern32", "matern52"])
def test_all_points_inducing_is_exact(kernel):
    x, y = data(40)
    sparse, exact = fit_sparse_gp(x, y, inducing=40, kernel=kernel), fit_gp(x, y, kernel=kernel)
    assert sparse.bound == pytest.approx(exact.log_marginal_likelihood, abs=1e-3)
    new = np.linspace(-4, 4, 25)[:, None]
    np.testing.assert_allclose(sparse.predict(new), exact.predict(new), rtol=1e-3, atol=1e-3)


def test_bound_is_below_the_likelihood_and_close_with_few_inducing_inputs():
    x, y = data(400)
    sparse, exact = fit_sparse_gp(x, y, inducing=15), fit_gp(x, y)
    assert sparse.bound <= exact.log_marginal_likelihood + 1e-6
    assert sparse.bound > exact.log_marginal_likelihood - 1.0
    new = np.linspace(-3, 3, 50)[:, None]
    np.testing.assert_allclose(sparse.predict(new)[0], exact.predict(new)[0], atol=0.05)
    np.testing.assert_allclose(sparse.predict(new)[1], exact.predict(new)[1], rtol=0.05)


def test_bound_equals_gpytorch():
    x, y = data(120, 2)
    ours = fit_sparse_gp(x, y, inducing=20, iterations=5)
    module, scale = ours._model, ours._scale
    inducing = module.inducing.detach().clone()

    class Peer(gpytorch.models.ExactGP):
        def __init__(self, inputs, targets, likelihood):
            super().__init__(inputs, targets, likelihood)
            self.mean_module = gpytorch.means.ZeroMean()
            self.covar_module = gpytorch.kernels.InducingPointKernel(
                module.kernel, inducing_points=inducing, likelihood=likelihood
            )

        def forward(self, inputs):
            return gpytorch.distributions.MultivariateNormal(
                self.mean_module(inputs), self.covar_module(inputs)
            )

    inputs, targets = module.x, module.y
    peer = Peer(inputs, targets, module.likelihood).double().train()
    objective = gpytorch.mlls.ExactMarginalLogLikelihood(module.likelihood, peer)
    with torch.no_grad():
        value = objective(peer(inputs), targets).item() * len(targets)
    assert ours.bound + len(y) * np.log(scale.y_std) == pytest.approx(value, abs=1e-3)


def test_large_n_recovers_signal_and_noise():
    x, y = data(5000)
    model = fit_sparse_gp(x, y, inducing=30, iterations=60)
    assert model.hyperparameters["noise_std"] == pytest.approx(0.3, rel=0.05)
    new = np.linspace(-2.9, 2.9, 100)[:, None]
    truth = 4.0 + 2.0 * np.sin(2 * new[:, 0])
    assert np.abs(model.predict(new)[0] - truth).max() < 0.1
    assert model.predict(new, noiseless=True)[1].max() < model.predict(new)[1].min()


def test_repeated_rows_are_fine():
    x, y = data(30)
    model = fit_sparse_gp(np.repeat(x, 2, axis=0), np.repeat(y, 2), inducing=60)
    assert np.isfinite(model.predict(x)).all()
    assert model.inducing.shape == (30, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"kernel": "linear"}, "unknown kernel"), ({"inducing": 0}, "at least 1")],
)
def test_bad_options(options, message):
    with pytest.raises(InputError, match=message):
        fit_sparse_gp(*data(20), **options)
