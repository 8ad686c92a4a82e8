"""Indices and weights of a batch, worked out once and used by every block of MEGNet.

The means of eqs 2.9, 2.11 and 2.12 become weighted sums, so a graph and its quotient, where an
atom or an edge stands for several, are one case (section 2.3.1).
"""

from dataclasses import dataclass

import torch

from mfutils.crystals.graph_data import GraphBatch
from mfutils.crystals.quotient import QuotientBatch
from mfutils.networks.merged import merged

__all__ = ["Layout", "layout"]


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """A batch of g graphs, n atoms, e edges; weights are floats, indices int64.

    centre, neighbor, graph_of_edge and distance (e,), numbers and graph_of_atom (n,).
    edge_of_atom (e,) is an edge's share in the mean at its centre, edge_share (e,) and
    atom_share (n,) those in the means of the graph; edge_count and atom_count say how many
    an edge or atom stands for. edge_pointer and atom_pointer (g + 1,) delimit the graphs.
    """

    size: int
    numbers: torch.Tensor
    centre: torch.Tensor
    neighbor: torch.Tensor
    distance: torch.Tensor
    graph_of_atom: torch.Tensor
    graph_of_edge: torch.Tensor
    edge_of_atom: torch.Tensor
    edge_share: torch.Tensor
    atom_share: torch.Tensor
    edge_count: torch.Tensor
    atom_count: torch.Tensor
    edge_pointer: torch.Tensor
    atom_pointer: torch.Tensor


def layout(batch: GraphBatch | QuotientBatch, dtype: torch.dtype, *, merge: bool = True) -> Layout:
    """The Layout of a batch of torch tensors, with weights of type `dtype`.

    With `merge` one is kept of all atoms and edges that are equal for the network, on the CPU. A
    QuotientBatch is taken as it is.
    """
    if merge and isinstance(batch, GraphBatch) and batch.numbers.device.type == "cpu":
        batch = merged(batch)
    centre, neighbor = batch.edge_index
    size, of_atom = len(batch.n_atoms), batch.graph_index
    of_edge = of_atom[centre]
    if isinstance(batch, QuotientBatch):
        distance, at_centre = batch.lengths.to(dtype), batch.edge_count.to(dtype)
        atom_count = batch.atom_count.to(dtype)
        edge_count = at_centre * atom_count[centre]
    else:
        distance = batch.distances.to(dtype)
        at_centre = edge_count = torch.ones_like(distance)
        atom_count = torch.ones(len(of_atom), dtype=dtype, device=distance.device)
    return Layout(
        size=size,
        numbers=batch.numbers,
        centre=centre,
        neighbor=neighbor,
        distance=distance,
        graph_of_atom=of_atom,
        graph_of_edge=of_edge,
        edge_of_atom=_shares(at_centre, centre, len(of_atom)),
        edge_share=_shares(edge_count, of_edge, size),
        atom_share=_shares(atom_count, of_atom, size),
        edge_count=edge_count,
        atom_count=atom_count,
        edge_pointer=_pointer(batch.n_edges),
        atom_pointer=_pointer(batch.n_atoms),
    )


def _shares(weight, index, size):
    """Each weight over the sum of the weights with the same index."""
    return weight / weight.new_zeros(size).index_add(0, index, weight)[index]


def _pointer(counts):
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])
