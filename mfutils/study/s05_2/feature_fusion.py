"""Six ways to fuse fidelities in one graph network, with the same start and steps (section 5.2).

An encoder is trained on plentiful low-fidelity gaps. With n gaps of the scarce fidelity it goes
on for a fixed number of steps, half of every batch scarce and half plentiful:

- fine-tuned: scarce labels only; mixed: all labels as if of one fidelity, through one head;
- embedding: the encoder is told the fidelity of each label; heads: one head per fidelity;
- adversarial mixed, adversarial heads: the same with a reversed gradient of the domain;
- pooled: labels drawn alike, so that the scarce ones are as rare as they are;
- aligned (n = 0): low labels, and scarce crystals without labels (the published setting);
- alone: a fresh network on the scarce labels.

Arguments are plain, so that `mfutils.compendium.sweep.run` can store a run and find it again.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mfutils.errors import InputError
from mfutils.networks.adversarial import Adaptation, FusedModel, adapt
from mfutils.networks.cgcnn import CGCNN
from mfutils.networks.labels import Labels, TargetScaler
from mfutils.networks.state import load_state, state_arrays
from mfutils.networks.training import Settings, fit
from mfutils.study.s05_2.problem import GRAPHS, fusion_problem

__all__ = [
    "ENCODER_TRAINING",
    "METHODS",
    "Descriptors",
    "FusionRun",
    "FusionStart",
    "fuse_features",
    "load_start",
    "pretrain_low_encoder",
]

ENCODER_TRAINING = {
    "optimizer": "adam", "learning_rate": 3e-3, "schedule": "cosine", "warmup": 0.1,
    "loss": "mae", "batch_size": 64,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Method:
    """What a method trains on and through; see the module."""

    told: bool = False
    heads: bool = False
    adversary: bool = False
    low: bool = True
    share: float | None = 0.5


METHODS = {
    "alone": Method(low=False, share=None),
    "fine-tuned": Method(low=False, share=None),
    "pooled": Method(share=None),
    "mixed": Method(),
    "embedding": Method(told=True),
    "heads": Method(heads=True),
    "adversarial mixed": Method(adversary=True),
    "adversarial heads": Method(heads=True, adversary=True),
    "low alone": Method(share=None),
    "aligned": Method(adversary=True),
}
_NO_LABELS = ("low alone", "aligned")


@dataclass(frozen=True, eq=False)
class FusionStart:
    """An encoder trained on low labels: state, its weights by name; pool (k,) graph numbers with a
    scarce gap, of which `fuse_features` takes the first ones; cpu_seconds."""

    state: dict[str, np.ndarray]
    pool: np.ndarray
    cpu_seconds: float


@dataclass(frozen=True, eq=False)
class Descriptors:
    """float32 descriptors of one run: test (t, d) under the high fidelity, test_as_low (t, d) under
    the first low one, and rest (r, d) of the graphs rest_rows (r,) that have a low gap only."""

    test: np.ndarray
    test_as_low: np.ndarray
    rest: np.ndarray
    rest_rows: np.ndarray


@dataclass(frozen=True, eq=False)
class FusionRun:
    """test (t,) graph numbers, their target and predicted gaps (eV, not cut at 0), the history of
    training by quantity, cpu_seconds, and descriptors where they were asked for."""

    test: np.ndarray
    target: np.ndarray
    predicted: np.ndarray
    history: dict[str, np.ndarray]
    cpu_seconds: float
    descriptors: Descriptors | None = None


def _network(high, lows, seed, model):
    return CGCNN(fidelities=(*lows, high), seed=seed, **GRAPHS, **(model or {}))


def pretrain_low_encoder(
    *,
    dataset: str,
    high: str,
    lows: Sequence[str],
    fold: int,
    folds: int,
    seed: int,
    low_labels: int,
    training: dict | None = None,
    model: dict | None = None,
) -> FusionStart:
    """Train an encoder on the low labels of a fold as if of one fidelity.

    training overrides ENCODER_TRAINING and the defaults of `training.Settings`.
    """
    problem = fusion_problem(
        dataset, high=high, lows=lows, fold=fold, folds=folds, seed=seed, low_labels=low_labels
    )
    network = _network(high, lows, seed, model)
    settings = Settings(**{**ENCODER_TRAINING, "epochs": 10, "seed": seed, **(training or {})})
    low = problem.low
    labels = Labels(low.index, low.target, np.full(len(low), lows[0]))
    start = time.process_time()
    fit(network, problem.data.graphs, labels, None, settings=settings, progress=False)
    seconds = time.process_time() - start
    return FusionStart(state_arrays(network), problem.pool, seconds)


def fuse_features(
    *,
    dataset: str,
    high: str,
    lows: Sequence[str],
    fold: int,
    folds: int,
    seed: int,
    low_labels: int,
    method: str,
    size: int = 0,
    start: dict[str, np.ndarray] | None = None,
    adversary: float = 1.0,
    training: dict | None = None,
    model: dict | None = None,
    descriptors: int = 0,
) -> FusionRun:
    """Fuse the low labels of a fold with `size` gaps of `high` by one of METHODS, and test.

    start: the state of `pretrain_low_encoder`; None begins with a fresh network. adversary is the
    end of lambda for the adversarial methods, training overrides `Adaptation`. With descriptors > 0
    the result has descriptors, those of the rest of at most so many graphs. Raises InputError for
    an unknown method, a size that does not suit it or a start of another model.
    """
    if method not in METHODS:
        raise InputError(f"method is {method!r}; expected one of {', '.join(METHODS)}")
    problem = fusion_problem(
        dataset, high=high, lows=lows, fold=fold, folds=folds, seed=seed, low_labels=low_labels
    )
    if (method in _NO_LABELS) != (size == 0) or not 0 <= size <= len(problem.pool):
        raise InputError(
            f"size is {size!r} for {method!r}; expected 0 for {' and '.join(_NO_LABELS)}, else 1 "
            f"to {len(problem.pool)}"
        )
    how, graphs = METHODS[method], problem.data.graphs
    network = _network(high, lows, seed, model)
    scaler = TargetScaler.fit(problem.low.target)
    if start is not None and method != "alone":
        load_start(network, start, told=how.told)
    fused = FusedModel(network, scaler=scaler, told=how.told, heads=how.heads, seed=seed)
    settings = Adaptation(
        **{
            "seed": seed, "scarce_share": how.share,
            "adversary": adversary if how.adversary else 0.0, **(training or {}),
        }
    )  # fmt: skip
    labels = _labels(problem, high, size, low=how.low)
    begun = time.process_time()
    history = adapt(
        fused, graphs, labels, scarce=high, settings=settings,
        unlabelled=problem.pool if method == "aligned" else None,
    )  # fmt: skip
    return FusionRun(
        test=problem.test,
        target=problem.data.gap(high)[problem.test],
        predicted=fused.predict(graphs, problem.test, fidelity=high if size else lows[0]),
        history={name: np.array(values) for name, values in history.items()},
        cpu_seconds=time.process_time() - begun,
        descriptors=_described(fused, problem, high, lows[0], descriptors, seed)
        if descriptors
        else None,
    )


def _described(fused, problem, high, low, count, seed):
    """Descriptors of the test and of `count` graphs of the rest."""
    rest = np.random.default_rng(seed).permutation(problem.rest)[:count]
    test, test_as_low, others = (
        fused.descriptor(problem.data.graphs, index, fidelity=name).astype(np.float32)
        for index, name in ((problem.test, high), (problem.test, low), (rest, low))
    )
    return Descriptors(test, test_as_low, others, rest)


def load_start(network: CGCNN, state: dict[str, np.ndarray], *, told: bool) -> None:
    """Give the network the weights of `pretrain_low_encoder`; told: all fidelities start alike."""
    load_state(network, state)
    if told:
        with torch.no_grad():
            network.fidelity.weight.copy_(
                network.fidelity.weight[:1].expand_as(network.fidelity.weight)
            )


def _labels(problem, high, size, *, low):
    """The low labels (if low) and the first `size` scarce ones."""
    chosen = problem.pool[:size]
    gap = problem.data.gap(high)[chosen]
    names = np.full(size, high)
    if not low:
        return Labels(chosen, gap, names)
    return Labels(
        np.concatenate([problem.low.index, chosen]),
        np.concatenate([problem.low.target, gap]),
        np.concatenate([problem.low.fidelity, names]),
    )
