"""Splits and intervals for crystals that come in families (sections 5.2 and 3.2).

Crystals of one chemical system, the same set of elements, resemble each other: a model that saw
one knows something about the rest. So whole systems go to one fold, and an interval of a mean
difference resamples systems, not crystals: with n_g rows and the sum s_g of system g,

    d = sum_g w_g s_g / sum_g w_g n_g,     w ~ multinomial (a bootstrap of clusters).
"""

import numpy as np

from mfutils.crystals.structure import SYMBOLS
from mfutils.errors import InputError

__all__ = ["chemical_systems", "group_folds", "paired_difference"]


def chemical_systems(graphs):
    """Name of the chemical system, such as "O-Ti", of every graph of a GraphDataset: (m,) str."""
    parts = np.split(graphs.numbers, graphs.atom_pointer[1:-1])
    return np.array(["-".join(sorted({SYMBOLS[z - 1] for z in part})) for part in parts])


def group_folds(groups, folds, *, spread, seed):
    """Fold (n,) int64 of every row; rows of one group (n,) share it.

    spread (n,) bool marks the rows that are scarce: groups that hold one are dealt out first, so
    that every fold gets its share. Raises InputError when there are fewer such groups than folds.
    """
    groups, spread = np.asarray(groups), np.asarray(spread, dtype=bool)
    if groups.ndim != 1 or spread.shape != groups.shape:
        raise InputError(
            f"groups and spread have shapes {groups.shape} and {spread.shape}; expected (n,) both"
        )
    names, code = np.unique(groups, return_inverse=True)
    holds = np.zeros(len(names), dtype=bool)
    holds[code[spread]] = True
    if not 2 <= folds <= holds.sum():
        raise InputError(
            f"folds is {folds!r}; expected 2 to {holds.sum()}, the number of groups with a "
            "scarce row"
        )
    generator = np.random.default_rng(seed)
    order = np.concatenate(
        [generator.permutation(np.flatnonzero(kind)) for kind in (holds, ~holds)]
    )
    fold_of_group = np.empty(len(names), dtype=np.int64)
    fold_of_group[order] = np.arange(len(names)) % folds
    return fold_of_group[code]


def paired_difference(first, second, groups, *, resamples=2000, seed=0):
    """Mean of first - second (n,), two errors of the same rows, with its bootstrap by group.

    Returns a dict: effect, interval (2.5 and 97.5 %), probability (share of resamples in which
    the first is the smaller; ties count half), n rows and groups. Raises InputError for unequal
    lengths, values that are not finite, or fewer than two groups.
    """
    first, second, groups = np.asarray(first, float), np.asarray(second, float), np.asarray(groups)
    if not first.shape == second.shape == groups.shape or first.ndim != 1:
        raise InputError(
            f"errors and groups have shapes {first.shape}, {second.shape} and {groups.shape}; "
            "expected (n,) for all"
        )
    difference = first - second
    if not np.isfinite(difference).all():
        raise InputError("an error is NaN or infinite; compare rows that both methods predict")
    _, code, count = np.unique(groups, return_inverse=True, return_counts=True)
    if len(count) < 2:
        raise InputError(f"{len(count)} group; a bootstrap by group needs at least 2")
    total = np.bincount(code, difference)
    generator = np.random.default_rng(seed)
    weight = generator.multinomial(len(count), np.full(len(count), 1 / len(count)), resamples)
    means = (weight @ total) / (weight @ count)
    return {
        "effect": float(difference.mean()),
        "interval": [float(q) for q in np.quantile(means, [0.025, 0.975])],
        "probability": float((means < 0).mean() + 0.5 * (means == 0).mean()),
        "n": len(difference),
        "groups": len(count),
    }
