"""Committees of networks: deep ensembles, and dropout kept on while predicting (section 8.3).

A deep ensemble trains M networks from different weights on different bootstrap samples of the
structures; each predicts a noise variance beside its mean (heteroscedastic). Monte-Carlo dropout
trains one network under random masks and predicts with K masks: K samples of an approximate
posterior. In both the spread over members is epistemic, the mean of the predicted noise aleatoric.
The loss is the negative log likelihood with each term weighted by its variance to a power
(beta-NLL), which keeps badly fitted samples from being explained away as noise.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mfutils.errors import InputError
from mfutils.forces import force_network
from mfutils.forces.force_network import NetworkData, Weights
from mfutils.uncertainty import ensembles

__all__ = ["Committee", "Draws", "NetworkSettings", "draws_of", "fit_committee"]


@dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """hidden units, epochs (full batch, Adam, cosine schedule), dropout rate, weights of the loss.

    energy_weight multiplies the energy term per structure against one force component; beta is
    the power of the variance in the weights, 0 for the plain likelihood and 1 for least squares.
    """

    hidden: int = 32
    epochs: int = 400
    learning_rate: float = 0.01
    dropout: float = 0.0
    energy_weight: float = 3.0
    beta: float = 0.5
    energy_scale: float = 0.02  # eV per square root of atoms: where the noise starts
    force_scale: float = 0.1  # eV/Angstrom


@dataclass(frozen=True)
class Draws:
    """Predictions of M members: energy (M, n) eV, forces (M, f, 3), and their noise variances.

    energy_noise (M, n) in eV^2 and force_noise (M, f) in (eV/Angstrom)^2.
    """

    energy: np.ndarray
    forces: np.ndarray
    energy_noise: np.ndarray
    force_noise: np.ndarray

    def energy_parts(self) -> ensembles.Parts:
        """`ensembles.Parts` of the energies."""
        return ensembles.decompose(self.energy, self.energy_noise)

    def force_moments(self, *, noise: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Mean (f, 3) and covariance (f, 3, 3) of the forces, with or without the noise."""
        return ensembles.vector_moments(self.forces, self.force_noise.mean(0) if noise else 0.0)


@dataclass(frozen=True, eq=False)
class Committee:
    """Trained members; history (epochs,) is the mean loss. See `fit_committee`."""

    weights: Weights
    settings: NetworkSettings
    energy_per_atom: float
    history: np.ndarray

    def predict(self, data: NetworkData, *, passes: int | None = None, seed: int = 0) -> Draws:
        """Draws for NetworkData; passes: number of masks (dropout only, default 32)."""
        weights, masks = self.weights, None
        if self.settings.dropout > 0:
            passes = passes or 32
            weights = [(w.expand(passes, -1, -1), b.expand(passes, -1, -1)) for w, b in weights]
            generator = torch.Generator().manual_seed(seed)
            masks = _masks(passes, self.settings, generator)
        elif passes is not None:
            raise InputError("passes are for a network with dropout; this committee has none")
        outputs = force_network.evaluate(weights, data, masks=masks)
        return draws_of(outputs, data, self.settings, self.energy_per_atom)


def draws_of(
    outputs: Sequence[torch.Tensor], data: NetworkData, settings: NetworkSettings,
    energy_per_atom: float,
) -> Draws:  # fmt: skip
    """Draws in eV from the outputs of `force_network.evaluate`."""
    energy, forces, energy_log, force_log = (t.detach().double().numpy() for t in outputs)
    sizes = data.sizes.double().numpy()
    return Draws(
        energy + energy_per_atom * sizes,
        forces,
        settings.energy_scale**2 * sizes * np.exp(_bounded(energy_log)),
        settings.force_scale**2 * np.exp(_bounded(force_log)),
    )


def _bounded(log):
    """Soft limits -8 and 8, so that a variance neither vanishes nor overflows."""
    return 8 * (torch.tanh(log / 8) if isinstance(log, torch.Tensor) else np.tanh(log / 8))


def _masks(count, settings, generator, layers=2):
    keep = 1 - settings.dropout
    shape = (count, 1, settings.hidden)
    return [(torch.rand(shape, generator=generator) < keep) / keep for _ in range(layers)]


def fit_committee(
    data: NetworkData, *, members: int = 5, settings: NetworkSettings | None = None,
    energy_per_atom: float = 0.0, seed: int = 0,
) -> Committee:  # fmt: skip
    """Committee trained on NetworkData; under dropout `members` masks share one network.

    energy_per_atom is what `network_data` took off and `predict` adds again. Raises InputError
    for settings outside their range or when the loss is no longer a number.
    """
    settings = settings or NetworkSettings()
    if members < 1 or settings.epochs < 1 or not 0 <= settings.dropout < 1:
        raise InputError(
            f"members {members}, epochs {settings.epochs}, dropout {settings.dropout}; expected "
            "at least 1, at least 1, and a rate from 0 to below 1"
        )
    generator = torch.Generator().manual_seed(seed)
    shared = settings.dropout > 0
    weights = force_network.initial_weights(
        1 if shared else members, data.x.shape[1], settings.hidden, generator
    )
    leaves = [t.requires_grad_(True) for pair in weights for t in pair]
    counts = np.ones((members, len(data)))
    if not shared:
        counts = ensembles.bootstrap_counts(len(data), members, seed)
    counts = torch.as_tensor(counts, dtype=torch.float32)
    optimizer = torch.optim.Adam(leaves, lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.epochs)
    history = []
    for _ in range(settings.epochs):
        masks, used = None, weights
        if shared:
            masks = _masks(members, settings, generator)
            used = [(w.expand(members, -1, -1), b.expand(members, -1, -1)) for w, b in weights]
        outputs = force_network.evaluate(used, data, masks=masks, training=True)
        loss = _loss(outputs, data, counts, settings)
        optimizer.zero_grad()
        loss.sum().backward()
        # a member's clip must not depend on the other members: Adam's step is bounded anyway
        optimizer.step()
        schedule.step()
        history.append(float(loss.detach().mean()))
        if not math.isfinite(history[-1]):
            raise InputError(
                f"loss is {history[-1]} in epoch {len(history)}; lower learning_rate "
                f"({settings.learning_rate:g})"
            )
    frozen = [(w.detach(), b.detach()) for w, b in weights]
    return Committee(frozen, settings, energy_per_atom, np.array(history))


def _loss(outputs, data, counts, settings):
    """beta-NLL per member (M,)."""
    energy, forces, energy_log, force_log = outputs
    log = _bounded(energy_log)
    scaled = (energy - data.energy) / (settings.energy_scale * data.sizes.sqrt())
    term = 0.5 * (scaled**2 * torch.exp(-log) + log) * torch.exp(settings.beta * log).detach()
    total = (counts * term).sum(1) * settings.energy_weight / len(data)
    log = _bounded(force_log)[..., None]
    scaled = (forces - data.forces) / settings.force_scale
    term = 0.5 * (scaled**2 * torch.exp(-log) + log) * torch.exp(settings.beta * log).detach()
    weight = counts[:, data.force_owner]
    return total + 3 * (weight * term.mean(2)).sum(1) / len(data.forces)
