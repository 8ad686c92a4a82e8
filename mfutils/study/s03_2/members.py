"""The training runs of section 3.2, one call per network.

`member` trains one network of the ensemble: a sample of one fidelity, split 8:2, early stopping;
tested on the experimental gaps. Its descriptors go to `mfutils.study.s03_2.processes`, a job of its
own, so that a change of the Gaussian process trains no network again. `thesis` samples from
all rows of the fidelity, `sound` leaves out the materials of the test first. `multi_fidelity`
spends the data on one network that knows the fidelity of every label. Arguments are plain and
results are arrays and numbers, so that `mfutils.compendium.sweep.run` can store a run and find it
again.
"""

import random
import time
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from mfutils.errors import InputError
from mfutils.networks.architectures import build_model
from mfutils.networks.labels import Labels, TargetScaler
from mfutils.networks.training import Settings, fit
from mfutils.study import gap_graphs

__all__ = [
    "PROTOCOLS", "SEEDS", "TRAINING", "Member", "MultiFidelityRun", "draw", "member",
    "member_jobs", "multi_fidelity",
]  # fmt: skip

PROTOCOLS = ("thesis", "sound")
SEEDS = tuple(range(42, 421, 42))
# How the study trains each network (section 3.2.2)
TRAINING = {
    "cgcnn": {
        "optimizer": "sgd", "learning_rate": 0.01, "momentum": 0.9, "schedule": "step",
        "milestones": (100,), "batch_size": 128, "epochs": 2000, "patience": 500,
    },
    "megnet": {
        "optimizer": "adam", "learning_rate": 0.001, "schedule": "constant", "batch_size": 32,
        "epochs": 2000, "patience": 500, "standardise": False,
    },
}  # fmt: skip
TRAINING["megnet_matgl"] = TRAINING["megnet"]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Run:
    """What training one network left behind.

    train, validation and test are graph numbers, target (t,) the gaps of the test in eV;
    validation_mae in eV belongs to epoch best_epoch of `epochs`; network_cpu_seconds is what the
    training cost, history holds one array per recorded quantity, one entry per epoch.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    target: np.ndarray
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
class Member(_Run):
    """One network of one fidelity, tested.

    network (t,) are its predictions in eV, standardised (t,) its raw output. descriptor_drawn
    (n, d) float32 belongs to the training and then the validation crystals with the gaps
    target_drawn (n,) in eV, descriptor_test (t, d) to the test.
    """

    network: np.ndarray
    standardised: np.ndarray
    descriptor_drawn: np.ndarray
    descriptor_test: np.ndarray
    target_drawn: np.ndarray

    def process_job(self) -> dict[str, np.ndarray]:
        """The job of `mfutils.gp.descriptor_gp.process` on the descriptors of this network."""
        return {
            "descriptor_drawn": self.descriptor_drawn,
            "target_drawn": self.target_drawn,
            "descriptor_test": self.descriptor_test,
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


def draw(
    data: gap_graphs.GapGraphs, fidelity: str, *, seed: int, samples: int, protocol: str,
    test: str = "exp", share: float = 0.8,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Graph numbers (train, validation) of one member.

    `samples` rows are drawn as the study does, by Python's `random.sample` after seeding; all
    rows where there are fewer. The first `share` of the draw is the training part.
    """
    if protocol not in PROTOCOLS:
        raise InputError(f"protocol is {protocol!r}; expected one of {', '.join(PROTOCOLS)}")
    rows = data.rows(fidelity, without=data.rows(test) if protocol == "sound" else None)
    if len(rows) < 5:
        raise InputError(
            f"{len(rows)} {fidelity} gaps are left to train on ({protocol} protocol); expected at "
            "least 5"
        )
    chosen = random.Random(seed).sample(list(rows), min(samples, len(rows)))
    chosen = np.array(chosen, dtype=np.int64)
    cut = round(share * len(chosen))
    return chosen[:cut], chosen[cut:]


def member(
    *, dataset: str, architecture: str, fidelity: str, seed: int, samples: int = 472,
    protocol: str = "thesis", test: str = "exp", training: dict | None = None,
    model: dict | None = None,
) -> Member:  # fmt: skip
    """Train one network of one fidelity and test it on the gaps of `test`.

    training and model override TRAINING[architecture] and the constructor's defaults. Returns a
    Member.
    """
    network = build_model(architecture, **{"seed": seed, **(model or {})})
    settings = Settings(**{**TRAINING[architecture], "seed": seed, **(training or {})})
    data = gap_graphs.load(dataset, cutoff=network.cutoff, max_neighbors=network.max_neighbors)
    rows = draw(data, fidelity, seed=seed, samples=samples, protocol=protocol, test=test)
    gaps, graphs, tested = data.gap(fidelity), data.graphs, data.rows(test)

    start = time.process_time()
    trained = fit(
        network, graphs, *(Labels(part, gaps[part]) for part in rows),
        settings=settings, target=f"{fidelity} gap", unit="eV", progress=False,
    )  # fmt: skip
    seconds = time.process_time() - start
    drawn = np.concatenate(rows)
    return Member(
        **_record(trained, *rows, seconds),
        test=tested,
        target=data.gap(test)[tested],
        network=trained.predict(graphs, tested),
        standardised=trained.predict(graphs, tested, standardised=True),
        descriptor_drawn=trained.descriptor(graphs, drawn).astype(np.float32),
        descriptor_test=trained.descriptor(graphs, tested).astype(np.float32),
        target_drawn=gaps[drawn],
    )


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
    *, dataset: str, architecture: str, fidelities: Iterable[str], seed: int, test: str = "exp",
    protocol: str = "sound", training: dict | None = None, model: dict | None = None,
    share: float = 0.95, samples: int | None = None,
) -> MultiFidelityRun:  # fmt: skip
    """Train one network on the labels of all `fidelities` and test it on the gaps of `test`.

    Materials are split, not labels: one material's labels all train or all validate, and under
    the sound protocol the materials of the test do neither. samples limits the number of labels
    per fidelity. Returns a MultiFidelityRun.
    """
    if protocol not in PROTOCOLS:
        raise InputError(f"protocol is {protocol!r}; expected one of {', '.join(PROTOCOLS)}")
    options = {"seed": seed, "fidelities": tuple(fidelities), **(model or {})}
    network = build_model(architecture, **options)
    settings = Settings(**{**TRAINING[architecture], "seed": seed, **(training or {})})
    data = gap_graphs.load(dataset, cutoff=network.cutoff, max_neighbors=network.max_neighbors)
    tested = data.rows(test)
    generator = np.random.default_rng(seed)
    kept_apart = tested if protocol == "sound" else None
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
        test=tested,
        target=data.gap(test)[tested],
        network={name: trained.predict(data.graphs, tested, fidelity=name) for name in fidelities},
    )
