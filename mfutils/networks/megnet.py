"""MEGNet: edges, atoms and a global state that inform each other (section 2.3.1).

One block updates, in this order, with u the state and + for concatenation,

    e_k' = phi_e(v_s + v_r + e_k + u)                      every edge        (2.8)
    v_i' = phi_v(v_i + mean of e_k' at atom i + u)         every atom        (2.9, 2.10)
    u'   = phi_u(u + mean of all e_k' + mean of all v_i')  the state         (2.11 - 2.13)

where phi are dense layers with softplus(x) - ln 2, or plain softplus(x) for
activation="softplus", and adds its input to its output. Edges start
as Gaussians of their length, atoms as a learned vector of their element, the state as zeros or,
for a model of several fidelities, as a learned vector of the fidelity (Chen et al., Nature
Computational Science 1, 46 (2021)). After the blocks set2set makes one vector of all atoms
and one of all edges; with the state they are the descriptor, 160 numbers by default. Layers and
defaults are those of matgl 4.1.2, whose weights `mfutils.networks.megnet_matgl` reads.

A dense layer on a concatenation is a sum over its parts, so the first layer of phi_e works on
atoms and edges apart and nothing of the size of all edges is concatenated. Atoms and edges that
the network cannot tell apart are computed once (`mfutils.crystals.quotient`).
"""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.polynomial import chebyshev
from torch import nn
from torch.nn import functional

from mfutils.crystals.graph_data import GraphBatch
from mfutils.crystals.quotient import QuotientBatch
from mfutils.crystals.structure import SYMBOLS
from mfutils.errors import InputError
from mfutils.networks.base import GraphModel, seeded
from mfutils.networks.megnet_layout import layout
from mfutils.networks.megnet_ops import dense_layer, edge_activation, expand, weighted_sum
from mfutils.networks.set2set import Set2Set

__all__ = ["MEGNet", "check_config", "gaussian_basis"]

# Stored distances are single precision: beyond the cutoff by rounding is still inside.
_ROUNDING = 1e-4
# What each activation has more than softplus(x) - ln 2
_SHIFT = {"softplus2": 0.0, "softplus": math.log(2)}


class MEGNet(GraphModel):
    """The MEGNet of section 2.3.1: `model(batch)` gives the standardised target (g,) of g graphs.

    cutoff is the radius of the graphs in Angstrom, built with max_neighbors=None. gauss_width w
    means exp(-w d^2), d in Angstrom, as in matgl; the centres of the Gaussians lie evenly from 0 to
    gauss_end (Angstrom; None: cutoff + 1, as in matgl). activation is "softplus2", softplus - ln 2,
    or "softplus" (matgl's activation_type). fidelities names the sources of a
    multi-fidelity model, state_size is the length of the vector learned for each. dense, update
    and head are the layers before a block, inside it and after the descriptor. An atom
    without neighbours has zeros for the mean of its edges (eq 2.9); a graph without any edge
    has zeros in eq 2.11 and as the last answer of its edge set2set.

    Batches are those of a GraphDataset; a QuotientBatch is read as it is. compiled is that of
    GraphModel; in double precision equal atoms and edges are still computed once, unless it is
    False.
    """

    architecture = "megnet"

    def __init__(
        self, *, cutoff: float = 5.0, max_neighbors: int | None = None,
        fidelities: Sequence[str] = (), seed: int = 0, gauss_width: float = 0.4,
        gauss_end: float | None = None, gaussians: int = 100, activation: str = "softplus2",
        blocks: int = 3, set2set_steps: int = 3, node_size: int = 16,
        state_size: int = 2, dense: Sequence[int] = (64, 32), update: Sequence[int] = (64, 64, 32),
        head: Sequence[int] = (32, 16), compiled: bool | None = None,
    ) -> None:  # fmt: skip
        config = {
            "cutoff": float(cutoff), "max_neighbors": max_neighbors, "fidelities": fidelities,
            "seed": int(seed), "gauss_width": float(gauss_width),
            "gauss_end": float(cutoff + 1 if gauss_end is None else gauss_end),
            "gaussians": gaussians, "activation": activation, "blocks": blocks,
            "set2set_steps": set2set_steps, "node_size": node_size, "state_size": state_size,
            "dense": tuple(dense), "update": tuple(update), "head": tuple(head),
            "compiled": compiled,
        }  # fmt: skip
        check_config(config)
        super().__init__(config)
        size, shift = update[-1], _SHIFT[activation]
        self.descriptor_size = 5 * size
        with seeded(seed):
            self.embedding = nn.Embedding(len(SYMBOLS) + 1, node_size)
            if self.fidelities:
                self.fidelity_embedding = nn.Embedding(len(self.fidelities), state_size)
            self.edge_encoder = _Dense(gaussians, *dense, compiled=compiled, shift=shift)
            self.node_encoder = _Dense(node_size, *dense, compiled=compiled, shift=shift)
            self.state_encoder = _Dense(state_size, *dense, compiled=compiled, shift=shift)
            self.blocks = nn.ModuleList(
                _Block(size, dense if number else (), update, compiled, shift)
                for number in range(blocks)
            )
            self.edge_set2set = Set2Set(size, set2set_steps, compiled=compiled)
            self.node_set2set = Set2Set(size, set2set_steps, compiled=compiled)
            self.output = _Head(self.descriptor_size, *head, 1, compiled=compiled, shift=shift)
        # Elements with weights: all, unless the weights came from elsewhere.
        self.register_buffer("known", torch.arange(len(SYMBOLS) + 1) > 0)
        basis = gaussian_basis(
            config["cutoff"], config["gauss_width"], gaussians, end=config["gauss_end"]
        )
        self.register_buffer("_basis", basis, persistent=False)

    def descriptor(
        self, batch: GraphBatch | QuotientBatch, fidelity: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Atoms, edges and state after the blocks, side by side: (g, descriptor_size)."""
        graphs = layout(batch, self.embedding.weight.dtype, merge=self.compiled is not False)
        self._check_graphs(graphs)
        nodes = self.node_encoder(self.embedding(graphs.numbers))
        edges = self._encoded_edges(graphs.distance)
        state = self.state_encoder(self._state(graphs, fidelity))
        for block in self.blocks:
            edges, nodes, state = block(graphs, edges, nodes, state)
        of_atoms = self.node_set2set(
            nodes, graphs.atom_count, graphs.atom_pointer, graphs.graph_of_atom
        )
        of_edges = self.edge_set2set(
            edges, graphs.edge_count, graphs.edge_pointer, graphs.graph_of_edge
        )
        return torch.cat([of_atoms, of_edges, state], dim=1)

    def _check_graphs(self, graphs):
        longest = float(graphs.distance.max()) if len(graphs.distance) else 0.0
        if longest > self.cutoff + _ROUNDING:
            raise InputError(
                f"an edge is {longest:.6g} Angstrom long, the model reads graphs of cutoff "
                f"{self.cutoff:g}; build the graphs with cutoff={self.cutoff:g}"
            )
        known = self.known[graphs.numbers]
        if not known.all():
            number = int(graphs.numbers[~known][0])
            raise InputError(
                f"the model has no weights for {SYMBOLS[number - 1]}; leave its crystals out, or "
                "train a model on them"
            )

    def _state(self, graphs, fidelity):
        if not self.fidelities:
            return self.embedding.weight.new_zeros(graphs.size, self.config["state_size"])
        if fidelity is None:
            raise InputError(
                f"this model knows the fidelities {', '.join(self.fidelities)}; give a code per "
                "graph"
            )
        return self.fidelity_embedding(fidelity)

    def _encoded_edges(self, distance):
        first, *rest = self.edge_encoder
        form = {"compiled": self.compiled}
        polynomials = expand(distance, self.cutoff, self._basis.shape[1], **form)
        shift = self.edge_encoder.shift
        weight = first.weight @ self._basis
        edges = _shifted(dense_layer(polynomials, weight, first.bias, **form), shift)
        for layer in rest:
            edges = _shifted(dense_layer(edges, layer.weight, layer.bias, **form), shift)
        return edges


def _shifted(x, shift):
    """softplus(x) - ln 2, as the layers compute it, plus what the activation has more."""
    return x + shift if shift else x


class _Dense(nn.ModuleList):
    """Linear layers of these sizes, each followed by softplus(x) - ln 2 + shift."""

    def __init__(self, *sizes, compiled, shift):
        super().__init__(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        self.compiled, self.shift = compiled, shift

    def forward(self, x):
        for layer in self:
            x = dense_layer(x, layer.weight, layer.bias, compiled=self.compiled)
            x = _shifted(x, self.shift)
        return x


class _Head(_Dense):
    """Dense layers of these sizes, the last one linear."""

    def forward(self, x):
        *hidden, last = self
        for layer in hidden:
            x = dense_layer(x, layer.weight, layer.bias, compiled=self.compiled)
            x = _shifted(x, self.shift)
        return last(x)


class _Block(nn.Module):
    """Eqs 2.8 to 2.13, the dense layers before them and the sum with the input after them."""

    def __init__(self, size, dense, update, compiled, shift):
        super().__init__()
        self.compiled = compiled
        form = {"compiled": compiled, "shift": shift}
        self.edge_dense = _Dense(size, *dense, **form)
        self.node_dense = _Dense(size, *dense, **form)
        self.state_dense = _Dense(size, *dense, **form)
        self.edge_update = _Dense(4 * size, *update, **form)
        self.node_update = _Dense(3 * size, *update, **form)
        self.state_update = _Dense(3 * size, *update, **form)

    def forward(self, graphs, edges, nodes, state):
        before = edges, nodes, state
        edges, nodes = self.edge_dense(edges), self.node_dense(nodes)
        state = self.state_dense(state)
        edges = self._updated_edges(graphs, edges, nodes, state)
        form = {"compiled": self.compiled}
        at_atom = weighted_sum(edges, graphs.edge_of_atom, graphs.centre, len(nodes), **form)
        nodes = self.node_update(torch.cat([nodes, at_atom, state[graphs.graph_of_atom]], dim=1))
        of_edges = weighted_sum(edges, graphs.edge_share, graphs.graph_of_edge, graphs.size, **form)
        of_nodes = weighted_sum(nodes, graphs.atom_share, graphs.graph_of_atom, graphs.size, **form)
        state = self.state_update(torch.cat([state, of_edges, of_nodes], dim=1))
        return edges + before[0], nodes + before[1], state + before[2]

    def _updated_edges(self, graphs, edges, nodes, state):
        first, *rest = self.edge_update
        centre, neighbor, own, shared = first.weight.split(edges.shape[1], dim=1)
        of_state = functional.linear(state, shared, first.bias)[graphs.graph_of_atom]
        edges = edge_activation(
            edges @ own.T,
            nodes @ centre.T + of_state,
            nodes @ neighbor.T,
            graphs.centre,
            graphs.neighbor,
            compiled=self.compiled,
        )
        shift = self.edge_update.shift
        edges = _shifted(edges, shift)
        for layer in rest:
            edges = dense_layer(edges, layer.weight, layer.bias, compiled=self.compiled)
            edges = _shifted(edges, shift)
        return edges


def gaussian_basis(
    cutoff: float, width: float, count: int, *, end: float | None = None, tolerance: float = 1e-9
) -> torch.Tensor:
    """The Gaussians exp(-width (d - c)^2) as polynomials of d.

    c lies evenly from 0 to `end` (default: cutoff + 1), all in Angstrom.

    Returns (count, order) float32: row c holds the Chebyshev coefficients of Gaussian c on
    0 <= d <= cutoff, up to the last one above `tolerance`. Wide Gaussians are smooth: 24
    polynomials stand for 100 Gaussians to the last digit of single precision, and a layer on
    them costs a quarter.
    """
    centers = np.linspace(0, cutoff + 1 if end is None else end, count)

    def gaussians(x):
        return np.exp(-width * (0.5 * cutoff * (x[..., None] + 1) - centers) ** 2)

    degree = 31
    while True:
        coefficients = chebyshev.chebinterpolate(gaussians, degree).T
        # whole vectors of the processor: the next multiple of 8
        order = -8 * (-(1 + np.flatnonzero(abs(coefficients).max(axis=0) > tolerance)[-1]) // 8)
        if order <= degree - 7:
            return torch.tensor(coefficients[:, :order], dtype=torch.float32)
        degree = 2 * degree + 1


def check_config(config: dict) -> None:
    """Raises InputError unless the configuration of a MEGNet makes sense."""
    if config["max_neighbors"] is not None:
        raise InputError(
            f"max_neighbors is {config['max_neighbors']}; MEGNet reads all neighbours within the "
            "cutoff, so give None"
        )
    if config["activation"] not in _SHIFT:
        raise InputError(
            f"activation is {config['activation']!r}; expected one of {', '.join(_SHIFT)}"
        )
    for name in ("cutoff", "gauss_width", "gauss_end"):
        if not 0 < config[name] <= 100:
            raise InputError(f"{name} is {config[name]!r}; expected a number above 0, at most 100")
    for name in ("gaussians", "blocks", "set2set_steps", "node_size", "state_size"):
        if not (isinstance(config[name], int) and config[name] > 0):
            raise InputError(f"{name} is {config[name]!r}; expected a whole number above 0")
    if config["dense"][-1:] != config["update"][-1:] or not config["dense"]:
        raise InputError(
            f"dense {config['dense']} and update {config['update']} must end in the same size, "
            "because a block adds its input to its output"
        )
