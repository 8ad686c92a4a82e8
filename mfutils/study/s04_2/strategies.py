"""In which order subsets of rising fidelity train one network (section 4.2.2).

    1by1       A > B > C > D           one subset after the other
    onion      ABCD > BCD > CD > D     the noisiest subset leaves at every step
    all        ABCD                    everything at once
    only-true  D                       the noise-free subset alone: the baseline

Every step starts from the weights of the step before and stops early on labels of its own subsets.
"""

from dataclasses import dataclass

import numpy as np

from mfutils.crystals.graph_data import GraphDataset
from mfutils.errors import InputError
from mfutils.networks.base import GraphModel
from mfutils.networks.labels import Labels, TargetScaler
from mfutils.networks.trained_model import TrainedModel
from mfutils.networks.training import Settings, fit
from mfutils.study.s04_2.partition import SUBSETS, Partition

__all__ = ["STRATEGIES", "Step", "run_steps", "steps"]

STRATEGIES = {
    "1by1": ("A", "B", "C", "D"),
    "onion": ("ABCD", "BCD", "CD", "D"),
    "all": ("ABCD",),
    "only-true": ("D",),
}


@dataclass(frozen=True)
class Step:
    """One training of a chain: the subsets that it saw, how many labels trained, the epochs that
    it took and the best of them; errors in eV on the labels kept for stopping and, as mean
    absolute error and bias, on the scored rows."""

    step: int
    subsets: str
    trained: int
    epochs: int
    best_epoch: int
    validation_mae: float
    mae: float
    bias: float


def steps(strategy: str) -> tuple[str, ...]:
    """The subsets of every step; a combination such as "B" or "ABCD" is one step of its own."""
    if strategy in STRATEGIES:
        return STRATEGIES[strategy]
    if strategy and set(strategy) <= set(SUBSETS) and len(set(strategy)) == len(strategy):
        return (strategy,)
    raise InputError(
        f"unknown strategy {strategy!r}: expected {', '.join(STRATEGIES)}, or subsets such as BCD"
    )


def run_steps(
    model: GraphModel,
    graphs: GraphDataset,
    partition: Partition,
    labels: np.ndarray,
    *,
    strategy: str,
    settings: Settings,
    scaler: TargetScaler,
    scored: np.ndarray,
    truth: np.ndarray,
) -> tuple[TrainedModel, list[Step]]:
    """Train `model` through a strategy; returns the model at the end and its steps.

    labels (n,) belong to the partition's rows. scored (m,) rows with true values truth (m,) judge
    every intermediate model. Raises InputError when a step has fewer training labels than a batch,
    or a scored row trains.
    """
    leaked = np.intersect1d(scored, partition.rows)
    if len(leaked):
        raise InputError(
            f"{len(leaked)} scored rows also train, the first is {leaked[0]}: the test leaks "
            "into training; score unused rows only"
        )
    trained, chain = None, []
    for number, letters in enumerate(steps(strategy)):
        train = partition.members(letters, validates=False)
        stop = partition.members(letters, validates=True)
        if train.sum() < settings.batch_size:
            raise InputError(
                f"step {letters} trains on {train.sum()} labels, less than one batch of "
                f"{settings.batch_size}: take more data or a smaller batch_size"
            )
        trained = fit(
            model, graphs, Labels(partition.rows[train], labels[train]),
            Labels(partition.rows[stop], labels[stop]), settings=settings, scaler=scaler,
            target="gap", unit="eV", progress=False,
        )  # fmt: skip
        error = trained.predict(graphs, scored) - truth
        chain.append(
            Step(
                step=number,
                subsets=letters,
                trained=int(train.sum()),
                epochs=len(trained.history["train_loss"]),
                best_epoch=trained.best_epoch,
                validation_mae=trained.validation_mae,
                mae=float(np.abs(error).mean()),
                bias=float(error.mean()),
            )
        )
    return trained, chain
