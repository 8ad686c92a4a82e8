"""Ensembles of small multilayer perceptrons trained as one tensor (section 3.1).

A member is y = w2 . elu(W1 x + b1) + b2. All members see the same n rows; they differ in their
start weights and in the rows that are held out from them. With the members along the last axis, an
epoch of 63 folds times 20 seeds is two matrix products. Held-out rows stay in the products with
weight zero in the loss, so one forward pass gives training residuals and held-out predictions.

Two ways to end the training: `train_watched` stops each member by its error on its own held-out
rows, as the study does (which leaks them); `train_fixed` takes a number of epochs.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from mfutils.errors import InputError
from mfutils.study.s03_1.batched import Adam, Patience, as_held_out

__all__ = ["Ensemble", "Watched", "initialise", "train_fixed", "train_watched"]


@dataclass(frozen=True)
class Ensemble:
    """m networks of d inputs and h hidden units in one tensor `parameters` (h (d + 2) + 1, m).

    Its rows are W1 with b1 as a last column (h times d + 1), then w2 (h), then b2.
    """

    parameters: torch.Tensor
    n_inputs: int
    n_hidden: int

    def __len__(self) -> int:
        return self.parameters.shape[1]

    @property
    def n_parameters(self) -> int:
        """Number of parameters of one member."""
        return self.parameters.shape[0]

    def select(self, members: int | slice | list[int] | torch.Tensor) -> "Ensemble":
        """The ensemble of these members (any index of a tensor's columns)."""
        chosen = self.parameters[:, members].reshape(self.n_parameters, -1)
        return Ensemble(chosen, self.n_inputs, self.n_hidden)

    def predict(self, x: npt.ArrayLike, *, dtype: torch.dtype = torch.float64) -> np.ndarray:
        """Predictions (m, n) for x (n, d), computed in `dtype`."""
        with torch.no_grad():
            inputs = torch.as_tensor(np.asarray(x), dtype=dtype)
            return self._forward(inputs).T.contiguous().numpy()

    def slope(
        self, x: npt.ArrayLike, column: int, *, dtype: torch.dtype = torch.float64
    ) -> np.ndarray:
        """Derivative (m, n) of the predictions by an input column, by automatic differentiation."""
        rows = []
        for member in range(len(self)):
            inputs = torch.as_tensor(np.asarray(x), dtype=dtype).clone().requires_grad_()
            total = self.select(member)._forward(inputs).sum()
            rows.append(torch.autograd.grad(total, inputs)[0][:, column].numpy())
        return np.stack(rows)

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.ndim != 2 or x.shape[1] != self.n_inputs:
            raise InputError(f"x must be (n, {self.n_inputs}), got {tuple(x.shape)}")
        parameters = self.parameters.to(x.dtype)
        _, output = _forward(parameters, _with_one(x), self.n_inputs, self.n_hidden)
        return output


@dataclass(frozen=True)
class Watched:
    """What `train_watched` returns: the ensemble, epochs (m,), held-out predictions (m, n).

    `predictions` is NaN at the rows that a member was trained on.
    """

    ensemble: Ensemble
    epochs: np.ndarray
    predictions: np.ndarray


def initialise(
    seeds: Iterable[int], *, per_seed: int = 1, n_inputs: int = 9, n_hidden: int = 4
) -> Ensemble:
    """Start weights of `per_seed` networks for each seed, seeds outermost: m = seeds * per_seed.

    Within a seed the networks are drawn one after the other, each as two torch.nn.Linear layers
    with their default initialisation; torch's global random state is left as it was.
    """
    columns = []
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        for seed in seeds:
            torch.manual_seed(seed)
            for _ in range(per_seed):
                first = torch.nn.Linear(n_inputs, n_hidden)
                second = torch.nn.Linear(n_hidden, 1)
                inner = torch.cat([first.weight, first.bias[:, None]], dim=1).flatten()
                columns.append(torch.cat([inner, second.weight.flatten(), second.bias]))
    if not columns:
        raise InputError("an ensemble needs at least one seed and one network per seed")
    return Ensemble(torch.stack(columns, dim=1).detach(), n_inputs, n_hidden)


def train_watched(
    ensemble: Ensemble,
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    held_out: np.ndarray | torch.Tensor,
    patience: int = 10,
    max_epochs: int = 100_000,
    learning_rate: float = 1e-3,
) -> Watched:
    """Train each member until its held-out error has not improved for `patience` epochs.

    x (n, d), y (n,), held_out (m, n). Minimises the mean squared error of the other rows by full
    batches; the watched error is the mean absolute one on the held-out rows. The weights kept are
    those at the end of the patience, not the best ones, as in the study (section 3.1).
    """
    training = _Training(ensemble, x, y, held_out, learning_rate, watched=True)
    stopping = Patience(len(ensemble), patience)
    held = training.held_out
    alive = torch.arange(len(ensemble))
    final, epochs = torch.empty_like(ensemble.parameters), torch.zeros(len(ensemble), dtype=int)
    predictions = torch.full((len(training.y), len(ensemble)), torch.nan)
    share = held / held.sum(dim=0)
    while len(alive):
        hidden, output = training.forward()
        if training.epochs:
            error = (output - training.y).abs_().mul_(share).sum(dim=0)
            stop = stopping.update(error)
            if training.epochs == max_epochs:
                stop = torch.ones_like(stop)
            if stop.any():
                done, go = alive[stop], ~stop
                epochs[done] = training.epochs
                final[:, done] = training.parameters[:, stop]
                predictions[:, done] = torch.where(held[:, stop], output[:, stop], torch.nan)
                alive, held, share = alive[go], held[:, go], share[:, go]
                hidden, output = hidden[..., go], output[:, go]
                training.keep(go)
                stopping.keep(go)
        training.backward(hidden, output)
    trained = Ensemble(final, ensemble.n_inputs, ensemble.n_hidden)
    return Watched(trained, epochs.numpy(), predictions.T.double().numpy())


def train_fixed(
    ensemble: Ensemble,
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    epochs: int,
    held_out: np.ndarray | torch.Tensor | None = None,
    checkpoints: Iterable[int] = (),
    learning_rate: float = 1e-3,
) -> tuple[Ensemble, np.ndarray]:
    """Train every member for `epochs` full-batch epochs on the rows not held out from it.

    x (n, d), y (n,), held_out (m, n) or None. Returns (trained Ensemble, predictions), where
    predictions (len(checkpoints), m, n) are those of all rows after that many epochs; the
    checkpoints must increase and not exceed `epochs`.
    """
    checkpoints = list(checkpoints)
    if epochs < 0 or sorted(set(checkpoints)) != checkpoints:
        raise InputError(f"epochs {epochs} must be >= 0 and checkpoints must increase")
    if checkpoints and not 0 <= checkpoints[0] <= checkpoints[-1] <= epochs:
        raise InputError(f"checkpoints must lie in 0 to {epochs}, got {checkpoints}")
    training = _Training(ensemble, x, y, held_out, learning_rate, watched=False)
    shape = (len(checkpoints), len(ensemble), len(training.y))
    predictions = np.empty(shape, dtype=np.float32)
    wanted = {epoch: place for place, epoch in enumerate(checkpoints)}
    for epoch in range(epochs + 1):
        hidden, output = training.forward()
        if epoch in wanted:
            predictions[wanted[epoch]] = output.T.numpy()
        if epoch < epochs:
            training.backward(hidden, output)
    return Ensemble(training.parameters, ensemble.n_inputs, ensemble.n_hidden), predictions


class _Training:
    """Parameters, optimiser and the two halves of an epoch, for all members at once."""

    def __init__(self, ensemble, x, y, held_out, learning_rate, *, watched):
        x, y = np.asarray(x), np.asarray(y)
        if x.shape != (len(y), ensemble.n_inputs) or y.ndim != 1:
            raise InputError(
                f"expected x (n, {ensemble.n_inputs}) and y (n,), got {x.shape} and {y.shape}"
            )
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            raise InputError("x and y must be finite; remove the rows with missing values")
        self.shape = ensemble.n_inputs, ensemble.n_hidden
        self.parameters = ensemble.parameters.clone()
        self.optimiser = Adam(self.parameters, learning_rate=learning_rate)
        self.x = _with_one(torch.as_tensor(x, dtype=self.parameters.dtype))
        self.y = torch.as_tensor(y, dtype=self.parameters.dtype)[:, None]
        self.held_out = as_held_out(held_out, len(ensemble), len(y), watched=watched).T.contiguous()
        # d loss / d output = weight * residual, with weight 2 / n_train, and 0 where held out
        self.weight = torch.where(self.held_out, 0.0, 2.0 / (~self.held_out).sum(dim=0))
        self.gradient = torch.empty_like(self.parameters)

    @property
    def epochs(self) -> int:
        return self.optimiser.steps

    def forward(self):
        return _forward(self.parameters, self.x, *self.shape)

    def backward(self, hidden, output) -> None:
        """One Adam step; `hidden` (h, n, m) and `output` (n, m) are used up."""
        _, w2, _ = _split(self.parameters, *self.shape)
        inner, g2, g0 = _split(self.gradient, *self.shape)
        residual = output.sub_(self.y).mul_(self.weight)
        torch.sum(residual, 0, out=g0)
        torch.sum(hidden * residual, 1, out=g2)
        # The slope of elu is 1 above zero and elu + 1 below
        back = hidden.clamp_(max=0).add_(1).mul_(residual).mul_(w2[:, None])
        torch.matmul(self.x.T, back, out=inner)
        self.optimiser.step(self.parameters, self.gradient)

    def keep(self, members) -> None:
        self.parameters = self.parameters[:, members]
        self.weight = self.weight[:, members]
        self.gradient = torch.empty_like(self.parameters)
        self.optimiser.keep(members)


def _with_one(x):
    return torch.cat([x, torch.ones_like(x[:, :1])], dim=1)


def _split(parameters, n_inputs, n_hidden):
    """Views (h, d + 1, m), (h, m) and (m,) of parameters (p, m)."""
    inner = n_hidden * (n_inputs + 1)
    first = parameters[:inner].view(n_hidden, n_inputs + 1, -1)
    return first, parameters[inner:-1], parameters[-1]


def _forward(parameters, x, n_inputs, n_hidden):
    """Hidden activations (h, n, m) and outputs (n, m) for inputs x (n, d + 1)."""
    first, w2, b2 = _split(parameters, n_inputs, n_hidden)
    hidden = torch.nn.functional.elu(torch.matmul(x, first))
    return hidden, (hidden * w2[:, None]).sum(dim=0).add_(b2)
