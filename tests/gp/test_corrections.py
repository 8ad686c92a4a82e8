"""The corrections of section 4.1: laws they must recover, both protocols, and bad input."""

from dataclasses import replace

import numpy as np
import pytest

from mfutils.errors import InputError
from mfutils.gp.cokriging import fit_cokriging
from mfutils.gp.corrections import METHODS, fit_correction, fit_corrections
from mfutils.gp.problem import TwoFidelityProblem
from mfutils.study.s04_1.likelihood_job import likelihood_draw
from mfutils.study.s04_1.noise import SyntheticProblem, synthetic_problem

MODERN = "maximum-likelihood"


def made(law, *, noise=0.02, n_high=12, d=1, seed=0):
    """A problem whose high fidelity is law(x, f_low), with its truth at 60 test points."""
    rng = np.random.default_rng(seed)

    def low(x):
        return 2.0 + np.sin(7 * x[:, 0]) + (0.5 * x[:, 1] if d > 1 else 0.0)

    x_low, x_high = rng.uniform(size=(60 * d, d)), rng.uniform(size=(n_high * d, d))
    x_test = rng.uniform(0.05, 0.95, size=(60, d))
    return SyntheticProblem(
        x_high,
        law(x_high, low(x_high)) + noise * rng.normal(size=len(x_high)),
        x_low,
        low(x_low) + noise * rng.normal(size=len(x_low)),
        x_test,
        law(x_test, low(x_test)),
        parameters=(),
    )


LAWS = {
    "additive": lambda x, f: f + 1.0 - x[:, 0],
    "multiplicative": lambda x, f: (1.5 - 0.5 * x[:, 0]) * f,
    "comprehensive": lambda x, f: 1.7 * f,
    "cokriging": lambda x, f: 1.7 * f + 0.5 * x[:, 0],
    "pooled": lambda x, f: f,
    "nargp": lambda x, f: (f - 2.0) ** 2 + 1.0,
}


@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize("method", LAWS)
def test_each_method_recovers_its_own_law(method, d):
    """With non-nested inputs, in one and two dimensions; better than the high fidelity alone."""
    problem = made(LAWS[method], d=d)
    spread = problem.y_test.std()
    mean, std = fit_correction(method, problem, protocol=MODERN).predict(problem.x_test)
    error = np.sqrt(np.mean((mean - problem.y_test) ** 2))
    assert error < 0.12 * spread
    assert np.mean(np.abs(mean - problem.y_test) < 1.96 * std) > 0.7
    assert (std > 0).all()


def test_least_squares_rho():
    fit = fit_correction("comprehensive", made(LAWS["comprehensive"]), protocol=MODERN)
    assert fit.details["rho"] == pytest.approx(1.7, abs=0.02)
    problem = made(LAWS["comprehensive"])
    smooth = fit_cokriging([problem.x_low], [problem.y_low]).predict(problem.x_high)[0]
    expected = np.linalg.lstsq(smooth[:, None], problem.y_high, rcond=None)[0][0]
    assert fit.details["rho"] == pytest.approx(expected, rel=1e-6)


def test_ratio_is_guarded_where_the_low_fidelity_crosses_zero():
    """The thesis protocol divides by what it finds; a smooth ratio must survive that."""
    rng = np.random.default_rng(1)
    x_low, x_high = np.linspace(0, 1, 101), np.linspace(0, 1, 21)
    low = lambda x: x - 0.5  # noqa: E731
    y_high = 1.5 * low(x_high) + 0.02 * rng.normal(size=21)
    problem = TwoFidelityProblem(x_high, y_high, x_low, low(x_low) + 0.02 * rng.normal(size=101))
    x = np.linspace(0.02, 0.98, 40)
    errors = {
        protocol: fit_correction("multiplicative", problem, protocol=protocol).predict(x)[0]
        - 1.5 * low(x)
        for protocol in ("thesis", MODERN)
    }
    assert np.abs(errors[MODERN]).max() < 0.06
    assert np.abs(errors["thesis"]).max() > 5 * np.abs(errors[MODERN]).max()


def test_averaged_is_the_mixture_of_its_parts():
    problem = synthetic_problem(654, "mixed")
    fits = fit_corrections(problem, protocol=MODERN, draws=0)
    parts = fits["averaged"].details["methods"]
    means, stds = np.array([fits[m].predict(problem.x_test) for m in parts]).transpose(1, 0, 2)
    weights = stds**-2 / np.sum(stds**-2, axis=0)
    mean, std = fits["averaged"].predict(problem.x_test)
    np.testing.assert_allclose(mean, np.sum(weights * means, axis=0))
    second = np.sum(weights * (stds**2 + means**2), axis=0)
    np.testing.assert_allclose(std**2, second - mean**2, rtol=1e-6)


@pytest.mark.parametrize("protocol", METHODS)
def test_every_method_gives_mean_and_std_of_the_right_shape(protocol):
    problem = synthetic_problem(700, "mixed")
    fits = fit_corrections(problem, protocol=protocol, draws=0)
    assert set(fits) == set(METHODS[protocol])
    for method, fit in fits.items():
        mean, std = fit.predict(problem.x_test)
        assert mean.shape == std.shape == (20,)
        assert np.isfinite(mean).all(), method
        assert (std >= 0).all()
        column = fit.predict(problem.x_test[:, None])
        np.testing.assert_array_equal(column[0], mean)


def test_coverage_and_gain_on_some_draws():
    draws = [likelihood_draw(654 + r, "mixed") for r in range(12)]
    error, inside = {}, {}
    for draw in draws:
        for method, fit in draw["methods"].items():
            gap = fit["mean"] - draw["y_test"]
            error.setdefault(method, []).append(np.mean(gap**2))
            inside.setdefault(method, []).append(np.mean(np.abs(gap) < 1.96 * fit["std"]))
    assert 0.85 < np.mean(inside["cokriging"]) < 0.99
    assert np.mean(error["cokriging"]) < 0.7 * np.mean(error["hf-only"])


def test_identical_fidelities_need_no_delta():
    """y_h equal to y_l: differences and ratios without variance are constants, not errors."""
    x = np.linspace(0, 1, 30)
    y = np.sin(6 * x) + 2.0
    problem = TwoFidelityProblem(x[::3], y[::3], x, y)
    for method, fit in fit_corrections(problem, protocol=MODERN).items():
        if method != "hf-only":
            np.testing.assert_allclose(fit.predict(x)[0], y, atol=0.02, err_msg=method)


def test_replicates():
    """Equal x with different y are refused unless the noise may explain them."""
    problem = made(LAWS["additive"])
    again = replace(
        problem,
        x_low=np.vstack([problem.x_low, problem.x_low[:1]]),
        y_low=np.append(problem.y_low, problem.y_low[0] + 0.1),
    )
    with pytest.raises(InputError, match="x_low rows 0 and 60 are equal"):
        fit_correction("cokriging", again, protocol=MODERN)
    kept = fit_correction("cokriging", again, protocol=MODERN, replicates="keep")
    assert np.isfinite(kept.predict(problem.x_test)).all()
    with pytest.raises(InputError, match="'keep' with protocol"):
        fit_correction("additive", again, protocol="thesis", replicates="keep")


GOOD = {
    "x_high": [0.1, 0.4, 0.6, 0.8, 0.9],
    "y_high": [1.0, 2.0, 1.5, 1.0, 0.5],
    "x_low": [0.0, 0.2, 0.4, 0.6, 0.8, 1.0],
    "y_low": [1.0, 1.5, 2.0, 1.5, 1.0, 0.2],
}


@pytest.mark.parametrize("protocol", METHODS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y_high": [1.0, 2.0]}, "high fidelity: y_high has shape"),
        ({"y_low": [1.0, np.nan, 2.0, 1.5, 1.0, 0.2]}, "low fidelity: y_low has 1 NaN.*row 1"),
        ({"x_low": [0.0, 0.2, np.inf, 0.6, 0.8, 1.0]}, "low fidelity: x_low has 1 NaN"),
        ({"x_high": [0.1], "y_high": [1.0]}, "high fidelity: 1 data point"),
        ({"y_high": [2.0] * 5}, "high fidelity: y has zero variance"),
        ({"y_low": [0.0] * 6}, "low fidelity: y has zero variance"),
        ({"x_high": [0.1, 0.1, 0.6, 0.8, 0.9]}, "x_high rows 0 and 1 are equal"),
        ({"x_high": [2.0, 2.1, 2.2, 2.3, 2.4]}, "do not overlap in feature 0"),
        ({"x_high": np.zeros((5, 2)) + np.arange(5)[:, None]}, "2 columns and x_low 1"),
    ],
)
def test_bad_data_is_one_clear_line(protocol, change, message):
    problem = TwoFidelityProblem(**{k: np.asarray(v) for k, v in {**GOOD, **change}.items()})
    with pytest.raises(InputError, match=message) as caught:
        fit_correction("additive", problem, protocol=protocol)
    assert "\n" not in str(caught.value)


def test_unknown_names():
    problem = synthetic_problem(654, "additive")
    with pytest.raises(InputError, match="unknown protocol 'sound'"):
        fit_correction("additive", problem, protocol="sound")
    with pytest.raises(InputError, match=r"unknown method 'cokriging' in protocol 'thesis'"):
        fit_correction("cokriging", problem, protocol="thesis")
    fit = fit_correction("hf-only", problem, protocol="thesis")
    with pytest.raises(InputError, match="2 columns: expected 1"):
        fit.predict(np.zeros((3, 2)))
