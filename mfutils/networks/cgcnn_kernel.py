"""Compiled passes over the edges of crystal graphs, for CGCNN's convolution on one CPU thread.

The convolution needs z = u_i + v_j + g W at every edge, where u and v are products with atoms and
g the Gaussians of the distance. Three facts make it fast. A crystal repeats its distances (six
edges share one on average), so g W is taken once per distinct distance. Only `WINDOW` Gaussians
are above 1e-7 at any distance, so g W is a sum over so many rows of W. And nothing that is as long
as the edges needs storing: each pass computes z afresh, crystal by crystal, from tables that stay
in the cache. Exponential and logarithm are polynomials (relative error below 2e-7) that compile to
vector instructions.
"""

from functools import partial

import numpy as np

from mfutils.compiled import compiled

__all__ = [
    "WINDOW", "distinct", "gate_backward", "gate_forward", "gate_sums", "gaussian_sums", "windows",
]  # fmt: skip

WINDOW = 8
_FLAGS = {"contract", "arcp", "nsz"}  # NaN stays NaN, and sums keep their order
_f = np.float32
_LOG2E, _LN2_HIGH, _LN2_LOW = _f(1.44269504), _f(0.693359375), _f(-2.12194440e-4)
_MAGIC = _f(12582912.0)  # 1.5 * 2^23: adding it rounds to a whole number, kept in the low bits
_LARGE = _f(40.0)  # sigmoid and softplus are flat to rounding beyond


_fast = partial(compiled, fastmath=_FLAGS, error_model="numpy")


@_fast(inline="always")
def _exp(x):
    """exp(x) for -87 < x < 88 (Cephes' polynomial after reduction by powers of two)."""
    shifted = x * _LOG2E + _MAGIC
    k = shifted - _MAGIC
    r = x - k * _LN2_HIGH
    r = r - k * _LN2_LOW
    p = _f(1.9875691500e-4)
    p = p * r + _f(1.3981999507e-3)
    p = p * r + _f(8.3334519073e-3)
    p = p * r + _f(4.1665795894e-2)
    p = p * r + _f(1.6666665459e-1)
    p = p * r + _f(5.0000001201e-1)
    p = p * r * r + r + _f(1.0)
    power = np.int32(np.float32(shifted).view(np.int32) + np.int32(127)) << np.int32(23)
    return p * np.int32(power).view(np.float32)


@_fast(inline="always")
def _log_ratio(t):
    """log((1 + t) / (1 - t)) for 0 <= t <= 1/3, by its series."""
    q = t * t
    p = _f(1 / 13) * q + _f(1 / 11)
    p = p * q + _f(1 / 9)
    p = p * q + _f(1 / 7)
    p = p * q + _f(1 / 5)
    p = p * q + _f(1 / 3)
    p = p * q + _f(1.0)
    return _f(2.0) * t * p


@_fast
def distinct(distances, edge_start, kind, first_kind, values):
    """Number the distinct distances of each crystal.

    edge_start (g + 1,) is the first edge of each crystal. Fills kind (e,) int32, the number of
    an edge's distance; first_kind (g + 1,) int64, the first number of each crystal; values (e,)
    float32, the distances by number, of which the first `first_kind[-1]` are used. Distances are
    one only when equal to the last bit.
    """
    largest = 1
    for a in range(len(edge_start) - 1):
        largest = max(largest, edge_start[a + 1] - edge_start[a])
    size = 4
    while size < 2 * largest:
        size *= 2
    slot = np.full(size, -1, np.int64)
    count = 0
    for a in range(len(edge_start) - 1):
        first_kind[a] = count
        for e in range(edge_start[a], edge_start[a + 1]):
            bits = np.int64(np.float32(distances[e]).view(np.int32))
            place = ((bits * np.int64(2654435761)) >> np.int64(15)) & np.int64(size - 1)
            # an entry from an earlier crystal counts as empty
            while slot[place] >= first_kind[a] and values[slot[place]] != distances[e]:
                place = (place + 1) & np.int64(size - 1)
            if slot[place] < first_kind[a]:
                slot[place] = count
                values[count] = distances[e]
                count += 1
            kind[e] = slot[place]
    first_kind[len(edge_start) - 1] = count


@_fast
def windows(distances, step, count, low, gauss):
    """The WINDOW Gaussians exp(-(d / step - k)^2) around each distance, of `count` in all.

    Fills low (u,) int32, the number of the lowest, and gauss (u, WINDOW) float32.
    """
    for e in range(len(distances)):
        x = np.float64(distances[e]) / step  # single precision would cost digits of the offset
        least = min(max(int(np.floor(x)) - (WINDOW // 2 - 1), 0), count - WINDOW)
        low[e] = least
        for k in range(WINDOW):
            offset = _f(x - (least + k))
            gauss[e, k] = _exp(max(-offset * offset, _f(-80.0)))


@_fast
def gaussian_sums(weight, kind, low, gauss, count):
    """Sum over all edges of each of the `count` Gaussians, (count,) float32."""
    total = np.zeros(count)
    for e in range(len(kind)):
        for k in range(WINDOW):
            total[low[kind[e]] + k] += weight[e] * gauss[kind[e], k]
    return total.astype(np.float32)


@_fast(inline="always")
def _smooth(out, w, low, g):
    """out = g W for one distance."""
    g0, g1, g2, g3, g4, g5, g6, g7 = g[0], g[1], g[2], g[3], g[4], g[5], g[6], g[7]
    for c in range(len(out)):
        out[c] = (
            (g0 * w[low, c] + g1 * w[low + 1, c]) + (g2 * w[low + 2, c] + g3 * w[low + 3, c])
        ) + ((g4 * w[low + 4, c] + g5 * w[low + 5, c]) + (g6 * w[low + 6, c] + g7 * w[low + 7, c]))


@_fast(inline="always")
def _spread(dw, low, g, d):
    """dw += g d^T for one distance."""
    for k in range(WINDOW):
        gk = g[k]
        for c in range(len(d)):
            dw[low + k, c] += gk * d[c]


@_fast(inline="always")
def _edge(z, u, v, smooth):
    """z = u_i + v_j + g W."""
    for c in range(len(z)):
        z[c] = u[c] + v[c] + smooth[c]


@_fast
def gate_sums(
    uv, w, row, atom_start, pointer, neighbor, share, atoms, kind, first_kind, low, gauss,
    scratch, smooth, total, square,
):  # fmt: skip
    """Sums over all edges of z and z^2, each (2 f,) float64.

    Here and below an edge of atom i counts share[e] times at that atom, and the atom atoms[i]
    times: edges and atoms may stand for equal ones.
    """
    width = len(total)
    s, q = scratch[0, :width], scratch[1, :width]
    total[:] = 0.0
    square[:] = 0.0
    for a in range(len(atom_start) - 1):
        base = first_kind[a]
        for k in range(base, first_kind[a + 1]):
            _smooth(smooth[k - base], w, low[k], gauss[k])
        for i in range(atom_start[a], atom_start[a + 1]):
            u = uv[row[i], 0]
            s[:] = _f(0.0)
            q[:] = _f(0.0)
            for e in range(pointer[i], pointer[i + 1]):
                v, g, times = uv[row[neighbor[e]], 1], smooth[kind[e] - base], share[e]
                for c in range(width):
                    z = u[c] + v[c] + g[c]
                    s[c] += times * z
                    q[c] += times * z * z
            times = atoms[i]
            for c in range(width):
                total[c] += times * s[c]
                square[c] += times * q[c]


@_fast(inline="always")
def _affine(x, z, scale, shift):
    for c in range(len(x)):
        x[c] = scale[c] * z[c] + shift[c]


@_fast(inline="always")
def _gated(out, gate, core, times):
    """out += times sigmoid(gate) softplus(core)."""
    for c in range(len(out)):
        x, y = gate[c], core[c]
        ex = _exp(-min(max(x, -_LARGE), _LARGE))
        ey = _exp(max(-abs(y), -_LARGE))
        # one division for 1 / (1 + ex) and ey / (2 + ey)
        inverse = _f(1.0) / ((_f(1.0) + ex) * (_f(2.0) + ey))
        softplus = max(y, _f(0.0)) + _log_ratio(ey * (_f(1.0) + ex) * inverse)
        out[c] += times * softplus * ((_f(2.0) + ey) * inverse)


@_fast
def gate_forward(
    uv, w, row, atom_start, pointer, neighbor, share, atoms, kind, first_kind, low, gauss,
    scratch, smooth, scale, shift, out,
):  # fmt: skip
    """out (n, f) = sum over the edges of each atom of sigmoid(x) softplus(y)."""
    width, f = len(shift), out.shape[1]
    z, x, acc = scratch[0, :width], scratch[1, :width], scratch[2, :f]
    gate, core = x[:f], x[f:]
    for a in range(len(atom_start) - 1):
        base = first_kind[a]
        for k in range(base, first_kind[a + 1]):
            _smooth(smooth[k - base], w, low[k], gauss[k])
        for i in range(atom_start[a], atom_start[a + 1]):
            u = uv[row[i], 0]
            acc[:] = _f(0.0)
            for e in range(pointer[i], pointer[i + 1]):
                _edge(z, u, uv[row[neighbor[e]], 1], smooth[kind[e] - base])
                _affine(x, z, scale, shift)
                _gated(acc, gate, core, share[e])
            for c in range(f):
                out[i, c] = acc[c]


@_fast(inline="always")
def _gated_slope(d_gate, d_core, gate, core, grad):
    """Derivatives of grad . sigmoid(gate) softplus(core) by gate and core."""
    for c in range(len(grad)):
        x, y = gate[c], core[c]
        ex = _exp(-min(max(x, -_LARGE), _LARGE))
        ey = _exp(max(-abs(y), -_LARGE))
        a, b, h = _f(1.0) + ex, _f(2.0) + ey, _f(1.0) + ey
        inverse = _f(1.0) / (a * b * h)
        softplus = max(y, _f(0.0)) + _log_ratio(ey * (a * h) * inverse)
        open_share = (b * h) * inverse
        slope = (a * b) * inverse
        slope = slope if y >= _f(0.0) else _f(1.0) - slope
        t = grad[c] * open_share
        d_gate[c] = t * softplus * (_f(1.0) - open_share)
        d_core[c] = t * slope


@_fast(inline="always")
def _add(p, x):
    for c in range(len(x)):
        p[c] += x[c]


@_fast
def gate_backward(
    uv, w, row, atom_start, pointer, neighbor, share, atoms, kind, first_kind, low, gauss,
    scratch, smooth, scale, shift, grad, pair_smooth, pair_uv, pair_w, dot,
):  # fmt: skip
    """Sums of d = dloss/d(x, y) and of z, from which the gradient of the normalised z follows.

    Both stand side by side in rows of 4 f. Adds to pair_uv (r, 2, 4 f) their sums per centre and
    per neighbour row, to pair_w (count, 4 f) those of g d and g z, and to dot (2 f,) float64 the
    sum of d z.
    """
    width, f = len(shift), grad.shape[1]
    x, q, pair, total = scratch[0, :width], scratch[1, :width], scratch[2], scratch[3]
    d, z = pair[:width], pair[width:]
    gate, core, d_gate, d_core = x[:f], x[f:], d[:f], d[f:]
    for a in range(len(atom_start) - 1):
        base, kinds = first_kind[a], first_kind[a + 1] - first_kind[a]
        for k in range(kinds):
            _smooth(smooth[k], w, low[base + k], gauss[base + k])
            pair_smooth[k, :] = _f(0.0)
        for i in range(atom_start[a], atom_start[a + 1]):
            u = uv[row[i], 0]
            total[:] = _f(0.0)
            q[:] = _f(0.0)
            for e in range(pointer[i], pointer[i + 1]):
                j, k = row[neighbor[e]], kind[e] - base
                _edge(z, u, uv[j, 1], smooth[k])
                _affine(x, z, scale, shift)
                _gated_slope(d_gate, d_core, gate, core, grad[i])
                times, count = share[e], share[e] * atoms[i]
                for c in range(width):
                    d[c] *= times
                    q[c] += d[c] * z[c]
                    z[c] *= count
                _add(total, pair)
                _add(pair_uv[j, 1], pair)
                _add(pair_smooth[k], pair)
            _add(pair_uv[row[i], 0], total)
            for c in range(width):
                dot[c] += q[c]
        for k in range(kinds):
            _spread(pair_w, low[base + k], gauss[base + k], pair_smooth[k])
