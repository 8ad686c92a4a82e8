"""Checked, standardised inputs: every surrogate of sections 2.2 and 4.1 sees mean 0 and std 1.

Standardising is what makes one starting point (lengthscale near sqrt(d), signal near 1) good for
every data set. The checks turn data that no model can use into one-line errors.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mfutils.errors import InputError

__all__ = ["Standardiser", "as_inputs", "as_noise", "as_targets", "check_replicates"]


def as_inputs(x: npt.ArrayLike, name: str, *, columns: int | None = None) -> np.ndarray:
    """x as float64 (n, d); a vector is one column. Raises InputError on NaN or a wrong width."""
    x = np.asarray(x, dtype=float)
    if x.ndim == 1:
        x = x[:, None] if columns in (None, 1) else x[None, :]
    if x.ndim != 2:
        raise InputError(f"{name} has shape {x.shape}: expected (n, d); reshape it")
    if columns is not None and x.shape[1] != columns:
        raise InputError(f"{name} has {x.shape[1]} columns: expected {columns}, as in the fit")
    _check_finite(x, name)
    return np.ascontiguousarray(x)


def as_targets(y: npt.ArrayLike, n: int, *, name: str = "y", of: str = "x") -> np.ndarray:
    """y as float64 (n,). Raises InputError on another length, NaN or fewer than two points."""
    y = np.asarray(y, dtype=float)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1 or len(y) != n:
        raise InputError(
            f"{name} has shape {y.shape} but {of} has {n} rows: expected one value per row"
        )
    _check_finite(y, name)
    if n < 2:
        raise InputError(f"{n} data point(s): at least 2 are needed to fit a model; add data")
    return y


def as_noise(noise: npt.ArrayLike, n: int, of: str) -> float | np.ndarray:
    """Noise std as a float or float64 (n,). Raises InputError when negative or of wrong length."""
    noise = np.asarray(noise, dtype=float)
    if noise.ndim > 1 or (noise.ndim == 1 and len(noise) != n):
        raise InputError(f"noise has shape {noise.shape}: expected a number or one per row of {of}")
    if not np.isfinite(noise).all() or (noise < 0).any():
        raise InputError("noise is negative or not finite: expected a standard deviation >= 0")
    return float(noise) if noise.ndim == 0 else noise


def check_replicates(
    x: np.ndarray, y: np.ndarray, noise: float | np.ndarray = 0.0, *, name: str = "x"
) -> None:
    """Raise InputError when equal rows of x carry different y although both are noise-free."""
    noise = np.broadcast_to(noise, y.shape)
    order = np.lexsort(x.T)
    same = (np.diff(x[order], axis=0) == 0).all(axis=1)
    first, second = order[:-1][same], order[1:][same]
    clash = (y[first] != y[second]) & (noise[first] == 0) & (noise[second] == 0)
    if clash.any():
        i, j = sorted((int(first[clash][0]), int(second[clash][0])))
        raise InputError(
            f"{name} rows {i} and {j} are equal but y is {y[i]:.6g} and {y[j]:.6g}: noise-free "
            "data need one y per x; average the replicates or give a noise level"
        )


def _check_finite(values, name):
    bad = ~np.isfinite(values)
    if bad.any():
        row = int(np.argwhere(bad)[0][0])
        count = int(bad.sum())
        raise InputError(
            f"{name} has {count} NaN or infinite value(s), first in row {row}: drop or fill them"
        )


@dataclass(frozen=True)
class Standardiser:
    """Mean and std of each feature of x (n, d) and of y (n,); constant features keep scale 1."""

    x_mean: np.ndarray
    x_std: np.ndarray
    y_mean: float
    y_std: float

    @classmethod
    def of(cls, x: np.ndarray, y: np.ndarray, *, name: str = "y") -> "Standardiser":
        """That of x (n, d) and y (m,). Raises InputError when all rows or all of y are equal."""
        x_mean, x_std = x.mean(axis=0), x.std(axis=0)
        constant = x_std <= 1e-12 * np.maximum(np.abs(x_mean), 1.0)
        if constant.all():
            raise InputError("all rows of x are equal: a model needs inputs that vary")
        y_mean, y_std = float(y.mean()), float(y.std())
        if y_std <= 1e-12 * max(abs(y_mean), 1e-300):
            raise InputError(f"{name} has zero variance (all {y[0]:.6g}): there is nothing to fit")
        return cls(x_mean, np.where(constant, 1.0, x_std), y_mean, y_std)

    def x_forward(self, x: np.ndarray) -> np.ndarray:
        """Standardised inputs (n, d)."""
        return (x - self.x_mean) / self.x_std

    def y_forward(self, y: np.ndarray) -> np.ndarray:
        """Standardised targets (n,)."""
        return (y - self.y_mean) / self.y_std

    def y_back(self, z: np.ndarray) -> np.ndarray:
        """Targets (n,) in their own unit from standardised ones."""
        return self.y_mean + self.y_std * z
