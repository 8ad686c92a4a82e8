"""A graph network that knows every computed fidelity (section 5.2).

`pretrain` spends computed gaps on one CGCNN that is told the fidelity of each label, and reads all
crystals at every fidelity. What it may not see is the rule `apart`: by "composition" no computed
gap of any crystal with the composition of a measured one, because the ids of two databases hide
which of their crystals are the same material; by "crystal" only the measured crystals themselves
stay out, as in Chen et al. 2021, so that computed gaps of the same material may train. A job for
`mfutils.compendium.sweep.run`; `mfutils.study.s05_4.fine_tuning` goes on from here.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from mfutils.errors import InputError
from mfutils.networks.cgcnn import CGCNN
from mfutils.networks.state import state_arrays
from mfutils.networks.training import Settings, fit
from mfutils.study import gap_graphs

__all__ = ["APART", "MEASURED", "TRAINING", "Pretrained", "kept_apart", "pretrain"]

APART = ("composition", "crystal")
MEASURED = "exp"  # name of the fidelity that only fine-tuning teaches
TRAINING = {
    "optimizer": "adam", "learning_rate": 2e-3, "schedule": "cosine", "warmup": 0.05,
    "loss": "mae", "epochs": 30, "patience": 1000,
}  # fmt: skip
_HELD = 0.03  # share of the materials that watches the training


@dataclass(frozen=True, eq=False)
class Pretrained:
    """A network of `pretrain`: its state, configuration and scaler (mean, std), and its work.

    prediction: {fidelity: gaps (n,) eV float32} of all n crystals of `gap_graphs.load`; train: the
    crystals whose labels were used; labels: how many there were per fidelity.
    """

    state: dict[str, np.ndarray]
    config: dict
    scaler: tuple[float, float]
    prediction: dict[str, np.ndarray]
    train: np.ndarray
    labels: dict[str, int]


def kept_apart(data: gap_graphs.GapGraphs, apart: str) -> np.ndarray:
    """Graph numbers whose computed gaps may not train, by one of APART, over all measured sets."""
    if apart not in APART:
        raise InputError(f"apart is {apart!r}; expected one of {', '.join(APART)}")
    rows = np.unique(np.concatenate([data.rows(name) for name in data.measured]))
    return data.of_same_composition(rows) if apart == "composition" else rows


def pretrain(
    *, dataset: str, fidelities: Iterable[str], seed: int, samples: int | None = None,
    apart: str = "composition", training: dict | None = None, model: dict | None = None,
) -> Pretrained:  # fmt: skip
    """Train on the gaps of `fidelities` of every crystal that the rule `apart` leaves.

    samples limits the labels per fidelity. Raises InputError when a measured set is among the
    fidelities.
    """
    fidelities = tuple(fidelities)
    network = CGCNN(seed=seed, fidelities=(*fidelities, MEASURED), **(model or {}))
    settings = Settings(**{**TRAINING, "seed": seed, **(training or {})})
    data = gap_graphs.load(dataset, cutoff=network.cutoff, max_neighbors=network.max_neighbors)
    if tests := set(fidelities) & {MEASURED, *data.measured}:
        raise InputError(f"{sorted(tests)[0]!r} is a test and among the fidelities; leave it out")
    generator = np.random.default_rng(seed)
    labels = data.labels(fidelities, generator, without=kept_apart(data, apart), samples=samples)
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
        state=state_arrays(network),
        config=dict(network.config),
        scaler=(trained.scaler.mean, trained.scaler.std),
        prediction={
            f: trained.predict(data.graphs, fidelity=f).astype(np.float32) for f in fidelities
        },
        train=materials,
        labels={f: int((labels.fidelity == f).sum()) for f in fidelities},
    )
