"""An autoregressive generator of compositions that cannot break the rules (section 7.3).

p(c | N) = product over atoms of p(s_t | s_1 ... s_t-1, N): a small network sees the atoms so far,
the last species, the atoms left and the charge so far, and scores the next species. The mask of
`CompositionSpace` removes what cannot be finished before the softmax, so the probabilities of the
allowed compositions add up to one, every sample is allowed, and log p(c) is exact.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from mfutils.errors import InputError
from mfutils.screening.composition_space import CompositionSpace, draw

__all__ = ["CompositionGenerator", "fit_generator"]

_MASKED = -1e30


class CompositionGenerator:
    """A trained generator; made by `fit_generator`.

    `history`: list of dicts epoch, train and, when given, held_out (nats per composition).
    """

    def __init__(self, space: CompositionSpace, n_conditions: int, hidden: int, seed: int):
        self.space, self.n_conditions = space, n_conditions
        width = 2 * space.size + 3 + n_conditions
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = nn.Sequential(
                nn.Linear(width, hidden), nn.SiLU(),
                nn.Linear(hidden, hidden), nn.SiLU(),
                nn.Linear(hidden, space.size),
            )  # fmt: skip
        self.history: list[dict] = []

    def _log_probabilities(self, features, mask):
        scores = self.network(features).masked_fill(~mask, _MASKED)
        return torch.log_softmax(scores, dim=1)

    def _features(self, counts, last, left, charge, total, condition):
        """Network inputs (m, 2 E + 3 + p) float32 of partial words."""
        space = self.space
        onehot = np.zeros((len(counts), space.size), dtype=np.float32)
        begun = left < total
        onehot[np.flatnonzero(begun), last[begun]] = 1
        scale = np.stack([left / space.n_max, total / space.n_max, charge / 8.0], axis=1)
        parts = [counts / total[:, None], onehot, scale, condition]
        return torch.from_numpy(np.concatenate(parts, axis=1).astype(np.float32))

    def sample(
        self, n_atoms: npt.ArrayLike, *, condition: npt.ArrayLike | None = None, seed: int = 0
    ) -> np.ndarray:
        """One composition per entry of n_atoms (m,): counts (m, E). All are allowed.

        condition (m, p), as in the fit. Raises InputError for a number of atoms that no neutral
        composition has.
        """
        total = np.atleast_1d(np.asarray(n_atoms, dtype=int))
        for n in np.unique(total):
            if self.space.count(int(n)) == 0:
                raise InputError(f"no neutral composition has {n} atoms: choose another number")
        condition = self._condition(condition, len(total))
        rng = np.random.default_rng(seed)
        counts = np.zeros((len(total), self.space.size), dtype=int)
        last, charge = np.zeros(len(total), int), np.zeros(len(total), int)
        for step in range(total.max()):
            rows = np.flatnonzero(total > step)
            left = total[rows] - step
            allowed = self.space.mask(last[rows], left, charge[rows])
            features = self._features(
                counts[rows], last[rows], left, charge[rows], total[rows], condition[rows]
            )
            with torch.inference_mode():
                logs = self._log_probabilities(features, torch.from_numpy(allowed))
            # Masked entries are exactly zero after the exponential
            chosen = draw(logs.double().exp().numpy() * allowed, rng)
            counts[rows, chosen] += 1
            charge[rows] += self.space.charges[chosen]
            last[rows] = chosen
        return counts

    def log_prob(self, counts: np.ndarray, *, condition: npt.ArrayLike | None = None) -> np.ndarray:
        """Exact log p(c | N) (m,) in nats of counts (m, E); InputError for rows not allowed."""
        steps = self._steps(counts, self._condition(condition, len(counts)))
        with torch.inference_mode():
            logs = self._log_probabilities(steps["features"], steps["mask"])
        picked = logs.double().gather(1, steps["target"][:, None])[:, 0].numpy()
        return np.bincount(steps["row"], weights=picked, minlength=len(counts))

    def _steps(self, counts, condition):
        """All partial words of the compositions as training examples."""
        words = self.space.words(counts)
        lengths = np.array([len(word) for word in words])
        row = np.repeat(np.arange(len(words)), lengths)
        target = np.concatenate(words)
        position = np.concatenate([np.arange(n) for n in lengths])
        onehot = np.zeros((len(row), self.space.size), dtype=int)
        onehot[np.arange(len(row)), target] = 1
        # Running sums that start again with every word
        running = np.cumsum(onehot, axis=0) - onehot
        before = running - running[position == 0][row]
        last = np.where(position > 0, np.roll(target, 1), 0)
        total = lengths[row]
        charge = before @ self.space.charges
        mask = self.space.mask(last, total - position, charge)
        features = self._features(before, last, total - position, charge, total, condition[row])
        return {
            "features": features,
            "mask": torch.from_numpy(mask),
            "target": torch.from_numpy(target),
            "row": row,
        }

    def _condition(self, condition, m):
        if condition is None:
            condition = np.zeros((m, 0))
        condition = np.asarray(condition, dtype=float)
        if condition.shape != (m, self.n_conditions) or not np.isfinite(condition).all():
            raise InputError(
                f"condition of shape {condition.shape}: expected finite numbers "
                f"({m}, {self.n_conditions}), as in the fit"
            )
        return condition


def fit_generator(
    space: CompositionSpace, counts: np.ndarray, *, condition: npt.ArrayLike | None = None,
    held_out: np.ndarray | None = None, hidden: int = 128, epochs: int = 40,
    learning_rate: float = 3e-3, weight_decay: float = 1e-2, batch: int = 512, seed: int = 0,
) -> CompositionGenerator:  # fmt: skip
    """Maximum likelihood on allowed compositions counts (n, E), with an optional condition (n, p).

    held_out: other compositions (k, E), scored after every epoch (only without a condition).
    The learning rate falls to zero along a cosine. Raises InputError for compositions outside the
    space.
    """
    condition = np.zeros((len(counts), 0)) if condition is None else np.asarray(condition, float)
    if condition.ndim != 2 or len(condition) != len(counts):
        raise InputError(
            f"condition of shape {condition.shape} for {len(counts)} compositions: expected (n, p)"
        )
    model = CompositionGenerator(space, condition.shape[1], hidden, seed)
    steps = model._steps(counts, model._condition(condition, len(counts)))
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(
        model.network.parameters(), lr=learning_rate, weight_decay=weight_decay
    )
    n_steps = len(steps["row"])
    per_epoch = -(-n_steps // batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, epochs * per_epoch))
    for epoch in range(epochs):
        total = 0.0
        order = torch.from_numpy(rng.permutation(n_steps))
        for part in order.split(batch):
            logs = model._log_probabilities(steps["features"][part], steps["mask"][part])
            loss = -logs.gather(1, steps["target"][part][:, None]).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(part)
        entry = {"epoch": epoch + 1, "train": total / len(counts)}
        if held_out is not None:
            entry["held_out"] = -float(model.log_prob(held_out).mean())
        model.history.append(entry)
    return model
