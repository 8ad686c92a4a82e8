"""How strongly two variables move together, and how far inputs explain each other (section 2.1).

Pearson's r (eq 2.1) sees straight lines, Spearman's rho (eq 2.2) any monotone curve: it is
Pearson's r of the ranks, with tied values sharing their mean rank. The variance inflation factor
1 / (1 - R_i^2) (eq 2.3) says how much worse the slope of one input is known because the others
can imitate it.
"""

from itertools import pairwise

import numpy as np
from scipy.stats import rankdata

from mfutils.errors import InputError

__all__ = ["pearson", "ranking", "spearman", "variance_inflation"]


def pearson(x, y) -> float:
    """Correlation of x (n,) and y (n,) by eq 2.1.

    Raises InputError when shapes differ, a value is not finite, or a variable is constant.
    """
    x, y = _pair(x, y)
    x, y = x - x.mean(), y - y.mean()
    # Scaling first keeps the sum of squares from over- or underflowing
    x, y = x / np.abs(x).max(), y / np.abs(y).max()
    return float(np.clip(x @ y / np.sqrt((x @ x) * (y @ y)), -1.0, 1.0))


def spearman(x, y, *, decimals: int | None = None) -> float:
    """Rank correlation of x (n,) and y (n,), exact under ties.

    `decimals` rounds both first, so that values which differ only by rounding noise count as
    equal. Eq 2.2, 1 - 6 sum d^2 / (n (n^2 - 1)), is this without ties and wrong with them.
    """
    x, y = _pair(x, y)
    if decimals is not None:
        x, y = np.round(x, decimals), np.round(y, decimals)
    return pearson(rankdata(x), rankdata(y))


def _pair(x, y):
    x, y = np.asarray(x, float), np.asarray(y, float)
    if x.ndim != 1 or x.shape != y.shape or len(x) < 2:
        raise InputError(f"expected two arrays (n,) with n >= 2, got {x.shape} and {y.shape}")
    for name, values in (("x", x), ("y", y)):
        if not np.isfinite(values).all():
            raise InputError(f"{name} holds values that are not finite; remove those rows")
        if values.min() == values.max():
            raise InputError(f"{name} is constant ({values[0]:g}); its correlation is undefined")
    return x, y


def ranking(values) -> str:
    """Names ordered by falling value, as in "Te>Se>Sb", from a mapping of name to number.

    Equal values are joined by "=", in alphabetical order.
    """
    items = sorted(dict(values).items(), key=lambda item: (-item[1], item[0]))
    text = items[0][0]
    for (_, before), (name, value) in pairwise(items):
        text += ("=" if value == before else ">") + name
    return text


def variance_inflation(x, *, constant: bool = True) -> np.ndarray:
    """Variance inflation factor (eq 2.3) of each column of x (n, d): array (d,).

    constant=True regresses every column on the others and an intercept (R^2 about the mean), the
    textbook definition. constant=False leaves the intercept out and measures R^2 about zero, as the
    study does. A column that the others reproduce exactly has factor inf.
    """
    x = np.asarray(x, float)
    if x.ndim != 2 or x.shape[1] < 2 or len(x) <= x.shape[1] or not np.isfinite(x).all():
        raise InputError(f"expected finite x (n, d) with n > d >= 2, got shape {x.shape}")
    if constant:
        x = x - x.mean(axis=0)
    scale = np.sqrt(np.square(x).sum(axis=0))
    if not scale.all():
        raise InputError(f"column {int(np.argmin(scale))} does not vary; remove it")
    x = x / scale
    factors = np.empty(x.shape[1])
    for column in range(x.shape[1]):
        others = np.delete(x, column, axis=1)
        slopes = np.linalg.lstsq(others, x[:, column], rcond=None)[0]
        unexplained = np.square(x[:, column] - others @ slopes).sum()
        factors[column] = np.inf if unexplained < 1e-12 else 1.0 / unexplained
    return factors
