"""A graph network that knows every computed fidelity, then learns experiment (section 5.2).

`pretrain` spends all computed gaps on one CGCNN that is told the fidelity of each label, without
the materials of the test, and reads all crystals at every fidelity. `fine_tune` starts from its
weights and follows measured gaps at one more fidelity, "exp", whose learned vector starts as a
copy of that of the best functional. Both are jobs for `mfutils.compendium.sweep.run`.
"""

from dataclasses import dataclass

import numpy as np
import torch

from mfutils.errors import InputError
from mfutils.networks.cgcnn import CGCNN
from mfutils.networks.labels import Labels, TargetScaler
from mfutils.networks.state import load_state, state_arrays
from mfutils.networks.trained_model import TrainedModel
from mfutils.networks.training import Settings, fit
from mfutils.study import gap_graphs

__all__ = ["FINE_TUNING", "TRAINING", "Pretrained", "fine_tune", "pretrain"]

TRAINING = {
    "optimizer": "adam", "learning_rate": 2e-3, "schedule": "cosine", "warmup": 0.05,
    "loss": "mae", "epochs": 30, "patience": 1000,
}  # fmt: skip
FINE_TUNING = {
    "optimizer": "adam", "learning_rate": 3e-4, "schedule": "cosine", "warmup": 0.1,
    "loss": "mae", "epochs": 20, "patience": 1000, "batch_size": 32,
}  # fmt: skip
_HELD = 0.03  # share of the materials that watches the training


@dataclass(frozen=True, eq=False)
class Pretrained:
    """A network of `pretrain`: its state, configuration and scaler (mean, std), and its work.

    prediction: {fidelity: gaps (n,) eV float32} of all n crystals of `gap_graphs.load`; train: the
    crystals whose labels were used.
    """

    state: dict[str, np.ndarray]
    config: dict
    scaler: tuple[float, float]
    prediction: dict[str, np.ndarray]
    train: np.ndarray


def pretrain(
    *, dataset, fidelities, seed, samples=None, test="exp", training=None, model=None
) -> Pretrained:
    """Train on the gaps of `fidelities` of every material without a gap of `test`.

    samples limits the labels per fidelity.
    """
    fidelities = tuple(fidelities)
    if test in fidelities:
        raise InputError(f"{test!r} is the test and among the fidelities; leave it out")
    network = CGCNN(seed=seed, fidelities=(*fidelities, test), **(model or {}))
    settings = Settings(**{**TRAINING, "seed": seed, **(training or {})})
    data = gap_graphs.load(dataset, cutoff=network.cutoff, max_neighbors=network.max_neighbors)
    generator = np.random.default_rng(seed)
    labels = data.labels(fidelities, generator, without=data.rows(test), samples=samples)
    materials = np.unique(labels.index)
    held = generator.choice(materials, max(1, round(_HELD * len(materials))), replace=False)
    validates = np.isin(labels.index, held)
    trained = fit(
        network, data.graphs, labels.take(~validates), labels.take(validates),
        settings=settings, target="gap", unit="eV", progress=False,
    )  # fmt: skip
    with torch.no_grad():
        network.fidelity.weight[-1] = network.fidelity.weight[-2]
    return Pretrained(
        state_arrays(network),
        dict(network.config),
        (trained.scaler.mean, trained.scaler.std),
        {f: trained.predict(data.graphs, fidelity=f).astype(np.float32) for f in fidelities},
        materials,
    )


def fine_tune(
    *, dataset, network: Pretrained, rows, gap, predict, seed, target="exp", training=None
) -> np.ndarray:
    """Go on from a network of `pretrain` with gaps (n,) in eV of the crystals `rows` (n,).

    All layers follow; the last weights count. Returns the gaps (m,) in eV of the crystals
    `predict`.
    """
    rows, predict = np.asarray(rows, dtype=np.int64), np.asarray(predict, dtype=np.int64)
    if np.intersect1d(rows, predict).size:
        raise InputError("some crystals are trained on and predicted; keep them apart")
    model, scaler = CGCNN(**network.config), TargetScaler(*network.scaler)
    load_state(model, network.state)
    data = gap_graphs.load(dataset, cutoff=model.cutoff, max_neighbors=model.max_neighbors)
    settings = Settings(**{**FINE_TUNING, "seed": seed, **(training or {})})
    fit(
        model, data.graphs, Labels(rows, gap, np.full(len(rows), target)), None,
        settings=settings, scaler=scaler, progress=False,
    )  # fmt: skip
    return TrainedModel(model.eval(), scaler).predict(data.graphs, predict, fidelity=target)
