"""Exact Gaussian processes against closed forms, scikit-learn, GPyTorch and finite differences."""

import warnings

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, Matern, WhiteKernel

from mfutils.errors import InputError
from mfutils.gp.exact import DegenerateFitWarning, _Covariance, fit_gp
from mfutils.gp.kernels import KERNELS
from mfutils.gp.likelihood import log_likelihood


def wave(n, d, *, noise=0.2, seed=0):
    rng = np.random.default_rng(seed)
    x = 5.0 + 3.0 * rng.normal(size=(n, d))
    y = 100.0 + 20.0 * (np.sin(x[:, 0]) + 0.3 * x[:, -1] + noise * rng.normal(size=n))
    return x, y


SKLEARN = {
    "rbf": lambda d: RBF(np.sqrt(d), (1e-3, 1e4)),
    "matern32": lambda d: Matern(np.sqrt(d), (1e-3, 1e4), nu=1.5),
    "matern52": lambda d: Matern(np.sqrt(d), (1e-3, 1e4), nu=2.5),
    "linear": lambda d: DotProduct(0.0, "fixed"),
}


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("d", [1, 4])
def test_likelihood_and_predictions_equal_scikit_learn(kernel, d):
    x, y = wave(70, d)
    ours = fit_gp(x, y, kernel=kernel)
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    shape = ConstantKernel(1.0, (1e-6, 1e6)) * SKLEARN[kernel](d) + WhiteKernel(0.01, (1e-8, 10))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = GaussianProcessRegressor(
            shape, alpha=0.0, normalize_y=True, n_restarts_optimizer=6, random_state=0
        ).fit(z, y)
    likelihood = peer.log_marginal_likelihood_value_ - len(y) * np.log(y.std())
    assert ours.log_marginal_likelihood >= likelihood - 1e-4
    if ours.log_marginal_likelihood < likelihood + 1e-4:
        new = wave(30, d, seed=1)[0]
        mean, std = peer.predict((new - x.mean(axis=0)) / x.std(axis=0), return_std=True)
        np.testing.assert_allclose(ours.predict(new), (mean, std), rtol=2e-3)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("ard", [False, True])
@pytest.mark.parametrize("noise", [None, 0.3])
def test_gradient_equals_finite_differences(kernel, ard, noise):
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(25, 3)), rng.normal(size=25)
    covariance = _Covariance(x, kernel, ard, noise)
    theta = 0.3 * rng.normal(size=covariance.n_parameters)
    slope = log_likelihood(covariance, theta, y)[1]
    steps = 1e-5 * np.eye(len(theta))
    values = [
        [log_likelihood(covariance, theta + sign * step, y)[0] for sign in (1, -1)]
        for step in steps
    ]
    numeric = [(up - down) / 2e-5 for up, down in values]
    np.testing.assert_allclose(slope, numeric, rtol=1e-5, atol=1e-6)


def test_posterior_is_eq_2_6_and_2_7():
    x, y = wave(40, 2)
    model = fit_gp(x, y)
    h = model.hyperparameters
    new = wave(15, 2, seed=4)[0]

    def kernel(a, b):
        gap = ((a[:, None] - b[None]) / h["lengthscale"]) ** 2
        return h["signal_std"] ** 2 * np.exp(-0.5 * gap.sum(axis=2))

    gram = np.linalg.inv(kernel(x, x) + h["noise_std"] ** 2 * np.eye(len(x)))
    mean = y.mean() + kernel(new, x) @ gram @ (y - y.mean())
    latent = h["signal_std"] ** 2 - np.diag(kernel(new, x) @ gram @ kernel(x, new))
    np.testing.assert_allclose(model.predict(new, noiseless=True)[0], mean, rtol=1e-6)
    np.testing.assert_allclose(model.predict(new, noiseless=True)[1] ** 2, latent, rtol=1e-4)
    noisy = latent + h["noise_std"] ** 2
    np.testing.assert_allclose(model.predict(new)[1] ** 2, noisy, rtol=1e-4)


def test_linear_kernel_is_ridge_regression():
    x, y = wave(50, 3)
    model = fit_gp(x, y, kernel="linear")
    h = model.hyperparameters
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    weight_variance = np.square(h["weight_std"] * x.std(axis=0))[0]
    penalty = h["noise_std"] ** 2 / weight_variance
    beta = np.linalg.solve(z.T @ z + penalty * np.eye(3), z.T @ (y - y.mean()))
    np.testing.assert_allclose(model.predict(x)[0], y.mean() + z @ beta, rtol=1e-8)


def test_leave_one_out_equals_refitting():
    x, y = wave(20, 1)
    model = fit_gp(x, y)
    mean, std = model.leave_one_out()
    covariance, theta = model._covariance, model._theta
    gram = covariance.matrix(theta)
    z = (y - y.mean()) / y.std()
    for i in (0, 7, 19):
        rest = np.arange(20) != i
        solved = np.linalg.solve(gram[np.ix_(rest, rest)], gram[rest, i])
        assert mean[i] == pytest.approx(y.mean() + y.std() * (solved @ z[rest]), rel=1e-8)
        variance = gram[i, i] - solved @ gram[rest, i]
        assert std[i] == pytest.approx(y.std() * np.sqrt(variance), rel=1e-6)


def test_units_do_not_matter():
    x, y = wave(40, 3)
    plain, scaled = fit_gp(x, y), fit_gp(1e4 * x - 7, 1e-5 * y + 3)
    np.testing.assert_allclose(
        scaled.hyperparameters["lengthscale"], 1e4 * plain.hyperparameters["lengthscale"], rtol=1e-3
    )
    std = scaled.predict(1e4 * x - 7)[1]
    np.testing.assert_allclose(std, 1e-5 * plain.predict(x)[1], rtol=1e-4)


def test_hundred_features_are_fitted_not_frozen():
    """The lengthscale 0.69 of a common default makes all points strangers in 100 dimensions."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 100))
    weights = rng.normal(size=100) / 10
    y = np.tanh(x @ weights) + 0.05 * rng.normal(size=300)
    model = fit_gp(x[:200], y[:200])
    error = model.predict(x[200:])[0] - y[200:]
    assert np.mean(model.hyperparameters["lengthscale"]) > 5.0
    assert np.mean(error**2) < 0.4 * y[200:].var()


def test_noise_given_as_number_or_per_point():
    rng = np.random.default_rng(2)
    x = np.sort(rng.uniform(size=(60, 1)), axis=0)
    noise = np.where(x[:, 0] < 0.5, 0.05, 0.5)
    y = np.sin(6 * x[:, 0]) + noise * rng.normal(size=60)
    model = fit_gp(x, y, noise=noise)
    np.testing.assert_allclose(model.hyperparameters["noise_std"], noise)
    _, std = model.predict(np.array([[0.25], [0.75]]), noiseless=True)
    assert std[0] < std[1]
    total = model.predict(x, noise=noise)[1] ** 2 - model.predict(x, noiseless=True)[1] ** 2
    np.testing.assert_allclose(total, noise**2, rtol=1e-8)
    known = fit_gp(x, y, noise=0.2)
    assert known.hyperparameters["noise_std"] == pytest.approx(0.2)


def test_noise_free_data_are_interpolated():
    x = np.linspace(0, 1, 12)[:, None]
    y = np.cos(5 * x[:, 0])
    mean, std = fit_gp(x, y, noise=0.0).predict(x)
    np.testing.assert_allclose(mean, y, atol=1e-5)
    assert std.max() < 1e-3


@pytest.mark.parametrize("n", [3, 10, 63])
def test_pure_noise_does_not_give_a_degenerate_fit(n):
    x = np.random.default_rng(n).uniform(size=(n, 1))
    y = np.random.default_rng(n + 100).normal(size=n)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateFitWarning)
        model = fit_gp(x, y)
    lengthscale = model.hyperparameters["lengthscale"] / x.std()
    assert 1e-2 < lengthscale < 1e2
    assert np.isfinite(model.predict(x)).all()


def test_degenerate_optimum_is_refitted_and_reported():
    x = np.random.default_rng(0).uniform(size=(10, 1))
    models = [fit_gp(x, np.random.default_rng(s).normal(size=10)) for s in range(12)]
    reported = [m for m in models if m.diagnosis]
    assert reported, "ten noisy points always degenerate for some draw"
    for model in reported:
        assert model._diagnose() == ""
        assert any(word in model.diagnosis for word in ("collapsed", "exploded", "swallows"))


def test_hopeless_data_warn():
    rng = np.random.default_rng(0)
    with pytest.warns(DegenerateFitWarning, match="fall back to the mean"):
        fit_gp(rng.normal(size=(60, 100)), rng.normal(size=60))


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        (np.zeros((3, 1)), np.zeros(2), {}, "has shape"),
        ([[0.0], [np.nan]], [0.0, 1.0], {}, "NaN or infinite.*row 1"),
        ([[0.0], [1.0]], [0.0, np.inf], {}, "y has 1 NaN or infinite"),
        ([[0.0]], [1.0], {}, "at least 2"),
        ([[0.0], [1.0]], [2.0, 2.0], {}, "zero variance"),
        ([[1.0], [1.0]], [2.0, 3.0], {}, "rows of x are equal"),
        ([[0.0], [0.0], [1.0]], [1.0, 2.0, 3.0], {"noise": 0.0}, "rows 0 and 1 are equal"),
        ([[0.0], [1.0]], [1.0, 2.0], {"noise": -1.0}, "negative"),
        ([[0.0], [1.0]], [1.0, 2.0], {"noise": [0.1]}, "one per row"),
        ([[0.0], [1.0]], [1.0, 2.0], {"kernel": "cubic"}, "unknown kernel 'cubic'"),
        (np.zeros((2, 2, 2)), [1.0, 2.0], {}, r"expected \(n, d\)"),
    ],
)
def test_bad_input_is_one_clear_line(x, y, options, message):
    with pytest.raises(InputError, match=message) as caught:
        fit_gp(np.asarray(x), np.asarray(y), **options)
    assert "\n" not in str(caught.value)


def test_wrong_width_at_prediction():
    x, y = wave(20, 3)
    with pytest.raises(InputError, match="2 columns: expected 3"):
        fit_gp(x, y).predict(np.zeros((4, 2)))


def test_same_seed_same_fit():
    x, y = wave(50, 2)
    np.testing.assert_array_equal(fit_gp(x, y).predict(x), fit_gp(x, y).predict(x))
