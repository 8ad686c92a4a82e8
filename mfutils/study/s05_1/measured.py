"""Measured band gaps with structures, and who trains, calibrates and tests (section 5.2).

Polymorphs of one composition, and compounds of the same elements, resemble each other. All rows
of a chemical system (the set of its elements) therefore go to one side of every split: train,
calibration or test, and within training to the part that a network sees or to the part that is
left out to measure its errors. Where a data set has several sets of measured gaps, `measured` names
one of them, by default the first.
"""

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold

from mfutils.crystals import graph_cache
from mfutils.crystals.formulas import composition_key
from mfutils.crystals.gap_features import structure_features
from mfutils.datasets import bandgap, registry
from mfutils.errors import InputError
from mfutils.study import gap_twins

__all__ = [
    "Fold", "GapStudy", "chemical_group", "chemical_system", "features", "graphs", "known", "load",
]  # fmt: skip

# the most electronegative element that is present names the group
_GROUPS = {
    "halide": ("F", "Cl", "Br", "I"),
    "oxide": ("O",),
    "chalcogenide": ("S", "Se", "Te"),
    "pnictide": ("N", "P", "As", "Sb", "Bi"),
}


@dataclass(frozen=True, eq=False)
class GapStudy:
    """n measured gaps: table with structures, y (n,) in eV, system and group (n,) as text.

    measured is the name of the set.
    """

    measured: str
    table: pd.DataFrame
    y: np.ndarray
    system: np.ndarray
    group: np.ndarray

    def __len__(self):
        return len(self.y)


def chemical_system(formula):
    """The elements of a formula in alphabetical order, such as "As-Ga"."""
    return "-".join(sorted(set(re.findall("[A-Z][a-z]?", formula))))


def chemical_group(formula):
    """halide, oxide, chalcogenide or pnictide by the first of these anions, else metallic.

    "metallic" are compounds of metals with each other and with H, B, C, Si, Ge.
    """
    present = set(re.findall("[A-Z][a-z]?", formula))
    return next((name for name, ions in _GROUPS.items() if present & set(ions)), "metallic")


@registry.remembered(maxsize=3)
def load(dataset="auto", *, limit=0, seed=0, measured=None):
    """The GapStudy of a data set of `mfutils.datasets.bandgap`.

    measured names the set of gaps, by default the first, which is in chen2021 the study's own test
    where it is present. limit draws that many rows (0: all), for short runs. Raises InputError for
    a set that is not here and when fewer than 20 rows have a gap.
    """
    table, sets = bandgap.load(dataset), bandgap.measured(dataset)
    measured = sets[0] if measured is None else measured
    if measured not in sets:
        raise InputError(f"measured is {measured!r}; {dataset} has {', '.join(sets)}")
    gap = f"gap_{measured}"
    table = table[np.isfinite(table[gap])].reset_index(drop=True)
    if limit and limit < len(table):
        chosen = np.random.default_rng(seed).choice(len(table), limit, replace=False)
        table = table.iloc[np.sort(chosen)].reset_index(drop=True)
    if len(table) < 20:
        raise InputError(f"{len(table)} measured gaps; expected at least 20 to split in folds")
    formulas = table["formula"]
    system, group = (
        np.array([name(f) for f in formulas]) for name in (chemical_system, chemical_group)
    )
    return GapStudy(measured, table, table[gap].to_numpy(float), system, group)


@dataclass(frozen=True)
class Fold:
    """Who trains, calibrates and tests in fold `number` of `folds`; no system is in two parts.

    calibration is its share of the rows that do not test, reached as nearly as whole systems
    allow. Raises InputError for a number or share that does not exist.
    """

    dataset: str
    number: int
    limit: int = 0
    folds: int = 5
    calibration: float = 0.2
    seed: int = 0
    measured: str | None = None

    def __post_init__(self):
        if not 0 <= self.number < self.folds:
            raise InputError(f"fold is {self.number}; expected 0 to {self.folds - 1}")
        if not 0 < self.calibration < 1:
            raise InputError(f"calibration is {self.calibration}; expected a share between 0 and 1")

    def study(self) -> GapStudy:
        """The gaps that are dealt out."""
        return load(self.dataset, limit=self.limit, measured=self.measured)

    def rows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Row numbers (train, calibration, test)."""
        system = self.study().system
        rest, test = _folds(system, self.folds, self.seed)[self.number]
        generator = np.random.default_rng([self.seed, self.number])
        systems = generator.permutation(np.unique(system[rest]))
        rank = {name: place for place, name in enumerate(systems)}
        places = np.array([rank[name] for name in system[rest]])
        sizes = np.cumsum(np.bincount(places))
        cut = int(np.searchsorted(sizes, self.calibration * len(rest)))
        return rest[places > cut], rest[places <= cut], test

    def inner(self, member: int, *, parts: int = 5) -> tuple[np.ndarray, np.ndarray]:
        """Training rows that member number `member` sees, and the part that it leaves out."""
        train, _, _ = self.rows()
        kept, left = _folds(self.study().system[train], parts, 0)[member % parts]
        return train[kept], train[left]


def _folds(system, folds, seed):
    parts = GroupKFold(folds, shuffle=True, random_state=seed)
    return list(parts.split(np.zeros((len(system), 1)), groups=system))


@registry.remembered(maxsize=3)
def features(dataset, *, limit=0, seed=0, measured=None):
    """Features (n, d) of `mfutils.crystals.gap_features.structure_features`."""
    study = load(dataset, limit=limit, seed=seed, measured=measured)
    return structure_features(study.table).to_numpy(float)


@registry.remembered(maxsize=4)
def graphs(dataset, *, limit=0, seed=0, measured=None, cutoff, max_neighbors):
    """GraphDataset of the rows, one graph per row."""
    table = load(dataset, limit=limit, seed=seed, measured=measured).table
    return graph_cache.load_or_build(
        table["structure"], ids=table["material_id"], cutoff=cutoff, max_neighbors=max_neighbors,
        short="keep" if max_neighbors is None else "grow", progress=False, on_error="raise",
    )  # fmt: skip


@registry.remembered(maxsize=3)
def known(dataset, *, limit=0, seed=0, measured=None):
    """Gaps (n, f) in eV that were computed for these very crystals, one column per functional.

    NaN where none was: `mfutils.study.gap_twins` says which computed crystal is the measured one.
    """
    study = load(dataset, limit=limit, seed=seed, measured=measured)
    names, table = bandgap.computed(dataset), bandgap.load(dataset)
    table = table.assign(composition=[composition_key(formula) for formula in table["formula"]])
    place = {name: row for row, name in enumerate(table["material_id"])}
    rows = np.array([place[name] for name in study.table["material_id"]])
    gaps = table[[f"gap_{name}" for name in names]].to_numpy(float)
    twin = gap_twins.find(table, rows, np.isfinite(gaps).any(axis=1)).row
    return np.where((twin >= 0)[:, None], gaps[twin], np.nan)
