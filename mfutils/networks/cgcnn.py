"""Crystal graph convolutional network (section 2.3.2, eqs 2.14-2.17; Xie and Grossman 2018).

An atom starts as 92 bits about its element, an edge as 41 Gaussians of its length. Each of three
convolutions sends gated messages from the 12 nearest neighbours to an atom,

    v_i <- softplus(v_i + BatchNorm(sum_j sigmoid(z_ij W_f + b_f) * softplus(z_ij W_s + b_s))),
    z_ij = v_i + v_j + e_ij  (concatenated),

with batch normalisation inside the gate too, as in the published model. The mean over atoms
passes through one hidden layer: the descriptor of the crystal, from which a linear layer reads
the target. With several fidelities, a learned vector per fidelity is appended to the atom
features, so that one network serves all sources.
"""

import itertools
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from mfutils.crystals.graph_data import GraphBatch
from mfutils.errors import InputError
from mfutils.networks.atom_features import N_FEATURES, atom_features
from mfutils.networks.base import GraphModel, seeded, takes_compiled
from mfutils.networks.cgcnn_convolution import Edges, follow, gated_sum
from mfutils.networks.cgcnn_kernel import WINDOW
from mfutils.networks.merged import merged

__all__ = ["CGCNN", "GatedConvolution"]

# Angstrom; lengths that differ by less are equal up to the rounding of single precision
_EQUAL = 1e-6


class GatedConvolution(nn.Module):
    """One convolution on f features per atom and `count` Gaussians per edge.

    `weight` (2 f, f + f + count) and `bias` (2 f,) are those of the dense layer on the
    concatenated row (self, neighbour, edge), the gate's f rows first; they are split on use.
    """

    def __init__(self, features: int, count: int) -> None:
        super().__init__()
        self.features = features
        dense = nn.Linear(2 * features + count, 2 * features)
        self.weight, self.bias = dense.weight, dense.bias
        self.norm_gate = nn.BatchNorm1d(2 * features)
        self.norm_sum = nn.BatchNorm1d(features)

    def forward(
        self, table: torch.Tensor, row: torch.Tensor | None, edges: Edges, *, compiled: bool = False
    ) -> torch.Tensor:
        """New features (n, f) of atoms whose features are `table[row]`, or `table` for row None."""
        f = self.features
        own, neighbor, edge = self.weight.split([f, f, edges.count], dim=1)
        uv = functional.linear(
            table, torch.cat([own, neighbor]), torch.cat([self.bias, torch.zeros_like(self.bias)])
        )
        total = gated_sum(uv, edge.t(), self.norm_gate, edges, row, compiled=compiled)
        atoms = table if row is None else table.index_select(0, row)
        return functional.softplus(atoms + _weighted(self.norm_sum, total, edges.atom_count))


def _weighted(norm, x, count):
    """The BatchNorm layer on rows x (n, f) that stand for count (n,) equal rows each."""
    if count is None or not norm.training:
        return norm(x)
    share = (count / count.sum())[:, None]
    mean = (share * x).sum(dim=0)
    offset = x - mean
    variance = (share * offset**2).sum(dim=0)
    n = float(count.sum())
    follow(norm, mean, variance * (n / max(n - 1, 1)))
    return offset * (norm.weight * torch.rsqrt(variance + norm.eps)) + norm.bias


class CGCNN(GraphModel):
    """The published network; the keyword arguments default to the study's.

    features per atom, convolutions, hidden (units of a hidden layer) and hidden_layers (at least
    1), cutoff and step of the Gaussians in Angstrom, max_neighbors of the graphs, fidelities
    (names) with fidelity_features numbers each, dropout before the output.

    compiled is that of GraphModel: it chooses the implementation of the convolution
    (`cgcnn_convolution`). Equal atoms are kept once where the compiled one runs.
    """

    architecture = "cgcnn"

    def __init__(
        self, *, features: int = 64, convolutions: int = 3, hidden: int = 128,
        hidden_layers: int = 1, cutoff: float = 8.0, step: float = 0.2,
        max_neighbors: int | None = 12, fidelities: Sequence[str] = (),
        fidelity_features: int = 16, dropout: float = 0.0, seed: int = 0,
        compiled: bool | None = None,
    ) -> None:  # fmt: skip
        super().__init__(
            {
                "features": features, "convolutions": convolutions, "hidden": hidden,
                "hidden_layers": hidden_layers, "cutoff": float(cutoff), "step": float(step),
                "max_neighbors": max_neighbors, "fidelities": fidelities,
                "fidelity_features": fidelity_features, "dropout": dropout, "seed": int(seed),
                "compiled": compiled,
            }
        )  # fmt: skip
        for name in ("features", "convolutions", "hidden", "hidden_layers"):
            if self.config[name] < 1:
                raise InputError(f"{name} is {self.config[name]}; expected at least 1")
        self.count = round(cutoff / step) + 1
        if self.count < WINDOW:
            raise InputError(
                f"{self.count} Gaussians from 0 to {cutoff:g} Angstrom in steps of {step:g}; "
                f"expected at least {WINDOW}, so make the step smaller"
            )
        self.descriptor_size = hidden
        self.register_buffer("elements", torch.from_numpy(atom_features()), persistent=False)
        with seeded(seed):
            extra = fidelity_features if self.fidelities else 0
            self.embedding = nn.Linear(N_FEATURES + extra, features)
            self.convolutions = nn.ModuleList(
                GatedConvolution(features, self.count) for _ in range(convolutions)
            )
            sizes = [features] + [hidden] * hidden_layers
            self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
            self.dropout = nn.Dropout(dropout)
            self.output = nn.Linear(hidden, 1)
            self.fidelity = nn.Embedding(len(self.fidelities), extra) if extra else None

    def _start(self, numbers, graph_index, fidelity):
        """First features: a table with one row per kind of atom, and the row (n,) of each atom."""
        if int(numbers.max()) > len(self.elements):
            raise InputError(
                f"no atom features for atomic number {int(numbers.max())}; the published table "
                f"ends at {len(self.elements)}, so leave these crystals out"
            )
        if self.fidelity is None:
            return self.embedding(self.elements), numbers - 1
        if fidelity is None:
            raise InputError("this model knows several fidelities; give a code per graph")
        kinds = len(self.fidelity.weight)
        elements = self.elements.repeat_interleave(kinds, dim=0)
        sources = self.fidelity.weight.repeat(len(self.elements), 1)
        table = self.embedding(torch.cat([elements, sources], dim=1))
        return table, (numbers - 1) * kinds + fidelity[graph_index]

    def descriptor(self, batch: GraphBatch, fidelity: torch.Tensor | None = None) -> torch.Tensor:
        """Descriptors (g, hidden) of a GraphBatch of torch tensors (eq 2.17, hidden layer)."""
        compiled = takes_compiled(self.compiled, self.embedding.weight)
        gaussians = {"step": self.config["step"], "count": self.count}
        if compiled:
            kept = merged(batch, tolerance=_EQUAL)
            numbers, graph_index, atom_count = kept.numbers, kept.graph_index, kept.atom_count
            edges = Edges(
                *kept.edge_index, kept.lengths, kept.n_atoms, **gaussians,
                edge_count=kept.edge_count, atom_count=atom_count,
            )  # fmt: skip
        else:
            numbers, graph_index, atom_count = batch.numbers, batch.graph_index, None
            edges = Edges(*batch.edge_index, batch.distances, batch.n_atoms, **gaussians)
        table, row = self._start(numbers, graph_index, fidelity)
        for layer in self.convolutions:
            table, row = layer(table, row, edges, compiled=compiled), None
        if atom_count is not None:
            table = table * atom_count[:, None]
        total = table.new_zeros(len(batch.n_atoms), table.shape[1])
        total = total.index_add(0, graph_index, table)
        crystal = functional.softplus(total / batch.n_atoms[:, None].to(table.dtype))
        for layer in self.hidden:
            crystal = functional.softplus(layer(crystal))
        return self.dropout(crystal)
