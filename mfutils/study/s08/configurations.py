"""Which configurations of mlearn train and test every model of chapter 8.

All models draw the same training configurations for the same seed and predict the same evaluation
set: the source's test configurations and some held-out training ones, which serve to calibrate.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mfutils.datasets import mlearn
from mfutils.errors import InputError
from mfutils.forces.potentials import Snapshot, snapshot
from mfutils.forces.soap import Soap

__all__ = ["Evaluation", "Predictions", "draw", "snapshots"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Evaluation:
    """What every model is compared with, by configuration (c,) and by force (f,).

    group: kind of each configuration; held (c,): True for a held-out training configuration;
    atoms and energy (c,), eV; forces (f, 3) in eV/Angstrom; config (f,): the configuration of each.
    """

    group: list[str]
    held: np.ndarray
    atoms: np.ndarray
    energy: np.ndarray
    forces: np.ndarray
    config: np.ndarray

    @classmethod
    def of(cls, rows: Sequence[Any], forces: list[np.ndarray]) -> "Evaluation":
        """From rows of the data set and the forces (k, 3) that are compared, by row."""
        return cls(
            group=[row.group for row in rows],
            held=np.array([row.split == "train" for row in rows]),
            atoms=np.array([row.atoms for row in rows]),
            energy=np.array([row.energy for row in rows]),
            forces=np.concatenate(forces),
            config=np.repeat(np.arange(len(rows)), [len(f) for f in forces]),
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Predictions:
    """What a model says of an evaluation set, noise included, and what its training took.

    energy_mean and energy_std (c,) in eV; force_mean (f, 3) and force_cov (f, 3, 3) in
    eV/Angstrom.
    """

    energy_mean: np.ndarray
    energy_std: np.ndarray
    force_mean: np.ndarray
    force_cov: np.ndarray
    cpu_seconds: float


def draw(element: str, *, seed: int, train: int, held: int) -> tuple[pd.DataFrame, list[Any]]:
    """(training table, evaluation rows): `train` and then `held` random training configurations;
    the evaluation holds all test configurations before the held-out ones.

    Raises InputError when the training part is smaller than train + held.
    """
    table = mlearn.load(element)
    known = table[table["split"] == "train"]
    if train < 1 or held < 0 or train + held > len(known):
        raise InputError(
            f"train {train} and held {held} of {element}; its training part has {len(known)} "
            "configurations"
        )
    order = np.random.default_rng([seed, 8]).permutation(len(known))
    test = table[table["split"] == "test"]
    training, held_out = known.iloc[order[:train]], known.iloc[order[train : train + held]]
    return training, [*test.itertuples(), *held_out.itertuples()]


def snapshots(soap: Soap, rows: Iterable[Any], atoms: int, seed: int) -> Iterator[Snapshot]:
    """Snapshots one after the other, with the forces on `atoms` random atoms of each.

    Their derivatives are large, so a caller keeps few.
    """
    generator = np.random.default_rng([seed, 88])
    return (snapshot(soap, row, force_atoms=atoms, generator=generator) for row in rows)
