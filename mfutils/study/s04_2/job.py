"""One training strategy on one set of labels: the job behind every figure of section 4.2.

It takes labels, however they were made or corrected, and knows nothing of noise or denoising; so
the long sweep of trainings stays valid while the rules of correction change. Arguments and result
are plain, for `sweep.run`. The result holds what the next pass needs: predictions for all
training rows, and the weights.
"""

import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mfutils.errors import InputError
from mfutils.networks.architectures import build_model
from mfutils.networks.labels import TargetScaler
from mfutils.networks.state import load_state, state_arrays
from mfutils.networks.training import Settings
from mfutils.study import gap_graphs
from mfutils.study.s04_2.partition import Partition, deal_subsets
from mfutils.study.s04_2.strategies import Step, run_steps

__all__ = [
    "FIDELITY",
    "GRAPHS",
    "STRATEGY_TRAINING",
    "StrategyDraw",
    "StrategyRun",
    "draw_labels",
    "train_strategy",
]

# The PBE gaps, which the section takes as the truth
FIDELITY = {"open": "mp_pbe", "chen2021": "pbe"}
GRAPHS = {"cgcnn": {"cutoff": 8.0, "max_neighbors": 12}, "megnet": {"cutoff": 5.0}}
# Patience is the study's; its other settings are not printed
STRATEGY_TRAINING = {
    "cgcnn": {"learning_rate": 0.003, "batch_size": 64},
    "megnet": {"learning_rate": 0.001, "batch_size": 32},
}
_COMMON = {"optimizer": "adam", "schedule": "constant", "epochs": 60, "patience": 10}


@dataclass(frozen=True, eq=False)
class StrategyDraw:
    """One draw of subsets: true (n,) gaps in eV of the partition's rows, and the scored rows (m,)
    that judge the models with their true gaps truth (m,)."""

    data: gap_graphs.GapGraphs
    partition: Partition
    true: np.ndarray
    scored: np.ndarray
    truth: np.ndarray


@dataclass(frozen=True, eq=False)
class StrategyRun:
    """A strategy trained on one set of labels.

    steps of the chain; of its last model prediction (n,) and descriptor (n, d) for the training
    rows, error (m,) on the scored rows, all in eV, and state, the weights by name; cpu seconds.
    """

    steps: list[Step]
    prediction: np.ndarray
    descriptor: np.ndarray
    error: np.ndarray
    state: dict[str, np.ndarray]
    cpu: float


def draw_labels(
    dataset: str, size: int, seed: int, *, scored: int | None = None, architecture: str = "cgcnn"
) -> StrategyDraw:
    """The draw of `size` labels with a seed.

    scored limits how many of the unused rows judge the models; None takes all.
    """
    options = {"max_neighbors": None, **GRAPHS[architecture]}
    data = gap_graphs.load(dataset, **options)
    gap = data.gap(FIDELITY[data.name])
    partition = deal_subsets(data.rows(FIDELITY[data.name]), size=size, seed=seed)
    judged = partition.scored
    if scored is not None and len(judged) > scored:
        chosen = np.random.default_rng([seed, 1]).choice(judged, scored, replace=False)
        judged = np.sort(chosen)
    return StrategyDraw(data, partition, gap[partition.rows], judged, gap[judged])


def train_strategy(
    *,
    dataset: str,
    size: int,
    seed: int,
    labels: npt.ArrayLike,
    strategy: str,
    architecture: str = "cgcnn",
    member: int = 0,
    state: dict[str, np.ndarray] | None = None,
    network: dict | None = None,
    training: dict | None = None,
    scored: int | None = None,
) -> StrategyRun:
    """Train through `strategy` on `labels` (n,), which belong to the partition of size and seed.

    state: weights to start from (name -> array), the result of an earlier pass; None starts from
    fresh ones, drawn for `member`. network and training override the model's options and those of
    `Settings`. Targets are standardised by the noise-free training labels of D throughout, since a
    warm start must keep the meaning of the output. Raises InputError as the modules behind it do.
    """
    if architecture not in GRAPHS:
        raise InputError(f"architecture is {architecture!r}: expected one of {', '.join(GRAPHS)}")
    labels = np.asarray(labels, dtype=float)
    draw = draw_labels(dataset, size, seed, scored=scored, architecture=architecture)
    graphs, partition = draw.data.graphs, draw.partition
    if labels.shape != partition.rows.shape:
        raise InputError(
            f"labels have shape {labels.shape}; expected ({len(partition.rows)},), one per "
            f"training row of size {size}"
        )
    clean = partition.members("D", validates=False)
    if not np.array_equal(labels[clean], draw.true[clean]):
        raise InputError("labels of D differ from the truth: D is the noise-free subset")
    settings = {**_COMMON, **STRATEGY_TRAINING[architecture], **(training or {})}
    settings = Settings(**{**settings, "seed": 1000 * seed + member})
    model = build_model(architecture, **{"seed": 1000 * seed + member, **(network or {})})
    if state is not None:
        load_state(model, state)
    start = time.process_time()
    trained, chain = run_steps(
        model, graphs, partition, labels, strategy=strategy, settings=settings,
        scaler=TargetScaler.fit(draw.true[clean]), scored=draw.scored, truth=draw.truth,
    )  # fmt: skip
    return StrategyRun(
        steps=chain,
        prediction=trained.predict(graphs, partition.rows),
        descriptor=trained.descriptor(graphs, partition.rows).astype(np.float32),
        error=(trained.predict(graphs, draw.scored) - draw.truth).astype(np.float32),
        state=state_arrays(model),
        cpu=time.process_time() - start,
    )
