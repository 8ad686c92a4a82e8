"""Training of graph networks, the same for every model.

Mean squared error on standardised targets is followed down by SGD or Adam; after every epoch the
mean absolute error on validation graphs, in the unit of the target, decides whether the weights
are kept. Training stops when `patience` epochs brought no improvement, and the kept weights win.
Every random number follows from the seed and the epoch, so a run that was killed and resumed from
its checkpoint ends with the same weights as one that was left alone.
"""

import contextlib
import copy
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional
from tqdm import tqdm

from mfutils.crystals.graph_data import GraphDataset
from mfutils.errors import InputError
from mfutils.networks.base import GraphModel, seeded
from mfutils.networks.checkpoint import Checkpoint
from mfutils.networks.labels import Labels, TargetScaler
from mfutils.networks.trained_model import TrainedModel, load_model

__all__ = ["DivergenceError", "Labels", "Settings", "TrainedModel", "fit", "load_model"]

_LOSSES = {
    "mse": functional.mse_loss,
    "mae": functional.l1_loss,
    "huber": functional.huber_loss,
}
_OPTIMIZERS = ("sgd", "adam", "adamw")
_SCHEDULES = ("constant", "step", "cosine")


class DivergenceError(InputError):
    """Training that ran into NaN or infinity; the message names the place and the cause."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to train; the defaults are those of section 3.2.2 for CGCNN.

    schedule "step" multiplies the rate by `gamma` at each of `milestones` (epochs), "cosine" lets
    it rise linearly over the first `warmup` (share of all epochs) and fall to zero at `epochs`.
    standardise=False trains on targets in their own unit. clip bounds the gradient norm.
    """

    epochs: int = 1000
    patience: int = 500
    batch_size: int = 128
    optimizer: str = "sgd"
    learning_rate: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: str = "step"
    milestones: tuple[int, ...] = (100,)
    gamma: float = 0.1
    warmup: float = 0.0
    loss: str = "mse"
    clip: float | None = None
    standardise: bool = True
    seed: int = 0

    def __post_init__(self):
        object.__setattr__(self, "milestones", tuple(self.milestones))
        for name, known in (
            ("optimizer", _OPTIMIZERS), ("schedule", _SCHEDULES), ("loss", tuple(_LOSSES)),
        ):  # fmt: skip
            if getattr(self, name) not in known:
                raise InputError(
                    f"{name} is {getattr(self, name)!r}; expected one of {', '.join(known)}"
                )
        for name in ("epochs", "patience", "batch_size"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise InputError(f"{name} is {value!r}; expected a whole number above 0")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise InputError(f"learning_rate is {self.learning_rate!r}; expected a number above 0")
        if not 0 <= self.warmup < 1:
            raise InputError(f"warmup is {self.warmup!r}; expected a share of all epochs below 1")

    def rate(self, epoch: float) -> float:
        """Learning rate at `epoch`, which may be a fraction within an epoch."""
        if self.schedule == "step":
            passed = sum(epoch >= milestone for milestone in self.milestones)
            return self.learning_rate * self.gamma**passed
        if self.schedule == "cosine":
            share = epoch / self.epochs
            if share < self.warmup:
                return self.learning_rate * max(share / self.warmup, 1e-3)
            share = (share - self.warmup) / (1 - self.warmup)
            return self.learning_rate * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))
        return self.learning_rate


def fit(
    model: GraphModel, dataset: GraphDataset, train: Labels, validation: Labels | None, *,
    settings: Settings | None = None, scaler: TargetScaler | None = None, target: str = "target",
    unit: str = "", checkpoint: str | Path | None = None, checkpoint_every: float = 60.0,
    progress: bool | None = None, device: object = "cpu", threads: int = 1,
) -> TrainedModel:  # fmt: skip
    """Train `model` (a GraphModel) on the Labels `train`; returns a TrainedModel.

    validation (Labels) decides about early stopping; None trains for all epochs and keeps the
    last weights. scaler (TargetScaler) defaults to the training targets'. target and unit
    say what is predicted and travel with the model. With checkpoint (a path) the state is stored
    every checkpoint_every seconds and a killed run goes on from there; a checkpoint of another
    run is refused. threads is the number of CPU threads: one, unless nothing else runs.

    Raises InputError for graphs, fidelities or samples that do not fit the model, and
    DivergenceError when the loss is no longer a number.
    """
    run = _Run(model, dataset, train, validation, settings or Settings(), scaler, device)
    store = None if checkpoint is None else Checkpoint(Path(checkpoint), run, checkpoint_every)
    hide = None if progress is None else not progress
    with _threads(threads):
        with tqdm(total=run.settings.epochs, initial=run.epoch, disable=hide, unit="epoch") as bar:
            while not run.finished:
                run.step_epoch()
                bar.update()
                bar.set_postfix_str(
                    f"validation MAE {run.history['validation_mae'][-1]:.4g}", refresh=False
                )
                if store is not None:
                    store.maybe_write()
        if store is not None:
            store.write()
        model.load_state_dict(run.best_state)
    model.eval()
    return TrainedModel(model, run.scaler, target, unit, run.best_epoch, run.best_mae, run.history)


class _Run:
    """The state of one training: everything that a checkpoint has to hold."""

    def __init__(self, model, dataset, train, validation, settings, scaler, device):
        model.check_dataset(dataset)
        for name, part in (("training", train), ("validation", validation)):
            if part is not None and part.index.max() >= len(dataset):
                raise InputError(
                    f"{name} sample points to graph {part.index.max()} of {len(dataset)}"
                )
        if len(train) < 2:
            raise InputError(f"{len(train)} training sample: expected at least 2")
        self.model, self.dataset, self.settings = model.to(device), dataset, settings
        self.train, self.validation, self.device = train, validation, device
        if scaler is None:
            scaler = TargetScaler.fit(train.target) if settings.standardise else TargetScaler()
        self.scaler = scaler
        self._codes = model.codes(train.fidelity, len(train))
        self._z = torch.from_numpy(scaler.forward(train.target)).float()
        self._weight = None if train.weight is None else torch.from_numpy(train.weight).float()
        if validation is not None:
            model.codes(validation.fidelity, len(validation))
        self.optimizer = _optimizer(model, settings)
        self.epoch, self.best_epoch, self.best_mae = 0, -1, math.inf
        self.best_state = copy.deepcopy(model.state_dict())
        self.history = {"learning_rate": [], "train_loss": [], "validation_mae": []}

    @property
    def finished(self):
        """True after the last epoch, or when patience has run out."""
        waited = self.epoch - 1 - self.best_epoch
        return self.epoch >= self.settings.epochs or (
            self.validation is not None and waited >= self.settings.patience
        )

    def step_epoch(self):
        """One pass over the training samples and one look at the validation samples."""
        settings = self.settings
        order = np.random.default_rng([settings.seed, self.epoch]).permutation(len(self.train))
        starts = np.arange(0, len(order), settings.batch_size)
        if len(starts) > 1 and len(order) - starts[-1] == 1:
            starts = starts[:-1]  # batch normalisation has no variance of a single graph
        batches = np.split(order, starts[1:])
        self.model.train()
        total = 0.0
        # Random layers (dropout) start from the same state whether or not the run was resumed.
        with seeded(1_000_003 * settings.seed + self.epoch):
            for step, rows in enumerate(batches):
                rate = settings.rate(self.epoch + step / len(batches))
                for group in self.optimizer.param_groups:
                    group["lr"] = rate
                total += self._step(rows, step) * len(rows)
        mae = self._validate()
        self.history["learning_rate"].append(rate)
        self.history["train_loss"].append(total / len(order))
        self.history["validation_mae"].append(mae)
        if self.validation is None or mae < self.best_mae:
            self.best_mae, self.best_epoch = mae, self.epoch
            self.best_state = copy.deepcopy(self.model.state_dict())
        self.epoch += 1

    def _step(self, rows, step):
        batch = self.dataset.batch(self.train.index[rows]).to_torch(self.device)
        codes = None if self._codes is None else torch.from_numpy(self._codes[rows]).to(self.device)
        z = self._z[rows].to(self.device)
        prediction = self.model(batch, codes)
        function = _LOSSES[self.settings.loss]
        if self._weight is None:
            loss = function(prediction, z)
        else:
            weight = self._weight[rows].to(self.device)
            each = function(prediction, z, reduction="none")
            loss = (weight * each).sum() / weight.sum().clamp_min(1e-12)
        self.optimizer.zero_grad(set_to_none=True)
        value = loss.item()
        if not math.isfinite(value):
            raise DivergenceError(self._cause(value, rows, step, prediction))
        loss.backward()
        if self.settings.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip)
        self.optimizer.step()
        return value

    def _validate(self):
        if self.validation is None:
            return math.nan
        current = TrainedModel(self.model, self.scaler)
        part = self.validation
        predicted = current.predict(self.dataset, part.index, fidelity=part.fidelity)
        mae = float(np.abs(predicted - part.target).mean())
        if not math.isfinite(mae):
            raise DivergenceError(
                f"validation MAE became {mae} in epoch {self.epoch}: {self._broken_weight()}; "
                f"lower the learning rate ({self.settings.learning_rate:g}) or set clip"
            )
        return mae

    def _cause(self, value, rows, step, prediction):
        """One line that says where a loss went wrong, and why."""
        place = f"loss became {value} in epoch {self.epoch}, step {step}"
        rate = f"lower the learning rate ({self.settings.learning_rate:g}) or set clip"
        bad = ~torch.isfinite(prediction)
        if bad.all() or not bad.any():
            return f"{place}: {self._broken_weight()}; {rate}"
        graph = int(self.train.index[rows[int(bad.nonzero()[0])]])
        return (
            f"{place}: {int(bad.sum())} of {len(rows)} predictions are not finite, the first of "
            f"graph {self.dataset.ids[graph]}; check its distances, or {rate}"
        )

    def _broken_weight(self):
        for name, parameter in self.model.named_parameters():
            if not torch.isfinite(parameter).all():
                return f"weights of {name} are not finite"
        largest = max(float(p.detach().abs().max()) for p in self.model.parameters())
        return f"predictions overflow (largest weight {largest:.3g})"


def _optimizer(model, settings):
    options = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay}
    if settings.optimizer == "sgd":
        return torch.optim.SGD(model.parameters(), momentum=settings.momentum, **options)
    kind = torch.optim.Adam if settings.optimizer == "adam" else torch.optim.AdamW
    return kind(model.parameters(), **options)


@contextlib.contextmanager
def _threads(count):
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
