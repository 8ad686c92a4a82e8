"""The fidelity of data sets as a model sees it: order by test error, with probabilities (3.2.4).

A data set is the more faithful, the smaller the error at the highest fidelity of the models
trained on it (Table 3.6). Ten models and some test materials give an order, but how firm is it?
Test materials and models are resampled with replacement, the same materials for all data sets,
and the share of draws that keep the order of two neighbours is the probability of that order.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pandas as pd

from mfutils.errors import InputError

__all__ = ["Ranking", "rank"]


@dataclass(frozen=True, eq=False)
class Ranking:
    """Data sets from the most to the least faithful.

    table: fidelity, error, low, high (95 % interval), one row per data set in order; pairs: one
    row per two neighbours: better, worse, difference (error of the worse less the better), low,
    high, probability that the order holds; draws (b, k) the resampled errors, in order.
    """

    table: pd.DataFrame
    pairs: pd.DataFrame
    draws: np.ndarray

    @property
    def order(self) -> tuple[str, ...]:
        """Names from the most to the least faithful."""
        return tuple(self.table["fidelity"])

    def __str__(self) -> str:
        return ">".join(self.order)

    def probability(self, better: str, worse: str) -> float:
        """Share of draws in which `better` has the smaller error than `worse`."""
        unknown = {better, worse} - set(self.order)
        if unknown:
            raise InputError(f"no data set {min(unknown)!r}; ranked are {', '.join(self.order)}")
        a, b = (self.draws[:, self.order.index(name)] for name in (better, worse))
        return _share_smaller(a, b)


def rank(
    errors: Mapping[str, npt.ArrayLike],
    *,
    weight: npt.ArrayLike | None = None,
    draws: int = 2000,
    seed: int = 0,
) -> Ranking:
    """The Ranking of data sets by the mean test error of their models.

    errors: name -> (members, samples) absolute (or squared) errors, on the same test samples for
    all. weight (samples,) >= 0 changes the mix of the test set, say to another share of metals.
    Raises InputError for fewer than two data sets, unequal samples or values that are no errors.
    """
    if len(errors) < 2:
        raise InputError(
            f"{len(errors)} data set(s): there is nothing to rank; expected at least 2"
        )
    arrays = {str(name): _checked(name, values) for name, values in errors.items()}
    counts = {name: a.shape[1] for name, a in arrays.items()}
    n = next(iter(counts.values()))
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise InputError(f"data sets have different numbers of test samples ({listed})")
    weight = np.ones(n) if weight is None else np.asarray(weight, dtype=float)
    if weight.shape != (n,) or not (weight >= 0).all() or not weight.sum() > 0:
        raise InputError(f"weight must be {n} values of at least 0, not all 0")

    mean = {name: float((a @ weight).mean() / weight.sum()) for name, a in arrays.items()}
    order = sorted(mean, key=mean.get)
    rng = np.random.default_rng(seed)
    rows = rng.multinomial(n, np.full(n, 1 / n), size=draws) * weight
    rows = rows[rows.sum(axis=1) > 0]
    rows = rows / rows.sum(axis=1, keepdims=True)
    resampled = []
    for name in order:
        members = len(arrays[name])
        chosen = rng.multinomial(members, np.full(members, 1 / members), size=len(rows)) / members
        resampled.append(((rows @ arrays[name].T) * chosen).sum(axis=1))
    resampled = np.column_stack(resampled)
    low, high = np.quantile(resampled, [0.025, 0.975], axis=0)
    table = pd.DataFrame(
        {"fidelity": order, "error": [mean[name] for name in order], "low": low, "high": high}
    )
    return Ranking(table, _neighbours(order, mean, resampled), resampled)


def _neighbours(order, mean, resampled):
    lines = []
    for k, (better, worse) in enumerate(pairwise(order)):
        a, b = resampled[:, k], resampled[:, k + 1]
        low, high = np.quantile(b - a, [0.025, 0.975])
        gap = mean[worse] - mean[better]
        lines.append((better, worse, gap, low, high, _share_smaller(a, b)))
    columns = ["better", "worse", "difference", "low", "high", "probability"]
    return pd.DataFrame(lines, columns=columns)


def _share_smaller(a, b):
    """Share of draws with a < b; a tie counts half."""
    return float(np.mean(a < b) + 0.5 * np.mean(a == b))


def _checked(name, values):
    values = np.asarray(values, dtype=float)
    if values.ndim == 1:
        values = values[None, :]
    if values.ndim != 2 or not values.size:
        raise InputError(f"errors of {name} have shape {values.shape}; expected (members, samples)")
    if not (np.isfinite(values) & (values >= 0)).all():
        raise InputError(f"errors of {name} are negative or not finite; expected absolute errors")
    return values
