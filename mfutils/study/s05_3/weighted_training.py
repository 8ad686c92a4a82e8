"""Training through a sequence of sample weights: the job behind the strategies of section 5.2 (3).

A strategy is a list of weight vectors w (n,), one per step, over the labels of one partition
(`mfutils.study.s04_2.partition`). Each step minimises the weighted squared error

    sum_i w_i (z(x_i) - z_i)^2 / sum_i w_i

and starts from the weights of the network of the step before; w_i = 0 leaves a label out. So the
onion of section 4.2 is four vectors of zeros and ones, weighting by fidelity is one vector of
fractions, and an order by per-sample uncertainty is again zeros and ones. Arguments and result are
plain, for `mfutils.compendium.sweep.run`.
"""

import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mfutils.errors import InputError
from mfutils.networks.architectures import build_model
from mfutils.networks.labels import Labels, TargetScaler
from mfutils.networks.training import Settings, fit
from mfutils.study.s04_2.job import GRAPHS, STRATEGY_TRAINING, draw_labels
from mfutils.study.s04_2.partition import SUBSETS

__all__ = ["STOPS", "WeightedRun", "WeightedStep", "train_weighted"]

STOPS = ("own", "clean")
_SETTINGS = {**STRATEGY_TRAINING["cgcnn"], "optimizer": "adam", "schedule": "constant"}
_SETTINGS |= {"epochs": 60, "patience": 10}


@dataclass(frozen=True)
class WeightedStep:
    """One training: the subsets with weight, how many labels trained and how many equally weighted
    ones would be as good (effective, by the variance of a mean), epochs; errors in eV on the kept
    labels of D and, as mean absolute error and bias, on the scored rows."""

    step: int
    subsets: str
    trained: int
    effective: float
    epochs: int
    clean_mae: float
    mae: float
    bias: float


@dataclass(frozen=True, eq=False)
class WeightedRun:
    """The steps; of the last one prediction (n,) and descriptor (n, d) for the training rows and
    error (m,) on the scored rows, all in eV; cpu seconds."""

    steps: list[WeightedStep]
    prediction: np.ndarray
    descriptor: np.ndarray
    error: np.ndarray
    cpu: float


def train_weighted(
    *,
    dataset: str,
    size: int,
    seed: int,
    labels: npt.ArrayLike,
    weights: npt.ArrayLike,
    stop: str = "own",
    member: int = 0,
    network: dict | None = None,
    training: dict | None = None,
    scored: int | None = None,
) -> WeightedRun:
    """Train a CGCNN on `labels` (n,) of the partition of size and seed, step by step.

    weights: (steps, n), at least 0; labels kept for early stopping never train, whatever their
    weight. stop: "own" stops on the kept labels of the subsets that carry weight in the step, as
    section 4.2 does; "clean" on those of D alone. Targets are standardised by the noise-free
    training labels of D. network and training override the model's options and those of
    `mfutils.networks.training.Settings`.

    Raises InputError for weights that do not fit the labels or leave a step with fewer than two of
    them, and for labels of D that are not the truth.
    """
    draw = draw_labels(dataset, size, seed, scored=scored)
    graphs, partition, true = draw.data.graphs, draw.partition, draw.true
    labels, weights = _checked(labels, weights, stop, partition, true)
    clean = partition.members("D", validates=False)
    kept_clean = partition.members("D", validates=True)
    settings = Settings(**{**_SETTINGS, **(training or {}), "seed": 1000 * seed + member})
    options = {**GRAPHS["cgcnn"], "seed": 1000 * seed + member, **(network or {})}
    model = build_model("cgcnn", **options)
    scaler = TargetScaler.fit(true[clean])
    start = time.process_time()
    trained, chain = None, []
    for number, weight in enumerate(weights):
        train = (weight > 0) & ~partition.validates
        if train.sum() < 2:
            raise InputError(
                f"step {number} trains on {train.sum()} labels, expected at least 2: give more "
                "labels weight"
            )
        used = "".join(s for s in SUBSETS if (weight[partition.subset == s] > 0).any())
        halt = kept_clean if stop == "clean" else partition.members(used, validates=True)
        even = (weight[train] == weight[train][0]).all()
        trained = fit(
            model, graphs,
            Labels(partition.rows[train], labels[train], weight=None if even else weight[train]),
            Labels(partition.rows[halt], labels[halt]),
            settings=settings, scaler=scaler, target="gap", unit="eV", progress=False,
        )  # fmt: skip
        error = trained.predict(graphs, draw.scored) - draw.truth
        rest = trained.predict(graphs, partition.rows[kept_clean]) - true[kept_clean]
        chain.append(
            WeightedStep(
                step=number,
                subsets=used,
                trained=int(train.sum()),
                effective=float(weight[train].sum() ** 2 / np.square(weight[train]).sum()),
                epochs=len(trained.history["train_loss"]),
                clean_mae=float(np.abs(rest).mean()),
                mae=float(np.abs(error).mean()),
                bias=float(error.mean()),
            )
        )
    return WeightedRun(
        steps=chain,
        prediction=trained.predict(graphs, partition.rows),
        descriptor=trained.descriptor(graphs, partition.rows).astype(np.float32),
        error=error.astype(np.float32),
        cpu=time.process_time() - start,
    )


def _checked(labels, weights, stop, partition, true):
    if stop not in STOPS:
        raise InputError(f"stop is {stop!r}: expected one of {', '.join(STOPS)}")
    labels, weights = np.asarray(labels, dtype=float), np.asarray(weights, dtype=float)
    n = len(partition.rows)
    if labels.shape != (n,):
        raise InputError(f"labels have shape {labels.shape}: expected ({n},), one per training row")
    if weights.ndim != 2 or weights.shape[1] != n or not len(weights):
        raise InputError(
            f"weights have shape {weights.shape}: expected (steps, {n}), one row per step"
        )
    if not np.isfinite(weights).all() or weights.min() < 0:
        raise InputError("a weight is negative or not finite: expected numbers of at least 0")
    clean = partition.members("D")
    if not np.array_equal(labels[clean], true[clean]):
        raise InputError("labels of D differ from the truth: D is the noise-free subset")
    return labels, weights
