"""Transfer of a graph network from a plentiful property to a scarce one (section 7.7).

A network reads a crystal through an encoder, d = D(graph), and a linear head, y = w d + b. The
encoder is trained on a property that thousands of crystals have. For a property of a few crystals
it can then be

- frozen: only the head is fitted, by ridge regression, which needs no iterations;
- frozen-gp: the head is a Gaussian process on the frozen descriptors;
- fine-tuned: all weights go on from there, the head starting from the frozen solution;
- from scratch: not used at all.

No crystal of the small set, and no other crystal of the same formula, may be in the large one.
Arguments are plain, so that `sweep.run` can store a run and find it again.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from sklearn.linear_model import RidgeCV

from mfutils.errors import InputError
from mfutils.gp.descriptor_gp import fit_descriptor_gp
from mfutils.networks.architectures import build_model
from mfutils.networks.labels import Labels, TargetScaler
from mfutils.networks.state import load_state, state_arrays
from mfutils.networks.trained_model import TrainedModel
from mfutils.networks.training import Settings, fit
from mfutils.study import gap_graphs

__all__ = [
    "MODES",
    "TRANSFER_TRAINING",
    "PretrainedEncoder",
    "TransferRun",
    "disjoint_rows",
    "fit_scarce_property",
    "pretrain_property_encoder",
    "split_formulas",
    "target_values",
]

MODES = ("scratch", "fine-tuned", "frozen", "frozen-gp")
ARCHITECTURE = "cgcnn"
MODEL = {"cutoff": 8.0, "max_neighbors": 12}
TRANSFER_TRAINING = {
    "optimizer": "adam", "schedule": "cosine", "warmup": 0.1, "batch_size": 64,
    "learning_rate": 3e-3,
}  # fmt: skip
_RIDGE = np.logspace(-3, 4, 15)  # penalties to choose from, on standardised descriptors


@dataclass(frozen=True, eq=False)
class PretrainedEncoder:
    """A network trained on a plentiful property: config and state (weights by name), arguments of
    `fit_scarce_property`; validation_mae in the unit of the property and spread, its mean absolute
    deviation from the median; cpu_seconds."""

    config: dict
    state: dict[str, np.ndarray]
    validation_mae: float
    spread: float
    cpu_seconds: float


@dataclass(frozen=True, eq=False)
class TransferRun:
    """predicted and true (k,) of the test in the unit of the property, their mae, cpu_seconds and
    drift, the relative change of the encoder's weights (0 unless fine-tuned)."""

    predicted: np.ndarray
    true: np.ndarray
    mae: float
    cpu_seconds: float
    drift: float


def _data(dataset):
    return gap_graphs.load(dataset, **MODEL)


def target_values(dataset: str, name: str) -> np.ndarray:
    """Values (m,) of a column for every graph, NaN where unknown; "log10 NAME" takes logarithms.

    Raises InputError for an unknown column, or a logarithm of a number that is not positive.
    """
    table = _data(dataset).table
    column = name.removeprefix("log10 ")
    known = table.select_dtypes("float").columns
    if column not in known:
        raise InputError(f"no property {column!r} in {dataset}; it has {', '.join(known)}")
    values = table[column].to_numpy(float)
    if column == name:
        return values
    if np.nanmin(values) <= 0:
        row = int(np.nanargmin(values))
        raise InputError(
            f"{column} of {table.material_id[row]} is {values[row]:g}; a logarithm needs > 0"
        )
    return np.log10(values)


def disjoint_rows(dataset: str, source: str, targets: Sequence[str]) -> np.ndarray:
    """Rows with the property `source` whose formula no crystal with one of `targets` shares."""
    table = _data(dataset).table
    has = np.zeros(len(table), dtype=bool)
    for name in targets:
        has |= np.isfinite(target_values(dataset, name))
    used = set(table.formula[has])
    free = ~table.formula.isin(used).to_numpy()
    rows = np.flatnonzero(free & np.isfinite(target_values(dataset, source)))
    if not len(rows):
        raise InputError(f"no crystal with {source} is left outside of {', '.join(targets)}")
    return rows


def split_formulas(
    dataset: str, target: str, *, test: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """(training order, test rows): whole formulas go to either side; take the first n to train.

    test is the number of test rows, reached as nearly as whole formulas allow.
    """
    rows = np.flatnonzero(np.isfinite(target_values(dataset, target)))
    if not 0 < test < len(rows):
        raise InputError(f"test is {test}; expected less than the {len(rows)} rows of {target}")
    formulas = _data(dataset).table.formula.to_numpy()[rows]
    generator = np.random.default_rng(seed)
    order = generator.permutation(np.unique(formulas))
    place = {formula: number for number, formula in enumerate(order)}
    rank = np.array([place[formula] for formula in formulas])
    rows = rows[np.argsort(rank, kind="stable")]
    sizes = np.bincount(rank)
    cut = int(np.searchsorted(np.cumsum(sizes), test)) + 1
    held = int(sizes[:cut].sum())
    return generator.permutation(rows[held:]), rows[:held]


def _parts(rows, values, generator, share=0.15):
    """Labels (training, validation) of the rows; at least two rows validate."""
    rows = generator.permutation(np.asarray(rows, dtype=np.int64))
    cut = max(2, round(share * len(rows)))
    return Labels(rows[cut:], values[rows[cut:]]), Labels(rows[:cut], values[rows[:cut]])


def pretrain_property_encoder(
    *,
    dataset: str,
    source: str,
    rows: npt.ArrayLike,
    seed: int,
    training: dict | None = None,
    model: dict | None = None,
) -> PretrainedEncoder:
    """Train an encoder on the property `source` of graphs `rows` (n,)."""
    values, data = target_values(dataset, source), _data(dataset)
    train, validation = _parts(rows, values, np.random.default_rng(seed))
    network = build_model(ARCHITECTURE, **{**MODEL, "seed": seed, **(model or {})})
    settings = Settings(**{**TRANSFER_TRAINING, "epochs": 20, "seed": seed, **(training or {})})
    start = time.process_time()
    trained = fit(network, data.graphs, train, validation, settings=settings, progress=False)
    return PretrainedEncoder(
        config={**network.config, "fidelities": []},
        state=state_arrays(network),
        validation_mae=trained.validation_mae,
        spread=float(np.abs(validation.target - np.median(validation.target)).mean()),
        cpu_seconds=time.process_time() - start,
    )


def _network(config, state):
    """A network with the weights of an encoder; raises InputError when they do not fit."""
    try:
        network = build_model(ARCHITECTURE, **config)
        load_state(network, state)
    except (KeyError, TypeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(
            f"not an encoder of `pretrain_property_encoder` ({reason}); pass its config and state"
        ) from error
    return network


def _ridge(network, graphs, train):
    """The head (weights (d,), offset) on raw descriptors, for standardised targets."""
    inputs = TrainedModel(network, TargetScaler()).descriptor(graphs, train.index)
    mean, scale = inputs.mean(axis=0), inputs.std(axis=0)
    scale[scale < 1e-9] = 1.0
    fitted = RidgeCV(_RIDGE).fit((inputs - mean) / scale, train.target)
    weights = fitted.coef_ / scale
    return weights, float(fitted.intercept_ - weights @ mean)


def fit_scarce_property(
    *,
    dataset: str,
    target: str,
    train: npt.ArrayLike,
    test: npt.ArrayLike,
    mode: str,
    seed: int,
    config: dict | None = None,
    state: dict[str, np.ndarray] | None = None,
    training: dict | None = None,
    model: dict | None = None,
) -> TransferRun:
    """Fit the property `target` on graphs `train` (n,), in one of MODES, and predict `test` (k,).

    config and state are those of a `PretrainedEncoder`, for every mode but "scratch". Raises
    InputError for an unknown mode, an encoder that is missing or does not belong, or graphs that
    train and test.
    """
    if mode not in MODES:
        raise InputError(f"mode is {mode!r}; expected one of {', '.join(MODES)}")
    if (state is None) != (mode == "scratch"):
        raise InputError(f"mode {mode!r} {'needs an' if state is None else 'takes no'} encoder")
    values, data = target_values(dataset, target), _data(dataset)
    train, test = np.asarray(train, dtype=np.int64), np.asarray(test, dtype=np.int64)
    if np.intersect1d(train, test).size:
        raise InputError("some graphs are in train and in test; keep them apart")
    start = time.process_time()
    fitting, validation = _parts(train, values, np.random.default_rng(seed))
    drift = 0.0
    if mode == "scratch":
        network = build_model(ARCHITECTURE, **{**MODEL, "seed": seed, **(model or {})})
    else:
        network = _network(config, state)
    if mode == "frozen-gp":
        bare = TrainedModel(network.eval(), TargetScaler())
        process = fit_descriptor_gp(bare.descriptor(data.graphs, train), values[train], seed=seed)
        predicted = process.predict(bare.descriptor(data.graphs, test))[0]
        return _result(predicted, values[test], start, 0.0)
    if mode != "scratch":
        head = Labels(train, values[train]) if mode == "frozen" else fitting
        scaler = TargetScaler.fit(head.target)
        head = head.with_target(scaler.forward(head.target))
        weights, offset = _ridge(network, data.graphs, head)
        with torch.no_grad():
            network.output.weight.copy_(torch.from_numpy(weights)[None])
            network.output.bias.fill_(offset)
    if mode == "frozen":
        trained = TrainedModel(network.eval(), scaler)
    else:
        settings = Settings(**{**TRANSFER_TRAINING, "epochs": 60, "seed": seed, **(training or {})})
        before = _encoder_weights(network)
        trained = fit(network, data.graphs, fitting, validation, settings=settings, progress=False)
        if mode == "fine-tuned":
            after = _encoder_weights(network)
            drift = float(torch.norm(after - before) / torch.norm(before))
    return _result(trained.predict(data.graphs, test), values[test], start, drift)


def _result(predicted, true, start, drift):
    return TransferRun(
        predicted=predicted,
        true=true,
        mae=float(np.abs(predicted - true).mean()),
        cpu_seconds=time.process_time() - start,
        drift=drift,
    )


def _encoder_weights(network):
    parts = [p for name, p in network.named_parameters() if not name.startswith("output")]
    return torch.cat([p.detach().reshape(-1).clone() for p in parts])
