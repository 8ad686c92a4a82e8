"""Surroundings of atoms: neighbour lists that move with the atoms, and invariants of them.

M_q^l(i) = sum_j R_q(d_ij) u_ij (x) ... (x) u_ij (l times) sums over the neighbours j of atom i, u
the unit vector, one channel per element and radial function R_q. Squared norms of M do not change
under rotation. Serves section 6.4. Lengths in Angstrom.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from mfutils.crystals.graph import build_graph
from mfutils.crystals.structure import Crystal
from mfutils.errors import InputError

__all__ = ["Frames", "Invariants", "frames_of", "sum_rows"]

_NEAREST = 1.0  # Angstrom; centre of the first radial function


@dataclass(frozen=True)
class Frames:
    """Crystals as one set of arrays: n atoms, e directed edges.

    positions (n, 3), species (n,) index into the elements, frame (n,) number of the crystal,
    centre and neighbor (e,), offsets (e, 3) in Angstrom: an edge runs from positions[centre] to
    positions[neighbor] + offset. `count` crystals.
    """

    positions: np.ndarray
    species: np.ndarray
    frame: np.ndarray
    centre: np.ndarray
    neighbor: np.ndarray
    offsets: np.ndarray
    count: int


def frames_of(
    crystals: Iterable[Crystal], *, elements: Sequence[int], cutoff: float = 5.0,
    skin: float = 0.6,
) -> Frames:  # fmt: skip
    """Frames of crystals with the neighbours within cutoff + `skin` (Angstrom) listed.

    With the skin the lists stay complete while no atom has moved by more than half of it.
    Raises InputError for an element that is not in `elements` (atomic numbers), or no crystal.
    """
    index = {int(z): k for k, z in enumerate(elements)}
    parts, start = [], 0
    for number, crystal in enumerate(crystals):
        if unknown := sorted(set(crystal.numbers.tolist()) - set(index)):
            raise InputError(f"frame {number} has elements {unknown}; expected only {[*index]}")
        graph = build_graph(crystal, cutoff=cutoff + skin, max_neighbors=None)
        species = np.array([index[z] for z in crystal.numbers.tolist()])
        centre, neighbor = graph.edge_index + start
        shifts = graph.cell_shifts @ graph.lattice
        frame = np.full(len(crystal), number)
        parts.append((graph.positions, species, frame, centre, neighbor, shifts))
        start += len(crystal)
    if not parts:
        raise InputError("no crystals; expected at least one frame")
    return Frames(*map(np.concatenate, zip(*parts, strict=True)), count=len(parts))


class Invariants:
    """Invariants of the surroundings and their derivatives along the edges."""

    def __init__(self, n_elements: int, cutoff: float, n_radial: int):
        self.n_elements, self.cutoff, self.n_radial = n_elements, cutoff, n_radial
        self.centers = np.linspace(_NEAREST, cutoff, n_radial)
        self.width = (cutoff - _NEAREST) / n_radial
        self.channels = n_radial * n_elements
        self.size = 4 * self.channels

    def _radial(self, d):
        """R_q (e, q) and its derivative: Gaussians that end smoothly at the cutoff."""
        inside = np.clip(1 - (d / self.cutoff) ** 2, 0.0, None)
        fade, slope = inside**4, -8 * d / self.cutoff**2 * inside**3
        scaled = (d[:, None] - self.centers) / self.width
        gaussian = np.exp(-(scaled**2))
        value = gaussian * fade[:, None]
        return value, gaussian * (slope[:, None] - 2 * scaled / self.width * fade[:, None])

    def __call__(
        self, frames: Frames, positions: np.ndarray, *, derivative: bool = False
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """z (n, size), M^1 (n, channels, 3), and with `derivative` dz_centre/dr (e, size, 3)."""
        vectors = positions[frames.neighbor] + frames.offsets - positions[frames.centre]
        d = np.linalg.norm(vectors, axis=1)
        u = vectors / d[:, None]
        value, slope = self._radial(d)
        n, kind = len(frames.species), frames.species[frames.neighbor]
        powers = [np.ones((len(d), 1)), u]
        for degree in (2, 3):
            product = powers[-1][:, :, None] * u[:, None]
            powers.append(product.reshape(len(d), 3**degree))
        tensors, z = [], np.empty((n, 4, self.n_elements, self.n_radial))
        for degree, power in enumerate(powers):
            # sizes written out: an isolated atom has no edge to infer them from
            terms = value[:, :, None] * power[:, None]
            terms = terms.reshape(len(d), value.shape[1] * power.shape[1])
            tensor = sum_rows(frames.centre * self.n_elements + kind, terms, n * self.n_elements)
            tensor = tensor.reshape(n, self.n_elements, self.n_radial, power.shape[1])
            tensors.append(tensor)
            z[:, degree] = tensor[..., 0] if degree == 0 else (tensor**2).sum(axis=-1)
        z, first = z.reshape(n, self.size), tensors[1].reshape(n, self.channels, 3)
        if not derivative:
            return z, first, None
        slopes = np.zeros((len(d), 4, self.n_elements, self.n_radial, 3))
        edge = np.arange(len(d))
        slopes[edge, 0, kind] = slope[..., None] * u[:, None]
        for degree in (1, 2, 3):
            # M symmetric: M . d(R u^l)/dr = R' s u + (l R / d)(v - s u), v = M u^(l-1), s = v . u
            tensor = tensors[degree][frames.centre, kind]
            shape = (len(d), self.n_radial, 3, 3 ** (degree - 1))
            v = np.einsum("eqam,em->eqa", tensor.reshape(shape), powers[degree - 1])
            s = np.einsum("eqa,ea->eq", v, u)
            along = (slope * s)[..., None] * u[:, None]
            across = (degree * value / d[:, None])[..., None] * (v - s[..., None] * u[:, None])
            slopes[edge, degree, kind] = 2 * (along + across)
        return z, first, slopes.reshape(len(d), self.size, 3)


def sum_rows(index: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
    """Rows of values (e, k) added up where their index is equal: (size, k)."""
    entries = (np.ones(len(index)), (index, np.arange(len(index))))
    return csr_array(entries, shape=(size, len(index))) @ values
