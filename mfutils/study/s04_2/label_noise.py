"""Noise on the labels of subsets, to make several fidelities out of one (section 4.2.1).

A subset of noise coefficient theta holds T_noise = f T instead of the true label T, where

    scaling:   f = 1 - theta,                                   the same for every label,
    sampling:  f = max(1 - sigma, 0),  sigma ~ N(theta, theta^2), drawn for every label.

The text prints max(1 - sigma) and leaves out the second argument; a gap below zero would make no
sense. Table 4.3 gives theta for the subsets A, B and C at three levels, D keeps the truth. With
c = (1 - theta)/theta the sampled factor has closed forms that a noisy subset must agree with:
P(f = 0) = Phi(-c) and E f = theta (phi(c) + c Phi(c)).
"""

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from mfutils.errors import InputError

__all__ = [
    "KINDS",
    "LEVELS",
    "add_noise",
    "expected_error",
    "expected_factor",
    "zero_probability",
]

KINDS = ("scaling", "sampling")
# Table 4.3, as fractions; "none" is the row without noise of Fig 4.3
LEVELS = {
    "none": {"A": 0.0, "B": 0.0, "C": 0.0, "D": 0.0},
    "low": {"A": 0.3, "B": 0.2, "C": 0.1, "D": 0.0},
    "medium": {"A": 0.6, "B": 0.4, "C": 0.2, "D": 0.0},
    "high": {"A": 0.9, "B": 0.6, "C": 0.3, "D": 0.0},
}


def add_noise(
    target: npt.ArrayLike, theta: npt.ArrayLike, kind: str, *, seed: int | list[int]
) -> np.ndarray:
    """Noisy labels (n,) of true labels (n,) >= 0 with coefficients theta, one or (n,).

    The same seed draws the same standard normal numbers for every theta, so that two levels
    differ by their level alone. Raises InputError for an unknown kind, a negative theta, a theta
    above 1, which would turn gaps negative, or labels that are negative or not finite.
    """
    target, theta = np.asarray(target, dtype=float), _checked(theta, kind)
    bad = np.flatnonzero(~(np.isfinite(target) & (target >= 0)))
    if target.ndim != 1 or len(bad):
        where = f"label {bad[0]} is {target[bad[0]]}" if target.ndim == 1 else f"{target.ndim}-d"
        raise InputError(f"labels to make noisy: {where}; expected (n,) finite gaps of at least 0")
    if theta.ndim and theta.shape != target.shape:
        raise InputError(f"{len(target)} labels but theta of shape {theta.shape}; one, or one each")
    if kind == "scaling":
        return target * (1 - theta)
    normal = np.random.default_rng(seed).standard_normal(len(target))
    return target * np.maximum(1 - theta * (1 + normal), 0.0)


def expected_factor(theta: npt.ArrayLike, kind: str) -> float | np.ndarray:
    """E f: the mean of noisy over true labels, for theta a number or an array."""
    theta = _checked(theta, kind)
    if kind == "scaling":
        return _plain(1 - theta)
    c, density, below = _normal(theta)
    return _plain(np.where(theta > 0, theta * (density + c * below), 1.0))


def expected_error(theta: npt.ArrayLike, kind: str) -> float | np.ndarray:
    """E |1 - f|: the mean error of a noisy label as a share of its true value."""
    theta = _checked(theta, kind)
    if kind == "scaling":
        return _plain(theta)
    # |1 - f| is theta |1 + z| for z < c, and 1 beyond; the integral of 1 + z is Phi - phi
    _, density, below = _normal(theta)
    at_minus_one = ndtr(-1.0) - _density(-1.0)
    inner = (below - density - at_minus_one) - at_minus_one
    return _plain(np.where(theta > 0, theta * inner + 1 - below, 0.0))


def zero_probability(theta: npt.ArrayLike, kind: str) -> float | np.ndarray:
    """P(f = 0): the share of non-zero labels that become zero."""
    theta = _checked(theta, kind)
    if kind == "scaling":
        return _plain(np.where(theta == 1, 1.0, 0.0))
    return _plain(np.where(theta > 0, 1 - _normal(theta)[2], 0.0))


def _density(z):
    return np.exp(-0.5 * np.square(z)) / np.sqrt(2 * np.pi)


def _normal(theta):
    """c, phi(c) and Phi(c) of the cut beyond which a factor is zero."""
    c = (1 - theta) / np.where(theta > 0, theta, 1.0)
    return c, _density(c), ndtr(c)


def _checked(theta, kind):
    if kind not in KINDS:
        raise InputError(f"unknown noise kind {kind!r}: expected one of {', '.join(KINDS)}")
    theta = np.asarray(theta, dtype=float)
    if not (np.isfinite(theta) & (theta >= 0) & (theta <= 1)).all():
        worst = theta.flat[np.argmax(~((theta >= 0) & (theta <= 1)))]
        raise InputError(f"theta is {worst:g}: expected noise coefficients from 0 to 1")
    return theta


def _plain(values):
    """A float for a number, an array for an array."""
    values = np.asarray(values, dtype=float)
    return float(values) if values.ndim == 0 else values
