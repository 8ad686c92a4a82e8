"""Co-kriging against the formulas written out, SMT's MFK, quadrature and known answers."""

import warnings

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from mfutils.errors import InputError
from mfutils.gp.cokriging import fit_cokriging
from mfutils.gp.hyperparameter_average import hyperparameter_draws
from mfutils.gp.joint_covariance import JointCovariance
from mfutils.gp.likelihood import LogNormalPrior, log_likelihood
from mfutils.gp.nargp import _covariance, fit_nargp


def forrester(x):
    return (6 * x[:, 0] - 2) ** 2 * np.sin(12 * x[:, 0] - 4)


def forrester_low(x):
    return 0.5 * forrester(x) + 10 * (x[:, 0] - 0.5) - 5


def branin(x):
    a, b = 15 * x[:, 0] - 5, 15 * x[:, 1]
    bowl = (b - 5.1 / (4 * np.pi**2) * a**2 + 5 / np.pi * a - 6) ** 2
    return bowl + 10 * (1 - 1 / (8 * np.pi)) * np.cos(a) + 10


def branin_low(x):
    return 0.5 * branin(0.9 * x + 0.05) + 5 * x[:, 0] - 10 * x[:, 1]


PAIRS = {1: (forrester, forrester_low, 40, 8), 2: (branin, branin_low, 80, 16)}


def sample(d, *, nested, noise, seed):
    """Two-fidelity data of a textbook pair; noise relative to the spread of the high fidelity."""
    high, low, n_low, n_high = PAIRS[d]
    rng = np.random.default_rng(seed)
    x_low = rng.uniform(size=(n_low, d))
    x_high = rng.uniform(size=(n_high, d))
    if nested:
        x_high = x_low[rng.choice(n_low, n_high, replace=False)]
    x_test = rng.uniform(size=(200, d))
    spread = high(x_test).std()
    y_low = low(x_low) + noise * spread * rng.normal(size=n_low)
    y_high = high(x_high) + 0.5 * noise * spread * rng.normal(size=n_high)
    return [x_low, x_high], [y_low, y_high], x_test, high(x_test), spread


@pytest.mark.parametrize("options", [{}, {"pooled": True}, {"magnitude": True}, {"ard": True}])
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_gradient_equals_finite_differences(levels, options):
    rng = np.random.default_rng(0)
    x, level = rng.normal(size=(30, 2)), np.arange(30) % levels
    options = dict(options)
    if options.get("magnitude"):
        options["magnitude"] = np.abs(rng.normal(size=30))
    covariance = JointCovariance(x, level, trend=1.5, **options)
    y, theta = rng.normal(size=30), 0.3 * rng.normal(size=covariance.layout.size)
    slope = log_likelihood(covariance, theta, y)[1]
    for i, step in enumerate(1e-5 * np.eye(len(theta))):
        up, down = (log_likelihood(covariance, theta + s * step, y)[0] for s in (1, -1))
        assert slope[i] == pytest.approx((up - down) / 2e-5, rel=1e-5, abs=1e-6)


def test_nargp_gradient_equals_finite_differences():
    rng = np.random.default_rng(0)
    covariance, y = _covariance(rng.normal(size=(20, 3))), rng.normal(size=20)
    theta = 0.3 * rng.normal(size=7)
    slope = log_likelihood(covariance, theta, y)[1]
    for i, step in enumerate(1e-5 * np.eye(7)):
        up, down = (log_likelihood(covariance, theta + s * step, y)[0] for s in (1, -1))
        assert slope[i] == pytest.approx((up - down) / 2e-5, rel=1e-5, abs=1e-6)


def test_prediction_is_kennedy_and_ohagan_written_out():
    """Blocks of the joint covariance of a two-level model, by hand, at the fitted values."""
    (x_low, x_high), (y_low, y_high), x_test, _, _ = sample(1, nested=False, noise=0.05, seed=1)
    model = fit_cokriging([x_low, x_high], [y_low, y_high], draws=0)
    h = model.hyperparameters
    shift = np.exp(model.theta[model.layout.shift][0]) * y_low.std()
    trend = np.hypot(1.0, abs(y_low.mean()) / y_low.std()) * y_low.std()
    rho = h["rho"][0]

    def low(a, b):
        r2 = ((a[:, 0][:, None] - b[:, 0]) / h["lengthscale"][0][0]) ** 2
        return h["signal_std"][0] ** 2 * np.exp(-0.5 * r2) + trend**2

    def delta(a, b):
        r2 = ((a[:, 0][:, None] - b[:, 0]) / h["lengthscale"][1][0]) ** 2
        return h["signal_std"][1] ** 2 * np.exp(-0.5 * r2) + shift**2

    n, m = len(x_low), len(x_high)
    gram = np.block(
        [
            [low(x_low, x_low) + h["noise_std"][0] ** 2 * np.eye(n), rho * low(x_low, x_high)],
            [
                rho * low(x_high, x_low),
                rho**2 * low(x_high, x_high)
                + delta(x_high, x_high)
                + h["noise_std"][1] ** 2 * np.eye(m),
            ],
        ]
    )
    cross = np.hstack(
        [rho * low(x_test, x_low), rho**2 * low(x_test, x_high) + delta(x_test, x_high)]
    )
    solved = np.linalg.solve(gram, cross.T)
    mean = solved.T @ np.r_[y_low, y_high]
    prior = np.diag(rho**2 * low(x_test, x_test) + delta(x_test, x_test))
    std = np.sqrt(prior - np.einsum("ij,ji->i", cross, solved))
    np.testing.assert_allclose(model.predict(x_test)[0], mean, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(model.predict(x_test)[1], std, rtol=1e-3, atol=1e-4)
    noisy = model.predict(x_test, noiseless=False)[1]
    np.testing.assert_allclose(noisy**2, std**2 + h["noise_std"][1] ** 2, rtol=1e-3)


def smt(inputs, targets, x_test, *, noisy):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from smt.applications.mfk import MFK

        peer = MFK(theta0=[1.0] * x_test.shape[1], print_global=False, eval_noise=noisy)
        peer.set_training_values(inputs[0], targets[0], name=0)
        peer.set_training_values(inputs[1], targets[1])
        peer.train()
        return peer.predict_values(x_test).ravel()


@pytest.mark.slow
@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize("nested", [True, False])
def test_not_worse_than_smt(d, nested):
    """Noisy textbook pairs, and noise-free ones where both are told so.

    Predictions agree to .015-.09 of the spread of the truth with noise, to .007 without.
    """
    for noise, tolerance in ((0.03, 0.15), (0.0, 0.02)):
        errors, gaps = [], []
        for seed in range(21, 24):
            inputs, targets, x_test, truth, spread = sample(
                d, nested=nested, noise=noise, seed=seed
            )
            known = None if noise else 0.0
            ours = fit_cokriging(inputs, targets, ard=True, noise=known).predict(x_test)[0]
            theirs = smt(inputs, targets, x_test, noisy=noise > 0)
            errors.append([np.sqrt(np.mean((p - truth) ** 2)) / spread for p in (ours, theirs)])
            gaps.append(np.sqrt(np.mean((ours - theirs) ** 2)) / spread)
        ours, theirs = np.median(errors, axis=0)
        # A hundredth of the spread is below what either can be said to resolve
        assert ours <= 1.1 * theirs + 0.01
        assert np.median(gaps) < tolerance


def few_points(kind, seed):
    """50 low- and 2 high-fidelity points of a law that two points cannot pin down."""
    rng = np.random.default_rng(seed)
    x_low, x_high = rng.uniform(size=(50, 1)), rng.uniform(0.1, 0.9, size=(2, 1))
    x_test = np.linspace(0, 1, 40)[:, None]
    if kind == "forrester":
        high, low = forrester, forrester_low
    else:
        a, b, c = rng.uniform(3, 9), rng.uniform(0.5, 1.5), rng.uniform(-1, 1)

        def low(x):
            return np.sin(a * x[:, 0]) + 0.5 * x[:, 0]

        def high(x):
            return b * low(x) + 0.5 * c + 0.3 * c * np.cos(3 * x[:, 0])

    y_low = low(x_low) + 0.05 * rng.normal(size=50)
    y_high = high(x_high) + 0.02 * rng.normal(size=2)
    return [x_low, x_high], [y_low, y_high], x_test, high(x_test)


@pytest.mark.parametrize("kind", ["forrester", "bent"])
def test_fifty_low_and_two_high_points_are_not_over_confident(kind):
    inside, ratio = [], []
    for seed in range(8):
        inputs, targets, x_test, truth = few_points(kind, seed)
        mean, std = fit_cokriging(inputs, targets).predict(x_test)
        inside.append(np.mean(np.abs(mean - truth) < 1.96 * std))
        ratio.append(np.mean((mean - truth) ** 2) / np.mean(std**2))
    assert np.mean(inside) > 0.85
    assert np.sqrt(np.median(ratio)) < 1.5


def test_three_levels_share_what_they_know():
    rng = np.random.default_rng(0)
    x = [rng.uniform(size=(n, 1)) for n in (60, 25, 8)]
    base = lambda x: np.sin(8 * x[:, 0])  # noqa: E731
    laws = [base, lambda x: 1.5 * base(x) + 0.5, lambda x: 2.0 * (1.5 * base(x) + 0.5) - x[:, 0]]
    y = [law(part) + 0.02 * rng.normal(size=len(part)) for law, part in zip(laws, x, strict=True)]
    new = np.linspace(0.05, 0.95, 50)[:, None]
    model = fit_cokriging(x, y)
    for level, law in enumerate(laws):
        mean, std = model.predict(new, level=level)
        error = mean - law(new)
        assert np.sqrt(np.mean(error**2)) < 0.15
        assert np.mean(np.abs(error) < 1.96 * std) > 0.8
    alone = fit_cokriging(x[2:], y[2:]).predict(new)[0] - laws[2](new)
    assert np.mean((model.predict(new)[0] - laws[2](new)) ** 2) < 0.1 * np.mean(alone**2)


def test_units_do_not_matter():
    inputs, targets, x_test, _, _ = sample(1, nested=True, noise=0.05, seed=3)
    mean, std = fit_cokriging(inputs, targets).predict(x_test)
    scaled = fit_cokriging([100 * x + 7 for x in inputs], [1e-3 * y for y in targets])
    mean_scaled, std_scaled = scaled.predict(100 * x_test + 7)
    np.testing.assert_allclose(1e3 * mean_scaled, mean, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(1e3 * std_scaled, std, rtol=2e-2, atol=1e-3)


def test_a_mean_that_dwarfs_the_signal():
    """Energies near -1000 with a spread of 1: rho must not be pinned by the common mean."""
    inputs, targets, x_test, truth, spread = sample(1, nested=True, noise=0.0, seed=4)
    model = fit_cokriging(inputs, [y - 1e4 for y in targets], noise=0.0)
    error = model.predict(x_test)[0] - (truth - 1e4)
    assert np.sqrt(np.mean(error**2)) < 0.05 * spread


def test_proportional_noise_is_recovered():
    rng = np.random.default_rng(0)
    x = np.linspace(0, 1, 300)[:, None]
    clean = 1.0 + 4.0 * x[:, 0]
    y = clean * (1 + 0.1 * rng.normal(size=300))
    model = fit_cokriging([x], [y], magnitude=[clean])
    assert model.hyperparameters["relative_noise"][0] == pytest.approx(0.1, rel=0.15)
    quiet, loud = model.predict(np.array([[0.05], [0.95]]), noiseless=False)[1]
    assert loud > 2.5 * quiet


def test_nargp_follows_a_bent_law_that_no_factor_can():
    """f_h = f_l^2: the example NARGP was made for."""

    def low(x):
        return np.sin(8 * np.pi * x[:, 0])

    x_test = np.linspace(0.02, 0.98, 100)[:, None]
    truth = low(x_test) ** 2
    bent, linear, inside = [], [], []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        x = [rng.uniform(size=(80, 1)), rng.uniform(size=(16, 1))]
        y = [low(x[0]), low(x[1]) ** 2]
        y = [part + 0.01 * rng.normal(size=len(part)) for part in y]
        mean, std = fit_nargp(x, y).predict(x_test)
        bent.append(np.mean((mean - truth) ** 2))
        linear.append(np.mean((fit_cokriging(x, y).predict(x_test)[0] - truth) ** 2))
        inside.append(np.mean(np.abs(mean - truth) < 1.96 * std))
    assert np.sqrt(np.mean(bent)) < 0.3 * np.sqrt(np.mean(linear))
    assert np.mean(inside) > 0.8


class _White:
    """y ~ N(0, exp(2 theta)): one hyperparameter, an integral that can be done."""

    def evaluate(self, theta):
        variance = np.exp(2 * theta[0])
        return variance * np.eye(4), lambda weight: np.array([2 * variance * np.trace(weight)])


def test_evidence_and_moments_equal_quadrature():
    y = np.array([0.3, -1.2, 0.7, 2.0])
    prior = LogNormalPrior([0.2], [0.8])

    def joint(theta):
        return np.exp(norm.logpdf(y, 0, np.exp(theta)).sum() + norm.logpdf(theta, 0.2, 0.8))

    total = quad(joint, -5, 5)[0]
    mean = quad(lambda t: t * joint(t), -5, 5)[0] / total
    grid = np.linspace(-2, 2, 4001)
    mode = np.array([grid[np.argmax([joint(t) for t in grid])]])
    bounds = np.array([[-5.0, 5.0]])
    drawn = hyperparameter_draws(_White(), y, [mode], prior, bounds, draws=256)
    assert drawn.log_evidence == pytest.approx(np.log(total), abs=0.05)
    assert drawn.weights @ drawn.theta[:, 0] == pytest.approx(mean, abs=0.03)
    laplace = hyperparameter_draws(_White(), y, [mode], prior, bounds, draws=0)
    assert laplace.log_evidence == pytest.approx(np.log(total), abs=0.1)


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        ([[[0.0], [1.0]]], [], {}, "1 levels of x and 0 of y"),
        ([[[0.0]]], [[1.0]], {}, "level 0: .*at least 2"),
        ([[[0.0], [1.0]], [[0.0], [np.nan]]], [[0, 1], [0, 1]], {}, "level 1: x has 1 NaN"),
        ([[[0.0], [1.0]], [[0.0], [1.0]]], [[0, 1], [0, 1, 2]], {}, "level 1: y has shape"),
        ([[[0.0], [1.0]], [[2.0], [3.0]]], [[0, 1], [0, 1]], {}, "do not overlap in feature 0"),
        ([[[0.0], [1.0]]], [[2.0, 2.0]], {}, "zero variance"),
        ([[[1.0], [1.0]]], [[2.0, 3.0]], {}, "rows of x are equal"),
        ([[[0.0], [1.0]]], [[0.0, 1.0]], {"noise": [0.1, 0.2]}, "one std >= 0"),
        ([[[0.0], [1.0], [1.0]]], [[0.0, 1.0, 2.0]], {"noise": 0.0}, "level 0: x rows 1 and 2"),
        ([[[0.0], [1.0]]], [[0.0, 1.0]], {"magnitude": [[1.0]]}, "magnitude has shape"),
        ([[[0.0], [1.0]]], [[0.0, 1.0]], {"magnitude": []}, "0 levels of magnitude"),
        ([[[0.0], [1.0]]], [[0.0, 1.0]], {"draws": 7}, "draws is 7: expected 0 or a power"),
    ],
)
def test_bad_input(x, y, options, message):
    with pytest.raises(InputError, match=message) as caught:
        fit_cokriging(x, y, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([[[0.0], [1.0]]], [[0.0, 1.0]], "1 fidelity levels: NARGP takes two"),
        ([[[0.0], [1.0]], [[0.0], [1.0]]], [[0, 1], [np.nan, 1]], "level 1: y has 1 NaN"),
        ([[[0.0], [1.0]], [[0.0], [1.0]]], [[0, 1], [0, 1, 2]], "level 1: y has shape"),
        ([[[0.0], [1.0]], [[0.5]]], [[0, 1], [1]], "level 1: .*at least 2"),
        ([[[0.0], [1.0]], [[5.0], [6.0]]], [[0, 1], [0, 1]], "do not overlap in feature 0"),
    ],
)
def test_nargp_bad_input(x, y, message):
    with pytest.raises(InputError, match=message):
        fit_nargp(x, y)


def test_unknown_level():
    model = fit_cokriging([[[0.0], [0.5], [1.0]]], [[0.0, 1.0, 0.5]])
    with pytest.raises(InputError, match="level is 1"):
        model.predict([[0.2]], level=1)


def test_a_high_fidelity_that_never_varies_is_a_constant():
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(40, 1))
    low = np.sin(6 * x[:, 0]) + 0.05 * rng.normal(size=40)
    model = fit_cokriging([x, x[:8]], [low, np.full(8, 1.5)])
    mean, std = model.predict(x)
    assert np.allclose(mean, 1.5, atol=1e-3)
    assert std.max() < 1e-2
