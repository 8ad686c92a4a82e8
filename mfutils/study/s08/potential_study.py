"""The Gaussian-process runs of chapter 8, one call per element, with plain values in and out.

`gaussian_process` fits sparse potentials of one element at several training sizes, with and without
forces; `active` plays the learning curves of active learning. The networks have a module of
their own, `network_study`, and the same configurations.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mfutils.forces import active_learning
from mfutils.forces.soap import Soap
from mfutils.forces.sparse_potential import choose_inducing, fit_sparse, rows_of
from mfutils.study.s08.configurations import Evaluation, Predictions, draw, snapshots

__all__ = ["ActiveRound", "ElementPotentials", "SizedPotential", "active", "gaussian_process"]

_CANDIDATES = 3000  # environments among which the inducing ones are chosen


@dataclass(frozen=True, eq=False, kw_only=True)
class SizedPotential(Predictions):
    """A sparse potential trained on `size` configurations, and its predictions.

    hyperparameters and bound (nats) are those of the fit.
    """

    size: int
    with_forces: bool
    hyperparameters: dict[str, float]
    bound: float


@dataclass(frozen=True, eq=False)
class ElementPotentials:
    """The potentials of one element, by size, and what they are compared with."""

    evaluation: Evaluation
    models: list[SizedPotential]


@dataclass(frozen=True)
class ActiveRound:
    """A round of active learning: errors with `labels` labelled configurations.

    energy_mae in eV/atom, force_mae in eV/Angstrom; groups: how many configurations of every kind
    were chosen in that round.
    """

    strategy: str
    seed: int
    labels: int
    energy_mae: float
    force_mae: float
    groups: dict[str, int]


def _inducing(soap, structures, count, power, *, start=None, seed=0):
    """Up to `count` environments (m, d) of the structures, beyond those of `start`."""
    values = np.concatenate([soap.describe(s).values for s in structures])
    values = np.random.default_rng([seed, 888]).permutation(values)[:_CANDIDATES]
    return values[choose_inducing(values, count, power, start=start)]


def gaussian_process(
    *, element: str, seed: int, sizes: Sequence[int], inducing: Sequence[int], held: int = 30,
    train_atoms: int = 24, eval_atoms: int = 24, energy_noise: float | None = 0.01,
    power: int = 4, soap: dict | None = None, kinds: Sequence[bool] = (False, True),
) -> ElementPotentials:  # fmt: skip
    """Sparse potentials of one element trained on the first sizes[k] configurations of a draw.

    inducing[k] environments belong to size k, chosen from its own configurations; kinds says
    whether forces train. energy_noise is fixed (eV per square root of atoms; None fits it).
    """
    soap = Soap(**(soap or {}))
    train, rows = draw(element, seed=seed, train=max(sizes), held=held)
    start = time.process_time()
    chosen, before, columns = np.zeros((0, soap.size)), 0, []
    for size, count in zip(sizes, inducing, strict=True):
        structures = train["structure"].iloc[before:size]
        more = _inducing(soap, structures, count - len(chosen), power, start=chosen, seed=seed)
        chosen, before = np.vstack([chosen, more]), size
        columns.append(len(chosen))
    described = snapshots(soap, train.itertuples(), train_atoms, seed)
    known = [rows_of(s, chosen, power) for s in described]
    shared = (time.process_time() - start) / len(known)
    described = snapshots(soap, rows, eval_atoms, seed + 1)
    unknown = [rows_of(s, chosen, power) for s in described]
    models = []
    for size, m in zip(sizes, columns, strict=True):
        for forces in kinds:
            start = time.process_time()
            noise = None if energy_noise is None else (energy_noise, None)
            fitted = fit_sparse(known[:size], chosen[:m], power=power, forces=forces, noise=noise)
            seconds = time.process_time() - start + size * shared
            predicted = [fitted.predict(u) for u in unknown]
            models.append(
                SizedPotential(
                    energy_mean=np.array([p.energy for p in predicted]),
                    energy_std=np.array([p.energy_std for p in predicted]),
                    force_mean=np.concatenate([p.forces for p in predicted]),
                    force_cov=np.concatenate([p.force_cov for p in predicted]),
                    cpu_seconds=seconds,
                    size=size,
                    with_forces=forces,
                    hyperparameters=fitted.hyperparameters,
                    bound=fitted.bound,
                )
            )
    return ElementPotentials(Evaluation.of(rows, [u.forces for u in unknown]), models)


def active(
    *, element: str, seeds: Sequence[int], pool: int = 120, inducing: int = 200, start: int = 5,
    batch: int = 5, rounds: int = 9, members: int = 5, train_atoms: int = 24,
    energy_noise: float = 0.01, power: int = 4, soap: dict | None = None, seed: int = 0,
) -> list[ActiveRound]:  # fmt: skip
    """Learning curves of both strategies for several seeds, on one pool and one test set.

    Hyperparameters come from `start` training configurations outside the pool.
    """
    soap = Soap(**(soap or {}))
    table, rows = draw(element, seed=seed, train=pool, held=start)
    chosen = _inducing(soap, table["structure"], inducing, power, seed=seed)
    known, unknown = (
        [rows_of(s, chosen, power) for s in snapshots(soap, part, train_atoms, seed + k)]
        for k, part in enumerate((table.itertuples(), rows))
    )
    fitted = fit_sparse(unknown[-start:], chosen, power=power, noise=(energy_noise, None))
    candidates = active_learning.Pool(known, fitted)
    test = active_learning.Pool(unknown[:-start], fitted)
    groups = table["group"].reset_index(drop=True)
    played = []
    for one in seeds:
        for strategy in active_learning.STRATEGIES:
            curve = active_learning.learning_curve(
                candidates, test, strategy=strategy, start=start, batch=batch, rounds=rounds,
                members=members, seed=one,
            )  # fmt: skip
            for point in curve:
                kinds = groups[point.chosen].value_counts(sort=False).sort_index().to_dict()
                played.append(
                    ActiveRound(
                        strategy, one, point.labels, point.energy_mae, point.force_mae, kinds
                    )
                )
    return played
