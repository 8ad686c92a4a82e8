"""One fold of section 5.2: which labels train, which crystals test.

Folds hold whole chemical systems: what tests was never trained on at any fidelity.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mfutils.datasets import registry
from mfutils.errors import InputError
from mfutils.networks.labels import Labels
from mfutils.study import gap_graphs
from mfutils.uncertainty import groups

__all__ = ["GRAPHS", "FusionProblem", "fold_of_systems", "fusion_problem"]

GRAPHS = {"cutoff": 8.0, "max_neighbors": 12}


@dataclass(frozen=True, eq=False)
class FusionProblem:
    """One fold: low (Labels of all low fidelities) and pool (k,) graphs with a scarce gap train,
    test (t,) graphs with a scarce gap and rest (r,) graphs with a low gap only do not."""

    data: gap_graphs.GapGraphs
    low: Labels
    pool: np.ndarray
    test: np.ndarray
    rest: np.ndarray


@registry.remembered(maxsize=4)
def _systems(dataset: str) -> np.ndarray:
    return groups.chemical_systems(gap_graphs.load(dataset, **GRAPHS).graphs)


def fold_of_systems(
    dataset: str, fidelity: str, fold: int, folds: int, seed: int
) -> tuple[gap_graphs.GapGraphs, np.ndarray, np.ndarray]:
    """GapGraphs, which graphs (m,) have the fidelity, and which lie in the fold."""
    data = gap_graphs.load(dataset, **GRAPHS)
    has = np.isfinite(data.gap(fidelity))
    dealt = groups.group_folds(_systems(dataset), folds, spread=has, seed=seed)
    return data, has, dealt == fold


def fusion_problem(
    dataset: str,
    *,
    high: str,
    lows: Sequence[str],
    fold: int,
    folds: int,
    seed: int,
    low_labels: int,
) -> FusionProblem:
    """The problem of a fold: scarce fidelity `high`, names of `lows`, low_labels of these in all.

    The pool stands in a random order: its first n are a draw of n. Raises InputError for a
    fidelity that is high and low, and for too few labels.
    """
    lows = list(lows)
    if not lows or high in lows:
        raise InputError(f"high is {high!r} and lows are {lows}; expected others below the high")
    data, has, inside = fold_of_systems(dataset, high, fold, folds, seed)
    generator = np.random.default_rng([seed, fold])
    pool = generator.permutation(np.flatnonzero(has & ~inside))
    index = [data.rows(name, without=np.flatnonzero(inside)) for name in lows]
    names = np.repeat(lows, [len(rows) for rows in index])
    target = np.concatenate([data.gap(n)[rows] for n, rows in zip(lows, index, strict=True)])
    low = Labels(np.concatenate(index), target, names)
    chosen = generator.permutation(len(low))[:low_labels]
    known = np.isfinite([data.gap(name) for name in lows]).any(axis=0)
    rest = np.flatnonzero(known & ~has & inside)
    if min(len(pool), len(chosen)) < 4 or not inside[has].any():
        raise InputError(
            f"fold {fold} has {len(pool)} scarce and {len(chosen)} low labels; expected at least 4"
        )
    return FusionProblem(data, low.take(chosen), pool, np.flatnonzero(has & inside), rest)
