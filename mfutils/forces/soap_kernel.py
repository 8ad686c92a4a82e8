"""Compiled loops of the SOAP descriptor: expansion of a neighbour density and its power spectrum.

With the real solid harmonics S_lm(R) = R^l Y_lm and q_nl(R) the radial part, the density around
one atom has the coefficients c_nlm = sum_j w(R_j) q_nl(R_j) S_lm(R_j), and the power spectrum
p_nn'l = pi sqrt(8 / (2l + 1)) sum_m c_nlm c_n'lm does not change when all R_j rotate. Derivatives
follow by the product rule. Serves `mfutils.forces.soap` and with it chapter 8.
"""

import math

import numpy as np

from mfutils.compiled import compiled

__all__ = ["harmonic_norms", "power_spectra", "solid_harmonics"]


def harmonic_norms(l_max: int) -> np.ndarray:
    """Factors (l_max + 1, l_max + 1) that make |S_lm| orthonormal on the sphere, by l and m."""
    norms = np.zeros((l_max + 1, l_max + 1))
    for l in range(l_max + 1):  # noqa: E741 (the field's name)
        for m in range(l + 1):
            ratio = math.factorial(l - m) / math.factorial(l + m)
            norms[l, m] = math.sqrt((2 if m else 1) * (2 * l + 1) / (4 * math.pi) * ratio)
    return norms


@compiled
def solid_harmonics(x, y, z, l_max, norms, value, slope):
    """Fill value (lm,) and slope (3, lm) with S_lm and its gradient; lm = l^2 + l + m.

    Legendre's recursion in z and s = x^2 + y^2 + z^2, times the real and imaginary part of
    (x + iy)^m, so nothing divides by a radius or an angle.
    """
    s = x * x + y * y + z * z
    real, imag = 1.0, 0.0  # (x + iy)^m
    below_real, below_imag = 0.0, 0.0  # (x + iy)^(m - 1)
    start = 1.0  # (2m - 1)!!
    for m in range(l_max + 1):
        q2, q2z, q2s = 0.0, 0.0, 0.0
        q1, q1z, q1s = 0.0, 0.0, 0.0
        for l in range(m, l_max + 1):  # noqa: E741
            if l == m:
                q, qz, qs = start, 0.0, 0.0
            else:
                a, b = (2 * l - 1) / (l - m), (l + m - 1) / (l - m)
                q = a * z * q1 - b * s * q2
                qz = a * (q1 + z * q1z) - b * s * q2z
                qs = a * z * q1s - b * (q2 + s * q2s)
            norm = norms[l, m]
            gx, gy, gz = 2 * x * qs, 2 * y * qs, qz + 2 * z * qs
            k = l * l + l + m
            value[k] = norm * q * real
            slope[0, k] = norm * (gx * real + q * m * below_real)
            slope[1, k] = norm * (gy * real - q * m * below_imag)
            slope[2, k] = norm * gz * real
            if m > 0:
                k = l * l + l - m
                value[k] = norm * q * imag
                slope[0, k] = norm * (gx * imag + q * m * below_imag)
                slope[1, k] = norm * (gy * imag + q * m * below_real)
                slope[2, k] = norm * gz * imag
            q2, q2z, q2s = q1, q1z, q1s
            q1, q1z, q1s = q, qz, qs
        below_real, below_imag = real, imag
        real, imag = real * x - imag * y, real * y + imag * x
        start *= 2 * m + 1


@compiled
def _weight(r, cutoff):
    """(1 - 3 t^2 + 2 t^3)^2 with t = r / cutoff, and its derivative by r divided by r."""
    t = r / cutoff
    if t >= 1.0:
        return 0.0, 0.0
    base = 1.0 + t * t * (2.0 * t - 3.0)
    return base * base, 2.0 * base * 6.0 * (t - 1.0) / (cutoff * cutoff)


@compiled
def power_spectra(pointer, vectors, cutoff, decay, mix, norms, derivatives):
    """Power spectra p (n, d) and, if asked for, their derivatives by every edge (e, 3, d).

    The edges of atom i are pointer[i]:pointer[i + 1] with vectors (e, 3) to the neighbours; decay
    (l, n) are the exponents of the radial Gaussians and mix (l, n, k) their combination. The atom
    itself belongs to its density. Components run over n, n' >= n, l; those with n' > n carry a
    factor sqrt(2), so that a dot product of two spectra counts n, n' and n', n.
    """
    l_max, n_max = mix.shape[0] - 1, mix.shape[1]
    lm = (l_max + 1) ** 2
    size = n_max * (n_max + 1) // 2 * (l_max + 1)
    atoms = len(pointer) - 1
    widest = 0
    for i in range(atoms):
        widest = max(widest, pointer[i + 1] - pointer[i])
    spectra = np.zeros((atoms, size))
    edges = len(vectors) if derivatives else 0
    jacobian = np.zeros((edges, 3, size))
    slopes = np.empty((widest if derivatives else 0, 3, n_max, lm))
    coefficient = np.empty((n_max, lm))
    harmonic, harmonic_slope = np.empty(lm), np.empty((3, lm))
    radial, radial_slope = np.empty(n_max), np.empty(n_max)
    for i in range(atoms):
        coefficient[:] = 0.0
        for n in range(n_max):  # the atom itself: only l = 0 at R = 0
            coefficient[n, 0] = mix[0, n].sum() * norms[0, 0]
        for e in range(pointer[i], pointer[i + 1]):
            x, y, z = vectors[e, 0], vectors[e, 1], vectors[e, 2]
            square = x * x + y * y + z * z
            weight, weight_slope = _weight(math.sqrt(square), cutoff)
            solid_harmonics(x, y, z, l_max, norms, harmonic, harmonic_slope)
            for l in range(l_max + 1):  # noqa: E741
                radial[:] = 0.0
                radial_slope[:] = 0.0
                for k in range(n_max):
                    gauss = math.exp(-decay[l, k] * square)
                    for n in range(n_max):
                        part = mix[l, n, k] * gauss
                        radial[n] += part
                        radial_slope[n] -= 2.0 * decay[l, k] * part
                for n in range(n_max):
                    f = weight * radial[n]
                    g = weight_slope * radial[n] + weight * radial_slope[n]
                    for k in range(l * l, (l + 1) * (l + 1)):
                        coefficient[n, k] += f * harmonic[k]
                        if derivatives:
                            t = e - pointer[i]
                            slopes[t, 0, n, k] = g * x * harmonic[k] + f * harmonic_slope[0, k]
                            slopes[t, 1, n, k] = g * y * harmonic[k] + f * harmonic_slope[1, k]
                            slopes[t, 2, n, k] = g * z * harmonic[k] + f * harmonic_slope[2, k]
        column = 0
        for n in range(n_max):
            for other in range(n, n_max):
                for l in range(l_max + 1):  # noqa: E741
                    scale = math.pi * math.sqrt(8.0 / (2 * l + 1))
                    if other > n:
                        scale *= math.sqrt(2.0)
                    total = 0.0
                    for k in range(l * l, (l + 1) * (l + 1)):
                        total += coefficient[n, k] * coefficient[other, k]
                    spectra[i, column] = scale * total
                    if derivatives:
                        for e in range(pointer[i], pointer[i + 1]):
                            t = e - pointer[i]
                            for axis in range(3):
                                total = 0.0
                                for k in range(l * l, (l + 1) * (l + 1)):
                                    total += (
                                        slopes[t, axis, n, k] * coefficient[other, k]
                                        + coefficient[n, k] * slopes[t, axis, other, k]
                                    )
                                jacobian[e, axis, column] = scale * total
                    column += 1
    return spectra, jacobian
