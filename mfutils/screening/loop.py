"""The screening loop: a surrogate proposes, the pool answers, the surrogate learns (chapter 7).

A pool of candidates has inputs x and, hidden from the loop, values y. Every round fits a
Gaussian process to what has been seen, scores the rest with an acquisition function and looks at
the best-scored candidates. The scores are those of `mfutils.screening.acquisition`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mfutils.errors import InputError
from mfutils.gp.exact import fit_gp
from mfutils.gp.inputs import as_inputs, as_targets
from mfutils.screening.acquisition import log_expected_improvement, lower_confidence_bound

__all__ = ["POLICIES", "Campaign", "State", "screen"]


@dataclass(frozen=True)
class State:
    """What a policy sees: prediction (n,) for unseen candidates, the best value and the noise.

    mean, std: noiseless prediction in the unit of y; best: smallest value seen; noise: std of the
    observation noise as fitted.
    """

    mean: np.ndarray
    std: np.ndarray
    best: float
    noise: float


@dataclass(frozen=True)
class Campaign:
    """order (m,): rows of the pool as they were looked at, the initial ones first; best (m,):
    smallest value so far; watched: what `watch` returned after each round, in order."""

    order: np.ndarray
    best: np.ndarray
    watched: list[Any]


# State -> score (n,), the largest is looked at next; None means a random choice
POLICIES = {
    "random": None,
    "greedy": lambda s: -s.mean,
    "LCB": lambda s: -lower_confidence_bound(s.mean, s.std, w2=2.0),
    "EI": lambda s: log_expected_improvement(s.mean, s.std, s.best),
}


def screen(
    x: npt.ArrayLike, y: npt.ArrayLike, policy: str | Callable[[State], np.ndarray], *,
    initial: int = 10, queries: int = 30, batch: int = 1, seed: int = 0,
    kernel: str = "matern52",
    watch: Callable[[np.ndarray, np.ndarray, np.ndarray], Any] | None = None,
) -> Campaign:  # fmt: skip
    """Look for the smallest y (n,) of a pool x (n, d), `queries` looks after `initial` random ones.

    policy: a name in POLICIES, or a function of a State that returns scores, the largest first.
    batch: looks between two fits. The initial looks depend on the seed alone, so policies can be
    compared in pairs. watch(mean, std, seen): called after every fit, also the last, with the
    noiseless prediction for the whole pool and the mask of what was seen.
    Raises InputError when the pool is smaller than the looks, or a policy returns other shapes.
    """
    x = as_inputs(x, "x")
    y = as_targets(y, len(x))
    if isinstance(policy, str) and policy not in POLICIES:
        raise InputError(f"no policy named {policy!r}; known: {', '.join(POLICIES)}, or a function")
    if initial < 2 or queries < 0 or batch < 1:
        raise InputError(
            f"initial={initial}, queries={queries}, batch={batch}: expected at least 2, 0 and 1"
        )
    if initial + queries > len(y):
        raise InputError(
            f"{initial} initial looks and {queries} queries in a pool of {len(y)}: ask for fewer"
        )
    score = POLICIES[policy] if isinstance(policy, str) else policy
    start, chance = (np.random.default_rng([seed, stream]) for stream in (0, 1))
    order = start.choice(len(y), initial, replace=False).tolist()
    seen = np.zeros(len(y), dtype=bool)
    seen[order] = True
    watched = []
    while True:
        left = np.flatnonzero(~seen)
        room = initial + queries - len(order)
        if (score is not None and room) or watch is not None:
            model = fit_gp(x[order], y[order], kernel=kernel, seed=seed)
            mean, std = model.predict(x, noiseless=True)
            if watch is not None:
                watched.append(watch(mean, std, seen.copy()))
        if not room:
            break
        if score is None:
            chosen = chance.choice(left, min(batch, room), replace=False)
        else:
            noise = float(np.mean(model.hyperparameters["noise_std"]))
            values = np.asarray(score(State(mean[left], std[left], y[order].min(), noise)))
            if values.shape != left.shape or np.isnan(values).any():
                raise InputError(
                    f"policy returned shape {values.shape} or NaN: expected one score for each "
                    f"of {len(left)} candidates"
                )
            chosen = left[np.argsort(-values, kind="stable")[: min(batch, room)]]
        order += chosen.tolist()
        seen[chosen] = True
    return Campaign(np.array(order), np.minimum.accumulate(y[order]), watched)
