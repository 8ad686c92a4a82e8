"""Linear regression whose answer is unique even when the inputs are not (eq 3.1, section 3.1).

Least squares minimises |y - X b - a|^2. When columns of X depend on each other, as fractions that
sum to one do, many b fit equally well; the one returned has the smallest |b| after centring X and
y. Its predictions on mixtures are unique, its coefficients only up to a constant common to all
fractions (which the intercept takes back).
"""

from dataclasses import dataclass

import numpy as np

from mfutils.errors import InputError

__all__ = ["LinearModel", "fit_linear"]


@dataclass(frozen=True)
class LinearModel:
    """coefficients (d,), intercept, and the rank of the centred inputs."""

    coefficients: np.ndarray
    intercept: float
    rank: int

    def predict(self, x) -> np.ndarray:
        """Predictions (n,) for x (n, d)."""
        return np.asarray(x, float) @ self.coefficients + self.intercept


def fit_linear(x, y) -> LinearModel:
    """Minimum-norm least squares of y (n,) on x (n, d) with an intercept.

    Raises InputError for shapes that do not match or values that are not finite.
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    if x.ndim != 2 or y.shape != (len(x),) or len(y) == 0:
        raise InputError(f"expected x (n, d) and y (n,) with n > 0, got {x.shape} and {y.shape}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise InputError("x and y must be finite; remove the rows with missing values")
    x_mean, y_mean = x.mean(axis=0), y.mean()
    solution, _, rank, _ = np.linalg.lstsq(x - x_mean, y - y_mean, rcond=1e-10)
    return LinearModel(solution, float(y_mean - x_mean @ solution), int(rank))
