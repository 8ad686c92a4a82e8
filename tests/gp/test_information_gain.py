"""Scores of a design against log-determinants, conditioning by brute force, and botorch."""

import numpy as np
import pytest

from mfutils.errors import InputError
from mfutils.gp.cokriging import fit_cokriging
from mfutils.gp.information_gain import RULES, Design


@pytest.fixture(scope="module")
def problem():
    """(covariance, noise, cost, targets) of 14 items with a prior that has no structure."""
    rng = np.random.default_rng(3)
    root = rng.normal(size=(14, 20))
    return root @ root.T / 20, rng.uniform(0.05, 0.3, 14), rng.uniform(1, 5, 14), np.arange(4)


def conditioned(covariance, noise, bought):
    """Posterior covariance after all measurements at once, by an inverse."""
    b = np.asarray(bought, dtype=int)
    inner = covariance[np.ix_(b, b)] + np.diag(noise[b])
    return covariance - covariance[:, b] @ np.linalg.inv(inner) @ covariance[b]


def test_updates_one_by_one_are_conditioning_at_once(problem):
    covariance, noise, cost, targets = problem
    design = Design(covariance, noise, cost, targets)
    for item in (7, 2, 11, 7):
        design.buy(item)
    expected = conditioned(covariance, noise, [7, 2, 11, 7])
    np.testing.assert_allclose(design.covariance, expected, atol=1e-10)


def test_information_is_the_difference_of_log_determinants(problem):
    covariance, noise, cost, targets = problem
    design = Design(covariance, noise, cost, targets)
    design.buy(9)
    posterior = conditioned(covariance, noise, [9])
    information = design.score("information")
    for item in range(4, 14):
        rows = [*targets, item]
        joint = posterior[np.ix_(rows, rows)].copy()
        joint[-1, -1] += noise[item]
        apart = np.linalg.slogdet(joint[:-1, :-1])[1] + np.log(joint[-1, -1])
        expected = 0.5 * (apart - np.linalg.slogdet(joint)[1])
        # targets count as known up to a millionth of their variance
        assert information[item] == pytest.approx(expected, rel=1e-3)


def test_variance_reduction_is_the_difference_of_mean_variances(problem):
    covariance, noise, cost, targets = problem
    design = Design(covariance, noise, cost, targets)
    before = np.diagonal(covariance)[targets].mean()
    for item in range(14):
        after = np.diagonal(conditioned(covariance, noise, [item]))[targets].mean()
        assert design.score("variance reduction")[item] == pytest.approx(before - after)
    np.testing.assert_allclose(design.score("variance"), np.diagonal(covariance))


def test_greedy_is_the_best_single_step_each_time_and_stays_in_the_budget(problem):
    covariance, noise, cost, targets = problem
    available = np.arange(14) >= 4
    for rule in RULES:
        design = Design(covariance, noise, cost, targets)
        bought = design.greedy(rule, available, 9.0)
        assert bought
        assert cost[bought].sum() <= 9.0
        assert len(set(bought)) == len(bought)
        assert min(bought) >= 4
        again, left = Design(covariance, noise, cost, targets), 9.0
        for item in bought:
            value = again.score(rule) / again.cost
            fits = [j for j in range(4, 14) if j not in bought[: bought.index(item)]]
            fits = [j for j in fits if cost[j] <= left + 1e-9]
            assert item == max(fits, key=lambda j: value[j])
            again.buy(item)
            left -= cost[item]
        assert not any(cost[j] <= left for j in range(4, 14) if j not in bought)


def test_botorch_finds_the_same_variances(problem):
    torch = pytest.importorskip("torch")
    acquisition = pytest.importorskip("botorch.acquisition.active_learning")
    from botorch.models import SingleTaskGP
    from gpytorch.kernels import Kernel
    from gpytorch.means import ZeroMean

    covariance, _, cost, targets = problem
    table = torch.from_numpy(covariance)

    class Lookup(Kernel):
        def forward(self, a, b, diag=False, **_):
            i, j = a[..., 0].long(), b[..., 0].long()
            return table[i, j] if diag else table[i[..., :, None], j[..., None, :]]

    owned = np.array([6, 12])
    design = Design(covariance, np.full(14, 0.1), cost, targets)
    for item in owned:
        design.buy(item)
    x = torch.tensor(owned, dtype=torch.float64)[:, None]
    model = SingleTaskGP(
        x, torch.zeros(2, 1, dtype=torch.float64), torch.full((2, 1), 0.1, dtype=torch.float64),
        covar_module=Lookup(), mean_module=ZeroMean(), outcome_transform=None,
    )  # fmt: skip
    points = torch.tensor(targets, dtype=torch.float64)[:, None]
    rule = acquisition.qNegIntegratedPosteriorVariance(model.eval(), mc_points=points)
    before = np.diagonal(design.covariance)[targets].mean()
    for item in range(4, 14):
        with torch.no_grad():
            value = rule(torch.tensor([[[float(item)]]], dtype=torch.float64)).item()
        assert before - design.score("variance reduction")[item] == pytest.approx(-value, rel=1e-6)


def test_prior_covariance_conditions_to_the_predictions_of_co_kriging():
    rng = np.random.default_rng(0)
    low, high = rng.uniform(0, 3, (25, 2)), rng.uniform(0, 3, (9, 2))

    def truth(x):
        return np.sin(x[:, 0]) + 0.5 * x[:, 1]

    x_new = rng.uniform(0, 3, (6, 2))
    model = fit_cokriging(
        [low, high], [truth(low), 1.3 * truth(high) + 0.2], noise=(0.1, 0.1), draws=0
    )
    x = np.concatenate([low, high, x_new])
    level = np.repeat([0, 1, 1], [25, 9, 6])
    covariance, noise = model.prior_covariance(x, level)
    np.testing.assert_allclose(noise, 0.01, rtol=1e-6)
    posterior = conditioned(covariance, noise, range(34))
    std = model.predict(x_new)[1]
    np.testing.assert_allclose(np.sqrt(np.diagonal(posterior)[34:]), std, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cost": np.zeros(14)}, "cost is not positive"),
        ({"noise": -np.ones(14)}, "noise variance negative"),
        ({"targets": [14]}, "item numbers from 0 to 13"),
        ({"targets": []}, "item numbers"),
        ({"noise": np.ones(3)}, "expected"),
    ],
)
def test_bad_designs(problem, change, message):
    names = ("covariance", "noise", "cost", "targets")
    with pytest.raises(InputError, match=message):
        Design(**(dict(zip(names, problem, strict=True)) | change))


def test_unknown_rule(problem):
    with pytest.raises(InputError, match="expected one of variance"):
        Design(*problem).score("gut feeling")
