"""CGCNN written the plain way, twice: what `mfutils.networks.cgcnn` is compared with.

`DenseCGCNN` is the published layer as printed: one row per edge, (self, neighbour, edge)
concatenated, one dense matrix. `PyGCGCNN` puts torch_geometric's CGConv in its place; CGConv has
no batch normalisation inside the gate, so it equals the published layer only in evaluation mode,
where that normalisation is a fixed factor and shift that its weights can take over.
"""

import torch
from torch import nn
from torch.nn import functional

__all__ = ["DenseCGCNN", "PyGCGCNN"]


class DenseConvolution(nn.Module):
    """Eqs 2.15 and 2.16 on a table of k neighbours per atom, with both batch normalisations."""

    def __init__(self, features, count):
        super().__init__()
        self.dense = nn.Linear(2 * features + count, 2 * features)
        self.norm_gate = nn.BatchNorm1d(2 * features)
        self.norm_sum = nn.BatchNorm1d(features)

    def forward(self, atoms, gaussians, neighbor):
        n, k = neighbor.shape
        own = atoms[:, None, :].expand(n, k, atoms.shape[1])
        z = self.dense(torch.cat([own, atoms[neighbor], gaussians], dim=2))
        z = self.norm_gate(z.view(n * k, -1)).view(n, k, -1)
        gate, core = z.chunk(2, dim=2)
        message = (torch.sigmoid(gate) * functional.softplus(core)).sum(dim=1)
        return functional.softplus(atoms + self.norm_sum(message))


class _Network(nn.Module):
    """What the two have in common; weights are copied from a `mfutils.networks.cgcnn.CGCNN`."""

    def __init__(self, ours):
        super().__init__()
        config = ours.config
        if ours.fidelities or len(ours.hidden) != 1:
            raise ValueError("the reference has one hidden layer and no fidelity embedding")
        self.register_buffer("elements", ours.elements.clone())
        self.register_buffer("centres", torch.arange(ours.count) * config["step"])
        self.step = config["step"]
        self.embedding = nn.Linear(self.elements.shape[1], config["features"])
        self.hidden = nn.Linear(config["features"], config["hidden"])
        self.output = nn.Linear(config["hidden"], 1)
        pairs = [(self.embedding, ours.embedding), (self.hidden, ours.hidden[0])]
        for mine, theirs in [*pairs, (self.output, ours.output)]:
            mine.load_state_dict(theirs.state_dict())

    def gaussians(self, distances):
        """Gaussians (..., count) of distances (...)."""
        offset = distances.to(self.hidden.weight.dtype)[..., None] - self.centres
        return torch.exp(-(offset**2) / self.step**2)

    def read_out(self, atoms, batch):
        """Mean over atoms, hidden layer, target (g,)."""
        total = torch.zeros(len(batch.n_atoms), atoms.shape[1], dtype=atoms.dtype)
        mean = total.index_add(0, batch.graph_index, atoms) / batch.n_atoms[:, None]
        hidden = functional.softplus(self.hidden(functional.softplus(mean)))
        return self.output(hidden)[:, 0]


class DenseCGCNN(_Network):
    """The published network for graphs with equally many neighbours at every atom."""

    def __init__(self, ours):
        super().__init__(ours)
        f = ours.config["features"]
        self.layers = nn.ModuleList(DenseConvolution(f, ours.count) for _ in ours.convolutions)
        with torch.no_grad():
            for mine, theirs in zip(self.layers, ours.convolutions, strict=True):
                mine.dense.weight.copy_(theirs.weight)
                mine.dense.bias.copy_(theirs.bias)
                mine.norm_gate.load_state_dict(theirs.norm_gate.state_dict())
                mine.norm_sum.load_state_dict(theirs.norm_sum.state_dict())

    def forward(self, batch):
        n = len(batch.numbers)
        neighbor = batch.edge_index[1].view(n, -1)
        gaussians = self.gaussians(batch.distances.view(n, -1))
        atoms = self.embedding(self.elements[batch.numbers - 1])
        for layer in self.layers:
            atoms = layer(atoms, gaussians, neighbor)
        return self.read_out(atoms, batch)


class PyGCGCNN(_Network):
    """The same network with torch_geometric's CGConv; its weights carry the gate's scale."""

    def __init__(self, ours):
        from torch_geometric.nn import CGConv

        super().__init__(ours)
        f = ours.config["features"]
        self.layers = nn.ModuleList(CGConv(f, ours.count) for _ in ours.convolutions)
        self.norms = nn.ModuleList(nn.BatchNorm1d(f) for _ in ours.convolutions)
        with torch.no_grad():
            for layer, norm, theirs in zip(self.layers, self.norms, ours.convolutions, strict=True):
                gate = theirs.norm_gate
                scale = gate.weight / torch.sqrt(gate.running_var + gate.eps)
                weight = scale[:, None] * theirs.weight
                bias = scale * (theirs.bias - gate.running_mean) + gate.bias
                for linear, part in ((layer.lin_f, slice(0, f)), (layer.lin_s, slice(f, None))):
                    linear.weight.copy_(weight[part])
                    linear.bias.copy_(bias[part])
                norm.load_state_dict(theirs.norm_sum.state_dict())

    def forward(self, batch):
        gaussians = self.gaussians(batch.distances)
        atoms = self.embedding(self.elements[batch.numbers - 1])
        # CGConv sums over edges at their target, which is the centre
        edges = batch.edge_index.flip(0)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            message = layer(atoms, edges, gaussians) - atoms
            atoms = functional.softplus(atoms + norm(message))
        return self.read_out(atoms, batch)
