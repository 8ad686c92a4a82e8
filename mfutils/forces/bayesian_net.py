"""Mean-field variational inference: a Gaussian for every weight (section 8.3).

The posterior of the weights w is approximated by q(w) = prod N(m_i, s_i^2), fitted by maximising

    ELBO = E_q[log p(y | w)] - KL(q || p),      p(w) = N(0, prior^2 I),

which lies below the log evidence by exactly KL(q || posterior). For a model that is linear in its
weights everything has a closed form, and the distance between both is a measure of what the
mean-field assumption costs. For the force network the expectation is taken over sampled weights.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch

from mfutils.errors import InputError
from mfutils.forces import force_network
from mfutils.forces.committees import Draws, NetworkSettings, draws_of
from mfutils.forces.force_network import NetworkData

__all__ = [
    "LinearModel",
    "VariationalNetwork",
    "fit_variational",
    "kl_to_prior",
]


def kl_to_prior(
    mean: np.ndarray | torch.Tensor, std: np.ndarray | torch.Tensor, prior: float
) -> float | torch.Tensor:
    """KL(N(mean, std^2) || N(0, prior^2)) in nats, summed over independent weights (d,).

    Of tensors a tensor, which can be differentiated.
    """
    ratio = (std / prior) ** 2
    if isinstance(mean, torch.Tensor):
        return 0.5 * (ratio + (mean / prior) ** 2 - 1 - torch.log(ratio)).sum()
    return float(0.5 * np.sum(ratio + (np.asarray(mean) / prior) ** 2 - 1 - np.log(ratio)))


@dataclass(frozen=True)
class LinearModel:
    """y = x w + noise with w ~ N(0, prior^2 I): inputs x (n, d), targets y (n,)."""

    x: np.ndarray
    y: np.ndarray
    prior: float
    noise: float

    def __post_init__(self):
        x, y = np.asarray(self.x), np.asarray(self.y)
        if x.ndim != 2 or y.shape != x.shape[:1]:
            raise InputError(f"x and y have shapes {x.shape} and {y.shape}; expected (n, d), (n,)")
        if not (self.prior > 0 and self.noise > 0):
            raise InputError(f"prior {self.prior:g} and noise {self.noise:g} must be above 0")

    def posterior(self) -> tuple[np.ndarray, np.ndarray]:
        """Exact mean (d,) and precision (d, d) of the weights."""
        precision = self.x.T @ self.x / self.noise**2 + np.eye(self.x.shape[1]) / self.prior**2
        return np.linalg.solve(precision, self.x.T @ self.y) / self.noise**2, precision

    def log_evidence(self) -> float:
        """log p(y): a Gaussian with covariance prior^2 x x' + noise^2 I."""
        covariance = self.prior**2 * self.x @ self.x.T + self.noise**2 * np.eye(len(self.y))
        _, log_det = np.linalg.slogdet(covariance)
        fit = self.y @ np.linalg.solve(covariance, self.y)
        return float(-0.5 * (fit + log_det + len(self.y) * math.log(2 * math.pi)))

    def elbo(self, mean: np.ndarray, covariance: np.ndarray) -> float:
        """ELBO of any Gaussian q = N(mean (d,), covariance (d, d)), exact."""
        residual = self.y - self.x @ mean
        spread = np.einsum("nd,de,ne->", self.x, covariance, self.x)
        fit = -0.5 * (residual @ residual + spread) / self.noise**2
        fit -= 0.5 * len(self.y) * math.log(2 * math.pi * self.noise**2)
        d = len(mean)
        _, log_det = np.linalg.slogdet(covariance)
        kl = (np.trace(covariance) + mean @ mean) / self.prior**2 - d - log_det
        kl = 0.5 * (kl + 2 * d * math.log(self.prior))
        return float(fit - kl)

    def mean_field(self) -> tuple[np.ndarray, np.ndarray]:
        """Best mean (d,) and standard deviations (d,): right mean, variance of one at a time."""
        mean, precision = self.posterior()
        return mean, 1 / np.sqrt(np.diag(precision))


@dataclass(frozen=True, eq=False)
class VariationalNetwork:
    """A fitted mean-field network; see `fit_variational`.

    means and log_stds: one tensor per weight matrix and bias; noises: log variances of energy and
    force; history (epochs, 3): ELBO, expected log likelihood and KL.
    """

    means: list[torch.Tensor]
    log_stds: list[torch.Tensor]
    noises: list[torch.Tensor]
    settings: NetworkSettings
    prior: float
    energy_per_atom: float
    history: np.ndarray

    def predict(self, data: NetworkData, *, passes: int = 32, seed: int = 0) -> Draws:
        """The energies and forces of NetworkData at `passes` draws of the weights."""
        generator = torch.Generator().manual_seed(seed)
        weights = _draw(self.means, self.log_stds, passes, generator)
        energy, forces, _, _ = force_network.evaluate(weights, data)
        energy_noise, force_noise = self.noises
        logs = energy_noise.expand(passes, len(data)), force_noise.expand(passes, len(data.forces))
        outputs = (energy, forces, *logs)
        return draws_of(outputs, data, self.settings, self.energy_per_atom)

    def kl(self) -> float:
        """KL of the weights to the prior (nats)."""
        pairs = zip(self.means, self.log_stds, strict=True)
        return sum(float(kl_to_prior(m, s.exp(), self.prior)) for m, s in pairs)


def _draw(means, log_stds, passes, generator):
    """`passes` networks from q, as the list of (weight, bias) that `force_network` takes."""
    flat = []
    for mean, log_std in zip(means, log_stds, strict=True):
        noise = torch.randn((passes, *mean.shape[1:]), generator=generator)
        flat.append(mean + log_std.exp() * noise)
    return list(zip(flat[::2], flat[1::2], strict=True))


def fit_variational(
    data: NetworkData, *, settings: NetworkSettings | None = None, prior: float = 1.0,
    draws: int = 4, energy_per_atom: float = 0.0, start_std: float = 0.02, seed: int = 0,
) -> VariationalNetwork:  # fmt: skip
    """VariationalNetwork fitted on NetworkData by maximising the ELBO, Adam, full batch.

    prior: standard deviation of the weights before data, relative to 1 / sqrt(inputs) for weight
    matrices. draws: weight samples per step. One noise level of the energy and one of the forces
    are fitted with it. history holds (ELBO, expected log likelihood, KL) of every epoch.
    """
    settings = settings or NetworkSettings()
    if not prior > 0 or draws < 1:
        raise InputError(f"prior {prior:g} and draws {draws}; expected above 0 and at least 1")
    generator = torch.Generator().manual_seed(seed)
    start = force_network.initial_weights(1, data.x.shape[1], settings.hidden, generator, outputs=1)
    means = [t.requires_grad_(True) for pair in start for t in pair]
    log_stds = [
        torch.full_like(t, math.log(start_std)).detach().requires_grad_(True) for t in means
    ]
    noises = [torch.zeros(1, requires_grad=True) for _ in range(2)]
    optimizer = torch.optim.Adam(means + log_stds + noises, lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.epochs)
    history = []
    for _ in range(settings.epochs):
        weights = _draw(means, log_stds, draws, generator)
        energy, forces, _, _ = force_network.evaluate(weights, data, training=True)
        likelihood = _log_likelihood(energy, forces, data, noises, settings).mean()
        kl = sum(kl_to_prior(m, s.exp(), prior) for m, s in zip(means, log_stds, strict=True))
        loss = kl - likelihood
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        history.append((-float(loss.detach()), float(likelihood.detach()), float(kl.detach())))
        if not math.isfinite(history[-1][0]):
            raise InputError(
                f"ELBO is {history[-1][0]} in epoch {len(history)}; lower learning_rate"
            )
    final = [[t.detach() for t in group] for group in (means, log_stds, noises)]
    return VariationalNetwork(*final, settings, prior, energy_per_atom, np.array(history))


def _log_likelihood(energy, forces, data, noises, settings):
    """log p(y | w) of each draw (M,) in eV and eV/Angstrom."""
    scale = settings.energy_scale * data.sizes.sqrt() * (0.5 * noises[0]).exp()
    total = torch.distributions.Normal(energy, scale).log_prob(data.energy).sum(1)
    scale = settings.force_scale * (0.5 * noises[1]).exp()
    return total + torch.distributions.Normal(forces, scale).log_prob(data.forces).sum((1, 2))
