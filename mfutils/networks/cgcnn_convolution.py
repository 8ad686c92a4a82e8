"""CGCNN's convolution: normalise z over all edges, gate, and sum over the neighbours.

For every edge from atom i to atom j (eqs 2.15 and 2.16, batch normalisation as in the published
model)

    z = v_i W_self + v_j W_neighbor + g(d_ij) W_edge + b,     z' = BatchNorm(z),
    m_i = sum_j sigmoid(z'_gate) * softplus(z'_core).

The weight matrix is split over self, neighbour and edge, so the products with atoms are taken once
per atom, not once per edge, and no concatenated row exists. Two implementations with the same
numbers: plain torch (any device and precision, automatic differentiation) and compiled passes
over the edges with the derivative written out (one CPU thread, float32). With d the derivative of
the loss by z', a = gamma / std, s1 = sum d and s2 = sum d (z - mean) / std over the E edges,

    dloss/dz = a d - a s1 / E - (a s2 / E) (z - mean) / std,

which is linear in d and z: the sums of both over the edges of an atom are all that is needed.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from mfutils.errors import InputError
from mfutils.networks import cgcnn_kernel as kernel

__all__ = ["Edges", "follow", "gated_sum"]


@dataclass
class Edges:
    """The edges of a batch as the convolution reads them; the same for all layers.

    centre, neighbor (e,) int64, sorted by centre; distances (e,) and step in Angstrom; count
    Gaussians with centres at multiples of the step, as wide as the step; n_atoms (g,) per graph.
    In a quotient graph (`quotient`) edge_count (e,) says how many equal edges of its atom
    an edge stands for, atom_count (n,) how many atoms an atom does; None: each for itself.
    """

    centre: torch.Tensor
    neighbor: torch.Tensor
    distances: torch.Tensor
    n_atoms: torch.Tensor
    step: float
    count: int
    edge_count: torch.Tensor | None = None
    atom_count: torch.Tensor | None = None

    @cached_property
    def gaussians(self) -> torch.Tensor:
        """All Gaussians (e, count) of every edge: exp(-((d - k step) / step)^2)."""
        x = self.distances.double() / self.step
        k = torch.arange(self.count, device=x.device)
        return torch.exp(-((x[:, None] - k) ** 2))

    @cached_property
    def weight(self) -> torch.Tensor:
        """How many edges of the crystal an edge stands for, (e,) float32."""
        if self.edge_count is None:
            return torch.ones(len(self.distances))
        return self.edge_count * self.atom_count[self.centre]

    @cached_property
    def total(self) -> float:
        """Number of edges in all."""
        return float(self.weight.sum(dtype=torch.float64))

    @cached_property
    def ends(self) -> torch.Tensor:
        """Edges per atom as centre and as neighbour, (n, 2) float32."""
        n, both = int(self.n_atoms.sum()), (self.centre, self.neighbor)
        sums = [self.weight.new_zeros(n).index_add_(0, end, self.weight) for end in both]
        return torch.stack(sums, dim=1)

    @cached_property
    def walk(self) -> tuple[np.ndarray, ...]:
        """What the compiled passes walk along; see `mfutils.networks.cgcnn_kernel`."""
        n, n_edges = int(self.n_atoms.sum()), len(self.distances)
        atom_start = _starts(self.n_atoms.numpy())
        pointer = _starts(np.bincount(self.centre.numpy(), minlength=n))
        kind, values = np.empty(n_edges, np.int32), np.empty(n_edges, np.float32)
        first_kind = np.empty(len(atom_start), np.int64)
        kernel.distinct(self.distances.numpy(), pointer[atom_start], kind, first_kind, values)
        low = np.empty(first_kind[-1], np.int32)
        gauss = torch.empty(len(low), kernel.WINDOW).numpy()
        kernel.windows(values[: len(low)], float(self.step), self.count, low, gauss)
        counts = (self.edge_count, self.atom_count)
        if self.edge_count is None:
            counts = torch.ones(n_edges), torch.ones(n)
        share, atoms = (c.numpy() for c in counts)
        neighbor = self.neighbor.numpy()
        return atom_start, pointer, neighbor, share, atoms, kind, first_kind, low, gauss

    def arguments(self, row: torch.Tensor | None, width: int) -> tuple[np.ndarray, ...]:
        """First arguments of a compiled pass: rows of atoms, edges, scratch for the columns."""
        row = torch.arange(len(self.ends)) if row is None else row
        kinds = int(np.diff(self.walk[6]).max())
        # torch aligns memory to cache lines, numpy does not
        scratch, smooth = torch.empty(4, 2 * width).numpy(), torch.empty(kinds, width).numpy()
        return (row.numpy(), *self.walk, scratch, smooth)


def _starts(counts):
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])


def gated_sum(
    uv: torch.Tensor, w: torch.Tensor, norm: nn.BatchNorm1d, edges: Edges,
    row: torch.Tensor | None = None, *, compiled: bool,
) -> torch.Tensor:  # fmt: skip
    """The messages m (n, f) of the formula above.

    uv (r, 4 f): v W_self + b in the first half of the columns, v W_neighbor in the second; row
    (n,) int64 says which row of uv belongs to an atom (default: its own). w (count, 2 f) is
    W_edge, norm the BatchNorm1d over the 2 f columns, edges the Edges. compiled says which of the
    two implementations; the plain one takes no quotient graphs.
    """
    if not len(edges.distances):
        raise InputError(
            "no atom of this batch has a neighbour; build the graphs with a larger cutoff, or "
            "short='grow'"
        )
    if compiled:
        return _GatedSum.apply(uv, w, norm.weight, norm.bias, norm, edges, row)
    width = uv.shape[1] // 2
    if row is not None:
        uv = uv.index_select(0, row)
    z = uv[:, :width][edges.centre] + uv[:, width:][edges.neighbor]
    z = norm(z + edges.gaussians.to(uv.dtype) @ w)
    gate, core = z.chunk(2, dim=1)
    message = torch.sigmoid(gate) * functional.softplus(core)
    out = message.new_zeros(len(uv), width // 2)
    return out.index_add(0, edges.centre, message)


class _GatedSum(torch.autograd.Function):
    """`gated_sum` by the compiled passes of `mfutils.networks.cgcnn_kernel`."""

    @staticmethod
    def forward(ctx, uv, w, gamma, beta, norm, edges, row):
        width = w.shape[1]
        uv, w = uv.contiguous().view(-1, 2, width), w.contiguous()
        inputs = (uv.numpy(), w.numpy(), *edges.arguments(row, width))
        if norm.training:
            total, square = np.empty(width), np.empty(width)
            kernel.gate_sums(*inputs, total, square)
            n_edges = edges.total
            mean = torch.from_numpy(total / n_edges)
            variance = torch.from_numpy(square / n_edges) - mean**2
            finite = bool(torch.isfinite(variance).all())
            variance = variance.clamp_min(0.0)
            follow(norm, mean, variance * (n_edges / max(n_edges - 1, 1)))
        else:
            mean, variance = norm.running_mean.double(), norm.running_var.double()
            finite = all(bool(torch.isfinite(t).all()) for t in (uv, w, variance))
        inverse_std = (variance + norm.eps).rsqrt()
        scale = gamma.double() * inverse_std
        shift = beta.double() - scale * mean
        out = torch.empty(len(edges.ends), width // 2)
        kernel.gate_forward(*inputs, scale.float().numpy(), shift.float().numpy(), out.numpy())
        if not finite:
            out.fill_(torch.nan)  # the compiled pass bounds its exponents, which would hide it
        ctx.save_for_backward(uv, w, scale, shift, mean, inverse_std)
        ctx.edges, ctx.row, ctx.training = edges, row, norm.training
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        uv, w, scale, shift, mean, inverse_std = ctx.saved_tensors
        edges, row, width = ctx.edges, ctx.row, w.shape[1]
        inputs = edges.arguments(row, width)
        pair_uv, pair_w = uv.new_zeros(len(uv), 2, 2 * width), w.new_zeros(len(w), 2 * width)
        pair_smooth = torch.empty(len(inputs[-1]), 2 * width)
        dot = torch.zeros(width, dtype=torch.float64)
        kernel.gate_backward(
            uv.numpy(), w.numpy(), *inputs, scale.float().numpy(), shift.float().numpy(),
            grad.contiguous().numpy(), pair_smooth.numpy(), pair_uv.numpy(), pair_w.numpy(),
            dot.numpy(),
        )  # fmt: skip
        d_beta = pair_uv[:, 0, :width].sum(0, dtype=torch.float64)
        d_gamma = inverse_std * (dot - mean * d_beta)
        # dloss/dz = scale d - slope z - constant
        n_edges = edges.total if ctx.training else np.inf
        slope = scale * inverse_std * d_gamma / n_edges
        constant = (scale * d_beta / n_edges - slope * mean).float()
        both = torch.cat([scale, -slope]).float()
        ends = edges.ends
        if row is not None:
            ends = ends.new_zeros(len(uv), 2).index_add_(0, row, ends)
        *_, kind, _, low, gauss = edges.walk
        smooth = kernel.gaussian_sums(edges.weight.numpy(), kind, low, gauss, len(w))
        d_uv = _combine(pair_uv, both, width) - ends[:, :, None] * constant
        d_w = _combine(pair_w, both, width) - torch.from_numpy(smooth)[:, None] * constant
        return d_uv.view(-1, 2 * width), d_w, d_gamma.float(), d_beta.float(), None, None, None


def _combine(pair, both, width):
    """The sums of d and z in the halves of the last axis, each times its factor, added."""
    pair *= both
    return pair[..., :width] + pair[..., width:]


@torch.no_grad()
def follow(norm: nn.BatchNorm1d, mean: torch.Tensor, variance: torch.Tensor) -> None:
    """Let the running averages of a BatchNorm layer follow, as torch does."""
    norm.num_batches_tracked += 1
    norm.running_mean.lerp_(mean.float(), norm.momentum)
    norm.running_var.lerp_(variance.float(), norm.momentum)
