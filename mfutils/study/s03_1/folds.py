"""Who is held out when: leave-one-out and leave-one-group-out as boolean masks (section 3.1).

A mask `held_out` (folds, n) is True where fold f must not see row i. Masks can be stacked, so
`mlp` and `thesis_gp` train every fold at once. Leave-one-out asks how well a model fills a gap
beside rows of the same composition; leaving a composition out asks how it extrapolates.
"""

from collections.abc import Callable, Iterable
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pandas as pd

from mfutils.errors import InputError

__all__ = [
    "absolute_and_squared",
    "choose_nested",
    "collect",
    "leave_group_out",
    "leave_one_out",
    "leave_two_out",
    "refit",
]


def leave_one_out(n: int) -> np.ndarray:
    """(n, n) mask: fold i holds out row i."""
    if n < 2:
        raise InputError(f"leave-one-out needs at least 2 rows, got {n}")
    return np.eye(n, dtype=bool)


def leave_group_out(labels: Iterable) -> np.ndarray:
    """(groups, n) mask: one fold per distinct label, in order of first appearance."""
    codes, names = pd.factorize(pd.Series(labels), use_na_sentinel=True)
    if (codes < 0).any():
        raise InputError("a group label is missing; give every row a label")
    if len(names) < 2:
        raise InputError(f"leave-group-out needs at least 2 groups, got {len(names)}")
    return codes == np.arange(len(names))[:, None]


def refit(
    fit: Callable[[np.ndarray, np.ndarray], Callable[[np.ndarray], np.ndarray]],
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    held_out: npt.ArrayLike,
) -> np.ndarray:
    """Predictions (n,) of every held-out row by `fit(x_train, y_train)(x_held_out)`.

    A row held out by several folds gets the mean of their predictions, one never held out NaN.
    """
    x, y = np.asarray(x), np.asarray(y)
    predictions = np.full(np.shape(held_out), np.nan)
    for row, held in zip(predictions, np.asarray(held_out), strict=True):
        row[held] = fit(x[~held], y[~held])(x[held])
    return collect(predictions, held_out)


def collect(predictions: npt.ArrayLike, held_out: npt.ArrayLike) -> np.ndarray:
    """Out-of-fold part (..., n) of predictions (..., folds, n): per row its own folds' mean."""
    predictions, held_out = np.asarray(predictions, float), np.asarray(held_out, bool)
    if predictions.shape[-2:] != held_out.shape:
        raise InputError(
            f"predictions {predictions.shape} and held_out {held_out.shape} must end alike"
        )
    count = held_out.sum(axis=0)
    total = np.where(held_out, predictions, 0.0).sum(axis=-2)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def leave_two_out(held_out: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Every pair of folds held out together: (pairs (p, 2) of fold numbers, masks (p, n)).

    One model trained without folds a and b serves twice in a nested choice of a setting: b
    validates for the outer fold a, and a for b. That halves the work.
    """
    held_out = np.asarray(held_out, bool)
    pairs = np.array(list(combinations(range(len(held_out)), 2)))
    return pairs, held_out[pairs[:, 0]] | held_out[pairs[:, 1]]


def choose_nested(
    y: npt.ArrayLike, predictions: npt.ArrayLike, pairs: np.ndarray, held_out: npt.ArrayLike
) -> np.ndarray:
    """Per outer fold the setting with the smallest error on the other folds: indices (folds,).

    predictions (settings, p, n) are those of models trained without both folds of a pair (see
    `leave_two_out`), for each candidate setting. The error is the mean absolute one over all rows
    of all other folds; rows of the outer fold play no part in the choice.
    """
    held_out = np.asarray(held_out, bool)
    error = np.abs(np.asarray(predictions) - np.asarray(y))
    total = np.zeros((len(error), len(held_out)))
    for pair, (a, b) in enumerate(pairs):
        total[:, a] += error[:, pair, held_out[b]].sum(axis=-1)
        total[:, b] += error[:, pair, held_out[a]].sum(axis=-1)
    return total.argmin(axis=0)


def absolute_and_squared(y: npt.ArrayLike, prediction: npt.ArrayLike) -> tuple[float, float]:
    """Mean absolute and mean squared error over the rows that have a prediction."""
    error = np.asarray(prediction, float) - np.asarray(y, float)
    error = error[~np.isnan(error)]
    if error.size == 0:
        raise InputError("no row has a prediction; hold at least one row out")
    return float(np.abs(error).mean()), float(np.square(error).mean())
