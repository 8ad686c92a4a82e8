"""The training runs of section 3.2, one call per network.

`member` trains one network of the ensemble: a sample of one fidelity, split 8:2, early stopping;
tested on every set of measured gaps that the data have. Its descriptors go to
`mfutils.study.s03_2.processes`, a job of its own, so that a change of the Gaussian process trains
no network again. `thesis` samples from all rows of the fidelity. `sound` first leaves out every
crystal with the composition of a measured one, because the ids of two databases hide which of
their crystals are the same material. `multi_fidelity` spends the data on one network that knows the
fidelity of every label. Arguments are plain and results are arrays and numbers, so that
`mfutils.compendium.sweep.run` can store a run and find it again.
"""

import random
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from mfutils.errors import InputError
from mfutils.networks.architectures import build_model
from mfutils.networks.labels import Labels, TargetScaler
from mfutils.networks.training import Settings, fit
from mfutils.study import gap_graphs
from mfutils.study.s03_2.numbering import as_queried

__all__ = [
    "MODELS", "PROTOCOLS", "SEEDS", "TRAINING", "Member", "MultiFidelityRun", "Reading", "draw",
    "member", "member_jobs", "multi_fidelity", "tested_rows",
]  # fmt: skip

PROTOCOLS = ("thesis", "sound")
SEEDS = tuple(range(42, 421, 42))
# How the study trains each network (section 3.2.2). For MEGNet the authors' scripts decide where
# they differ from the text: batches of 128, not 32 (repository GNN_uncertainty, commit 1fb4d07aec)
TRAINING = {
    "cgcnn": {
        "optimizer": "sgd", "learning_rate": 0.01, "momentum": 0.9, "schedule": "step",
        "milestones": (100,), "batch_size": 128, "epochs": 2000, "patience": 500,
    },
    "megnet": {
        "optimizer": "adam", "learning_rate": 0.001, "schedule": "constant", "batch_size": 128,
        "epochs": 2000, "patience": 500, "standardise": False,
    },
}  # fmt: skip
TRAINING["megnet_matgl"] = TRAINING["megnet"]
# What the networks of those scripts have other than the defaults
MODELS = {
    "cgcnn": {},
    "megnet": {
        "node_size": 64, "update": (64, 32, 32), "gauss_end": 5.0, "activation": "softplus",
    },
}  # fmt: skip
MODELS["megnet_matgl"] = MODELS["megnet"]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Run:
    """What training one network left behind.

    train, validation and test are graph numbers; measured has the gaps (t,) of the test in eV by
    the name of the measured set, NaN where a crystal is not in it. validation_mae in eV belongs to
    epoch best_epoch of `epochs`; network_cpu_seconds is what the training cost, history holds one
    array per recorded quantity, one entry per epoch.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    measured: dict[str, np.ndarray]
    epochs: int
    best_epoch: int
    validation_mae: float
    scaler: TargetScaler
    network_cpu_seconds: float
    history: dict[str, np.ndarray]

    @property
    def drawn(self) -> np.ndarray:
        """Graph numbers of all crystals that train or validate, in this order."""
        return np.concatenate([self.train, self.validation])


@dataclass(frozen=True, kw_only=True, eq=False)
class Reading:
    """What a network says of the d drawn crystals and of the t crystals of the test.

    drawn (d,) and test (t,) in eV; standardised (t,) is its raw output; descriptor_drawn (d, k) and
    descriptor_test (t, k) float32.
    """

    drawn: np.ndarray
    test: np.ndarray
    standardised: np.ndarray
    descriptor_drawn: np.ndarray
    descriptor_test: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class Member(_Run):
    """One network of one fidelity, tested.

    target (d,) are the gaps in eV of the crystals `drawn`. right is what the network says of
    crystals whose elements it knows; as_published, for MEGNet, what it says when the elements are
    numbered as in the study's evaluation (`mfutils.study.s03_2.numbering`).
    """

    target: np.ndarray
    right: Reading
    as_published: Reading | None

    def process_job(self, reading: str = "right") -> dict[str, np.ndarray]:
        """The job of `mfutils.study.s03_2.processes` on the descriptors of "right" or
        "as_published"."""
        found = self.right if reading == "right" else self.as_published
        if found is None:
            raise InputError(f"this network has no reading {reading!r}; expected 'right'")
        return {
            "descriptor_drawn": found.descriptor_drawn,
            "target_drawn": self.target,
            "descriptor_test": found.descriptor_test,
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class MultiFidelityRun(_Run):
    """One network of several fidelities, tested: network has its predictions (t,) by fidelity."""

    network: dict[str, np.ndarray]


def member_jobs(
    *, dataset: str, architecture: str, fidelities: Iterable[str], seeds: Iterable[int] = SEEDS,
    **options,
) -> list[dict]:  # fmt: skip
    """The jobs of `member` for every fidelity and seed, fidelity by fidelity."""
    shared = {"dataset": dataset, "architecture": architecture, **options}
    return [{"fidelity": name, "seed": seed, **shared} for name in fidelities for seed in seeds]


def tested_rows(data: gap_graphs.GapGraphs) -> np.ndarray:
    """Graph numbers of all crystals with a measured gap, in order."""
    return np.unique(np.concatenate([data.rows(name) for name in data.measured]))


def draw(
    data: gap_graphs.GapGraphs, fidelity: str, *, seed: int, samples: int, protocol: str,
    share: float = 0.8,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Graph numbers (train, validation) of one member.

    `samples` rows are drawn as the study does, by Python's `random.sample` after seeding; all
    rows where there are fewer. The first `share` of the draw is the training part. Under the sound
    protocol no row has the composition of a measured crystal.
    """
    rows = data.rows(fidelity, without=_kept_apart(data, protocol))
    if len(rows) < 5:
        raise InputError(
            f"{len(rows)} {fidelity} gaps are left to train on ({protocol} protocol); expected at "
            "least 5"
        )
    chosen = random.Random(seed).sample(list(rows), min(samples, len(rows)))
    chosen = np.array(chosen, dtype=np.int64)
    cut = round(share * len(chosen))
    return chosen[:cut], chosen[cut:]


def _kept_apart(data, protocol):
    """Graph numbers that may not train."""
    if protocol not in PROTOCOLS:
        raise InputError(f"protocol is {protocol!r}; expected one of {', '.join(PROTOCOLS)}")
    return data.of_same_composition(tested_rows(data)) if protocol == "sound" else None


def member(
    *, dataset: str, architecture: str, fidelity: str, seed: int, samples: int = 472,
    protocol: str = "thesis", training: dict | None = None, model: dict | None = None,
) -> Member:  # fmt: skip
    """Train one network of one fidelity and test it on every measured gap.

    training and model override TRAINING[architecture] and MODELS[architecture]. Returns a Member.
    """
    network = build_model(
        architecture, **{"seed": seed, **MODELS.get(architecture, {}), **(model or {})}
    )
    settings = Settings(**{**TRAINING[architecture], "seed": seed, **(training or {})})
    data = gap_graphs.load(dataset, cutoff=network.cutoff, max_neighbors=network.max_neighbors)
    rows = draw(data, fidelity, seed=seed, samples=samples, protocol=protocol)
    gaps, graphs, tested = data.gap(fidelity), data.graphs, tested_rows(data)

    start = time.process_time()
    trained = fit(
        network, graphs, *(Labels(part, gaps[part]) for part in rows),
        settings=settings, target=f"{fidelity} gap", unit="eV", progress=False,
    )  # fmt: skip
    seconds = time.process_time() - start
    drawn = np.concatenate(rows)
    as_published = None
    if architecture == "megnet":
        wrong = replace(trained, model=as_queried(network, graphs.batch(drawn).numbers))
        as_published = _reading(wrong, graphs, drawn, tested)
    return Member(
        **_record(trained, *rows, seconds),
        **_test(data, tested),
        target=gaps[drawn],
        right=_reading(trained, graphs, drawn, tested),
        as_published=as_published,
    )


def _reading(trained, graphs, drawn, tested):
    return Reading(
        drawn=trained.predict(graphs, drawn),
        test=trained.predict(graphs, tested),
        standardised=trained.predict(graphs, tested, standardised=True),
        descriptor_drawn=trained.descriptor(graphs, drawn).astype(np.float32),
        descriptor_test=trained.descriptor(graphs, tested).astype(np.float32),
    )


def _test(data, tested):
    """The fields of _Run that say on what a network is tested."""
    return {"test": tested, "measured": {name: data.gap(name)[tested] for name in data.measured}}


def _record(trained, train, validation, seconds):
    """The fields of _Run that follow from a TrainedModel, its crystals and its cost."""
    return {
        "train": train,
        "validation": validation,
        "epochs": len(trained.history["train_loss"]),
        "best_epoch": trained.best_epoch,
        "validation_mae": trained.validation_mae,
        "scaler": trained.scaler,
        "network_cpu_seconds": seconds,
        "history": {name: np.array(values) for name, values in trained.history.items()},
    }


def multi_fidelity(
    *, dataset: str, architecture: str, fidelities: Iterable[str], seed: int,
    protocol: str = "sound", training: dict | None = None, model: dict | None = None,
    share: float = 0.95, samples: int | None = None,
) -> MultiFidelityRun:  # fmt: skip
    """Train one network on the labels of all `fidelities` and test it on every measured gap.

    Materials are split, not labels: one material's labels all train or all validate, and under
    the sound protocol the compositions of the test do neither. samples limits the number of labels
    per fidelity. Returns a MultiFidelityRun.
    """
    fidelities = tuple(fidelities)
    options = {"seed": seed, "fidelities": fidelities, **(model or {})}
    network = build_model(architecture, **options)
    settings = Settings(**{**TRAINING[architecture], "seed": seed, **(training or {})})
    data = gap_graphs.load(dataset, cutoff=network.cutoff, max_neighbors=network.max_neighbors)
    tested = tested_rows(data)
    generator = np.random.default_rng(seed)
    kept_apart = _kept_apart(data, protocol)
    labels = data.labels(fidelities, generator, without=kept_apart, samples=samples)
    materials = np.unique(labels.index)
    held = generator.choice(materials, round((1 - share) * len(materials)), replace=False)
    validates = np.isin(labels.index, held)
    start = time.process_time()
    trained = fit(
        network, data.graphs, labels.take(~validates), labels.take(validates),
        settings=settings, target="gap", unit="eV", progress=False,
    )  # fmt: skip
    seconds = time.process_time() - start
    parts = labels.index[~validates], labels.index[validates]
    return MultiFidelityRun(
        **_record(trained, *parts, seconds),
        **_test(data, tested),
        network={name: trained.predict(data.graphs, tested, fidelity=name) for name in fidelities},
    )
