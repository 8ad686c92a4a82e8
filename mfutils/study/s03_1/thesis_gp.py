"""The study's Gaussian process of section 3.1, many folds at once.

A constant mean, s^2 exp(-|x - x'|^2 / (2 l^2)) and independent noise v: four numbers per member,
moved by Adam up the log marginal likelihood (eqs 2.4-2.6), all in single precision. The start,
l = 0.01 and v = 1, and the end, patience on the held-out rows themselves, are the study's; the
latter leaks, so use `mfutils.gp.exact.fit_gp` for anything that is to be believed.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from mfutils.errors import InputError
from mfutils.study.s03_1.batched import Adam, Patience, as_held_out

__all__ = ["GPEnsemble", "WatchedGPs", "train_fixed", "train_watched"]

# Noise variances below this are not reached, for the sake of the Cholesky factor
_NOISE_FLOOR = 1e-4


@dataclass(frozen=True)
class GPEnsemble:
    """m Gaussian processes: `raw` (4, m) holds noise, constant, signal and lengthscale.

    All but the constant are kept as inverse softplus. x (n, d) and y (n,) are the rows shared by
    all members, held_out (m, n) those that a member does not see.
    """

    raw: torch.Tensor
    x: torch.Tensor
    y: torch.Tensor
    held_out: torch.Tensor

    def __len__(self) -> int:
        return self.raw.shape[1]

    @property
    def hyperparameters(self) -> dict[str, np.ndarray]:
        """Noise variance, mean, signal variance and lengthscale, each an array (m,)."""
        names = ("noise_variance", "mean", "signal_variance", "lengthscale")
        values = _constrained(self.raw.double())
        return {name: value.numpy() for name, value in zip(names, values, strict=True)}

    def predict(
        self, x_new: npt.ArrayLike, *, dtype: torch.dtype = torch.float64, chunk: int = 20_000
    ) -> np.ndarray:
        """Posterior means (m, k) at x_new (k, d), computed in `dtype`."""
        return self._in_chunks(x_new, dtype, chunk, lambda inputs, mean: mean(inputs))

    def slope(
        self,
        x_new: npt.ArrayLike,
        column: int,
        *,
        dtype: torch.dtype = torch.float64,
        chunk: int = 20_000,
    ) -> np.ndarray:
        """Derivative (m, k) of the posterior mean by one input, by automatic differentiation."""

        def derivative(inputs, mean):
            inputs.requires_grad_()
            return torch.autograd.grad(mean(inputs).sum(), inputs)[0][:, column]

        return self._in_chunks(x_new, dtype, chunk, derivative)

    def _in_chunks(
        self, x_new: npt.ArrayLike, dtype: torch.dtype, chunk: int, evaluate: Callable
    ) -> np.ndarray:
        x_new = torch.as_tensor(np.asarray(x_new), dtype=dtype)
        if x_new.ndim != 2 or x_new.shape[1] != self.x.shape[1]:
            raise InputError(f"x_new must be (k, {self.x.shape[1]}), got {tuple(x_new.shape)}")
        rows = []
        for member in range(len(self)):
            mean = self._posterior_mean(member, dtype)
            parts = [evaluate(p.clone(), mean).detach() for p in x_new.split(chunk)]
            rows.append(torch.cat(parts).numpy())
        return np.stack(rows)

    def _posterior_mean(
        self, member: int, dtype: torch.dtype
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        """The function inputs (k, d) -> posterior mean (k,) of one member."""
        seen = ~self.held_out[member]
        x, y = self.x[seen].to(dtype), self.y[seen].to(dtype)
        noise, constant, signal, length = _constrained(self.raw[:, member].to(dtype))
        covariance = signal * torch.exp(-0.5 * _squared_distances(x, x) / length**2)
        covariance = covariance + noise * torch.eye(len(x), dtype=dtype)
        factor = torch.linalg.cholesky(covariance)
        alpha = torch.cholesky_solve((y - constant)[:, None], factor)[:, 0]

        def mean(inputs):
            cross = torch.exp(-0.5 * _squared_distances(inputs, x) / length**2)
            return constant + signal * (cross @ alpha)

        return mean


@dataclass(frozen=True)
class WatchedGPs:
    """What `train_watched` returns: the ensemble, epochs (m,), held-out predictions (m, n).

    `predictions` is NaN at the rows that a member was trained on.
    """

    ensemble: GPEnsemble
    epochs: np.ndarray
    predictions: np.ndarray


def train_watched(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    held_out: np.ndarray | torch.Tensor,
    patience: int = 10,
    max_epochs: int = 100_000,
    learning_rate: float = 1e-3,
    lengthscale: float = 0.01,
    noise_variance: float = 1.0,
) -> WatchedGPs:
    """Train one process per fold until its held-out error fails to improve `patience` times.

    x (n, d), y (n,), held_out (m, n). The hyperparameters kept are those at the end of the
    patience, as in the study. In float32: on another machine the last digits differ.
    """
    training = _Training(x, y, held_out, learning_rate, lengthscale, noise_variance, watched=True)
    size = len(training.held_out)
    stopping = Patience(size, patience)
    alive = torch.arange(size)
    final, epochs = torch.empty_like(training.raw), torch.zeros(size, dtype=int)
    predictions = torch.full((size, len(training.y)), torch.nan)
    held = training.held_out
    while len(alive):
        output = training.forward()
        if training.epochs:
            error = (output - training.y).abs_().mul_(held).sum(dim=1) / held.sum(dim=1)
            stop = stopping.update(error)
            if training.epochs >= max_epochs:
                stop = torch.ones_like(stop)
            if stop.any():
                done, go = alive[stop], ~stop
                epochs[done] = training.epochs
                final[:, done] = training.raw[:, stop]
                predictions[done] = torch.where(held[stop], output[stop], torch.nan)
                alive, held = alive[go], held[go]
                training.keep(go)
                stopping.keep(go)
        if len(alive):
            training.backward()
    everything = as_held_out(held_out, size, len(training.y), watched=True)
    trained = GPEnsemble(final, training.x, training.y, everything)
    return WatchedGPs(trained, epochs.numpy(), predictions.double().numpy())


def train_fixed(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    epochs: int,
    held_out: np.ndarray | torch.Tensor | None = None,
    learning_rate: float = 1e-3,
    lengthscale: float = 0.01,
    noise_variance: float = 1.0,
) -> GPEnsemble:
    """Train one process per row of held_out (m, n), or one on all rows, for `epochs` epochs."""
    if held_out is None:
        held_out = np.zeros((1, len(y)), dtype=bool)
    training = _Training(x, y, held_out, learning_rate, lengthscale, noise_variance, watched=False)
    for _ in range(epochs):
        training.forward()
        training.backward()
    return GPEnsemble(training.raw, training.x, training.y, training.held_out)


class _Training:
    """Hyperparameters and the two halves of an epoch, for all members at once."""

    def __init__(self, x, y, held_out, learning_rate, lengthscale, noise_variance, *, watched):
        x, y = np.asarray(x), np.asarray(y)
        if x.ndim != 2 or y.shape != (len(x),):
            raise InputError(f"expected x (n, d) and y (n,), got {x.shape} and {y.shape}")
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            raise InputError("x and y must be finite; remove the rows with missing values")
        if lengthscale <= 0 or noise_variance <= _NOISE_FLOOR:
            raise InputError(
                f"lengthscale {lengthscale} must be positive and noise_variance "
                f"{noise_variance} above {_NOISE_FLOOR}"
            )
        members = len(np.asarray(held_out))
        self.held_out = as_held_out(held_out, members, len(y), watched=watched)
        self.x, self.y = torch.as_tensor(x).float(), torch.as_tensor(y).float()
        self.distances = _squared_distances(self.x, self.x)
        start = torch.tensor([noise_variance - _NOISE_FLOOR, 0.0, 0.0, lengthscale])
        # Inverse softplus; the constant and the raw signal start at zero
        start[[0, 3]] = start[[0, 3]] + torch.log(-torch.expm1(-start[[0, 3]]))
        self.raw = start[:, None].repeat(1, members)
        self.optimiser = Adam(self.raw, learning_rate=learning_rate)
        seen = (~self.held_out).float()
        self.seen, self.pairs = seen, seen[:, :, None] * seen[:, None, :]

    @property
    def epochs(self) -> int:
        return self.optimiser.steps

    def forward(self):
        """Posterior means (m, n) at all rows under the present hyperparameters."""
        noise, constant, signal, length = _constrained(self.raw)
        smooth = torch.exp(self.distances * (-0.5 / length**2)[:, None, None])
        smooth = smooth.mul_(signal[:, None, None])
        # A held-out row becomes an independent one: it leaves the likelihood untouched
        self.signal_part = smooth * self.pairs
        covariance = self.signal_part.clone()
        diagonal = covariance.diagonal(dim1=1, dim2=2)
        diagonal.add_(noise[:, None] * self.seen + (1 - self.seen))
        self.factor, _ = torch.linalg.cholesky_ex(covariance)
        residual = (self.y - constant[:, None]) * self.seen
        # Rounding decides when the patience runs out: a solve is far cleaner than K^-1 times y
        self.alpha = torch.cholesky_solve(residual[:, :, None], self.factor)[..., 0]
        return constant[:, None] + (smooth @ self.alpha[:, :, None])[..., 0]

    def backward(self) -> None:
        """One Adam step on minus the log marginal likelihood per training row (after `forward`)."""
        _, _, signal, length = _constrained(self.raw)
        # d NLL / d theta = sum(weight * dK / d theta) / 2 with weight = K^-1 - alpha alpha^T
        inverse = torch.cholesky_inverse(self.factor)
        weight = inverse.baddbmm_(self.alpha[:, :, None], self.alpha[:, None, :], alpha=-1)
        by_noise = (weight.diagonal(dim1=1, dim2=2) * self.seen).sum(dim=1) / 2
        contracted = weight.mul_(self.signal_part).flatten(1)
        by_signal = contracted.sum(dim=1) / signal / 2
        by_length = (contracted @ self.distances.flatten()) / length**3 / 2
        gradient = torch.stack([by_noise, -self.alpha.sum(dim=1), by_signal, by_length])
        gradient[[0, 2, 3]] *= torch.sigmoid(self.raw[[0, 2, 3]])
        self.optimiser.step(self.raw, gradient / self.seen.sum(dim=1))

    def keep(self, members) -> None:
        self.raw = self.raw[:, members]
        self.seen, self.pairs = self.seen[members], self.pairs[members]
        self.optimiser.keep(members)
        # What `backward` reads was computed by `forward` for all members
        self.signal_part, self.factor = self.signal_part[members], self.factor[members]
        self.alpha = self.alpha[members]


def _constrained(raw):
    """Noise variance, constant, signal variance and lengthscale from the raw rows."""
    noise, signal, length = (torch.nn.functional.softplus(raw[row]) for row in (0, 2, 3))
    return noise + _NOISE_FLOOR, raw[1], signal, length


def _squared_distances(a, b):
    """(k, n) between the rows of a (k, d) and b (n, d), free of cancellation."""
    total = torch.zeros(len(a), len(b), dtype=a.dtype)
    for column in range(a.shape[1]):
        total = total + (a[:, column, None] - b[None, :, column]).square()
    return total
