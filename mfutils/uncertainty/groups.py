"""Crystals that come in families, and folds that hold whole families.

Crystals of one chemical system, the same set of elements, resemble each other: a model that saw
one knows something about the rest. So whole systems go to one fold, and an interval resamples
systems, not crystals (`mfutils.uncertainty.compare`).
"""

import numpy as np
import numpy.typing as npt

from mfutils.crystals.graph_data import GraphDataset
from mfutils.crystals.structure import SYMBOLS
from mfutils.errors import InputError

__all__ = ["chemical_systems", "group_folds"]


def chemical_systems(graphs: GraphDataset) -> np.ndarray:
    """Name of the chemical system, such as "O-Ti", of every graph of a GraphDataset: (m,) str."""
    parts = np.split(graphs.numbers, graphs.atom_pointer[1:-1])
    return np.array(["-".join(sorted({SYMBOLS[z - 1] for z in part})) for part in parts])


def group_folds(
    groups: npt.ArrayLike, folds: int, *, spread: npt.ArrayLike, seed: int
) -> np.ndarray:
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
