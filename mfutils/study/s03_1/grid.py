"""Every mixture on a grid, and slopes by differences (Figs 3.1, 3.3 and 3.4, eq 3.2).

Eight fractions in steps of 0.1 that sum to one make C(17, 7) = 19,448 compositions, times eleven
currents 213,928 points. A slope by differences needs a step: too long is biased, too short drowns
in rounding. The one-sided slopes on the two sides tell which: they must agree in sign.
"""

from collections.abc import Callable
from itertools import combinations

import numpy as np
import numpy.typing as npt

from mfutils.errors import InputError

__all__ = [
    "KINDS",
    "composition_grid",
    "compress",
    "one_sided_slopes",
    "slope_kind",
    "with_currents",
]

KINDS = ("negative", "positive", "opposite signs", "zero")


def composition_grid(elements: int = 8, *, parts: int = 10) -> np.ndarray:
    """All ways to share one among `elements` in multiples of 1/parts: (C(parts+e-1, e-1), e)."""
    if elements < 2 or parts < 1:
        raise InputError(f"need at least 2 elements and 1 part, got {elements} and {parts}")
    # Stars and bars: the gaps between e - 1 bars placed among parts + e - 1 positions
    places = parts + elements - 1
    bars = np.array(list(combinations(range(places), elements - 1)))
    edges = np.hstack([np.full((len(bars), 1), -1), bars, np.full((len(bars), 1), places)])
    return (np.diff(edges, axis=1) - 1) / parts


def with_currents(compositions: npt.ArrayLike, currents: npt.ArrayLike) -> np.ndarray:
    """Every composition (c, e) at every current (j,): (c * j, e + 1), current last and fastest."""
    compositions, currents = np.asarray(compositions, float), np.asarray(currents, float)
    repeated = np.repeat(compositions, len(currents), axis=0)
    return np.column_stack([repeated, np.tile(currents, len(compositions))])


def one_sided_slopes(
    predict: Callable[[np.ndarray], npt.ArrayLike], x: npt.ArrayLike, step: float
) -> tuple[np.ndarray, np.ndarray]:
    """Backward and forward difference slopes by the last column of x (n, d): two arrays (n,).

    `predict` maps (n, d) to (n,) in any precision; the differences themselves are in float64.
    """
    if not step > 0:
        raise InputError(f"step is {step}; give a positive number")
    x = np.asarray(x, float)
    shift = np.zeros(x.shape[1])
    shift[-1] = step
    below, here, above = (np.asarray(predict(x + k * shift), float) for k in (-1, 0, 1))
    return (here - below) / step, (above - here) / step


def slope_kind(backward: npt.ArrayLike, forward: npt.ArrayLike) -> np.ndarray:
    """Index into KINDS (n,): both negative, both positive, opposite signs, or one of them zero."""
    backward, forward = np.asarray(backward), np.asarray(forward)
    signs = np.sign(backward) + np.sign(forward)
    zero = (backward == 0) | (forward == 0)
    return np.select([zero, signs < 0, signs > 0], [3, 0, 1], default=2)


def compress(slope: npt.ArrayLike) -> np.ndarray:
    """Eq 3.2: a slope as it is below 3 in size, sign(x) log10(|x| + 1) from 3 on."""
    slope = np.asarray(slope, float)
    size = np.abs(slope)
    return np.where(size < 3, slope, np.sign(slope) * np.log10(size + 1.0))
