"""A variational autoencoder of compositions: the rules are learnt, not kept (section 7.3).

A latent z ~ N(0, I) and the number of atoms N are decoded into slots that are independent of one
another: the count of every species ("counts"), or the species of each of the N atoms ("words",
which gets N right by construction). Trained on the evidence bound
E_q[log p(c | z, N)] - beta KL(q(z | c, N) || p(z)). Independent slots cannot know each other, so a
sample may have a charge, or the wrong number of atoms, and must be rejected. A penalty on the mean
square of both pushes samples towards the rules and bends the distribution.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from mfutils.errors import InputError

__all__ = ["DECODERS", "CompositionVAE", "fit_vae"]

DECODERS = ("counts", "words")


class CompositionVAE:
    """A trained autoencoder; made by `fit_vae`.

    `history`: list of dicts epoch, reconstruction, divergence (nats per composition).
    """

    def __init__(
        self, counts: np.ndarray, charges: np.ndarray, n_max: int, decoder: str, latent: int,
        hidden: int, seed: int,
    ):  # fmt: skip
        self.n_species, self.n_max, self.latent = len(charges), n_max, latent
        self.by_words = decoder == "words"
        if self.by_words:
            # Slot t holds the species of atom t; every choice is one atom
            charge_of = np.tile(charges, (n_max, 1))
            atoms_of = np.ones_like(charge_of)
            start = np.log((counts.sum(axis=0) / counts.sum()).clip(min=0.1 / len(counts)))
            start = np.tile(start, (n_max, 1))
        else:
            numbers = np.arange(counts.max() + 1)
            charge_of = charges[:, None] * numbers
            atoms_of = np.tile(numbers, (len(charges), 1))
            frequency = np.stack([(counts == k).mean(axis=0) for k in numbers], axis=1)
            start = np.log(frequency.clip(min=0.1 / len(counts)))
        self.shape = charge_of.shape
        self.charge_of, self.atoms_of = (torch.tensor(t).float() for t in (charge_of, atoms_of))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.encoder = nn.Sequential(
                nn.Linear(2 * self.n_species + 1, hidden), nn.SiLU(),
                nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, 2 * latent),
            )  # fmt: skip
            self.decoder = nn.Sequential(
                nn.Linear(latent + 1, hidden), nn.SiLU(),
                nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, charge_of.size),
            )  # fmt: skip
            # From the marginal frequencies: learning them would take most of the training
            with torch.no_grad():
                self.decoder[-1].bias.copy_(torch.from_numpy(start).flatten())
                self.decoder[-1].weight.mul_(0.1)
        self.history: list[dict] = []

    def _filled(self, total):
        """Mask (m, slots) of the slots that hold a choice in compositions of `total` (m,) atoms."""
        if not self.by_words:
            return torch.ones(len(total), self.n_species, dtype=torch.bool)
        return total[:, None] > torch.arange(self.n_max)

    def _encode(self, counts, total):
        size = (total / self.n_max)[:, None]
        inputs = torch.cat([counts / total[:, None], (counts > 0).float(), size], dim=1)
        return self.encoder(inputs).chunk(2, dim=1)

    def _decode(self, z, total):
        """Log probabilities (m, slots, choices)."""
        size = (total / self.n_max)[:, None]
        scores = self.decoder(torch.cat([z, size], dim=1))
        return torch.log_softmax(scores.view(len(z), *self.shape), dim=2)

    def _broken(self, logs, total, filled):
        """E[(atoms - N)^2] + E[charge^2] (m,) of decoded samples."""
        p = logs.exp() * filled[:, :, None]
        square = 0.0
        for table, wanted in ((self.atoms_of, total), (self.charge_of, 0.0)):
            first = (p * table).sum(dim=2)
            variance = (p * table**2).sum(dim=2) - first**2
            square = square + (first.sum(dim=1) - wanted) ** 2 + variance.sum(dim=1)
        return square

    def sample(self, n_atoms: npt.ArrayLike, *, seed: int = 0) -> np.ndarray:
        """Counts (m, E), one row per entry of n_atoms (m,); nothing is rejected here."""
        wanted = np.atleast_1d(np.asarray(n_atoms, dtype=int))
        if wanted.min() < 1 or wanted.max() > self.n_max:
            raise InputError(f"n_atoms up to {wanted.max()}: expected 1 to {self.n_max}")
        total = torch.from_numpy(wanted).float()
        generator = torch.Generator().manual_seed(seed)
        with torch.inference_mode():
            z = torch.randn(len(total), self.latent, generator=generator)
            logs = self._decode(z, total).flatten(0, 1)
            drawn = torch.multinomial(logs.exp(), 1, generator=generator)
        drawn = drawn.view(len(wanted), -1).numpy()
        if not self.by_words:
            return drawn.astype(int)
        counts = np.zeros((len(wanted), self.n_species), dtype=int)
        row, slot = np.nonzero(np.arange(self.n_max) < wanted[:, None])
        np.add.at(counts, (row, drawn[row, slot]), 1)
        return counts


def fit_vae(
    counts: npt.ArrayLike, *, charges: npt.ArrayLike, n_max: int, decoder: str = "words",
    latent: int = 24, hidden: int = 128, epochs: int = 60, learning_rate: float = 3e-3,
    beta: float = 0.1, penalty: float = 0.0, batch: int = 128, seed: int = 0,
) -> CompositionVAE:  # fmt: skip
    """Train on counts (n, E) with the charges (E,) of the species and at most n_max atoms.

    beta: weight of the divergence; penalty: weight of the mean square of wrong atoms and charge.
    Raises InputError on shapes that do not fit or an unknown decoder.
    """
    counts, charges = np.asarray(counts), np.asarray(charges)
    if counts.ndim != 2 or charges.shape != counts.shape[1:] or counts.dtype.kind not in "iu":
        raise InputError(
            f"counts {counts.shape} ({counts.dtype}) and charges {charges.shape}: expected whole "
            "numbers (n, E) and (E,)"
        )
    total_of = counts.sum(axis=1)
    if not len(counts) or (counts < 0).any() or total_of.min() < 1 or total_of.max() > n_max:
        raise InputError(
            f"counts hold a negative number or a row without 1 to {n_max} atoms: one composition "
            "per row"
        )
    if decoder not in DECODERS:
        raise InputError(f"no decoder named {decoder!r}; known: {', '.join(DECODERS)}")
    model = CompositionVAE(counts, charges, n_max, decoder, latent, hidden, seed)
    target = torch.from_numpy(_words(counts, n_max) if model.by_words else counts)
    inputs = torch.from_numpy(counts).float()
    weights = [*model.encoder.parameters(), *model.decoder.parameters()]
    optimizer = torch.optim.Adam(weights, lr=learning_rate)
    per_epoch = -(-len(counts) // batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, epochs * per_epoch))
    generator = torch.Generator().manual_seed(seed)
    for epoch in range(epochs):
        sums = np.zeros(2)
        for part in torch.randperm(len(counts), generator=generator).split(batch):
            rows = inputs[part]
            total = rows.sum(dim=1)
            filled = model._filled(total)
            mean, log_std = model._encode(rows, total)
            noise = torch.randn(mean.shape, generator=generator)
            logs = model._decode(mean + log_std.exp() * noise, total)
            picked = logs.gather(2, target[part][:, :, None])[:, :, 0]
            reconstruction = -(picked * filled).sum(dim=1)
            divergence = 0.5 * (mean**2 + (2 * log_std).exp() - 1 - 2 * log_std).sum(dim=1)
            loss = (reconstruction + beta * divergence).mean()
            if penalty:
                loss = loss + penalty * model._broken(logs, total, filled).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            sums += [reconstruction.sum().item(), divergence.sum().item()]
        names = ("reconstruction", "divergence")
        shares = dict(zip(names, (sums / len(counts)).tolist(), strict=True))
        model.history.append({"epoch": epoch + 1} | shares)
    return model


def _words(counts, n_max):
    """Species of each atom in order (n, n_max); places beyond the last atom hold species 0."""
    words = np.zeros((len(counts), n_max), dtype=int)
    for row, line in enumerate(counts):
        words[row, : line.sum()] = np.repeat(np.arange(len(line)), line)
    return words
