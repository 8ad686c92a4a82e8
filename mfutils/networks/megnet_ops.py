"""Differentiable pieces of MEGNet, each in two forms with one meaning.

Single precision on the CPU goes through the compiled loops of `megnet_kernels`, with
gradients written by hand; any other type or device through plain torch operations, which are the
definition that the loops are tested against. compiled=False asks for the second everywhere.
Serves section 2.3.1.
"""

import math

import numpy as np
import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional

from mfutils.networks import megnet_kernels as kernels
from mfutils.networks.base import takes_compiled

__all__ = ["attend", "dense_layer", "edge_activation", "expand", "weighted_sum"]

_LN2 = math.log(2.0)


def _array(tensor):
    return tensor.detach().contiguous().numpy()


def dense_layer(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, *, compiled: bool | None = None
) -> torch.Tensor:
    """softplus(x W^T + b) - ln 2: x (e, p), weight (d, p), bias (d,) to (e, d)."""
    if takes_compiled(compiled, x, weight, bias):
        return _DenseLayer.apply(x, weight, bias)
    return functional.softplus(functional.linear(x, weight, bias)) - _LN2


def edge_activation(
    z: torch.Tensor, a: torch.Tensor, b: torch.Tensor, centre: torch.Tensor,
    neighbor: torch.Tensor, *, compiled: bool | None = None,
) -> torch.Tensor:  # fmt: skip
    """softplus(z[e] + a[centre[e]] + b[neighbor[e]]) - ln 2: z (e, d), a and b (n, d) to (e, d).

    This is the first layer of eq 2.8 with its weight matrix cut into the parts of the edge (z),
    of the centre with the state (a) and of the neighbour (b); z may be overwritten.
    """
    if takes_compiled(compiled, z, a, b):
        return _EdgeActivation.apply(z, a, b, centre, neighbor)
    return functional.softplus(z + a[centre] + b[neighbor]) - _LN2


def weighted_sum(
    x: torch.Tensor, weight: torch.Tensor, index: torch.Tensor, size: int, *,
    compiled: bool | None = None,
) -> torch.Tensor:  # fmt: skip
    """Sum of weight[e] x[e] over all e with index[e] = s: x (e, d) to (size, d)."""
    if takes_compiled(compiled, x, weight):
        return _WeightedSum.apply(x, weight, index, size)
    return x.new_zeros(size, x.shape[1]).index_add(0, index, weight[:, None] * x)


def attend(
    x: torch.Tensor, weight: torch.Tensor, pointer: torch.Tensor, index: torch.Tensor,
    q: torch.Tensor, *, compiled: bool | None = None,
) -> torch.Tensor:  # fmt: skip
    """Attention of set2set: each segment's mean of x under the weighted softmax of x.q.

    x (e, d) and weight (e,) with segments pointer[g]:pointer[g + 1] of rows, index (e,) the
    segment of each row, q (g, d) to (g, d). A segment without rows gives zeros.
    """
    if takes_compiled(compiled, x, weight, q):
        return _Attend.apply(x, weight, pointer, q)
    logit = (x * q[index]).sum(1)
    top = torch.full_like(q[:, 0], -math.inf).scatter_reduce(0, index, logit.detach(), "amax")
    share = weight * (logit - top[index]).exp()
    total = torch.zeros_like(top).index_add(0, index, share)
    return torch.zeros_like(q).index_add(0, index, (share / total[index])[:, None] * x)


def expand(
    distance: torch.Tensor, cutoff: float, order: int, *, compiled: bool | None = None
) -> torch.Tensor:
    """Chebyshev polynomials T_0 to T_{order - 1} of 2 distance / cutoff - 1: (e,) to (e, order)."""
    if takes_compiled(compiled, distance):
        out = torch.empty(len(distance), order)
        kernels.expand(_array(distance), np.float32(2 / cutoff), out.numpy())
        return out
    x = 2 * distance / cutoff - 1
    columns = [torch.ones_like(x), x]
    while len(columns) < order:
        columns.append(2 * x * columns[-1] - columns[-2])
    return torch.stack(columns[:order], dim=1)


class _DenseLayer(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias):
        out = torch.addmm(bias, x, weight.t())
        slope = torch.empty_like(out)
        kernels.softplus2(out.numpy(), slope.numpy())
        ctx.save_for_backward(x, weight, slope)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        x, weight, slope = ctx.saved_tensors
        grad_z = torch.empty_like(slope)
        grad_bias = slope.new_zeros(slope.shape[1])
        kernels.softplus2_backward(
            _array(gradient), slope.numpy(), grad_z.numpy(), grad_bias.numpy()
        )
        grad_x = grad_z @ weight if ctx.needs_input_grad[0] else None
        return grad_x, grad_z.t() @ x, grad_bias


class _EdgeActivation(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z, a, b, centre, neighbor):
        z = z.contiguous()
        slope = torch.empty_like(z)
        kernels.edge_activation(
            _array(z), slope.numpy(), _array(a), _array(b), centre.numpy(), neighbor.numpy()
        )
        ctx.save_for_backward(slope, centre, neighbor)
        ctx.size = len(a)
        ctx.mark_dirty(z)
        return z

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        slope, centre, neighbor = ctx.saved_tensors
        grad_z = torch.empty_like(slope)
        grad_a = slope.new_zeros(ctx.size, slope.shape[1])
        grad_b = torch.zeros_like(grad_a)
        kernels.edge_activation_backward(
            _array(gradient), slope.numpy(), centre.numpy(), neighbor.numpy(),
            grad_z.numpy(), grad_a.numpy(), grad_b.numpy(),
        )  # fmt: skip
        return grad_z, grad_a, grad_b, None, None


class _WeightedSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, index, size):
        out = x.new_zeros(size, x.shape[1])
        kernels.weighted_sum(_array(x), weight.numpy(), index.numpy(), out.numpy())
        ctx.save_for_backward(weight, index)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        weight, index = ctx.saved_tensors
        out = gradient.new_empty(len(index), gradient.shape[1])
        kernels.gather(_array(gradient), weight.numpy(), index.numpy(), out.numpy())
        return out, None, None, None


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, pointer, q):
        x, q = x.contiguous(), q.contiguous()
        alpha, readout = torch.empty_like(weight), torch.zeros_like(q)
        kernels.attend(
            _array(x), weight.numpy(), pointer.numpy(), _array(q), alpha.numpy(), readout.numpy()
        )
        ctx.save_for_backward(x, q, alpha, pointer)
        return readout

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        x, q, alpha, pointer = ctx.saved_tensors
        grad_x, grad_q = torch.empty_like(x), torch.zeros_like(q)
        kernels.attend_backward(
            _array(x), pointer.numpy(), _array(q), alpha.numpy(), _array(gradient),
            grad_x.numpy(), grad_q.numpy(),
        )  # fmt: skip
        return grad_x, None, None, grad_q
