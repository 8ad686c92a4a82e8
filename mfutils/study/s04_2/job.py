"""One training strategy on one set of labels: the job behind every figure of section 4.2.

It takes labels, however they were made or corrected, and knows nothing of noise or denoising; so
the long sweep of trainings stays valid while the rules of correction change. Arguments and result
are plain, for `sweep.run`. The result holds what the next pass needs: predictions for all
training rows, and the weights.
"""

import time

import numpy as np

from mfutils.errors import InputError
from mfutils.networks.architectures import build_model
from mfutils.networks.labels import TargetScaler
from mfutils.networks.state import load_state, state_arrays
from mfutils.networks.training import Settings
from mfutils.study import gap_graphs
from mfutils.study.s04_2.partition import split
from mfutils.study.s04_2.strategies import run_steps

__all__ = ["FIDELITY", "GRAPHS", "TRAINING", "problem", "train_strategy"]

# The PBE gaps, which the section takes as the truth
FIDELITY = {"open": "mp_pbe", "chen2021": "pbe"}
GRAPHS = {"cgcnn": {"cutoff": 8.0, "max_neighbors": 12}, "megnet": {"cutoff": 5.0}}
# Patience is the study's; its other settings are not printed
TRAINING = {
    "cgcnn": {"learning_rate": 0.003, "batch_size": 64},
    "megnet": {"learning_rate": 0.001, "batch_size": 32},
}
_COMMON = {"optimizer": "adam", "schedule": "constant", "epochs": 60, "patience": 10}


def problem(dataset, size, seed, *, scored=None, architecture="cgcnn"):
    """(GapGraphs, Partition, true gaps (n,) of its rows, scored rows (m,), their true gaps (m,)).

    scored limits how many of the unused rows judge the models; None takes all.
    """
    options = {"max_neighbors": None, **GRAPHS[architecture]}
    data = gap_graphs.load(dataset, **options)
    gap = data.gap(FIDELITY[data.name])
    partition = split(data.rows(FIDELITY[data.name]), size=size, seed=seed)
    judged = partition.scored
    if scored is not None and len(judged) > scored:
        chosen = np.random.default_rng([seed, 1]).choice(judged, scored, replace=False)
        judged = np.sort(chosen)
    return data, partition, gap[partition.rows], judged, gap[judged]


def train_strategy(
    *, dataset, size, seed, labels, strategy, architecture="cgcnn", member=0, state=None,
    network=None, training=None, scored=None,
):  # fmt: skip
    """Train through `strategy` on `labels` (n,), which belong to the partition of size and seed.

    state: weights to start from (name -> array), the result of an earlier pass; None starts from
    fresh ones, drawn for `member`. network and training override the model's options and those of
    `Settings`. Targets are standardised by the noise-free training labels of D throughout, since a
    warm start must keep the meaning of the output. Returns a dict: steps (see
    `strategies.run_steps`), and of the last model prediction (n,), descriptor (n, d), error
    (m,) and state; cpu seconds. Raises InputError as the modules behind it do.
    """
    if architecture not in GRAPHS:
        raise InputError(f"architecture is {architecture!r}: expected one of {', '.join(GRAPHS)}")
    labels = np.asarray(labels, dtype=float)
    data, partition, true, judged, truth = problem(
        dataset, size, seed, scored=scored, architecture=architecture
    )
    if labels.shape != partition.rows.shape:
        raise InputError(
            f"labels have shape {labels.shape}; expected ({len(partition.rows)},), one per "
            f"training row of size {size}"
        )
    clean = partition.members("D", validates=False)
    if not np.array_equal(labels[clean], true[clean]):
        raise InputError("labels of D differ from the truth: D is the noise-free subset")
    settings = {**_COMMON, **TRAINING[architecture], **(training or {})}
    settings = Settings(**{**settings, "seed": 1000 * seed + member})
    model = build_model(architecture, **{"seed": 1000 * seed + member, **(network or {})})
    if state is not None:
        load_state(model, state)
    start = time.process_time()
    trained, found = run_steps(
        model, data.graphs, partition, labels, strategy=strategy, settings=settings,
        scaler=TargetScaler.fit(true[clean]), scored=judged, truth=truth,
    )  # fmt: skip
    return {
        "steps": found,
        "prediction": trained.predict(data.graphs, partition.rows),
        "descriptor": trained.descriptor(data.graphs, partition.rows).astype(np.float32),
        "error": (trained.predict(data.graphs, judged) - truth).astype(np.float32),
        "state": state_arrays(model),
        "cpu": time.process_time() - start,
    }
