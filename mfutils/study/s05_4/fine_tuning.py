"""A pretrained network goes on with measured gaps (section 5.2).

`fine_tune` starts from the weights of `mfutils.study.s05_4.gap_networks.pretrain` and follows
measured gaps at one more fidelity, whose learned vector starts as a copy of that of the best
functional. `out_of_fold` does so for every fold of a deal, and once more for every pair of folds,
so that what a fine-tuned network says of a crystal can be an input of the next model: a network
that saw neither the held-out fold nor the crystal's own. Both are jobs for
`mfutils.compendium.sweep.run`.
"""

from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np

from mfutils.errors import InputError
from mfutils.networks.cgcnn import CGCNN
from mfutils.networks.labels import Labels, TargetScaler
from mfutils.networks.state import load_state
from mfutils.networks.trained_model import TrainedModel
from mfutils.networks.training import Settings, fit
from mfutils.study import gap_graphs
from mfutils.study.s05_4.gap_networks import MEASURED, Pretrained
from mfutils.study.s05_4.records import Deal

__all__ = ["FINE_TUNING", "Tuned", "fine_tune", "out_of_fold"]

FINE_TUNING = {
    "optimizer": "adam", "learning_rate": 3e-4, "schedule": "cosine", "warmup": 0.1,
    "loss": "mae", "epochs": 20, "patience": 1000, "batch_size": 32,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Tuned:
    """Gaps in eV that fine-tuned networks say of the n measured crystals.

    prediction (n,) by a network without the crystal's fold; inner (folds, n): for each held-out
    fold f by one that saw neither f nor the crystal's own fold. NaN where nothing was asked.
    """

    prediction: np.ndarray
    inner: np.ndarray


def fine_tune(
    *, dataset: str, network: Pretrained, rows: np.ndarray, gap: np.ndarray, predict: np.ndarray,
    seed: int, training: dict | None = None,
) -> np.ndarray:  # fmt: skip
    """Go on from a network of `pretrain` with gaps (n,) in eV of the crystals `rows` (n,).

    All layers follow; the last weights count. Returns the gaps (m,) in eV of the crystals
    `predict`. Raises InputError when a crystal is in both.
    """
    rows, predict = np.asarray(rows, dtype=np.int64), np.asarray(predict, dtype=np.int64)
    if np.intersect1d(rows, predict).size:
        raise InputError("some crystals are trained on and predicted; keep them apart")
    model, scaler = CGCNN(**network.config), TargetScaler(*network.scaler)
    load_state(model, network.state)
    data = gap_graphs.load(dataset, cutoff=model.cutoff, max_neighbors=model.max_neighbors)
    settings = Settings(**{**FINE_TUNING, "seed": seed, **(training or {})})
    fit(
        model, data.graphs, Labels(rows, gap, np.full(len(rows), MEASURED)), None,
        settings=settings, scaler=scaler, progress=False,
    )  # fmt: skip
    return TrainedModel(model.eval(), scaler).predict(data.graphs, predict, fidelity=MEASURED)


def out_of_fold(*, deal: Deal, network: Pretrained, training: dict | None = None) -> Tuned:
    """Fine-tune for every fold that is tested, and for every pair of it with another."""
    data, fold, asked = deal.records(), deal.fold(), deal.asked()
    known = len(next(iter(network.prediction.values())))
    if known != len(data.crystals):
        raise InputError(
            f"the network read {known} crystals, the records have {len(data.crystals)}; expected "
            "the same, in one order"
        )
    prediction = np.full(len(fold), np.nan)
    inner = np.full((deal.folds, len(fold)), np.nan)
    for a, b in combinations_with_replacement(range(deal.folds), 2):
        if not {a, b} & set(asked):
            continue
        held = np.isin(fold, (a, b))
        learns, _ = deal.learners(held)
        said = fine_tune(
            dataset=deal.dataset, network=network, rows=data.rows[learns], gap=data.gap[learns],
            predict=data.rows[held], seed=deal.seed, training=training,
        )  # fmt: skip
        said = dict(zip(np.flatnonzero(held), np.maximum(said, 0), strict=True))
        for one, other in {(a, b), (b, a)}:
            rows = np.flatnonzero(fold == other)
            inner[one, rows] = [said[row] for row in rows]
            if a == b:
                prediction[rows] = inner[one, rows]
    return Tuned(prediction, inner)
