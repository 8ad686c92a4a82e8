"""A differentiable descriptor of small clusters, so that kernels can be compared with autograd."""

from dataclasses import dataclass

import numpy as np
import torch

from mfutils.forces.soap import Environments


@dataclass
class Cluster:
    """Positions (n, 3) described by radial Gaussians, normalised; derivatives by autograd."""

    positions: torch.Tensor

    def values(self, positions):
        n = len(positions)
        away = positions[:, None, :] - positions[None, :, :]
        square = (away**2).sum(-1)
        centres = torch.linspace(0.8, 3.0, 7, dtype=torch.float64)
        radial = torch.exp(-2 * (torch.sqrt(square + 1e-12)[..., None] - centres) ** 2)
        other = 1 - torch.eye(n, dtype=torch.float64)
        features = (radial * other[..., None]).sum(1)
        features = torch.cat([features, torch.ones(n, 1, dtype=torch.float64)], dim=1)
        return features / features.norm(dim=1, keepdim=True)

    def environments(self):
        n = len(self.positions)
        full = torch.autograd.functional.jacobian(self.values, self.positions)
        values = self.values(self.positions).numpy()
        center, neighbor = np.nonzero(~np.eye(n, dtype=bool))
        # full (n, d, n, 3); translation makes the centre's own derivative minus the others' sum
        slope = full.numpy()[center, :, neighbor, :].transpose(0, 2, 1)
        return Environments(values, center, neighbor, slope)


def cluster(n, seed):
    """A random cluster of n atoms that are not too close."""
    generator = np.random.default_rng(seed)
    while True:
        positions = generator.uniform(-2, 2, size=(n, 3))
        away = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
        if (away + 9 * np.eye(n)).min() > 0.9:
            return Cluster(torch.tensor(positions, dtype=torch.float64))
