"""Exact Shapley values against permutations, the shap library and closed forms."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.ensemble import GradientBoostingRegressor

from mfutils.errors import InputError
from mfutils.screening.shapley import conditional_game, interventional_game, shapley_values

GAMES = st.integers(1, 5).flatmap(
    lambda d: arrays(float, 2**d, elements=st.floats(-10, 10, allow_subnormal=False))
)


def by_permutations(game):
    """Mean gain of every feature over all orders of joining."""
    d = len(game).bit_length() - 1
    orders = list(permutations(range(d)))
    out = np.zeros(d)
    for order in orders:
        members = 0
        for i in order:
            out[i] += game[members | 1 << i] - game[members]
            members |= 1 << i
    return out / len(orders)


@given(GAMES)
@settings(max_examples=80, deadline=None)
def test_weights_are_the_mean_over_orders(game):
    np.testing.assert_allclose(shapley_values(game), by_permutations(game), atol=1e-12)


@given(GAMES, st.floats(-3, 3), st.integers(0, 10**6))
@settings(max_examples=80, deadline=None)
def test_axioms(game, factor, seed):
    other = np.random.default_rng(seed).normal(size=len(game))
    phi = shapley_values(game)
    assert phi.sum() == pytest.approx(game[-1] - game[0], abs=1e-10)
    both = shapley_values(game + factor * other)
    np.testing.assert_allclose(both, phi + factor * shapley_values(other), atol=1e-10)
    # Consistency: larger marginal gains of feature 0 everywhere never lower its share
    d = len(phi)
    bonus = np.where(np.arange(2**d) & 1, np.abs(other), 0.0)
    assert shapley_values(game + bonus)[0] >= phi[0] - 1e-10
    # A feature that adds nothing receives nothing, and two that add the same share alike
    extended = np.concatenate([game, game])
    assert shapley_values(extended)[-1] == pytest.approx(0, abs=1e-12)
    counted = np.array([game[min(int(n).bit_count(), d)] for n in range(2**d)])
    np.testing.assert_allclose(shapley_values(counted), shapley_values(counted)[0], atol=1e-10)


@pytest.fixture(scope="module")
def model():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 5))
    y = x[:, 0] * x[:, 1] + np.sin(2 * x[:, 2]) + 0.3 * x[:, 3]
    return GradientBoostingRegressor(n_estimators=40, random_state=0).fit(x, y), x


@pytest.mark.filterwarnings("ignore")  # of the shap library and its dependencies
def test_interventional_values_are_shaps(model):
    import shap

    trees, x = model
    background, rows = x[:40], x[100:106]
    ours = shapley_values(interventional_game(trees.predict, rows, background)).T
    exact = shap.explainers.Exact(trees.predict, shap.maskers.Independent(background, 100))(rows)
    np.testing.assert_allclose(ours, exact.values, atol=1e-10)
    tree = shap.TreeExplainer(trees, background, feature_perturbation="interventional")
    np.testing.assert_allclose(ours, tree.shap_values(rows), atol=1e-6)


def test_linear_models_have_closed_forms():
    rng = np.random.default_rng(1)
    d = 4
    weights, x, background = rng.normal(size=d), rng.normal(size=(5, d)), rng.normal(size=(30, d))

    def predict(rows):
        return rows @ weights + 2.0

    ours = shapley_values(interventional_game(predict, x, background))
    np.testing.assert_allclose(ours.T, weights * (x - background.mean(axis=0)), atol=1e-12)
    root = rng.normal(size=(d, d))
    covariance = root @ root.T + 0.1 * np.eye(d)
    mean = rng.normal(size=d)
    game = conditional_game(predict, x, mean, covariance, draws=4)
    for number in range(2**d):
        known = np.array([bool(number >> i & 1) for i in range(d)])
        filled = np.tile(mean, (len(x), 1))
        filled[:, known] = x[:, known]
        if known.any() and not known.all():
            solved = np.linalg.solve(covariance[np.ix_(known, known)], (x - mean)[:, known].T)
            filled[:, ~known] += (covariance[np.ix_(~known, known)] @ solved).T
        np.testing.assert_allclose(game[number], predict(filled), atol=1e-10)
    # Without correlation both games are one
    mean = background.mean(axis=0)
    independent = conditional_game(predict, x, mean, np.eye(d), draws=2)
    np.testing.assert_allclose(shapley_values(independent), ours, atol=1e-10)


def test_conditional_sampling_converges_to_the_known_mean():
    covariance = np.array([[1.0, 0.8], [0.8, 1.0]])
    x = np.array([[1.0, -0.5]])
    game = conditional_game(lambda r: r[:, 1] ** 2, x, np.zeros(2), covariance, draws=200_000)
    # E[x_1^2 | x_0] = (0.8 x_0)^2 + 1 - 0.8^2
    np.testing.assert_allclose(game[:, 0], [1.0, 0.64 + 0.36, 0.25, 0.25], atol=0.02)


def test_rows_in_chunks_give_the_same(model, monkeypatch):
    trees, x = model
    whole = interventional_game(trees.predict, x[:7], x[50:60])
    monkeypatch.setattr("mfutils.screening.shapley._ROWS", 25)
    np.testing.assert_allclose(interventional_game(trees.predict, x[:7], x[50:60]), whole)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: shapley_values(np.zeros(3)), "one row per coalition"),
        (lambda: shapley_values(np.zeros(1)), "one row per coalition"),
        (lambda: shapley_values(1.0), "one row per coalition"),
        (lambda: interventional_game(len, np.zeros((2, 3)), np.zeros((2, 2))), "expected"),
        (lambda: interventional_game(len, np.zeros((2, 3)), np.zeros((0, 3))), "background"),
        (lambda: interventional_game(len, np.zeros((2, 20)), np.zeros((2, 20))), "20 features"),
        (lambda: interventional_game(len, np.full((1, 2), np.nan), np.zeros((1, 2))), "NaN"),
        (lambda: interventional_game(len, np.zeros((1, 2)), np.zeros((1, 2))), "returned shape"),
        (
            lambda: conditional_game(len, np.zeros((1, 2)), np.zeros(3), np.eye(3)),
            "covariance",
        ),
        (
            lambda: conditional_game(
                lambda r: r[:, 0], np.zeros((1, 2)), np.zeros(2), np.array([[1.0, 2], [2, 1]])
            ),
            "positive definite",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message):
        call()
