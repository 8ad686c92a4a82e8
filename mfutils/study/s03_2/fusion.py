"""Errors of fused predictions and their differences, with intervals over crystals and networks.

A fused error is one number from many networks, so it cannot be averaged over them. Its variance
over networks comes from the jackknife: leave out network number i of every fidelity, i = 1 ... m,

    SE_networks^2 = (m - 1) / m  sum_i (d_i - mean d)^2,

with d_i the difference of two mean errors without these networks. The variance over crystals comes
from a bootstrap of whole compositions. Both are independent, so the interval of the difference is
d +- 1.96 sqrt(SE_networks^2 + SE_compositions^2).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.special import ndtri

from mfutils.study.s03_2.ensembles import Ensemble
from mfutils.uncertainty import pooling
from mfutils.uncertainty.compare import Draws

__all__ = [
    "RULES",
    "Contrast",
    "Errors",
    "average",
    "contrast",
    "fused",
    "jackknife",
    "single",
    "subset_table",
]

RULES = ("inverse-std", "inverse-variance", "mean", "median")
_PICKS = 40  # draws of as many members as one fidelity has

# Absolute errors (n,) of a prediction made without network number i (None: with all)
Errors = Callable[[int | None], np.ndarray]


@dataclass(frozen=True)
class Contrast:
    """Mean error of the first prediction less that of the second, in eV; below 0 it is better.

    low and high bound 95 % over `compositions` test compositions and `networks` networks per
    fidelity; se_compositions and se_networks are the two standard errors behind them.
    """

    difference: float
    low: float
    high: float
    se_compositions: float
    se_networks: float
    compositions: int
    networks: int

    @property
    def verdict(self) -> str:
        """ "better", "worse" or "not settled", by the whole interval."""
        if self.high < 0:
            return "better"
        return "worse" if self.low > 0 else "not settled"

    def as_record(self) -> dict:
        """Plain values: holds (the first is better), effect, interval, and what it covers."""
        return {
            "holds": self.high < 0,
            "effect": self.difference,
            "interval": [self.low, self.high],
            "compositions": self.compositions,
            "networks": self.networks,
        }


def contrast(
    first: Errors, second: Errors, draws: Draws, *, networks: int, level: float = 0.95
) -> Contrast:
    """The Contrast of two predictions of the same crystals; draws: of their compositions."""
    difference = first(None) - second(None)
    rows = float(draws.means(difference).std(ddof=1))
    spread = jackknife(lambda i: float((first(i) - second(i)).mean()), networks)
    half = float(ndtri(0.5 + level / 2)) * float(np.hypot(rows, spread))
    centre = float(difference.mean())
    return Contrast(
        centre, centre - half, centre + half, rows, spread, draws.counts.shape[1], networks
    )


def jackknife(statistic: Callable[[int], float], networks: int) -> float:
    """Standard error over networks of a statistic of all but network number i; NaN for one."""
    if networks < 2:
        return np.nan
    without = np.array([statistic(i) for i in range(networks)])
    return float(np.sqrt((networks - 1) * without.var()))


def single(ensemble: Ensemble, prediction: str, fidelity: str) -> Errors:
    """The error of one network, as the mean over networks of one fidelity."""
    error = ensemble.error(prediction, fidelity)

    def errors(i):
        return (error if i is None else np.delete(error, i, axis=0)).mean(axis=0)

    return _once(errors)


def average(
    ensemble: Ensemble, prediction: str, fidelities: Sequence[str], *, rule: str = "mean"
) -> Errors:
    """The error of all networks of the fidelities together, fused by a rule of `pooling`."""

    def errors(i):
        return np.abs(fused(ensemble, prediction, fidelities, rule, without=i)[0] - ensemble.y)

    return _once(errors)


def _once(errors: Errors) -> Errors:
    """The same errors, computed once per i: one prediction is compared with several."""
    known: dict[int | None, np.ndarray] = {}

    def kept(i):
        if i not in known:
            known[i] = errors(i)
        return known[i]

    return kept


def fused(
    ensemble: Ensemble, prediction: str, fidelities: Sequence[str] | None = None,
    rule: str = "inverse-std", *, without: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Fused mean and std (n,) of the networks of the fidelities (eqs 3.3 to 3.5)."""
    mean, std = ensemble.pool(prediction, fidelities, without=without)
    return pooling.fuse(mean, std, rule) if len(mean) > 1 else (mean[0], std[0])


def _as_many_as_one(ensemble, prediction, fidelities, rule, seed):
    """The error of m networks spread evenly over the fidelities, averaged over random choices."""
    size, kinds = ensemble.members, len(fidelities)

    def errors(i):
        generator = np.random.default_rng(seed)
        mean, std = ensemble.pool(prediction, fidelities)
        usable = np.array([k for k in range(size) if k != i])
        total = np.zeros(len(ensemble.y))
        count = size if i is None else size - 1
        for _ in range(_PICKS):
            share = np.full(kinds, count // kinds)
            share[generator.permutation(kinds)[: count % kinds]] += 1
            rows = [
                kind * size + generator.choice(usable, n, replace=False)
                for kind, n in enumerate(share)
            ]
            rows = np.concatenate(rows)
            value = pooling.fuse(mean[rows], std[rows], rule)[0] if count > 1 else mean[rows[0]]
            total += np.abs(value - ensemble.y)
        return total / _PICKS

    return errors


def subset_table(
    ensemble: Ensemble, prediction: str, draws: Draws, *, references: Sequence[str],
    names: dict[str, str], rules: Sequence[str] = RULES, seed: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """All subsets of the fidelities under all rules: one row each.

    MAE and MSE of all networks of the subset, the MAE of as many networks as one fidelity has, and
    for each of `references` the difference to averaging its networks, with interval and verdict.
    """
    rows = []
    size = ensemble.members
    against = {name: average(ensemble, prediction, [name]) for name in references}
    for count in range(1, len(ensemble.fidelities) + 1):
        for chosen in combinations(ensemble.fidelities, count):
            for rule in rules:
                mine = average(ensemble, prediction, chosen, rule=rule)
                few = _as_many_as_one(ensemble, prediction, chosen, rule, seed)
                row = {
                    "fidelities": " + ".join(names[f] for f in chosen),
                    "rule": rule,
                    "networks": count * size,
                    "MAE (eV)": mine(None).mean(),
                    "MSE (eV2)": (mine(None) ** 2).mean(),
                    f"MAE of {size}": few(None).mean(),
                }
                for name, errors in against.items():
                    found = contrast(mine, errors, draws, networks=size)
                    title = f"less {names[name]} averaged"
                    row |= {
                        title: found.difference, f"{title}: low": found.low,
                        f"{title}: high": found.high, f"{title}: verdict": found.verdict,
                    }  # fmt: skip
                rows.append(row)
    return pd.DataFrame(rows)
