"""The fold masks against scikit-learn and statsmodels, and the regression that eq 3.1 needs."""

import warnings

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import LeaveOneGroupOut, LeaveOneOut, cross_val_predict

from mfutils.datasets import battery
from mfutils.errors import InputError
from mfutils.study.s03_1 import folds

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import statsmodels.api as sm


@pytest.fixture(scope="module")
def table():
    used = battery.load()
    return *battery.features(used), used.composition.to_numpy()


def linear(x, y):
    return LinearRegression().fit(x, y).predict


def test_the_fit_of_smallest_norm_is_taken_on_the_rank_deficient_table(table):
    x, y, _ = table
    fit = LinearRegression().fit(x, y)
    assert fit.rank_ == 8, "nine inputs, of which eight fractions sum to one"
    smallest = np.linalg.pinv(x - x.mean(axis=0), rcond=1e-10) @ (y - y.mean())
    assert np.allclose(fit.coef_, smallest, atol=1e-10)
    assert fit.coef_[:8].sum() == pytest.approx(0.0, abs=1e-10)


def test_leave_one_out_matches_the_hat_matrix_of_statsmodels(table):
    x, y, _ = table
    ours = folds.refit(linear, x, y, folds.leave_one_out(len(y)))
    # Without one fraction and with a constant the same model has full rank
    fit = sm.OLS(y, sm.add_constant(np.delete(x, 0, axis=1))).fit()
    press = fit.get_influence().resid_press
    assert np.allclose(y - ours, press, atol=1e-9)


def test_folds_match_scikit_learn(table):
    x, y, groups = table
    for ours, splitter, labels in (
        (folds.leave_one_out(len(y)), LeaveOneOut(), None),
        (folds.leave_group_out(groups), LeaveOneGroupOut(), groups),
    ):
        theirs = {tuple(held) for _, held in splitter.split(x, y, labels)}
        assert {tuple(np.flatnonzero(row)) for row in ours} == theirs
        expected = cross_val_predict(LinearRegression(), x, y, groups=labels, cv=splitter)
        assert np.allclose(folds.refit(linear, x, y, ours), expected, atol=1e-8)


def test_pairs_hold_out_two_folds_each():
    held_out = folds.leave_group_out(list("aabbbc"))
    pairs, masks = folds.leave_two_out(held_out)
    assert pairs.tolist() == [[0, 1], [0, 2], [1, 2]]
    assert masks.sum(axis=1).tolist() == [5, 3, 4]


def test_nested_choice_matches_a_plain_loop():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 24)
    held_out = folds.leave_group_out(labels)
    pairs, _ = folds.leave_two_out(held_out)
    y = rng.normal(size=24)
    predictions = rng.normal(size=(7, len(pairs), 24))
    chosen = folds.choose_nested(y, predictions, pairs, held_out)
    index = {frozenset(map(int, pair)): p for p, pair in enumerate(pairs)}
    for outer in range(5):
        scores = []
        for setting in range(7):
            total = 0.0
            for inner in set(range(5)) - {outer}:
                rows = held_out[inner]
                guess = predictions[setting, index[frozenset((outer, inner))], rows]
                total += np.abs(guess - y[rows]).sum()
            scores.append(total)
        assert chosen[outer] == int(np.argmin(scores))


def test_nested_choice_never_looks_at_the_outer_fold():
    rng = np.random.default_rng(1)
    held_out = folds.leave_one_out(6)
    pairs, _ = folds.leave_two_out(held_out)
    y, predictions = rng.normal(size=6), rng.normal(size=(4, len(pairs), 6))
    before = folds.choose_nested(y, predictions, pairs, held_out)
    for outer in range(6):
        spoiled = y.copy()
        spoiled[outer] = 1e9
        assert folds.choose_nested(spoiled, predictions, pairs, held_out)[outer] == before[outer]


def test_collect_and_errors():
    held_out = np.array([[True, False, False], [False, True, False], [True, False, False]])
    predictions = np.arange(9.0).reshape(3, 3)
    collected = folds.collect(predictions, held_out)
    assert collected[:2].tolist() == [3.0, 4.0]
    assert np.isnan(collected[2])
    assert folds.absolute_and_squared([2.0, 6.0, 0.0], collected) == (1.5, 2.5)
    stacked = folds.collect(np.stack([predictions, predictions + 1]), held_out)
    assert stacked[:, 0].tolist() == [3.0, 4.0]


def test_bad_input_is_named():
    with pytest.raises(InputError, match="at least 2 rows"):
        folds.leave_one_out(1)
    with pytest.raises(InputError, match="label is missing"):
        folds.leave_group_out(["a", None])
    with pytest.raises(InputError, match="at least 2 groups"):
        folds.leave_group_out(["a", "a"])
    with pytest.raises(InputError, match="end alike"):
        folds.collect(np.ones((2, 3)), np.ones((3, 3), dtype=bool))
    with pytest.raises(InputError, match="no row has a prediction"):
        folds.absolute_and_squared([1.0], [np.nan])
