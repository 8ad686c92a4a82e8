"""The neural networks of chapter 8, one call per training run, with plain values in and out.

`network` trains a deep ensemble, a dropout network or a mean-field Bayesian network on the
configurations that `potential_study` gives to the Gaussian processes.
"""

import time
from dataclasses import dataclass

import numpy as np
import torch

from mfutils.errors import InputError
from mfutils.forces.bayesian_net import fit_variational
from mfutils.forces.committees import NetworkSettings, fit_committee
from mfutils.forces.force_network import Projection, network_data
from mfutils.forces.soap import Soap
from mfutils.study.s08.configurations import Evaluation, Predictions, draw, snapshots

__all__ = ["METHODS", "NetworkRun", "network"]

METHODS = ("ensemble", "dropout", "variational")


@dataclass(frozen=True, eq=False, kw_only=True)
class NetworkRun(Predictions):
    """Predictions of one trained committee or Bayesian network, and what they are compared with.

    energy_std_epistemic (c,) and force_cov_epistemic (f, 3, 3) leave the noise out; force_draws
    (K, f, 3): the forces of every member or pass; history of the training; kl (nats) of a
    variational network to its prior, None for the others.
    """

    evaluation: Evaluation
    energy_std_epistemic: np.ndarray
    force_cov_epistemic: np.ndarray
    force_draws: np.ndarray
    history: np.ndarray
    kl: float | None


def network(
    *, element: str, seed: int, method: str, train: int = 50, held: int = 30, members: int = 5,
    passes: int = 32, train_atoms: int = 8, eval_atoms: int = 24, components: int = 32,
    floor: float = 0.2, settings: dict | None = None, prior: float = 1.0,
    soap: dict | None = None,
) -> NetworkRun:  # fmt: skip
    """One committee or Bayesian network of one element; method is one of METHODS."""
    if method not in METHODS:
        raise InputError(f"method {method!r} is unknown; expected one of {', '.join(METHODS)}")
    torch.set_num_threads(1)
    soap = Soap(**(soap or {}))
    chosen, rows = draw(element, seed=seed, train=train, held=held)
    values = np.concatenate([soap.describe(s).values for s in chosen["structure"]])
    projection = Projection.of(values, components, floor=floor)
    base = chosen["energy"].sum() / chosen["atoms"].sum()
    known = snapshots(soap, chosen.itertuples(), train_atoms, seed)
    data = network_data(known, projection, energy_per_atom=base)
    forces = []

    def targets():
        for snap in snapshots(soap, rows, eval_atoms, seed + 1):
            forces.append(snap.forces[snap.atoms])
            yield snap

    unseen = network_data(targets(), projection, energy_per_atom=base)
    dropout = {"dropout": 0.1} if method == "dropout" else {}
    options = NetworkSettings(
        **{"learning_rate": 0.03, "epochs": 300, **dropout, **(settings or {})}
    )
    start = time.process_time()
    if method == "variational":
        fitted = fit_variational(
            data, settings=options, prior=prior, energy_per_atom=base, seed=seed
        )
    else:
        fitted = fit_committee(
            data, members=members, settings=options, energy_per_atom=base, seed=seed
        )
    seconds = time.process_time() - start
    draws = fitted.predict(unseen, **({} if method == "ensemble" else {"passes": passes}))
    energy = draws.energy_parts()
    mean, covariance = draws.force_moments()
    return NetworkRun(
        energy_mean=energy.mean,
        energy_std=energy.std,
        force_mean=mean,
        force_cov=covariance,
        cpu_seconds=seconds,
        evaluation=Evaluation.of(rows, forces),
        energy_std_epistemic=np.sqrt(energy.epistemic),
        force_cov_epistemic=draws.force_moments(noise=False)[1],
        force_draws=draws.forces.astype(np.float32),
        history=fitted.history,
        kl=fitted.kl() if method == "variational" else None,
    )
