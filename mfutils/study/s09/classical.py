"""The five classical models of the supplement, with default, stated and tuned settings (section 9).

The supplement names the models and their six features but no setting. "default" is each library
as it comes. "stated" adds what its numbers say: a tree grown to the end (training MAE 0) and a
forest of such trees; support vectors on standardised inputs, without which they would fall far
behind gradient boosting; and an XGBoost that is held back (training MAE four fifths of the test
MAE). "tuned" draws settings from wide ranges and takes the best in a cross-validation inside the
training part, so that no test crystal is seen. `classical_run` is one fit on one split of the
networks.
"""

import time
from dataclasses import dataclass

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor
from sklearn.model_selection import KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR
from sklearn.tree import DecisionTreeRegressor
from xgboost import XGBRegressor

from mfutils.crystals import shells
from mfutils.datasets import registry
from mfutils.errors import InputError
from mfutils.study.s09 import moduli

__all__ = [
    "FEATURES",
    "MODELS",
    "SETTINGS",
    "ClassicalRun",
    "candidates",
    "classical_run",
    "fit",
    "make",
]

# In the order of Table S1
MODELS = ("random forest", "xgboost", "svr", "gradient boosting", "decision tree")
SETTINGS = ("default", "stated", "tuned")
FEATURES = {"six": shells.six, "strong": shells.strong}
_STATED = {"xgboost": {"learning_rate": 0.1, "max_depth": 4}}


@dataclass(frozen=True, eq=False, kw_only=True)
class ClassicalRun(moduli.Predictions):
    """Predictions of one classical model; parameters are the tuned ones."""

    parameters: dict[str, float]


def classical_run(
    *, dataset: str, property: str, name: str, setting: str = "default", features: str = "six",
    fold: int, folds: int = 10, split_seed: int = 0, grouped: bool = False,
    train_size: int | None = None, seed: int = 0, count: int = 12,
) -> ClassicalRun:  # fmt: skip
    """Fit one classical model on one split of `moduli.split_rows`, on one of FEATURES."""
    data = moduli.load_moduli(dataset, property)
    x, y = _inputs(dataset, property, features), data.target
    parts = moduli.split_rows(
        data, fold, folds=folds, seed=split_seed, grouped=grouped, train_size=train_size
    )
    rows = dict(zip(moduli.PARTS, parts, strict=True))
    start = time.process_time()
    train = rows["train"]
    model, parameters = fit(name, setting, x[train], y[train], seed=seed, count=count)
    seconds = time.process_time() - start
    return ClassicalRun(
        rows=rows,
        predicted={part: np.asarray(model.predict(x[r]), dtype=float) for part, r in rows.items()},
        cpu_seconds=seconds,
        parameters=parameters,
    )


@registry.remembered(maxsize=4)
def _inputs(dataset, property, features):
    return FEATURES[features](moduli.load_moduli(dataset, property).table).to_numpy(float)


def make(
    name: str, setting: str = "default", *, seed: int = 0, **parameters: float
) -> RegressorMixin:
    """A fresh regressor of MODELS; parameters override those of the setting.

    Of "svr", setting "default" works on raw inputs, the others on standardised ones.
    """
    if name not in MODELS:
        raise InputError(f"no classical model {name!r}; expected one of {', '.join(MODELS)}")
    if setting not in SETTINGS:
        raise InputError(f"setting is {setting!r}; expected one of {', '.join(SETTINGS)}")
    if setting == "stated":
        parameters = _STATED.get(name, {}) | parameters
    if name == "random forest":
        return RandomForestRegressor(random_state=seed, **parameters)
    if name == "gradient boosting":
        return GradientBoostingRegressor(random_state=seed, **parameters)
    if name == "decision tree":
        return DecisionTreeRegressor(random_state=seed, **parameters)
    if name == "xgboost":
        return XGBRegressor(random_state=seed, n_jobs=1, **parameters)
    vectors = SVR(**parameters)
    return vectors if setting == "default" else make_pipeline(StandardScaler(), vectors)


def candidates(name: str, count: int, *, features: int, seed: int = 0) -> list[dict[str, float]]:
    """`count` settings (dicts) of a model for `features` inputs; the first is the library's own."""
    rng = np.random.default_rng(seed)
    draw = _DRAWS[name]
    return [{}, *(draw(rng, features) for _ in range(count - 1))][:count]


def fit(
    name: str, setting: str, x: np.ndarray, y: np.ndarray, *, seed: int = 0, count: int = 12,
    folds: int = 3,
) -> tuple[RegressorMixin, dict[str, float]]:  # fmt: skip
    """(fitted model, its parameters) for x (n, d), y (n,).

    count settings compete in `folds`-fold cross-validation (mean absolute error) when setting
    is "tuned"; otherwise there is nothing to choose.
    """
    if setting != "tuned":
        return make(name, setting, seed=seed).fit(x, y), {}
    parts = KFold(folds, shuffle=True, random_state=seed)
    options = candidates(name, count, features=x.shape[1], seed=seed)
    errors = [
        -cross_val_score(
            make(name, setting, seed=seed, **option), x, y,
            cv=parts, scoring="neg_mean_absolute_error",
        ).mean()
        for option in options
    ]  # fmt: skip
    best = options[int(np.argmin(errors))]
    return make(name, setting, seed=seed, **best).fit(x, y), best


def _log(rng, low, high):
    """A number between low and high, even in its logarithm."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _forest(rng, features):
    return {
        "max_features": float(rng.choice([0.3, 0.5, 0.7, 1.0])),
        "min_samples_leaf": int(rng.choice([1, 2, 3, 5])),
    }


def _boosted(rng, features):
    rate = _log(rng, 0.02, 0.2)
    return {
        "learning_rate": rate,
        "n_estimators": int(np.clip(12 / rate, 80, 500)),
        "max_depth": int(rng.integers(3, 8)),
        "subsample": float(rng.uniform(0.5, 1.0)),
    }


def _xgboost(rng, features):
    return _boosted(rng, features) | {
        "colsample_bytree": float(rng.uniform(0.3, 1.0)),
        "min_child_weight": float(rng.choice([1, 3, 6])),
    }


def _gradient_boosting(rng, features):
    share = 1.0 if features <= 10 else float(rng.uniform(0.2, 0.6))
    return _boosted(rng, features) | {"max_features": share}


def _vectors(rng, features):
    return {
        "C": _log(rng, 0.3, 30),
        "epsilon": _log(rng, 0.01, 0.1),
        "gamma": _log(rng, 0.1, 3) / features,
    }


def _tree(rng, features):
    return {
        "min_samples_leaf": int(rng.choice([2, 4, 6, 8, 12, 16])),
        "max_depth": int(rng.choice([5, 7, 9, 12, 20])),
    }


_DRAWS = dict(zip(MODELS, (_forest, _xgboost, _vectors, _gradient_boosting, _tree), strict=True))
