"""Networks for the energy of an atom's surroundings, whose forces are exact gradients.

A small network maps the (projected) SOAP spectrum x of each atom to its energy e(x); a structure's
energy is the sum, and by the chain rule the force on atom k is -sum_i (dx_i/dr_k)' e'(x_i), with
the derivatives of the spectra known in advance. Weights carry a leading axis of M members, so a
committee trains as one batch. Two more outputs are logarithms of noise variances, of the energy
and of the force components. Serves sections 8.1, 8.3 and 8.5.
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from mfutils.errors import InputError
from mfutils.forces.potentials import Snapshot

__all__ = ["NetworkData", "Projection", "Weights", "evaluate", "initial_weights", "network_data"]

# (weight (M, in, out), bias (M, 1, out)) of every layer
Weights = list[tuple[torch.Tensor, torch.Tensor]]

OUTPUTS = 3  # energy, log variance of the energy per atom, log variance of a force component


@dataclass(frozen=True)
class Projection:
    """Principal components of spectra, scaled: x = (s - centre) @ axes, axes (d, k)."""

    centre: np.ndarray
    axes: np.ndarray

    @classmethod
    def of(cls, values: npt.ArrayLike, size: int, *, floor: float = 1e-3) -> "Projection":
        """Fitted on spectra (n, d); components have unit variance, small ones less."""
        values = np.asarray(values, dtype=float)
        if values.ndim != 2 or not 1 <= size <= values.shape[1]:
            raise InputError(
                f"spectra have shape {values.shape}; expected (n, d) with d at least {size}"
            )
        centre = values.mean(0)
        _, singular, axes = np.linalg.svd(values - centre, full_matrices=False)
        spread = singular[:size] / np.sqrt(len(values))
        # noise-sized components would otherwise become as loud as the first
        return cls(centre, axes[:size].T / np.maximum(spread, floor * spread[0]))


@dataclass(frozen=True)
class NetworkData:
    """Structures as tensors: float32, all atoms in one row.

    x (a, k): projected spectra; owner (a,): structure of each atom; sizes (n,); energy (n,) in eV
    minus the mean energy per atom; forces (f, 3) in eV/Angstrom; force_owner (f,) structure and
    force_atom (f,) row in x of each force; edge_force (e,), edge_atom (e,) and slope (e, 3, k):
    derivative of x[edge_atom] by the position of the atom of edge_force.
    """

    x: torch.Tensor
    owner: torch.Tensor
    sizes: torch.Tensor
    energy: torch.Tensor
    forces: torch.Tensor
    force_owner: torch.Tensor
    force_atom: torch.Tensor
    edge_force: torch.Tensor
    edge_atom: torch.Tensor
    slope: torch.Tensor

    def __len__(self) -> int:
        return len(self.sizes)


def network_data(
    snapshots: Iterable[Snapshot], projection: Projection, *, energy_per_atom: float
) -> NetworkData:
    """NetworkData of Snapshots, any iterable; only the forces on each one's `atoms` are kept."""
    sizes, energy = [], []
    parts = {name: [] for name in ("x", "forces", "force_owner", "force_atom", "ef", "ea", "slope")}
    atoms_before = forces_before = 0
    for number, snap in enumerate(snapshots):
        env = snap.environments
        parts["x"].append((env.values - projection.centre) @ projection.axes)
        row_of = np.full(len(env), -1)
        row_of[snap.atoms] = np.arange(len(snap.atoms))
        for atoms, sign in ((env.neighbor, 1.0), (env.center, -1.0)):
            edges = np.flatnonzero(row_of[atoms] >= 0)
            # images of one pair, and all edges of one centre, move together
            pair = row_of[atoms[edges]] * len(env) + env.center[edges]
            unique, place = np.unique(pair, return_inverse=True)
            total = np.zeros((len(unique), 3, projection.axes.shape[1]))
            np.add.at(total, place, sign * (env.jacobian[edges] @ projection.axes))
            parts["slope"].append(total)
            parts["ef"].append(unique // len(env) + forces_before)
            parts["ea"].append(unique % len(env) + atoms_before)
        parts["forces"].append(snap.forces[snap.atoms])
        parts["force_owner"].append(np.full(len(snap.atoms), number))
        parts["force_atom"].append(snap.atoms + atoms_before)
        atoms_before += len(env)
        forces_before += len(snap.atoms)
        sizes.append(len(snap))
        energy.append(snap.energy - energy_per_atom * len(snap))
    if not sizes:
        raise InputError("no snapshots; expected at least one")
    joined = {name: np.concatenate(values) for name, values in parts.items()}

    def real(values):
        return torch.as_tensor(values, dtype=torch.float32)

    return NetworkData(
        real(joined["x"]),
        torch.as_tensor(np.repeat(np.arange(len(sizes)), sizes)),
        real(sizes),
        real(energy),
        real(joined["forces"]),
        torch.as_tensor(joined["force_owner"]),
        torch.as_tensor(joined["force_atom"]),
        torch.as_tensor(joined["ef"]),
        torch.as_tensor(joined["ea"]),
        real(joined["slope"]),
    )


def initial_weights(
    members: int, inputs: int, hidden: int, generator: torch.Generator, *, outputs: int = OUTPUTS
) -> Weights:
    """List of (weight (M, in, out), bias (M, 1, out)) for two hidden layers of `hidden` units."""
    sizes = [inputs, hidden, hidden, outputs]
    weights = []
    for fan_in, fan_out in itertools.pairwise(sizes):
        weight = torch.randn(members, fan_in, fan_out, generator=generator) / fan_in**0.5
        weights.append((weight, torch.zeros(members, 1, fan_out)))
    # small first predictions: the forces of a random network are far too large
    weights[-1] = (0.1 * weights[-1][0], weights[-1][1])
    return weights


def local_outputs(
    weights: Weights, x: torch.Tensor, masks: list[torch.Tensor] | None = None
) -> torch.Tensor:
    """Outputs (M, a, outputs) for x (M, a, k); masks: a factor (M, 1, hidden) per hidden layer."""
    for layer, (weight, bias) in enumerate(weights):
        x = torch.baddbmm(bias, x, weight)
        if layer < len(weights) - 1:
            x = functional.silu(x)
            if masks is not None:
                # one mask for all atoms, so that a pass is one energy function
                x = x * masks[layer]
    return x


def evaluate(
    weights: Weights, data: NetworkData, *, masks: list[torch.Tensor] | None = None,
    training: bool = False,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, torch.Tensor | None]:  # fmt: skip
    """Energies (M, n), forces (M, f, 3), and the two log variances (M, n) and (M, f).

    The log variance of the energy is per atom (mean over the structure); both are None for a
    network with the energy as its only output. With training=True the result can be
    differentiated by the weights.
    """
    members = weights[0][0].shape[0]
    x = data.x.expand(members, *data.x.shape)
    if not training:
        x = x.detach()
    x = x.clone().requires_grad_(True)
    with torch.enable_grad():
        local = local_outputs(weights, x, masks)
        (slope,) = torch.autograd.grad(local[..., 0].sum(), x, create_graph=training)
    energy = _sum_by(local[..., 0], data.owner, len(data))
    pair = torch.einsum("mek,exk->mex", slope[:, data.edge_atom], data.slope)
    forces = -_sum_by(pair, data.edge_force, len(data.forces))
    if local.shape[-1] == 1:
        return energy, forces, None, None
    energy_noise = _sum_by(local[..., 1], data.owner, len(data)) / data.sizes
    force_noise = local[:, data.force_atom, 2]
    return energy, forces, energy_noise, force_noise


def _sum_by(values, index, count):
    """Sums of values (M, e, ...) over equal index (e,): (M, count, ...)."""
    out = torch.zeros(values.shape[0], count, *values.shape[2:])
    return out.index_add(1, index, values)
