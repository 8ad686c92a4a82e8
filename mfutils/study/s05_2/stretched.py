"""The control of section 5.2: a shift that alignment can remove, made by stretching crystals.

The labels mean the same on both sides and only the crystals differ, which is what an adversary on
the descriptor is for.
"""

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mfutils.crystals.graph_data import GraphDataset
from mfutils.errors import InputError
from mfutils.networks.adversarial import Adaptation, FusedModel, adapt
from mfutils.networks.cgcnn import CGCNN
from mfutils.networks.labels import Labels
from mfutils.networks.state import state_arrays
from mfutils.networks.training import Settings, fit
from mfutils.study.s05_2.feature_fusion import ENCODER_TRAINING, load_start
from mfutils.study.s05_2.problem import GRAPHS, fold_of_systems

__all__ = ["ControlRun", "align_stretched", "stretched"]


@dataclass(frozen=True, eq=False)
class ControlRun:
    """test (t,) graph numbers and their target (eV); predicted (1 + k, t) for the stretched test
    crystals, before and after each of the k runs; unmoved (t,), the prediction before for the
    crystals as they are; descriptor (1 + k, 2 t, d) of the test crystals as they are and then
    stretched; cpu_seconds."""

    test: np.ndarray
    target: np.ndarray
    unmoved: np.ndarray
    predicted: np.ndarray
    descriptor: np.ndarray
    cpu_seconds: float


def stretched(graphs: GraphDataset, factor: float) -> GraphDataset:
    """A GraphDataset of 2 m graphs: the m of `graphs`, then the same with all lengths x factor."""
    if not factor > 0:
        raise InputError(f"factor is {factor!r}; expected a number above 0")
    second = {
        "ids": np.char.add(graphs.ids, f" x {factor:g}"),
        "lattices": factor * graphs.lattices,
        "distance": np.float32(factor) * graphs.distance,
        "atom_pointer": graphs.atom_pointer[1:] + graphs.atom_pointer[-1],
        "edge_pointer": graphs.edge_pointer[1:] + graphs.edge_pointer[-1],
    }
    same = {name: getattr(graphs, name) for name in ("rows", "frac_coords", "numbers")}
    second |= same | {"neighbor": graphs.neighbor, "shift": graphs.shift}
    twice = {name: np.concatenate([getattr(graphs, name), v]) for name, v in second.items()}
    return dataclasses.replace(graphs, **twice)


def align_stretched(
    *,
    dataset: str,
    fidelity: str,
    fold: int,
    folds: int,
    seed: int,
    labels: int,
    factor: float,
    adversaries: Sequence[float],
    epochs: int,
    steps: int,
    model: dict | None = None,
) -> ControlRun:
    """Train on crystals as they are, then go on with stretched ones, at several strengths.

    An encoder is trained on `labels` gaps of crystals as they are. For every strength in
    adversaries it then goes on from there for `steps`, with as many other crystals, stretched and
    without labels.
    """
    data, has, inside = fold_of_systems(dataset, fidelity, fold, folds, seed)
    generator = np.random.default_rng([seed, fold])
    train = generator.permutation(np.flatnonzero(has & ~inside))[: 2 * labels]
    test = generator.permutation(np.flatnonzero(has & inside))[:labels]
    both, m, gaps = stretched(data.graphs, factor), len(data.graphs), data.gap(fidelity)
    names = ("as it is", "stretched")
    source = train[: len(train) // 2]
    known = Labels(source, gaps[source], np.full(len(source), names[0]))
    network = CGCNN(fidelities=names, seed=seed, **GRAPHS, **(model or {}))
    settings = Settings(**{**ENCODER_TRAINING, "epochs": epochs, "seed": seed})
    begun = time.process_time()
    trained = fit(network, both, known, None, settings=settings, progress=False)
    start = state_arrays(network)
    pair = np.concatenate([test, test + m])
    predicted, descriptors = [], []
    for strength in (None, *adversaries):
        load_start(network, start, told=False)
        fused = FusedModel(network, scaler=trained.scaler, seed=seed)
        if strength is None:
            unmoved = fused.predict(both, test, fidelity=names[0])
        else:
            adapt(
                fused, both, known, scarce=names[1], unlabelled=train[len(source) :] + m,
                settings=Adaptation(steps=steps, adversary=strength, seed=seed),
            )  # fmt: skip
        predicted.append(fused.predict(both, test + m, fidelity=names[0]))
        descriptors.append(fused.descriptor(both, pair, fidelity=names[0]).astype(np.float32))
    return ControlRun(
        test=test,
        target=gaps[test],
        unmoved=unmoved,
        predicted=np.array(predicted),
        descriptor=np.array(descriptors),
        cpu_seconds=time.process_time() - begun,
    )
