"""The batched Gaussian processes of section 3.1 against GPyTorch and closed forms."""

import warnings

import numpy as np
import pytest
import torch

from mfutils.datasets import battery
from mfutils.errors import InputError
from mfutils.study.s03_1 import folds as cv
from mfutils.study.s03_1 import thesis_gp

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its imports warn about their own dependencies
    import gpytorch


class Exact(gpytorch.models.ExactGP):
    def __init__(self, x, y, likelihood):
        super().__init__(x, y, likelihood)
        self.mean_module = gpytorch.means.ConstantMean()
        self.covar_module = gpytorch.kernels.ScaleKernel(gpytorch.kernels.RBFKernel())

    def forward(self, x):
        return gpytorch.distributions.MultivariateNormal(self.mean_module(x), self.covar_module(x))


def gpytorch_loop(x, y, held, *, epochs=None, patience=10):
    """One fold in GPyTorch: (epochs, held-out predictions, hyperparameters)."""
    x, y, held = torch.as_tensor(x).float(), torch.as_tensor(y).float(), torch.as_tensor(held)
    likelihood = gpytorch.likelihoods.GaussianLikelihood()
    likelihood.noise = 1.0
    model = Exact(x[~held], y[~held], likelihood)
    model.covar_module.base_kernel.lengthscale = 0.01
    objective = gpytorch.mlls.ExactMarginalLogLikelihood(likelihood, model)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    best, left, epoch = float("inf"), patience, 0
    while epochs is None or epoch < epochs:
        model.train()
        optimiser.zero_grad()
        loss = -objective(model(x[~held]), y[~held])
        loss.backward()
        optimiser.step()
        epoch += 1
        if epochs is None:
            model.eval()
            with torch.no_grad():
                error = (model(x[held]).mean - y[held]).abs().mean().item()
            if error < best:
                best, left = error, patience
            else:
                left -= 1
                if left == 0:
                    break
    model.eval()
    with torch.no_grad():
        prediction = model(x[held]).mean.numpy()
    kernel = model.covar_module
    found = {
        "noise_variance": likelihood.noise.item(),
        "mean": model.mean_module.constant.item(),
        "signal_variance": kernel.outputscale.item(),
        "lengthscale": kernel.base_kernel.lengthscale.item(),
    }
    return epoch, prediction, found


@pytest.fixture(scope="module")
def table():
    return battery.features(battery.load())


def test_fixed_epochs_match_gpytorch(table):
    x, y = table
    held_out = cv.leave_one_out(len(y))[[0, 40]]
    held_out[1, 50:] = True  # folds of different size side by side
    ours = thesis_gp.train_fixed(x, y, epochs=400, held_out=held_out)
    for member, held in enumerate(held_out):
        _, prediction, theirs = gpytorch_loop(x, y, held, epochs=400)
        for name, value in theirs.items():
            assert ours.hyperparameters[name][member] == pytest.approx(value, rel=2e-4, abs=2e-5)
        assert np.allclose(ours.predict(x[held])[member], prediction, atol=2e-4)


@pytest.mark.parametrize("fold", [22, 32, 34])
def test_watched_folds_stop_with_gpytorch(table, fold):
    """Folds that stop early; later stops are decided by float32 rounding."""
    x, y = table
    held_out = cv.leave_one_out(len(y))[[fold]]
    ours = thesis_gp.train_watched(x, y, held_out=held_out)
    epochs, prediction, _ = gpytorch_loop(x, y, held_out[0])
    assert abs(int(ours.epochs[0]) - epochs) <= 2
    assert ours.predictions[0, fold] == pytest.approx(prediction[0], abs=1e-4)
    assert np.isnan(np.delete(ours.predictions[0], fold)).all()


def test_compaction_changes_nothing_but_rounding(table):
    x, y = table
    held_out = cv.leave_one_out(len(y))[[32, 33, 34, 35]]
    together = thesis_gp.train_watched(x, y, held_out=held_out)
    for member in range(4):
        alone = thesis_gp.train_watched(x, y, held_out=held_out[[member]])
        assert abs(int(alone.epochs[0]) - int(together.epochs[member])) <= 2
        assert np.allclose(
            alone.predictions[0], together.predictions[member], atol=1e-4, equal_nan=True
        )


def test_predictions_match_the_closed_form(table):
    x, y = table
    model = thesis_gp.train_fixed(x, y, epochs=200)
    found = {name: value[0] for name, value in model.hyperparameters.items()}
    new = x[:5] + 0.03
    seen, target = np.float32(x).astype(float), np.float32(y).astype(float)

    def kernel(a, b):
        distance = np.square(a[:, None] - b[None]).sum(axis=-1)
        return found["signal_variance"] * np.exp(-0.5 * distance / found["lengthscale"] ** 2)

    weights = np.linalg.solve(
        kernel(seen, seen) + found["noise_variance"] * np.eye(len(y)), target - found["mean"]
    )
    expected = found["mean"] + kernel(new, seen) @ weights
    assert np.allclose(model.predict(new)[0], expected, rtol=1e-9)
    assert np.allclose(model.predict(new, chunk=2), model.predict(new), rtol=1e-12)
    single = model.predict(new, dtype=torch.float32)
    assert single.dtype == np.float32
    assert np.allclose(single[0], expected, atol=1e-4)
    shift = np.zeros(9)
    shift[8] = 1e-6
    difference = (model.predict(new + shift) - model.predict(new - shift)) / 2e-6
    assert np.allclose(model.slope(new, 8), difference, atol=1e-8)


def test_gradient_climbs_the_likelihood(table):
    """After training, the exact likelihood (scipy) is higher than at the start."""
    from scipy.stats import multivariate_normal

    x, y = table

    def likelihood(model):
        found = {name: value[0] for name, value in model.hyperparameters.items()}
        distance = np.square(x[:, None] - x[None]).sum(axis=-1)
        covariance = found["signal_variance"] * np.exp(-0.5 * distance / found["lengthscale"] ** 2)
        covariance += found["noise_variance"] * np.eye(len(y))
        return multivariate_normal(np.full(len(y), found["mean"]), covariance).logpdf(y)

    values = [likelihood(thesis_gp.train_fixed(x, y, epochs=e)) for e in (0, 300, 1500)]
    assert values[0] < values[1] < values[2]


def test_bad_input_is_named(table):
    x, y = table
    with pytest.raises(InputError, match="expected x"):
        thesis_gp.train_fixed(x, y[:-1], epochs=1)
    with pytest.raises(InputError, match="finite"):
        thesis_gp.train_fixed(np.where(x > 0, np.nan, x), y, epochs=1)
    with pytest.raises(InputError, match="lengthscale"):
        thesis_gp.train_fixed(x, y, epochs=1, lengthscale=0.0)
    with pytest.raises(InputError, match="x_new"):
        thesis_gp.train_fixed(x, y, epochs=1).predict(x[:, :3])
    with pytest.raises(InputError, match="needs one to watch"):
        thesis_gp.train_watched(x, y, held_out=np.zeros((1, len(y)), dtype=bool))
