"""Force kernels that know about rotations, and ones that do not (section 8.4).

An atom's surroundings are the vectors to its neighbours. Two sets of vectors overlap by
o = sum_ij exp(-|r_i - r'_j|^2 / 4 w^2); kappa = (o / sqrt(o_aa o_bb))^p does not depend on the
order of the neighbours but does on the orientation. From it, for a group G of rotations,

    plain:        K(a, b) = kappa(a, b) I
    equivariant:  K(a, b) = sum_g kappa(a, g b) g / |G|,    so  K(g a, h b) = g K(a, b) h'

(Glielmo, Sollich, De Vita 2017). One force observed at a then fixes the forces at all g a.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve, solve_triangular

from mfutils.errors import InputError

__all__ = ["VectorProcess", "cubic_group", "fit_vector_process", "force_kernel", "overlap"]


def cubic_group() -> np.ndarray:
    """The 48 symmetries of a cube (48, 3, 3), rotations and reflections."""
    group = []
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            matrix = np.zeros((3, 3))
            matrix[range(3), order] = signs
            group.append(matrix)
    return np.array(group)


def overlap(first: np.ndarray, second: np.ndarray, width: float) -> np.ndarray | float:
    """Sum over pairs of exp(-|r - r'|^2 / 4 width^2), for vectors (..., n, 3) and (..., m, 3)."""
    square = (first**2).sum(-1)[..., :, None] + (second**2).sum(-1)[..., None, :]
    square = square - 2 * first @ np.swapaxes(second, -1, -2)
    return np.exp(-square / (4 * width**2)).sum((-1, -2))


def force_kernel(
    first: Sequence[np.ndarray], second: Sequence[np.ndarray], *, width: float = 0.4,
    power: float = 2, group: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """Covariances (n, 3, m, 3) of the forces on the centres of two lists of neighbour vectors.

    first, second: lists of (k_i, 3) arrays in Angstrom. group (g, 3, 3) makes it equivariant;
    without one the kernel is plain.
    """
    if not first or not second:
        raise InputError("no surroundings: expected at least one array of neighbour vectors")
    if not (width > 0 and power >= 1):
        raise InputError(f"width {width!r} and power {power!r}; expected above 0 and at least 1")
    actions = np.eye(3)[None] if group is None else np.asarray(group, dtype=float)
    size_first = np.sqrt([overlap(a, a, width) for a in first])
    size_second = np.sqrt([overlap(b, b, width) for b in second])
    kernel = np.empty((len(first), 3, len(second), 3))
    # all actions on b at once; column vectors turn as g r, so rows as r g'
    turned = [b @ np.swapaxes(actions, 1, 2) for b in second]
    for i, a in enumerate(first):
        for j, b in enumerate(turned):
            kappa = (overlap(a, b, width) / (size_first[i] * size_second[j])) ** power
            kernel[i, :, j, :] = np.tensordot(kappa, actions, axes=1) / len(actions)
    return kernel


@dataclass(frozen=True)
class VectorProcess:
    """A Gaussian process of vectors; see `fit_vector_process`."""

    environments: list[np.ndarray]
    options: dict[str, Any]
    amplitude: float
    _factor: np.ndarray
    _weights: np.ndarray

    def predict(self, environments: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Mean (n, 3) and covariance (n, 3, 3) without the noise."""
        n = len(environments)
        cross = force_kernel(environments, self.environments, **self.options)
        cross = self.amplitude**2 * cross.reshape(3 * n, -1)
        reduced = solve_triangular(self._factor, cross.T, lower=True).reshape(-1, n, 3)
        prior = np.array([force_kernel([e], [e], **self.options)[0, :, 0, :] for e in environments])
        covariance = self.amplitude**2 * prior - np.einsum("rna,rnb->nab", reduced, reduced)
        return (cross @ self._weights).reshape(n, 3), covariance


def fit_vector_process(
    environments: Sequence[np.ndarray], forces: npt.ArrayLike, *, amplitude: float = 1.0,
    noise: float = 0.05, **options: Any,
) -> VectorProcess:  # fmt: skip
    """VectorProcess from surroundings and forces (n, 3); options go to `force_kernel`.

    amplitude and noise are standard deviations of one component, in the unit of the forces.
    """
    forces = np.asarray(forces, dtype=float)
    if forces.shape != (len(environments), 3):
        raise InputError(f"{len(environments)} surroundings but forces {forces.shape}")
    if not (amplitude > 0 and noise > 0):
        raise InputError(f"amplitude {amplitude:g} and noise {noise:g}; expected above 0")
    size = 3 * len(environments)
    kernel = amplitude**2 * force_kernel(environments, environments, **options).reshape(size, size)
    factor = cho_factor(kernel + noise**2 * np.eye(size), lower=True)
    weights = cho_solve(factor, forces.ravel())
    return VectorProcess(list(environments), options, amplitude, np.tril(factor[0]), weights)
