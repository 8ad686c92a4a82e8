"""Compiled loops behind MEGNet's layers: one pass over memory where torch needs several.

A MEGNet step is three quarters activations and gathers. Here softplus(x) - ln 2 and its
derivative come from one exponential, so the backward pass computes none; the first layer of
an edge update adds its atom parts while the activation is taken; the softmax of set2set and its
weighted sum read every row twice. Elementary functions are polynomials that the compiler turns
into vector instructions, accurate to 1e-7 of single precision. For one thread, float32 and the
CPU; `megnet_ops` has the plain torch form for everything else.
"""

import math

import numpy as np
from numpy.polynomial import chebyshev

from mfutils.compiled import compiled

__all__ = [
    "attend",
    "attend_backward",
    "edge_activation",
    "edge_activation_backward",
    "expand",
    "gather",
    "softplus2",
    "softplus2_backward",
    "weighted_sum",
]

_fast = compiled(fastmath={"contract", "nsz"}, error_model="numpy")


def _polynomial(function, low, high, degree):
    """Power coefficients, ascending, of the Chebyshev interpolant of `function` on an interval."""
    fitted = chebyshev.Chebyshev.interpolate(function, degree, domain=(low, high))
    power = fitted.convert(kind=np.polynomial.Polynomial, domain=(-1, 1), window=(-1, 1))
    return tuple(np.float32(c) for c in power.coef)


_F = np.float32
_ZERO, _HALF, _ONE, _TOP = _F(0), _F(0.5), _F(1), _F(87)
_LN2, _LOG2E = _F(math.log(2)), _F(1 / math.log(2))
# ln 2 in two parts: multiples of the first are exact, so the reduced argument keeps its digits
_LN2_HIGH, _LN2_LOW = _F(0.693359375), _F(math.log(2) - 0.693359375)
_E0, _E1, _E2, _E3, _E4, _E5, _E6 = _polynomial(np.exp, -0.5 * math.log(2), 0.5 * math.log(2), 6)
_L0, _L1, _L2, _L3, _L4, _L5, _L6, _L7, _L8, _L9 = _polynomial(
    lambda t: np.log1p(t) / np.where(t == 0, 1, t) + (t == 0), 0, 1, 9
)


@_fast
def _exp_minus(y):
    """exp(-y) for y >= 0; underflow stops at exp(-87)."""
    y = min(y, _TOP)
    n = np.int32(y * _LOG2E + _HALF)
    whole = _F(n)
    r = whole * _LN2_HIGH - y + whole * _LN2_LOW
    p = _E0 + r * (_E1 + r * (_E2 + r * (_E3 + r * (_E4 + r * (_E5 + r * _E6)))))
    # two to the power of -n, put together from its bits
    return p * np.int32((np.int32(127) - n) << np.int32(23)).view(np.float32)


@_fast
def _softplus2(x):
    """softplus(x) - ln 2 and its derivative, the logistic function of x."""
    t = _exp_minus(abs(x))
    p = _L4 + t * (_L5 + t * (_L6 + t * (_L7 + t * (_L8 + t * _L9))))
    log1p = t * (_L0 + t * (_L1 + t * (_L2 + t * (_L3 + t * p))))
    q = _ONE / (_ONE + t)
    return max(x, _ZERO) + log1p - _LN2, q if x >= _ZERO else t * q


@_fast
def softplus2(z, slope):
    """Replace z by softplus(z) - ln 2 and fill `slope`, of the same size, with the derivative."""
    flat, out = z.ravel(), slope.ravel()
    for i in range(flat.size):
        flat[i], out[i] = _softplus2(flat[i])


@_fast
def softplus2_backward(gradient, slope, grad_z, grad_bias):
    """grad_z = gradient * slope, all (e, d), and its sum over e, added to grad_bias (d,)."""
    part = np.empty_like(grad_bias)
    for first in range(0, len(gradient), 128):
        part[:] = _ZERO  # sums of sums: rounding grows with the length of a chain
        for e in range(first, min(first + 128, len(gradient))):
            for k in range(gradient.shape[1]):
                g = gradient[e, k] * slope[e, k]
                grad_z[e, k] = g
                part[k] += g
        grad_bias += part


@_fast
def edge_activation(z, slope, a, b, centre, neighbor):
    """The same for z[e] + a[centre[e]] + b[neighbor[e]]; z (e, d), a and b (n, d)."""
    for e in range(len(z)):
        i, j = centre[e], neighbor[e]
        for k in range(z.shape[1]):
            z[e, k], slope[e, k] = _softplus2(z[e, k] + a[i, k] + b[j, k])


@_fast
def edge_activation_backward(gradient, slope, centre, neighbor, grad_z, grad_a, grad_b):
    """Gradients of `edge_activation`; grad_a and grad_b (n, d) must hold zeros."""
    for e in range(len(gradient)):
        i, j = centre[e], neighbor[e]
        for k in range(gradient.shape[1]):
            g = gradient[e, k] * slope[e, k]
            grad_z[e, k] = g
            grad_a[i, k] += g
            grad_b[j, k] += g


@_fast
def weighted_sum(x, weight, index, out):
    """Add weight[e] x[e] to out[index[e]]; x (e, d), out (s, d)."""
    for e in range(len(x)):
        s, w = index[e], weight[e]
        for k in range(x.shape[1]):
            out[s, k] += w * x[e, k]


@_fast
def gather(x, weight, index, out):
    """out[e] = weight[e] x[index[e]]: the transpose of `weighted_sum`."""
    for e in range(len(out)):
        s, w = index[e], weight[e]
        for k in range(x.shape[1]):
            out[e, k] = w * x[s, k]


@_fast
def attend(x, weight, pointer, q, alpha, readout):
    """alpha = weighted softmax of x.q within each segment of rows, readout = sum of alpha x.

    x (e, d), weight and alpha (e,), pointer (g + 1,), q and readout (g, d); readout holds zeros.
    """
    for g in range(len(q)):
        top = -_F(np.inf)
        for e in range(pointer[g], pointer[g + 1]):
            dot = _ZERO
            for k in range(x.shape[1]):
                dot += x[e, k] * q[g, k]
            alpha[e] = dot
            top = max(top, dot)
        total = _ZERO
        for e in range(pointer[g], pointer[g + 1]):
            alpha[e] = weight[e] * _exp_minus(top - alpha[e])
            total += alpha[e]
        for e in range(pointer[g], pointer[g + 1]):
            alpha[e] /= total
            for k in range(x.shape[1]):
                readout[g, k] += alpha[e] * x[e, k]


@_fast
def attend_backward(x, pointer, q, alpha, grad_readout, grad_x, grad_q):
    """Gradients of `attend`; grad_x (e, d) is overwritten, grad_q (g, d) must hold zeros."""
    for g in range(len(q)):
        mean = _ZERO
        for e in range(pointer[g], pointer[g + 1]):
            dot = _ZERO
            for k in range(x.shape[1]):
                dot += x[e, k] * grad_readout[g, k]
            grad_x[e, 0] = dot
            mean += alpha[e] * dot
        for e in range(pointer[g], pointer[g + 1]):
            logit = alpha[e] * (grad_x[e, 0] - mean)
            for k in range(x.shape[1]):
                grad_x[e, k] = alpha[e] * grad_readout[g, k] + logit * q[g, k]
                grad_q[g, k] += logit * x[e, k]


@_fast
def expand(distance, scale, out):
    """Chebyshev polynomials of scale * distance - 1, degree 0 to out.shape[1] - 1."""
    for e in range(len(distance)):
        x = scale * distance[e] - _ONE
        out[e, 0] = _ONE
        if out.shape[1] > 1:
            out[e, 1] = x
        for k in range(2, out.shape[1]):
            out[e, k] = _F(2) * x * out[e, k - 1] - out[e, k - 2]
