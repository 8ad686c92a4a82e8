"""Six ways to fuse fidelities in one graph network, with the same start and steps (section 5.2).

An encoder is trained on plentiful low-fidelity gaps. With n gaps of the scarce fidelity it goes
on for a fixed number of steps, half of every batch scarce and half plentiful:

- fine-tuned: scarce labels only; mixed: all labels as if of one fidelity, through one head;
- embedding: the encoder is told the fidelity of each label; heads: one head per fidelity;
- adversarial mixed, adversarial heads: the same with a reversed gradient of the domain;
- pooled: labels drawn alike, so that the scarce ones are as rare as they are;
- aligned (n = 0): low labels, and scarce crystals without labels (the published setting);
- alone: a fresh network on the scarce labels.

Folds hold whole chemical systems: what tests was never trained on at any fidelity. Arguments
and results are plain, so that `mfutils.compendium.sweep.run` can store a run and find it again.
"""

import dataclasses
import time
from dataclasses import dataclass

import numpy as np
import torch

from mfutils.datasets import registry
from mfutils.errors import InputError
from mfutils.networks.adversarial import Adaptation, FusedModel, adapt
from mfutils.networks.cgcnn import CGCNN
from mfutils.networks.labels import Labels, TargetScaler
from mfutils.networks.training import Settings, fit
from mfutils.study import gap_graphs
from mfutils.uncertainty import groups

__all__ = ["GRAPHS", "METHODS", "Problem", "fuse", "moved", "pretrain", "problem", "stretched"]

GRAPHS = {"cutoff": 8.0, "max_neighbors": 12}
PRETRAINING = {
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
class Problem:
    """One fold: low (Labels of all low fidelities) and pool (k,) graphs with a scarce gap train,
    test (t,) graphs with a scarce gap and rest (r,) graphs with a low gap only do not."""

    data: gap_graphs.GapGraphs
    low: Labels
    pool: np.ndarray
    test: np.ndarray
    rest: np.ndarray


@registry.remembered(maxsize=4)
def _systems(dataset):
    return groups.chemical_systems(gap_graphs.load(dataset, **GRAPHS).graphs)


def _fold(dataset, fidelity, fold, folds, seed):
    """GapGraphs, which graphs (m,) have the fidelity, and which lie in the fold."""
    data = gap_graphs.load(dataset, **GRAPHS)
    has = np.isfinite(data.gap(fidelity))
    dealt = groups.group_folds(_systems(dataset), folds, spread=has, seed=seed)
    return data, has, dealt == fold


def problem(dataset, *, high, lows, fold, folds, seed, low_labels):
    """The Problem of a fold: scarce fidelity `high`, names of `lows`, low_labels of these in all.

    The pool stands in a random order: its first n are a draw of n. Raises InputError for a
    fidelity that is high and low, and for too few labels.
    """
    lows = list(lows)
    if not lows or high in lows:
        raise InputError(f"high is {high!r} and lows are {lows}; expected others below the high")
    data, has, inside = _fold(dataset, high, fold, folds, seed)
    generator = np.random.default_rng([seed, fold])
    pool = generator.permutation(np.flatnonzero(has & ~inside))
    index = [data.rows(name, without=np.flatnonzero(inside)) for name in lows]
    names = np.repeat(lows, [len(rows) for rows in index])
    target = np.concatenate([data.gap(n)[rows] for n, rows in zip(lows, index, strict=True)])
    low = Labels(np.concatenate(index), target, names)
    chosen = generator.permutation(len(low))[:low_labels]
    known = np.isfinite([data.gap(name) for name in lows]).any(axis=0)
    rest = np.flatnonzero(known & ~has & inside)
    if min(len(pool), len(chosen)) < 4 or not inside[has].any():
        raise InputError(
            f"fold {fold} has {len(pool)} scarce and {len(chosen)} low labels; expected at least 4"
        )
    return Problem(data, low.take(chosen), pool, np.flatnonzero(has & inside), rest)


def _network(high, lows, seed, model):
    return CGCNN(fidelities=(*lows, high), seed=seed, **GRAPHS, **(model or {}))


def _state(network):
    return {name: value.numpy().copy() for name, value in network.state_dict().items()}


def pretrain(*, dataset, high, lows, fold, folds, seed, low_labels, training=None, model=None):
    """Train an encoder on the low labels of a fold as if of one fidelity.

    training overrides PRETRAINING and the defaults of `training.Settings`. Returns a
    dict: state (name -> array, an argument of `fuse`), pool (k,) graph numbers with a scarce gap,
    of which `fuse` takes the first ones, and cpu_seconds.
    """
    found = problem(
        dataset, high=high, lows=lows, fold=fold, folds=folds, seed=seed, low_labels=low_labels
    )
    network = _network(high, lows, seed, model)
    settings = Settings(**{**PRETRAINING, "epochs": 10, "seed": seed, **(training or {})})
    labels = Labels(found.low.index, found.low.target, np.full(len(found.low), lows[0]))
    start = time.process_time()
    fit(network, found.data.graphs, labels, None, settings=settings, progress=False)
    seconds = time.process_time() - start
    return {"state": _state(network), "pool": found.pool, "cpu_seconds": seconds}


def fuse(
    *, dataset, high, lows, fold, folds, seed, low_labels, method, size=0, start=None,
    adversary=1.0, training=None, model=None, descriptors=0,
):  # fmt: skip
    """Fuse the low labels of a fold with `size` gaps of `high` by one of METHODS, and test.

    start: the state of `pretrain`; None begins with a fresh network. adversary is the end of
    lambda for the adversarial methods, training overrides `Adaptation`. Returns a dict of arrays:
    test (t,) graph numbers, their target and predicted gaps (eV, not cut at 0), the history of
    training, cpu_seconds. With descriptors > 0 also descriptor, a dict of float32 arrays: test
    (t, d) under the high fidelity, test_as_low (t, d) under the first low one, and rest (r, d), at
    most `descriptors` graphs (rest_rows) that have a low gap only.
    """
    if method not in METHODS:
        raise InputError(f"method is {method!r}; expected one of {', '.join(METHODS)}")
    found = problem(
        dataset, high=high, lows=lows, fold=fold, folds=folds, seed=seed, low_labels=low_labels
    )
    if (method in _NO_LABELS) != (size == 0) or not 0 <= size <= len(found.pool):
        raise InputError(
            f"size is {size!r} for {method!r}; expected 0 for {' and '.join(_NO_LABELS)}, else 1 "
            f"to {len(found.pool)}"
        )
    how, graphs = METHODS[method], found.data.graphs
    network = _network(high, lows, seed, model)
    scaler = TargetScaler.fit(found.low.target)
    if start is not None and method != "alone":
        _load(network, start, told=how.told)
    fused = FusedModel(network, scaler=scaler, told=how.told, heads=how.heads, seed=seed)
    settings = Adaptation(
        **{
            "seed": seed, "scarce_share": how.share,
            "adversary": adversary if how.adversary else 0.0, **(training or {}),
        }
    )  # fmt: skip
    labels = _labels(found, high, size, low=how.low)
    begun = time.process_time()
    history = adapt(
        fused, graphs, labels, scarce=high, settings=settings,
        unlabelled=found.pool if method == "aligned" else None,
    )  # fmt: skip
    asked = high if size else lows[0]
    out = {
        "test": found.test,
        "target": found.data.gap(high)[found.test],
        "predicted": fused.predict(graphs, found.test, fidelity=asked),
        "history": {name: np.array(values) for name, values in history.items()},
        "cpu_seconds": time.process_time() - begun,
    }
    if descriptors:
        rest = np.random.default_rng(seed).permutation(found.rest)[:descriptors]
        asked = {"test": (found.test, high), "test_as_low": (found.test, lows[0])}
        asked["rest"] = (rest, lows[0])
        out["rest_rows"] = rest
        out["descriptor"] = {
            name: fused.descriptor(graphs, index, fidelity=f).astype(np.float32)
            for name, (index, f) in asked.items()
        }
    return out


def _load(network, state, *, told):
    """Give the network the weights of `pretrain`, all fidelities starting from the first."""
    try:
        network.load_state_dict({name: torch.from_numpy(v.copy()) for name, v in state.items()})
    except (TypeError, AttributeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"start is not a state of `pretrain` for this model ({reason})") from error
    if told:
        with torch.no_grad():
            network.fidelity.weight.copy_(
                network.fidelity.weight[:1].expand_as(network.fidelity.weight)
            )


def _labels(found, high, size, *, low):
    """The low labels (if low) and the first `size` scarce ones."""
    chosen = found.pool[:size]
    gap = found.data.gap(high)[chosen]
    names = np.full(size, high)
    if not low:
        return Labels(chosen, gap, names)
    return Labels(
        np.concatenate([found.low.index, chosen]),
        np.concatenate([found.low.target, gap]),
        np.concatenate([found.low.fidelity, names]),
    )


def stretched(graphs, factor):
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


def moved(
    *, dataset, fidelity, fold, folds, seed, labels, factor, adversaries, epochs, steps, model=None
):  # fmt: skip
    """A shift that alignment can remove: the same gaps, but the target crystals are stretched.

    An encoder is trained on `labels` gaps of crystals as they are. For every strength in
    adversaries it then goes on from there for `steps`, with as many other crystals, stretched and
    without labels. Returns a dict: test (t,) graph numbers and their target (eV); predicted
    (1 + k, t) for the stretched test crystals, before and after each of the k runs; unmoved (t,),
    the prediction before for the crystals as they are; descriptor (1 + k, 2 t, d) of the test
    crystals as they are and stretched; cpu_seconds.
    """
    data, has, inside = _fold(dataset, fidelity, fold, folds, seed)
    generator = np.random.default_rng([seed, fold])
    train = generator.permutation(np.flatnonzero(has & ~inside))[: 2 * labels]
    test = generator.permutation(np.flatnonzero(has & inside))[:labels]
    both, m, gaps = stretched(data.graphs, factor), len(data.graphs), data.gap(fidelity)
    names = ("as it is", "stretched")
    source = train[: len(train) // 2]
    known = Labels(source, gaps[source], np.full(len(source), names[0]))
    network = CGCNN(fidelities=names, seed=seed, **GRAPHS, **(model or {}))
    settings = Settings(**{**PRETRAINING, "epochs": epochs, "seed": seed})
    begun = time.process_time()
    trained = fit(network, both, known, None, settings=settings, progress=False)
    start, pair = _state(network), np.concatenate([test, test + m])
    predicted, descriptors = [], []
    for strength in (None, *adversaries):
        _load(network, start, told=False)
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
    return {
        "test": test,
        "target": gaps[test],
        "unmoved": unmoved,
        "predicted": np.array(predicted),
        "descriptor": np.array(descriptors),
        "cpu_seconds": time.process_time() - begun,
    }
