"""Synthetic two-fidelity data with additive, multiplicative or mixed noise (section 4.1.1).

The truth is y(x) = p1 sin(p2 x^2 + p3)(p4 x^2 + p5) + p6 (p7 x^3 + p8) + p9 x + p10 (eq 4.1) with
ten integer parameters from -5 to 5; an observation is m * y(x) + e (eqs 4.2 and 4.3). The high
fidelity has m in [0.9, 1.1] and |e| < 0.4, the low one m in [0.8, 1.3] and |e| < 0.8. Every draw
comes from Python's `random` in one fixed order, so that a seed names a data set for good.
"""

import operator
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import SupportsIndex

import numpy as np
import numpy.typing as npt

from mfutils.errors import InputError
from mfutils.gp.problem import TwoFidelityProblem

__all__ = ["KINDS", "SAMPLE_PARAMETERS", "SyntheticProblem", "synthetic_problem", "truth"]

KINDS = ("additive", "multiplicative", "mixed")
# The parameter set of eq 4.10, drawn by seed 724 (the 71st of the hundred)
SAMPLE_PARAMETERS = (-1, -5, -4, 5, -1, -2, 1, 0, -4, -2)

# fidelity -> (range of the multiplicative factor, amplitude of the additive term)
_NOISE = {"high": ((0.9, 1.1), 0.4), "low": ((0.8, 1.3), 0.8)}


@dataclass(frozen=True)
class SyntheticProblem(TwoFidelityProblem):
    """A problem with its true values y_test (k,) at x_test (k,), and the ten parameters."""

    x_test: np.ndarray
    y_test: np.ndarray
    parameters: tuple[int, ...]


def truth(x: npt.ArrayLike, parameters: Sequence[float]) -> np.ndarray:
    """Eq 4.1 at x (n,) for the ten parameters; returns (n,)."""
    if len(parameters) != 10:
        raise InputError(f"{len(parameters)} parameters given: eq 4.1 has ten, p1 to p10")
    p1, p2, p3, p4, p5, p6, p7, p8, p9, p10 = parameters
    x = np.asarray(x, dtype=float)
    wave = p1 * np.sin(p2 * x**2 + p3) * (p4 * x**2 + p5)
    return wave + p6 * (p7 * x**3 + p8) + p9 * x + p10


def _observe(values, fidelity, kind, rng):
    """Noisy readings of the true values, drawn point by point: factor, size, then sign."""
    (low, high), amplitude = _NOISE[fidelity]
    out = np.empty(len(values))
    for i, value in enumerate(values):
        factor = rng.uniform(low, high) if kind != "additive" else 1.0
        term = 0.0
        if kind != "multiplicative":
            # The text leaves the sign out; without it Table 4.1 cannot be reproduced
            term = amplitude * rng.random() * rng.choice([-1, 1])
        out[i] = factor * value + term
    return out


def synthetic_problem(
    seed: SupportsIndex, kind: str, *, parameters: Sequence[int] | None = None
) -> SyntheticProblem:
    """Data set `seed` of section 4.1.1: 20 high- and 200 low-fidelity points on [0, 1).

    seed: the study uses 654 to 753. kind: additive, multiplicative or mixed. parameters: the ten
    of eq 4.1 when they are not to be drawn (the noise is then drawn as if they had been).
    The last of the 20 test points, 0.996, lies beyond the data. Some draws make the truth
    identically zero: multiplicative data are then all zero.
    """
    if kind not in KINDS:
        raise InputError(f"unknown noise kind {kind!r}: expected one of {', '.join(KINDS)}")
    try:
        rng = random.Random(operator.index(seed))
    except TypeError:
        raise InputError(f"seed is {seed!r}: expected a whole number") from None
    drawn = tuple(rng.randint(-5, 5) for _ in range(10))
    parameters = drawn if parameters is None else tuple(parameters)
    x_high = np.round(np.arange(0, 1, 0.05), 3)
    x_low = np.round(np.arange(0, 1, 0.005), 3)
    x_test = np.arange(0.0498, 1, 0.0498)
    y_high = _observe(truth(x_high, parameters), "high", kind, rng)
    y_low = _observe(truth(x_low, parameters), "low", kind, rng)
    return SyntheticProblem(
        x_high, y_high, x_low, y_low, x_test, truth(x_test, parameters), parameters
    )
