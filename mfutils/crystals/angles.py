"""What a crystal graph knows about angles: Legendre sums and colour refinement.

A message that depends on distances alone (two-body) carries no angle. Sums over pairs of neighbours
do (three-body),

    A_ql(i) = sum_jk R_q(d_ij) R_q(d_ik) P_l(cos theta_jik),

and need no loop over pairs: by the addition theorem of the spherical harmonics,
P_l(u . v) = 4 pi / (2 l + 1) sum_m Y_lm(u) Y_lm(v)*, they equal
4 pi / (2 l + 1) sum_m |sum_j R_q(d_ij) Y_lm(r_ij)|^2. Colour refinement bounds what messages of any
depth can tell apart: two graphs with equal colours are equal to every such network.
Serves section 6.2.
"""

import hashlib
from collections import Counter

import numpy as np
import numpy.typing as npt
from scipy.special import eval_legendre, sph_harm_y

from mfutils.crystals.graph import Graph
from mfutils.errors import InputError

__all__ = [
    "addition_theorem",
    "colours",
    "directional_features",
    "directional_features_by_pairs",
    "legendre_sum",
    "two_body_features",
]


def _unit(vectors):
    vectors = np.atleast_2d(np.asarray(vectors, float))
    length = np.linalg.norm(vectors, axis=1)
    if not (length > 0).all():
        raise InputError(f"vector {int((~(length > 0)).argmax())} has no direction; drop it")
    return vectors / length[:, None]


def _harmonics(vectors, degree):
    """Y_lm of unit vectors (e, 3) for all m of one degree: (e, 2 l + 1), complex."""
    polar = np.arctan2(np.hypot(vectors[:, 0], vectors[:, 1]), vectors[:, 2])
    azimuth = np.arctan2(vectors[:, 1], vectors[:, 0])
    orders = np.arange(-degree, degree + 1)
    return sph_harm_y(degree, orders, polar[:, None], azimuth[:, None])


def addition_theorem(u: npt.ArrayLike, v: npt.ArrayLike, degree: int) -> np.ndarray:
    """4 pi / (2 l + 1) sum_m Y_lm(u) Y_lm(v)* of directions u, v (p, 3): (p,), equals P_l(u . v).

    The vectors need no unit length; raises InputError for zero vectors.
    """
    products = _harmonics(_unit(u), degree) * _harmonics(_unit(v), degree).conj()
    return 4 * np.pi / (2 * degree + 1) * products.sum(axis=1).real


def legendre_sum(u: npt.ArrayLike, v: npt.ArrayLike, degree: int) -> np.ndarray:
    """P_l(cos) of the angle between directions u and v (p, 3), from the polynomial: (p,)."""
    cosine = np.clip((_unit(u) * _unit(v)).sum(axis=1), -1.0, 1.0)
    return eval_legendre(degree, cosine)


def _radial(distance, cutoff, n_radial):
    """Gaussians between 0 and the cutoff times a cosine that ends at it: (e, q)."""
    centers = np.linspace(0, cutoff, n_radial + 1)[1:]
    width = cutoff / n_radial
    fade = 0.5 * (1 + np.cos(np.pi * np.minimum(distance / cutoff, 1.0)))
    return np.exp(-(((distance[:, None] - centers) / width) ** 2)) * fade[:, None]


def two_body_features(graph: Graph, *, cutoff: float, n_radial: int = 6) -> np.ndarray:
    """Sums over neighbours of radial functions (n, q): all that two-body terms can know."""
    out = np.zeros((graph.n_atoms, n_radial))
    np.add.at(out, graph.edge_index[0], _radial(graph.distances, cutoff, n_radial))
    return out


def directional_features(
    graph: Graph, *, cutoff: float, n_radial: int = 6, l_max: int = 4
) -> np.ndarray:
    """A_ql of every atom (n, q, l_max + 1) in time linear in the neighbours, by harmonics."""
    radial = _radial(graph.distances, cutoff, n_radial)
    directions = _unit(graph.vectors)
    out = np.empty((graph.n_atoms, n_radial, l_max + 1))
    for degree in range(l_max + 1):
        harmonics = _harmonics(directions, degree)
        density = np.zeros((graph.n_atoms, n_radial, 2 * degree + 1), dtype=complex)
        np.add.at(density, graph.edge_index[0], radial[:, :, None] * harmonics[:, None])
        out[..., degree] = 4 * np.pi / (2 * degree + 1) * (abs(density) ** 2).sum(axis=-1)
    return out


def directional_features_by_pairs(
    graph: Graph, *, cutoff: float, n_radial: int = 6, l_max: int = 4
) -> np.ndarray:
    """The same numbers from the double sum over neighbours, in time quadratic in them."""
    radial = _radial(graph.distances, cutoff, n_radial)
    directions = _unit(graph.vectors)
    out = np.zeros((graph.n_atoms, n_radial, l_max + 1))
    for atom in range(graph.n_atoms):
        edges = graph.edge_index[0] == atom
        cosines = np.clip(directions[edges] @ directions[edges].T, -1.0, 1.0)
        for degree in range(l_max + 1):
            polynomial = eval_legendre(degree, cosines)
            out[atom, :, degree] = np.einsum(
                "jq,jk,kq->q", radial[edges], polynomial, radial[edges]
            )
    return out


def colours(
    graph: Graph, *, rounds: int = 3, angles: bool = False, digits: int = 5
) -> Counter[str]:
    """Colour refinement: a Counter of colours that agrees for graphs no message can tell apart.

    A colour starts as the element. In every round an atom takes in the multiset of (distance,
    colour) over its edges; with `angles` also (distance, distance, cosine, colour, colour) over
    pairs of edges. Lengths (Angstrom) and cosines count to `digits` decimals. Colours of different
    graphs can be compared.
    """
    centre, neighbor = graph.edge_index
    distance = np.round(graph.distances, digits) + 0.0
    edges_of = [np.flatnonzero(centre == i) for i in range(graph.n_atoms)]
    directions = _unit(graph.vectors) if angles else None
    state = [str(z) for z in graph.numbers]
    for _ in range(rounds):
        fresh = []
        for atom, edges in enumerate(edges_of):
            seen = [sorted((distance[e], state[neighbor[e]]) for e in edges)]
            if angles:
                cosine = np.round(directions[edges] @ directions[edges].T, digits) + 0.0
                label = [(distance[e], state[neighbor[e]]) for e in edges]
                n = len(edges)
                seen.append(
                    sorted(
                        (*sorted((label[a], label[b])), cosine[a, b])
                        for a in range(n)
                        for b in range(a)
                    )
                )
            text = repr((state[atom], seen)).replace("np.float64", "")
            fresh.append(hashlib.sha256(text.encode()).hexdigest())
        state = fresh
    return Counter(state)
