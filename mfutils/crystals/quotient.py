"""Crystal graphs without repetition: atoms that no message can tell apart, kept once.

A network on distances gives two atoms the same features when they are of one element and see the
same classes of atoms at the same distances. The coarsest such partition (colour refinement, the
first Weisfeiler-Leman test, on edges labelled with their length) groups at least the atoms that
symmetry makes equal. One atom per class and one edge per class and length, each with the number it
stands for, then give every mean, sum and softmax of the whole graph: the outputs are equal, and
less than a quarter of the edges is left of a typical crystal. A supercell has the quotient of its
cell.
"""

from dataclasses import dataclass

import numpy as np

from mfutils.compiled import compiled
from mfutils.crystals import neighbors
from mfutils.crystals.graph_data import GraphBatch
from mfutils.errors import InputError

__all__ = ["QuotientBatch", "quotient"]


@dataclass(frozen=True, slots=True, eq=False)
class QuotientBatch:
    """Quotient graphs side by side as one: g graphs, n classes of atoms, e classes of edges.

    numbers (n,) int64; edge_index (2, e) int64, centre and neighbour as indices into the batch;
    lengths (e,) in Angstrom; graph_index (n,) int64; n_atoms and n_edges (g,) int64 count
    classes. atom_count (n,) is the number of atoms in a class, edge_count (e,) the number of
    equal edges at one of them. All floats are float32.
    """

    numbers: np.ndarray
    edge_index: np.ndarray
    lengths: np.ndarray
    graph_index: np.ndarray
    n_atoms: np.ndarray
    n_edges: np.ndarray
    atom_count: np.ndarray
    edge_count: np.ndarray


def quotient(batch: GraphBatch, *, tolerance: float = neighbors.TIE) -> QuotientBatch:
    """The QuotientBatch of a GraphBatch, both of numpy arrays.

    Lengths closer than `tolerance` (Angstrom) can count as equal; an edge keeps the mean length
    of those it stands for, so an output moves by no more than a rounding of the positions would
    move it. Raises InputError for a tolerance that is negative, NaN or no rounding error.
    """
    if not 0 <= tolerance < 0.1:
        raise InputError(
            f"tolerance is {tolerance!r} Angstrom; expected a rounding error, at least 0 and below "
            "0.1"
        )
    centre, neighbor = batch.edge_index
    shell = _shells(
        batch.distances, np.argsort(batch.distances), batch.graph_index[centre],
        np.float32(tolerance), len(batch.n_atoms),
    )  # fmt: skip
    return QuotientBatch(
        *_quotient(
            batch.numbers, centre, neighbor, batch.distances, shell, batch.n_atoms, batch.n_edges
        )
    )


@compiled
def _shells(distance, order, graph, tolerance, graphs):
    """Number the distances of every graph: those within `tolerance` of the least share a shell."""
    shell = np.empty(len(distance), np.int64)
    label = np.full(graphs, -1, np.int64)
    least = np.full(graphs, -np.inf, np.float32)
    for e in order:
        g = graph[e]
        if distance[e] - least[g] > tolerance:
            label[g] += 1
            least[g] = distance[e]
        shell[e] = label[g]
    return shell


@compiled
def _sort_tokens(pointer, neighbor, shell, color, colors, token):
    """At every atom the pairs (shell, colour of the neighbour) as ascending integers."""
    for a in range(len(color)):
        for e in range(pointer[a], pointer[a + 1]):
            item = shell[e] * colors + color[neighbor[e]]
            # edges come nearest first, so this insertion has next to nothing to move
            u = e - 1
            while u >= pointer[a] and token[u] > item:
                token[u + 1] = token[u]
                u -= 1
            token[u + 1] = item


@compiled
def _same(pointer, token, a, b):
    """Whether atoms a and b have the same tokens."""
    size = pointer[a + 1] - pointer[a]
    if pointer[b + 1] - pointer[b] != size:
        return False
    for k in range(size):  # noqa: SIM110 - compiled code
        if token[pointer[a] + k] != token[pointer[b] + k]:
            return False
    return True


@compiled
def _recolor(pointer, token, color, leader, digest):
    """Split every colour by the tokens of its atoms; returns the new colours and their number.

    leader[c] becomes the first atom of colour c; digest is scratch of the same length.
    """
    out = np.empty_like(color)
    count = 0
    for a in range(len(color)):
        h = np.uint64(color[a])
        for e in range(pointer[a], pointer[a + 1]):
            h = (h ^ np.uint64(token[e])) * np.uint64(1099511628211)
        match = count
        for c in range(count):
            # the digest only saves time: the tokens themselves decide
            b = leader[c]
            if digest[c] == h and color[b] == color[a] and _same(pointer, token, a, b):
                match = c
                break
        if match == count:
            leader[count], digest[count] = a, h
            count += 1
        out[a] = match
    return out, count


@compiled
def _refine(pointer, neighbor, shell, numbers, token, leader, digest):
    """The coarsest partition of one graph: the colour of every atom, and how many there are."""
    color, colors, before = numbers, 128, 0  # atomic numbers are below 128
    while True:
        _sort_tokens(pointer, neighbor, shell, color, colors, token)
        color, count = _recolor(pointer, token, color, leader, digest)
        if count == before:  # nothing was split
            return color, count
        colors = before = count


@compiled
def _merge_edges(
    atom, pointer, neighbor, shell, distance, color, colors, token, out, count, length
):
    """Write the distinct edges of `atom`: neighbour class, multiplicity, mean length; how many."""
    distinct = 0
    for e in range(pointer[atom], pointer[atom + 1]):
        item = shell[e] * colors + color[neighbor[e]]
        u = distinct - 1
        while u >= 0 and token[u] != item:
            u = u - 1 if token[u] // colors >= shell[e] else -1  # nearer ones cannot be equal
        if u < 0:
            u = distinct
            token[u], out[u] = item, color[neighbor[e]]
            count[u] = length[u] = 0.0
            distinct += 1
        count[u] += 1.0
        length[u] += distance[e]
    for u in range(distinct):
        length[u] /= count[u]
    return distinct


@compiled
def _quotient(numbers, centre, neighbor, distance, shell, n_atoms, n_edges):
    graphs, atoms, edges = len(n_atoms), len(numbers), len(centre)
    out_numbers, out_graph = np.empty(atoms, np.int64), np.empty(atoms, np.int64)
    out_index, lengths = np.empty((2, edges), np.int64), np.empty(edges, np.float32)
    atom_count, edge_count = np.zeros(atoms, np.float32), np.empty(edges, np.float32)
    out_atoms, out_edges = np.empty(graphs, np.int64), np.empty(graphs, np.int64)
    token, leader = np.empty(edges, np.int64), np.empty(atoms, np.int64)
    digest = np.empty(atoms, np.uint64)
    first = begin = a = e = 0
    for g in range(graphs):
        stop, end = first + n_atoms[g], begin + n_edges[g]
        pointer = np.zeros(n_atoms[g] + 1, np.int64)
        for k in range(begin, end):
            pointer[centre[k] - first + 1] += 1
        pointer = pointer.cumsum()
        near, far = neighbor[begin:end] - first, distance[begin:end]
        here = shell[begin:end]
        color, colors = _refine(pointer, near, here, numbers[first:stop], token, leader, digest)
        start = e
        for c in range(colors):
            out_numbers[a + c], out_graph[a + c] = numbers[first + leader[c]], g
            distinct = _merge_edges(
                leader[c], pointer, near, here, far, color, colors,
                token, out_index[1, e:], edge_count[e:], lengths[e:],
            )  # fmt: skip
            out_index[0, e : e + distinct] = a + c
            out_index[1, e : e + distinct] += a
            e += distinct
        for k in range(len(color)):
            atom_count[a + color[k]] += 1.0
        out_atoms[g], out_edges[g] = colors, e - start
        first, begin, a = stop, end, a + colors
    return (
        out_numbers[:a], out_index[:, :e].copy(), lengths[:e], out_graph[:a], out_atoms,
        out_edges, atom_count[:a], edge_count[:e],
    )  # fmt: skip
