"""Means and paired differences with intervals that name what they cover.

Two models that predict the same rows are compared row by row: the difference of their errors has a
smaller spread than either error. `draw_rows` and `draw_groups` make bootstrap samples of rows, or
of whole groups where rows of one group resemble each other; with n_g rows and the sum s_g of group
g, a sample that holds the group w_g times has the mean

    d = sum_g w_g s_g / sum_g w_g n_g,     w ~ multinomial (a bootstrap of clusters).

`mean_interval` and `paired_difference` read such draws, so that several comparisons can share
them. `repeat_interval` is for a handful of repeats (seeds, folds) instead: Student's t.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from mfutils.errors import InputError
from mfutils.uncertainty.ensembles import bootstrap_counts

__all__ = [
    "Difference",
    "Draws",
    "Interval",
    "draw_groups",
    "draw_rows",
    "mean_interval",
    "paired_difference",
    "repeat_interval",
]


@dataclass(frozen=True)
class Interval:
    """An estimate between low and high; over: the source of variance ("rows", "groups", ...) that
    the interval covers, count: how many of these there are."""

    estimate: float
    low: float
    high: float
    over: str
    count: int

    @property
    def ends(self) -> tuple[float, float]:
        """low and high."""
        return self.low, self.high

    def as_record(self) -> dict[str, float | int | list[float]]:
        """Plain values: effect, interval and n, the count."""
        return {"effect": self.estimate, "interval": list(self.ends), "n": self.count}


@dataclass(frozen=True)
class Difference(Interval):
    """Mean of first - second with its interval; probability: share of the bootstrap samples in
    which the first is the smaller, ties counting half; rows: how many were compared."""

    probability: float
    rows: int

    def as_record(self) -> dict[str, float | int | list[float]]:
        """Plain values: effect, interval, probability, n rows, and the count under its name."""
        return {
            **super().as_record(),
            "probability": self.probability,
            "n": self.rows,
            self.over: self.count,
        }


@dataclass(frozen=True, eq=False)
class Draws:
    """b bootstrap samples of k units that hold n rows.

    counts (b, k): how often each unit stands in each sample; unit (n,) int: the unit of every row;
    over: what a unit is.
    """

    counts: np.ndarray
    unit: np.ndarray
    over: str

    def means(self, values: npt.ArrayLike, weight: npt.ArrayLike | None = None) -> np.ndarray:
        """Mean (b,) of values (n,) in every sample, each row counting weight (n,) times.

        A sample without any weight has no mean and is left out. Raises InputError for values that
        do not belong to the rows or are not finite, and for weights that are negative or all 0.
        """
        values, weight = self._rows(values, "values"), self._weight(weight)
        units = self.counts.shape[1]
        size = self.counts @ np.bincount(self.unit, weight, units)
        total = self.counts @ np.bincount(self.unit, weight * values, units)
        return total[size > 0] / size[size > 0]

    def _rows(self, values, name):
        values = np.asarray(values, dtype=float)
        if values.shape != self.unit.shape:
            raise InputError(
                f"{name} have shape {values.shape}; expected {self.unit.shape}, one per row drawn"
            )
        if not np.isfinite(values).all():
            raise InputError(f"{name} are NaN or infinite; compare rows that both methods predict")
        return values

    def _weight(self, weight):
        if weight is None:
            return np.ones(self.unit.shape)
        weight = self._rows(weight, "weights")
        if weight.min() < 0 or not weight.sum() > 0:
            raise InputError("a weight is negative or all are 0; expected numbers of at least 0")
        return weight


def draw_rows(
    n: int,
    *,
    resamples: int = 2000,
    seed: int | np.random.Generator = 0,
    picks: bool = False,
    over: str = "rows",
) -> Draws:
    """Bootstrap samples of n rows.

    picks draws an index for every place of a sample in place of the counts: the same law from
    other random numbers, for results that were first made so. over: the word for a row.
    """
    if not picks:
        return Draws(bootstrap_counts(n, resamples, seed), np.arange(n), over)
    if n < 1 or resamples < 1:
        raise InputError(f"{n} rows and {resamples} resamples; expected at least one of each")
    chosen = np.random.default_rng(seed).integers(0, n, (resamples, n))
    counts = np.empty((resamples, n))
    for sample, places in zip(counts, chosen, strict=True):
        sample[:] = np.bincount(places, minlength=n)
    return Draws(counts, np.arange(n), over)


def draw_groups(
    groups: npt.ArrayLike,
    *,
    resamples: int = 2000,
    seed: int | np.random.Generator = 0,
    over: str = "groups",
) -> Draws:
    """Bootstrap samples of whole groups, the names (n,) of the rows' families; at least two."""
    groups = np.asarray(groups)
    if groups.ndim != 1:
        raise InputError(f"groups have shape {groups.shape}; expected (n,)")
    names, unit = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        raise InputError(f"{len(names)} group; a bootstrap by group needs at least 2")
    return Draws(bootstrap_counts(len(names), resamples, seed), unit, over)


def mean_interval(
    values: npt.ArrayLike,
    draws: Draws,
    *,
    weight: npt.ArrayLike | None = None,
    level: float = 0.95,
) -> Interval:
    """Mean of values (n,), rows counting weight (n,) times, with its percentile interval.

    Raises InputError as `Draws.means` does and for a level outside (0, 1).
    """
    means = draws.means(values, weight)
    return Interval(_mean(values, weight), *_ends(means, level), draws.over, draws.counts.shape[1])


def paired_difference(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    draws: Draws,
    *,
    weight: npt.ArrayLike | None = None,
    level: float = 0.95,
) -> Difference:
    """Mean of first - second (n,), two errors of the same rows; below 0 the first is better.

    Raises InputError as `mean_interval` does and for unequal lengths.
    """
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if first.shape != second.shape:
        raise InputError(f"errors have shapes {first.shape} and {second.shape}; expected one")
    means = draws.means(first - second, weight)
    return Difference(
        _mean(first - second, weight),
        *_ends(means, level),
        draws.over,
        draws.counts.shape[1],
        probability=float((means < 0).mean() + 0.5 * (means == 0).mean()),
        rows=len(first),
    )


def repeat_interval(
    values: npt.ArrayLike, *, over: str = "repeats", level: float = 0.95
) -> Interval:
    """Mean of a few independent repeats (n,) with Student's t interval; NaN ends for one repeat.

    Raises InputError for no values and a level outside (0, 1).
    """
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or not len(values):
        raise InputError(f"repeats have shape {values.shape}; expected (n,), at least one")
    n, mean = len(values), float(values.mean())
    if n == 1:
        return Interval(mean, np.nan, np.nan, over, n)
    half = stats.t.ppf(1 - _tail(level), n - 1) * values.std(ddof=1) / n**0.5
    return Interval(mean, float(mean - half), float(mean + half), over, n)


def _mean(values, weight):
    return float(np.mean(values) if weight is None else np.average(values, weights=weight))


def _tail(level):
    if not 0 < level < 1:
        raise InputError(f"level is {level!r}; expected a share between 0 and 1, such as 0.95")
    return round((1 - level) / 2, 12)  # 0.025 to the last bit for 0.95


def _ends(means, level):
    tail = _tail(level)
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)
