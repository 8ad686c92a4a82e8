"""Exact Shapley values: every coalition counted, nothing sampled (section 7.4).

A game gives every coalition S of d features a value v(S). Feature i receives
phi_i = sum over S without i of |S|! (d - |S| - 1)! / d! * (v(S + i) - v(S)).
Coalitions are numbered by their bits: feature i is in S when bit i of the number is set. For a
model f two games are common: interventional, v(S) = mean over background rows b of f(x_S, b), and
conditional, v(S) = E[f(X) | X_S = x_S], here for jointly normal features.
"""

from collections.abc import Callable
from math import comb

import numpy as np
import numpy.typing as npt

from mfutils.errors import InputError

__all__ = ["conditional_game", "interventional_game", "shapley_values"]

# 2^16 coalitions: beyond that sampling is the better tool
MOST_FEATURES = 16
_ROWS = 200_000  # rows per call of the model


def shapley_values(game: npt.ArrayLike) -> np.ndarray:
    """Shapley values (d,) or (d, m) of a game (2^d,) or (2^d, m), row number = bits of S.

    They add up to game[-1] - game[0]. Raises InputError when the length is no power of two.
    """
    game = np.asarray(game, dtype=float)
    d = int(game.shape[0]).bit_length() - 1 if game.ndim else 0
    if game.ndim not in (1, 2) or d < 1 or game.shape[0] != 2**d or d > MOST_FEATURES:
        raise InputError(
            f"game of shape {game.shape}: expected (2^d,) or (2^d, m) with 1 <= d <= "
            f"{MOST_FEATURES}, one row per coalition"
        )
    numbers = np.arange(2**d)
    size = _bits(numbers, d).sum(axis=1)
    weight = np.array([1.0 / (d * comb(d - 1, k)) for k in range(d)])
    values = np.empty((d, *game.shape[1:]))
    for i in range(d):
        without = numbers[(numbers >> i) & 1 == 0]
        gain = game[without | (1 << i)] - game[without]
        values[i] = np.tensordot(weight[size[without]], gain, axes=1)
    return values


def interventional_game(
    predict: Callable[[np.ndarray], npt.ArrayLike], x: npt.ArrayLike, background: npt.ArrayLike
) -> np.ndarray:
    """Game (2^d, m): features in S from the m rows of x (m, d), the rest from background (b, d).

    predict: (n, d) -> (n,). The mean over the background is exact, not sampled.
    """
    x, background = _tables(x, background)
    m, d = x.shape
    per_row = len(background)
    step = max(1, _ROWS // per_row)
    game = np.empty((2**d, m))
    for number, inside in enumerate(_bits(np.arange(2**d), d)):
        for first in range(0, m, step):
            part = x[first : first + step]
            mixed = np.where(inside, part[:, None, :], background[None, :, :])
            values = _predicted(predict, mixed.reshape(-1, d))
            game[number, first : first + step] = values.reshape(-1, per_row).mean(axis=1)
    return game


def conditional_game(
    predict: Callable[[np.ndarray], npt.ArrayLike], x: npt.ArrayLike, mean: npt.ArrayLike,
    covariance: npt.ArrayLike, *, draws: int = 200, seed: int = 0,
) -> np.ndarray:  # fmt: skip
    """Game (2^d, m) with the absent features drawn from N(mean, covariance) given those of S.

    mean (d,), covariance (d, d), positive definite. The same `draws` standard normal numbers
    serve every coalition; they come in pairs of opposite sign, so a linear model has no sampling
    error.
    """
    x = np.asarray(x, dtype=float)
    mean, covariance = np.asarray(mean, float), np.asarray(covariance, float)
    if x.ndim != 2 or mean.shape != x.shape[1:] or covariance.shape != 2 * x.shape[1:]:
        raise InputError(
            f"x {x.shape}, mean {mean.shape}, covariance {covariance.shape}: expected (m, d), "
            "(d,) and (d, d)"
        )
    m, d = x.shape
    x, _ = _tables(x, x)
    half = np.random.default_rng(seed).normal(size=(max(1, draws // 2), d))
    noise = np.concatenate([half, -half])
    step = max(1, _ROWS // len(noise))
    game = np.empty((2**d, m))
    for number, inside in enumerate(_bits(np.arange(2**d), d)):
        known, free = np.flatnonzero(inside), np.flatnonzero(~inside)
        if not len(free):
            game[number] = _predicted(predict, x)
            continue
        gain = np.zeros((len(free), len(known)))
        if len(known):
            gain = np.linalg.solve(
                covariance[np.ix_(known, known)], covariance[np.ix_(known, free)]
            ).T
        rest = covariance[np.ix_(free, free)] - gain @ covariance[np.ix_(known, free)]
        try:
            root = np.linalg.cholesky(rest)
        except np.linalg.LinAlgError:
            raise InputError(
                "covariance is not positive definite: drop features that others determine"
            ) from None
        scatter = noise[:, : len(free)] @ root.T
        # With nothing known all rows share one value
        rows = x if len(known) else x[:1]
        centre = mean[free] + (rows[:, known] - mean[known]) @ gain.T
        values = np.empty(len(rows))
        for first in range(0, len(rows), step):
            part = rows[first : first + step]
            mixed = np.repeat(part[:, None, :], len(noise), axis=1)
            mixed[:, :, free] = centre[first : first + step, None, :] + scatter
            predicted = _predicted(predict, mixed.reshape(-1, d))
            values[first : first + step] = predicted.reshape(len(part), -1).mean(axis=1)
        game[number] = values
    return game


def _bits(numbers, d):
    """Membership (len(numbers), d) of features in coalitions."""
    return ((numbers[:, None] >> np.arange(d)) & 1).astype(bool)


def _predicted(predict, rows):
    values = np.asarray(predict(rows), dtype=float)
    if values.shape != (len(rows),):
        raise InputError(
            f"the model returned shape {values.shape} for {len(rows)} rows: expected one number "
            "per row"
        )
    return values


def _tables(x, background):
    x, background = np.asarray(x, dtype=float), np.asarray(background, dtype=float)
    if x.ndim != 2 or background.ndim != 2 or x.shape[1:] != background.shape[1:] or not x.size:
        raise InputError(
            f"x {x.shape} and background {background.shape}: expected (m, d) and (b, d)"
        )
    if not len(background):
        raise InputError("the background is empty: give at least one row that stands for absence")
    if x.shape[1] > MOST_FEATURES:
        raise InputError(
            f"{x.shape[1]} features have {2 ** x.shape[1]} coalitions: at most {MOST_FEATURES}; "
            "group features or use a sampled explainer"
        )
    if not np.isfinite(x).all() or not np.isfinite(background).all():
        raise InputError("x or background holds NaN or infinities: fill or drop them")
    return x, background
