"""The classical models: what a setting means, and that tuning sees the training part only."""

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor
from sklearn.metrics import mean_absolute_error
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import Pipeline
from sklearn.svm import SVR
from sklearn.tree import DecisionTreeRegressor
from xgboost import XGBRegressor

from mfutils.errors import InputError
from mfutils.study.s09 import classical, moduli


@pytest.fixture(scope="module")
def made():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(160, 4)) * [1, 100, 0.01, 1]
    y = np.sin(x[:, 0]) + 0.01 * x[:, 1] + 0.05 * rng.normal(size=160)
    return x, y


@pytest.mark.parametrize(
    ("name", "kind"),
    list(
        zip(
            classical.MODELS,
            [
                RandomForestRegressor,
                XGBRegressor,
                SVR,
                GradientBoostingRegressor,
                DecisionTreeRegressor,
            ],
            strict=True,
        )
    ),
)
def test_default_is_the_library_as_it_comes(name, kind, made):
    x, y = made
    extra = {} if name == "svr" else {"random_state": 3}
    theirs = kind(**extra).fit(x[:100], y[:100]).predict(x[100:])
    ours = classical.make(name, seed=3).fit(x[:100], y[:100]).predict(x[100:])
    assert np.allclose(ours, theirs, rtol=0, atol=1e-6)


def test_stated_support_vectors_do_not_depend_on_the_units(made):
    x, y = made
    model = classical.make("svr", "stated")
    assert isinstance(model, Pipeline)
    a = model.fit(x[:100], y[:100]).predict(x[100:])
    scaled = x * [7, 0.1, 1000, 3]
    b = classical.make("svr", "stated").fit(scaled[:100], y[:100]).predict(scaled[100:])
    assert np.allclose(a, b, atol=1e-6)
    raw = classical.make("svr", "default").fit(x[:100], y[:100]).predict(x[100:])
    assert np.abs(raw - y[100:]).mean() > np.abs(a - y[100:]).mean()


def test_the_tree_repeats_its_training_rows_exactly(made):
    x, y = made
    for setting in ("default", "stated"):
        tree, _ = classical.fit("decision tree", setting, x, y)
        assert np.abs(tree.predict(x) - y).max() == 0


@pytest.mark.parametrize("name", ["svr", "decision tree"])
def test_tuning_is_a_grid_search_over_the_candidates(name, made):
    x, y = made
    _, chosen = classical.fit(name, "tuned", x, y, seed=5, count=6, folds=3)
    options = classical.candidates(name, 6, features=4, seed=5)
    assert options[0] == {}
    assert len(options) == 6
    prefix = "svr__" if name == "svr" else ""
    base = classical.make(name, "tuned", seed=5)
    grid = []
    for option in options:
        full = {prefix + k: [v] for k, v in option.items()}
        defaults = base.get_params()
        names = {prefix + k for o in options for k in o}
        grid.append({n: full.get(n, [defaults[n]]) for n in names})
    search = GridSearchCV(
        base, grid, scoring="neg_mean_absolute_error",
        cv=KFold(3, shuffle=True, random_state=5),
    ).fit(x, y)  # fmt: skip
    best = {k.removeprefix(prefix): v for k, v in search.best_params_.items()}
    for key, value in chosen.items():
        assert best[key] == value


@pytest.mark.parametrize("name", classical.MODELS)
def test_candidates_are_valid_settings(name, made):
    x, y = made
    options = classical.candidates(name, 5, features=4, seed=1)
    assert options == classical.candidates(name, 5, features=4, seed=1)
    for option in options[1:3]:
        option = {k: min(v, 20) if k == "n_estimators" else v for k, v in option.items()}
        predicted = classical.make(name, "tuned", **option).fit(x, y).predict(x)
        assert np.isfinite(predicted).all()


def test_wrong_names():
    with pytest.raises(InputError, match="random forest"):
        classical.make("forest")
    with pytest.raises(InputError, match="default, stated, tuned"):
        classical.make("svr", "best")


def test_a_run_beats_the_mean_and_is_the_model_on_the_split():
    data = moduli.load_moduli("open", "bulk")
    job = {"dataset": "open", "property": "bulk", "name": "xgboost", "fold": 2}
    run = classical.classical_run(**job, train_size=300)
    parts = moduli.split_rows(data, 2, train_size=300)
    for part, rows in zip(moduli.PARTS, parts, strict=True):
        assert np.array_equal(run.rows[part], rows)
        assert run.predicted[part].shape == rows.shape
    train, test = run.rows["train"], run.rows["test"]
    y = data.target
    ours = mean_absolute_error(y[test], run.predicted["test"])
    assert ours < 0.6 * mean_absolute_error(y[test], np.full(len(test), y[train].mean()))
    strong = classical.classical_run(**job, train_size=300, features="strong")
    assert mean_absolute_error(y[test], strong.predicted["test"]) < ours
