"""How strongly two variables move together, and how far inputs explain each other (section 2.1).

Pearson's r (eq 2.1) sees straight lines, Spearman's rho (eq 2.2) any monotone curve; the variance
inflation factor 1 / (1 - R_i^2) (eq 2.3) says how much worse the slope of one input is known
because the others can imitate it. scipy and statsmodels compute; here stands what they are asked,
and an error where the answer would be no number.
"""

import warnings
from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import stats
from statsmodels.stats.outliers_influence import variance_inflation_factor

from mfutils.errors import InputError

__all__ = ["pearson", "ranking", "spearman", "variance_inflation"]

# statsmodels cuts R^2 off at 1 - 1e-15; a factor beyond this is that of an exact dependence
_EXACT = 1e12


def pearson(x: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """Correlation of x (n,) and y (n,) by eq 2.1.

    Raises InputError when shapes differ, a value is not finite, or a variable is constant.
    """
    return float(stats.pearsonr(*_pair(x, y)).statistic)


def spearman(x: npt.ArrayLike, y: npt.ArrayLike, *, decimals: int | None = None) -> float:
    """Rank correlation of x (n,) and y (n,), tied values sharing their mean rank.

    `decimals` rounds both first, so that values which differ only by rounding noise count as
    equal. Eq 2.2, 1 - 6 sum d^2 / (n (n^2 - 1)), is this without ties and wrong with them.
    """
    if decimals is not None:
        x, y = np.round(x, decimals), np.round(y, decimals)
    return float(stats.spearmanr(*_pair(x, y)).statistic)


def _pair(x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(x, float), np.asarray(y, float)
    if x.ndim != 1 or x.shape != y.shape or len(x) < 2:
        raise InputError(f"expected two arrays (n,) with n >= 2, got {x.shape} and {y.shape}")
    for name, values in (("x", x), ("y", y)):
        if not np.isfinite(values).all():
            raise InputError(f"{name} holds values that are not finite; remove those rows")
        if values.min() == values.max():
            raise InputError(f"{name} is constant ({values[0]:g}); its correlation is undefined")
    return x, y


def ranking(values: Mapping[str, float]) -> str:
    """Names ordered by falling value, as in "Te>Se>Sb".

    Equal values are joined by "=", in alphabetical order.
    """
    items = sorted(values.items(), key=lambda item: (-item[1], item[0]))
    text = items[0][0]
    for (_, before), (name, value) in pairwise(items):
        text += ("=" if value == before else ">") + name
    return text


def variance_inflation(x: npt.ArrayLike, *, constant: bool = True) -> np.ndarray:
    """Variance inflation factor (eq 2.3) of each column of x (n, d): array (d,).

    constant=True regresses every column on the others and an intercept (R^2 about the mean), the
    textbook definition. constant=False leaves the intercept out and measures R^2 about zero, as the
    study does. A column that the others reproduce exactly has factor inf.
    """
    x = np.asarray(x, float)
    if x.ndim != 2 or x.shape[1] < 2 or len(x) <= x.shape[1] or not np.isfinite(x).all():
        raise InputError(f"expected finite x (n, d) with n > d >= 2, got shape {x.shape}")
    span = np.ptp(x, axis=0) if constant else np.abs(x).max(axis=0)
    if not span.all():
        raise InputError(f"column {int(np.argmin(span))} does not vary; remove it")
    with warnings.catch_warnings():
        # A poor condition is what the factor itself says
        warnings.filterwarnings("ignore", "The design matrix is poorly conditioned")
        factors = np.array(
            [
                # In units of its range a column is never so small that statsmodels passes it by
                variance_inflation_factor(x / span, column, standardize=constant)
                for column in range(x.shape[1])
            ]
        )
    return np.where(factors < _EXACT, factors, np.inf)
