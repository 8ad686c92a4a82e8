"""Active learning with a committee: label next what the members disagree about (section 8.3).

Members are Bayesian linear models in the features of one sparse potential, each trained on a
bootstrap sample of the labelled structures, with shared features and hyperparameters; so a round
costs a few solves of M equations. The score of an unlabelled structure is the root mean variance
of its forces over members.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mfutils.errors import InputError
from mfutils.forces.sparse_potential import Rows, SparsePotential
from mfutils.uncertainty import ensembles

__all__ = ["STRATEGIES", "Pool", "Round", "learning_curve"]

STRATEGIES = ("committee", "random")


@dataclass(frozen=True)
class Round:
    """Errors with `labels` labelled structures: energy (eV/atom), force component (eV/Angstrom).

    chosen: numbers of the structures that were labelled in this round.
    """

    labels: int
    energy_mae: float
    force_mae: float
    chosen: list[int]


class Pool:
    """Features of structures that could be labelled, from `sparse_potential.Rows`.

    The noises of the potential, energy_noise (eV per square root of atoms) and force_noise
    (eV/Angstrom), weight the labels.
    """

    def __init__(self, rows: Sequence[Rows], potential: SparsePotential):
        h = potential.hyperparameters
        self.sizes = np.array([r.size for r in rows])
        pairs = [potential.features(r) for r in rows]
        self.energy_phi = np.vstack([e for e, _ in pairs])
        self.force_phi = [f for _, f in pairs]
        self.energy = np.array([r.energy for r in rows]) - h["energy_per_atom"] * self.sizes
        self.forces = [r.forces.ravel() for r in rows]
        self.prior = 1 / h["amplitude"] ** 2
        noise = h["energy_noise"] ** 2 * self.sizes
        # each structure's share of the normal equations, so that a fit only adds them up
        self.gram = np.array(
            [
                np.outer(e, e) / v + f.T @ f / h["force_noise"] ** 2
                for e, f, v in zip(self.energy_phi, self.force_phi, noise, strict=True)
            ]
        )
        self.project = np.array(
            [
                e * y / v + f.T @ forces / h["force_noise"] ** 2
                for e, f, y, forces, v in zip(
                    self.energy_phi, self.force_phi, self.energy, self.forces, noise, strict=True
                )
            ]
        )

    def __len__(self) -> int:
        return len(self.sizes)

    def fit(self, counts: np.ndarray) -> np.ndarray:
        """Weights (m,) of the model in which structure i stands counts[i] times, counts (n,)."""
        precision = np.tensordot(counts, self.gram, axes=1)
        precision[np.diag_indices(len(precision))] += self.prior
        return np.linalg.solve(precision, counts @ self.project)

    def errors(self, weights: np.ndarray) -> tuple[float, float]:
        """Mean absolute errors of weights (m,): energy (eV/atom), force component (eV/Angstrom)."""
        energy = np.abs(self.energy_phi @ weights - self.energy) / self.sizes
        force = [
            np.abs(f @ weights - y).mean() for f, y in zip(self.force_phi, self.forces, strict=True)
        ]
        return float(energy.mean()), float(np.mean(force))

    def disagreement(self, weights: np.ndarray) -> np.ndarray:
        """Score (n,) of every structure from weights (members, m)."""
        return np.array([np.sqrt((f @ weights.T).var(1, ddof=1).mean()) for f in self.force_phi])


def learning_curve(
    pool: Pool, test: Pool, *, strategy: str, start: int, batch: int, rounds: int,
    members: int = 5, seed: int = 0,
) -> list[Round]:  # fmt: skip
    """The Rounds of one run on a pool, the start included, with the errors on a test set.

    start and batch are numbers of structures; the first ones are drawn at random with `seed`, the
    same for every strategy. Raises InputError when the pool is too small.
    """
    if strategy not in STRATEGIES:
        raise InputError(f"strategy {strategy!r} is unknown; expected {' or '.join(STRATEGIES)}")
    needed = start + batch * rounds
    if start < 2 or batch < 1 or needed > len(pool):
        raise InputError(
            f"start {start}, batch {batch} and {rounds} rounds need {needed} structures; the pool "
            f"has {len(pool)}, and the start must be at least 2"
        )
    generator = np.random.default_rng(seed)
    labelled = generator.permutation(len(pool))[:start].tolist()
    chosen, curve = list(labelled), []
    for step in range(rounds + 1):
        counts = np.bincount(labelled, minlength=len(pool)).astype(float)
        energy, force = test.errors(pool.fit(counts))
        curve.append(Round(len(labelled), energy, force, chosen))
        if step == rounds:
            break
        open_rows = np.setdiff1d(np.arange(len(pool)), labelled)
        if strategy == "random":
            chosen = generator.choice(open_rows, batch, replace=False).tolist()
        else:
            draws = ensembles.bootstrap_counts(
                len(labelled), members, int(generator.integers(2**31))
            )
            weights = []
            for draw in draws:
                member = np.zeros(len(pool))
                member[labelled] = draw
                weights.append(pool.fit(member))
            score = pool.disagreement(np.array(weights))[open_rows]
            chosen = open_rows[np.argsort(-score)[:batch]].tolist()
        labelled += chosen
    return curve
