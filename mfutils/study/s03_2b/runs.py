"""One network that learns computed and measured gaps at once, as a job (Chen et al. 2021).

A CGCNN is told the fidelity of every label by a learned vector, and measured gaps are one more
fidelity of it. It trains on the computed gaps of all crystals and on the measured gaps of most,
the validation decides about the weights that are kept, and the measured gaps of the rest test it.
Disordered crystals, where asked for, are graphs with mixed atom features: four fifths of them train
as further measured gaps, and the last fifth is a second test. Arguments are plain and results are
arrays and numbers, so that `mfutils.compendium.sweep.run` can store a run and find it again.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from mfutils.datasets import bandgap
from mfutils.errors import InputError
from mfutils.networks.cgcnn import CGCNN
from mfutils.networks.labels import Labels
from mfutils.networks.mixtures import with_mixtures
from mfutils.networks.training import Settings, fit
from mfutils.study.s03_2b import measured_gaps, splits

__all__ = ["TRAINING", "Run", "train"]

TRAINING = {
    "optimizer": "adam", "learning_rate": 2e-3, "schedule": "cosine", "warmup": 0.05,
    "loss": "mae", "epochs": 15, "patience": 1000,
}  # fmt: skip
_FIFTHS = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """One trained network, tested on measured gaps that it never saw.

    test (t,) graph numbers, gap and prediction (t,) in eV, composition (t,) reduced formulas; the
    same of disordered crystals, (0,) where there are none. labels: how many of each fidelity
    trained, "disordered" apart. same_composition: how many test crystals have the composition of a
    crystal with a computed label in training ("computed"), with a measured one ("measured").
    validation_mae in eV belongs to epoch best_epoch; cpu_seconds is what the training cost.
    """

    test: np.ndarray
    gap: np.ndarray
    prediction: np.ndarray
    composition: np.ndarray
    disordered_gap: np.ndarray
    disordered_prediction: np.ndarray
    labels: dict[str, int]
    same_composition: dict[str, int]
    validation_mae: float
    best_epoch: int
    cpu_seconds: float
    history: dict[str, np.ndarray]


def train(
    *, dataset: str, split: str, part: int, protocol: str, seed: int,
    computed: Iterable[str] | None = None, disordered: bool = False, weight: float = 1.0,
    samples: int | None = None, training: dict | None = None, model: dict | None = None,
) -> Run:  # fmt: skip
    """Train and test one network; `split`, `part` and `protocol` as in `splits.deal`.

    computed: the computed fidelities to learn from, by default all of the data set. weight is that
    of a measured label in the loss; a computed one has 1. samples limits the computed labels per
    fidelity. training and model override TRAINING and the defaults of CGCNN.
    """
    computed = bandgap.computed(dataset) if computed is None else tuple(computed)
    measured = bandgap.measured(dataset)[0]
    network = CGCNN(**{"seed": seed, "fidelities": (*computed, measured), **(model or {})})
    settings = Settings(**{**TRAINING, "seed": seed, **(training or {})})
    data = measured_gaps.load(
        dataset, disordered=disordered, cutoff=network.cutoff, max_neighbors=network.max_neighbors
    )
    network = with_mixtures(network, data.graphs)
    dealt = splits.deal(data, split=split, part=part, protocol=protocol)
    learns, tested = _disordered(data, dealt, part, protocol)
    labels = _labels(data, dealt, computed, learns, weight, samples, seed)
    watched = Labels(dealt.validation, data.gap[dealt.validation], measured)

    start = time.process_time()
    trained = fit(
        network, data.graphs.graphs, labels, watched,
        settings=settings, target="gap", unit="eV", progress=False,
    )  # fmt: skip
    seconds = time.process_time() - start

    def predicted(rows):
        if not len(rows):
            return np.empty(0)
        return trained.predict(data.graphs.graphs, rows, fidelity=measured)

    names, counts = np.unique(labels.fidelity, return_counts=True)
    counted = dict(zip(names.tolist(), counts.tolist(), strict=True))
    counted[measured] -= len(learns)
    return Run(
        test=dealt.test,
        gap=data.gap[dealt.test],
        prediction=predicted(dealt.test),
        composition=data.formula(dealt.test),
        disordered_gap=data.gap[tested],
        disordered_prediction=predicted(tested),
        labels={**counted, "disordered": len(learns)},
        same_composition=_same_composition(data, dealt, labels, measured),
        validation_mae=trained.validation_mae,
        best_epoch=trained.best_epoch,
        cpu_seconds=seconds,
        history={name: np.array(values) for name, values in trained.history.items()},
    )


def _disordered(data, dealt, part, protocol):
    """Graph numbers of the disordered crystals that train, and of those that test.

    They are dealt one by one. Under the sound protocol none trains that shares its elements with a
    held ordered crystal, and as nothing keeps their own likes apart, none tests.
    """
    rows = data.disordered
    fifth = np.random.default_rng([part, _FIFTHS]).permutation(len(rows)) % _FIFTHS
    if protocol == "printed":
        return rows[fifth > 0], rows[fifth == 0]
    held = data.system(dealt.held) if len(rows) else ()
    return rows[~np.isin(data.system(rows), held)], rows[:0]


def _labels(data, dealt, computed, learns, weight, samples, seed):
    """Labels of everything that trains: computed gaps, measured ones, disordered crystals."""
    if not weight > 0:
        raise InputError(f"weight is {weight!r}; expected a number above 0")
    ordered = data.ordered
    rows = np.concatenate([dealt.train, learns])
    parts = [Labels(rows, data.gap[rows], data.measured, np.full(len(rows), float(weight)))]
    if computed:
        generator = np.random.default_rng(seed)
        found = ordered.labels(computed, generator, without=dealt.shut_out, samples=samples)
        parts.append(Labels(found.index, found.target, found.fidelity, np.ones(len(found))))
    fields = ("index", "target", "fidelity", "weight")
    return Labels(*(np.concatenate([getattr(part, name) for part in parts]) for name in fields))


def _same_composition(data, dealt, labels, measured):
    """How many test crystals have the composition of an ordered crystal that trains, by kind."""
    ordered = labels.index < len(data.ordered.graphs)
    kinds = {"computed": labels.fidelity != measured, "measured": labels.fidelity == measured}
    tested = data.formula(dealt.test)
    return {
        name: int(np.isin(tested, data.formula(np.unique(labels.index[ordered & kind]))).sum())
        for name, kind in kinds.items()
    }
