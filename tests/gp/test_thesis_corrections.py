"""The thesis protocol against scikit-learn, step by step, and against the printed table."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF
from sklearn.model_selection import KFold

from mfutils.errors import InputError
from mfutils.gp.corrections import fit_correction
from mfutils.gp.thesis_corrections import (
    ALPHAS,
    METHODS,
    FixedNoiseSurrogate,
    fit_thesis,
    likelihood_profile,
)
from mfutils.study.s04_1.noise import KINDS, synthetic_problem, truth
from mfutils.study.s04_1.thesis_job import thesis_draw


def peer(x, y, alpha):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return GaussianProcessRegressor(RBF(), alpha=alpha, normalize_y=True).fit(x[:, None], y)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("alpha", [0.01, 0.3])
@pytest.mark.parametrize("seed", [654, 657, 663])
def test_surrogate_takes_the_path_of_scikit_learn(kind, alpha, seed):
    """Equal also where that path ends at a useless optimum."""
    problem = synthetic_problem(seed, kind)
    for x, y in ((problem.x_high, problem.y_high), (problem.x_low, problem.y_low)):
        theirs, ours = peer(x, y, alpha), FixedNoiseSurrogate(x[:, None], y, alpha)
        assert ours.lengthscale == pytest.approx(theirs.kernel_.length_scale, rel=1e-4)
        mean, std = theirs.predict(problem.x_test[:, None], return_std=True)
        x_test = problem.x_test[:, None]
        np.testing.assert_allclose(ours.predict(x_test), mean, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(ours.predict_std(x_test), std, rtol=1e-3, atol=1e-4)


def reference(problem, method):
    """The recipe written out with scikit-learn, slowly."""
    full = [problem.x_high, problem.y_high, problem.x_low, problem.y_low]

    def model(xh, yh, xl, yl, alpha):
        if method == "hf-only":
            return peer(xh, yh, alpha)
        low = peer(xl, yl, alpha)
        at_high = low.predict(xh[:, None])
        smooth = at_high.copy()
        for i, x in enumerate(xh):
            if x in xl:
                at_high[i] = yl[list(xl).index(x)]
        if method == "multiplicative":
            corrected = yl * peer(xh, yh / at_high, alpha).predict(xl[:, None])
        else:
            delta = yh - at_high
            rho = 1.0
            if method == "comprehensive":
                rho = smooth @ (yh - delta) / (smooth @ smooth)
            corrected = rho * yl + peer(xh, delta, alpha).predict(xl[:, None])
        return peer(xl, corrected, alpha)

    folds = KFold(5, shuffle=True, random_state=654)
    scores = []
    for alpha in ALPHAS:
        errors = []
        for (h, h_out), (l_in, l_out) in zip(
            folds.split(full[0]), folds.split(full[2]), strict=True
        ):
            fit = model(full[0][h], full[1][h], full[2][l_in], full[3][l_in], alpha)
            x = np.r_[full[0][h_out], full[2][l_out]]
            y = np.r_[full[1][h_out], full[3][l_out]]
            errors.append(np.mean((fit.predict(x[:, None]) - y) ** 2))
        scores.append(np.mean(errors))
    alpha = ALPHAS[int(np.argmin(scores))]
    return alpha, model(*full, alpha).predict(problem.x_test[:, None])


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_protocol_equals_the_recipe(method):
    problem = synthetic_problem(655, "mixed")
    alpha, mean = reference(problem, method)
    fit = fit_correction(method, problem, protocol="thesis")
    assert fit.details["alpha"] == alpha
    np.testing.assert_allclose(fit.predict(problem.x_test)[0], mean, rtol=1e-3, atol=1e-3)


def test_nearest_maximum_is_a_maximum_and_avoids_the_useless_one():
    """A draw whose single ascent runs away (HFDM of section 4.1)."""
    problem = synthetic_problem(654, "additive")
    x, y = problem.x_high[:, None], problem.y_high
    lost = [s for s in range(654, 700) if _lost(synthetic_problem(s, "additive"))]
    assert lost, "about one draw in six ends at a degenerate lengthscale"
    problem = synthetic_problem(lost[0], "additive")
    x, y = problem.x_high[:, None], problem.y_high
    near = FixedNoiseSurrogate(x, y, 0.01, search="nearest")
    assert 0.02 < near.lengthscale < 20
    around = near.lengthscale * np.array([0.95, 1.0, 1.05])
    values = likelihood_profile(x, y, 0.01, around)
    assert values.argmax() == 1
    assert values[1] == pytest.approx(near.log_marginal_likelihood, abs=1e-6)


def _lost(problem):
    fit = FixedNoiseSurrogate(problem.x_high[:, None], problem.y_high, 0.01)
    return not 0.02 < fit.lengthscale < 20


def test_methods_share_without_changing():
    problem = synthetic_problem(660, "additive")
    problem = replace(problem, x_high=problem.x_high[:, None], x_low=problem.x_low[:, None])
    together = fit_thesis(problem)
    for method in ("multiplicative", "comprehensive"):
        alone = fit_thesis(problem, (method,))[method]
        assert together[method].alpha == alone.alpha
        assert together[method].rho == alone.rho
        x = problem.x_test[:, None]
        expected = alone.surrogate.predict(x)
        np.testing.assert_array_equal(together[method].surrogate.predict(x), expected)


def test_a_draw_that_is_identically_zero_is_excluded_with_its_reason():
    zero = 8229
    assert not synthetic_problem(zero, "multiplicative").y_test.any()
    draw = thesis_draw(zero, "multiplicative")
    assert draw["methods"] == {}
    assert "all zero" in draw["excluded"]
    assert thesis_draw(zero, "additive")["excluded"] is None


def test_a_ratio_to_zero_excludes_that_method_only():
    """Whole-number parameters can make the truth exactly zero at x = 0."""
    seed = next(s for s in range(654, 2000) if truth([0.0], _parameters(s))[0] == 0)
    draw = thesis_draw(seed, "multiplicative")
    assert "exactly zero" in draw["undefined"]["multiplicative"]
    assert draw["excluded"] is None
    for method in ("hf-only", "additive", "comprehensive"):
        assert np.isfinite(draw["methods"][method]["mean"]).all()


def _parameters(seed):
    return synthetic_problem(seed, "additive").parameters


def test_too_few_points_for_the_folds():
    problem = synthetic_problem(654, "additive")
    problem = replace(problem, x_high=problem.x_high[:4], y_high=problem.y_high[:4])
    with pytest.raises(InputError, match=r"4 high-fidelity points.*maximum-likelihood"):
        fit_correction("additive", problem, protocol="thesis")
