"""Split conformal prediction: intervals and ellipsoids that cover whatever the model.

Scores of a calibration set that the model has not seen are sorted, and the
ceil((n + 1)(1 - alpha))-th smallest bounds a new score with probability of at least 1 - alpha, if
calibration and new samples are exchangeable. Scores here: |y - mean| (same width everywhere),
|y - mean| / std (the model's own widths, scaled), and for force vectors the Mahalanobis length
sqrt((y - mean)' C^-1 (y - mean)), whose sets are ellipsoids.
"""

import math

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import beta, betabinom
from scipy.stats.distributions import rv_frozen

from mfutils.errors import InputError

__all__ = [
    "absolute_scores",
    "bound",
    "coverage_by_group",
    "coverage_distribution",
    "ellipsoid_volume",
    "interval",
    "mahalanobis",
    "normalised_scores",
    "points_needed",
    "rank",
]


def points_needed(alpha: float) -> int:
    """Smallest calibration set for which a bound exists."""
    _check_alpha(alpha)
    return math.ceil((1 - alpha) / alpha - 1e-9)


def rank(n: int, alpha: float) -> int:
    """Which of n sorted scores is the bound: ceil((n + 1)(1 - alpha)); InputError above n."""
    _check_alpha(alpha)
    place = math.ceil((n + 1) * (1 - alpha) - 1e-9)
    if n < 1 or place > n:
        raise InputError(
            f"{n} calibration scores are too few for alpha = {alpha:g}: at least "
            f"{points_needed(alpha)} are needed"
        )
    return place


def bound(scores: npt.ArrayLike, alpha: float) -> float:
    """The score that a new sample exceeds with probability at most alpha (split conformal).

    scores (n,) are those of a calibration set that the model has not seen, such as
    |y - mean| / std; the bound is their `rank`-th smallest, so the interval mean +- bound * std
    covers with probability of at least 1 - alpha whatever the distribution. Raises InputError
    when alpha is not in (0, 1) or there are too few scores for it.
    """
    scores = np.asarray(scores, dtype=float)
    if scores.ndim != 1 or not len(scores):
        raise InputError(f"scores have shape {scores.shape}; expected one score per sample")
    if not np.isfinite(scores).all():
        raise InputError("scores contain NaN or infinity; leave these samples out")
    place = rank(len(scores), alpha) - 1
    return float(np.partition(scores, place)[place])


def absolute_scores(y: npt.ArrayLike, mean: npt.ArrayLike) -> np.ndarray:
    """|y - mean| (n,), in the unit of y."""
    y, mean = _same_shape(y, mean)
    return np.abs(y - mean)


def normalised_scores(y: npt.ArrayLike, mean: npt.ArrayLike, std: npt.ArrayLike) -> np.ndarray:
    """|y - mean| / std (n,)."""
    y, mean, std = _same_shape(y, mean, std)
    if not (std > 0).all():
        row = int(np.flatnonzero(~(std > 0))[0])
        raise InputError(f"std is {std[row]:g} in row {row}; expected values above 0")
    return np.abs(y - mean) / std


def mahalanobis(y: npt.ArrayLike, mean: npt.ArrayLike, covariance: npt.ArrayLike) -> np.ndarray:
    """sqrt((y - mean)' C^-1 (y - mean)) (n,) for vectors (n, k) and covariances (n, k, k)."""
    y, mean, covariance = (np.asarray(a, dtype=float) for a in (y, mean, covariance))
    if y.ndim != 2 or mean.shape != y.shape or covariance.shape != (*y.shape, y.shape[1]):
        raise InputError(
            f"vectors {y.shape} and {mean.shape} with covariances {covariance.shape}; expected "
            "(n, k), (n, k) and (n, k, k)"
        )
    try:
        lower = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        lowest = np.linalg.eigvalsh(covariance)[:, 0]
        row = int(np.argmin(lowest))
        raise InputError(
            f"covariance of row {row} has eigenvalue {lowest[row]:.3g}; expected all above 0 (add "
            "the noise of the labels)"
        ) from None
    white = np.linalg.solve(lower, (y - mean)[..., None])[..., 0]
    return np.linalg.norm(white, axis=1)


def interval(
    mean: npt.ArrayLike, bound: float, std: npt.ArrayLike | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(low, high) of the central interval: mean -+ bound, times std for normalised scores."""
    mean = np.asarray(mean, dtype=float)
    half = bound if std is None else bound * np.asarray(std, dtype=float)
    return mean - half, mean + half


def ellipsoid_volume(covariance: npt.ArrayLike, bound: float) -> np.ndarray:
    """Volume (n,) of {y: Mahalanobis length <= bound} for covariances (n, k, k)."""
    covariance = np.asarray(covariance, dtype=float)
    k = covariance.shape[-1]
    ball = math.pi ** (k / 2) / math.gamma(k / 2 + 1)
    return ball * bound**k * np.sqrt(np.linalg.det(covariance))


def coverage_by_group(
    scores: npt.ArrayLike, bound: float, groups: npt.ArrayLike, *, level: float = 0.95
) -> pd.DataFrame:
    """DataFrame with a row per group: n, coverage, and its exact binomial interval (low, high)."""
    inside = np.asarray(scores, dtype=float) <= bound
    groups = np.asarray(groups)
    if groups.shape != inside.shape or inside.ndim != 1 or not len(inside):
        raise InputError(
            f"scores {inside.shape} and groups {groups.shape}; expected (n,) for both, n above 0"
        )
    counts = pd.DataFrame({"group": groups, "inside": inside}).groupby("group", sort=False)
    table = counts["inside"].agg(n="size", hits="sum").reset_index()
    tail = 0.5 * (1 - level)
    misses = table["n"] - table["hits"]
    low = beta.ppf(tail, table["hits"], misses + 1)
    high = beta.ppf(1 - tail, table["hits"] + 1, misses)
    table["coverage"] = table["hits"] / table["n"]
    # all or nothing inside: one end of the interval is the end of the scale
    table["low"] = np.where(table["hits"] == 0, 0.0, low)
    table["high"] = np.where(misses == 0, 1.0, high)
    return table.drop(columns="hits")


def coverage_distribution(n_calibration: int, n_test: int, alpha: float) -> rv_frozen:
    """Exact distribution of the number covered of n_test: beta-binomial, for continuous scores."""
    k = rank(n_calibration, alpha)
    return betabinom(n_test, k, n_calibration + 1 - k)


def _check_alpha(alpha: float) -> None:
    if not 0 < alpha < 1:
        raise InputError(f"alpha is {alpha!r}; expected a probability between 0 and 1")


def _same_shape(*columns: npt.ArrayLike) -> list[np.ndarray]:
    arrays = [np.asarray(column, dtype=float) for column in columns]
    if arrays[0].ndim != 1 or len({a.shape for a in arrays}) != 1 or not len(arrays[0]):
        shapes = ", ".join(str(a.shape) for a in arrays)
        raise InputError(f"arrays have shapes {shapes}; expected (n,) for all with n above 0")
    return arrays
