"""The weights of a quantile forest, against the forest's own mean, brute force and a peer."""

import numpy as np
import pytest
from quantile_forest import ExtraTreesQuantileRegressor

from mfutils.errors import InputError
from mfutils.uncertainty.quantile_forest import QuantileForest


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 4))
    y = np.maximum(x[:, 0] + 0.3 * rng.normal(size=300), 0)
    return x, y, rng.normal(size=(50, 4))


def test_weighted_mean_is_the_forests_prediction(problem):
    x, y, new = problem
    weight = np.random.default_rng(1).uniform(0.5, 2, len(y))
    model = QuantileForest(trees=20, leaf=3).fit(x, y, weight)
    shares = model.weights(new)
    assert np.allclose(shares.sum(axis=1), 1)
    assert np.allclose(shares @ y, model.forest.predict(new))


def test_weights_and_draws_by_brute_force(problem):
    x, y, new = problem
    model = QuantileForest(trees=10, leaf=3).fit(x, y)
    train, test = model.forest.apply(x), model.forest.apply(new)
    expected = np.zeros((len(new), len(x)))
    for tree in range(10):
        same = test[:, tree][:, None] == train[:, tree][None]
        expected += same / same.sum(axis=1, keepdims=True) / 10
    assert np.allclose(model.weights(new), expected)
    draws = model.draws(new, count=50)
    assert (np.diff(draws, axis=1) >= 0).all()
    for row, drawn in zip(expected, draws, strict=True):
        at = [row[y <= value + 1e-12].sum() for value in drawn]
        levels = (np.arange(50) + 0.5) / 50
        assert (np.array(at) >= levels - 1e-9).all()
        below = [row[y < value - 1e-12].sum() for value in drawn]
        assert (np.array(below) <= levels + 1e-9).all()


def test_the_package_quantile_forest_gives_the_same(problem):
    x, y, new = problem
    ours = QuantileForest(trees=50, leaf=3, share=0.5, seed=1).fit(x, y)
    peer = ExtraTreesQuantileRegressor(
        50, min_samples_leaf=3, max_features=0.5, random_state=1, max_samples_leaf=None
    ).fit(x, y)
    mean = peer.predict(new, quantiles="mean", weighted_leaves=True)
    assert np.allclose(ours.weights(new) @ y, mean, atol=1e-12)
    # its quantiles interpolate between neighbours, ours are values of the training rows
    levels = list((np.arange(50) + 0.5) / 50)
    theirs = peer.predict(new, quantiles=levels, weighted_leaves=True, interpolation="nearest")
    difference = np.abs(ours.draws(new, count=50) - theirs)
    assert np.mean(difference == 0) > 0.95
    assert difference.mean() < 1e-3


def test_unknown_inputs_are_allowed(problem):
    x, y, new = problem
    x, new = x.copy(), new.copy()
    x[::3, 1], new[0, 1] = np.nan, np.nan
    assert np.isfinite(QuantileForest(trees=5).fit(x, y).draws(new)).all()


def test_bad_input(problem):
    x, y, new = problem
    with pytest.raises(InputError, match="not grown"):
        QuantileForest().weights(new)
    with pytest.raises(InputError, match="shape"):
        QuantileForest().fit(x, y[:-1])
    with pytest.raises(InputError, match="finite"):
        QuantileForest().fit(x, np.where(y > 1, np.nan, y))
