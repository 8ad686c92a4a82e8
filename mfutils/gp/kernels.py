"""Covariance functions with analytic gradients, the building blocks of every Gaussian process.

A stationary kernel is a function of the scaled squared distance
r2 = sum_k (x_k - x'_k)^2 / l_k^2; the radial basis function is exp(-r2 / 2) (eq 2.5, section 2.2).
Each kernel object holds the training inputs and what can be computed once, and answers three
questions: the correlation matrix at given log lengthscales, the gradient of any scalar of that
matrix, and the correlation with new points.
"""

import numpy as np

from mfutils.errors import InputError

__all__ = ["KERNELS", "Linear", "Stationary", "make_kernel", "squared_distances"]

KERNELS = ("rbf", "matern32", "matern52", "linear")


def squared_distances(a, b):
    """Squared Euclidean distances between the rows of a (n, d) and b (m, d): (n, m), never < 0."""
    if a.shape[1] == 1:
        return np.square(a[:, 0][:, None] - b[:, 0][None, :])
    out = a @ b.T
    out *= -2.0
    out += np.einsum("ij,ij->i", a, a)[:, None]
    out += np.einsum("ij,ij->i", b, b)[None, :]
    np.maximum(out, 0.0, out=out)
    if a is b:
        np.fill_diagonal(out, 0.0)
    return out


def _rbf(r2):
    value = np.exp(-0.5 * r2)
    return value, -0.5 * value


def _matern32(r2):
    root = np.sqrt(3.0 * r2)
    decay = np.exp(-root)
    return (1.0 + root) * decay, -1.5 * decay


def _matern52(r2):
    root = np.sqrt(5.0 * r2)
    decay = np.exp(-root)
    return (1.0 + root + root * root / 3.0) * decay, (-5.0 / 6.0) * (1.0 + root) * decay


# name -> (correlation, its derivative with respect to r2)
_RADIAL = {"rbf": _rbf, "matern32": _matern32, "matern52": _matern52}


class Stationary:
    """A radial kernel on x (n, d) with one lengthscale, or one per feature (ard=True)."""

    def __init__(self, x, name, *, ard=False):
        self.x = x
        self.ard = ard and x.shape[1] > 1
        self.n_parameters = x.shape[1] if self.ard else 1
        self._radial = _RADIAL[name]
        self._raw = None if self.ard else squared_distances(x, x)

    def matrix(self, log_lengthscale):
        """Correlation matrix (n, n); also keeps what `contract` needs."""
        scale = np.exp(-np.asarray(log_lengthscale))
        if self.ard:
            self._scaled = self.x * scale
            r2 = squared_distances(self._scaled, self._scaled)
        else:
            r2 = self._raw * scale[0] ** 2
        value, self._slope = self._radial(r2)
        self._r2 = r2
        return value

    def contract(self, weight):
        """Gradient of sum(weight * matrix) by the log lengthscales, weight (n, n) symmetric."""
        product = weight * self._slope
        if not self.ard:
            return np.array([-2.0 * np.vdot(product, self._r2)])
        # sum_ij p_ij (x_i - x_j)^2 without forming one (n, n) matrix per feature
        square = np.einsum("i,ik->k", product.sum(axis=1), np.square(self._scaled))
        cross = np.einsum("ik,ik->k", self._scaled, product @ self._scaled)
        return -4.0 * (square - cross)

    def cross(self, log_lengthscale, x_new):
        """Correlation of x_new (m, d) with the training inputs: (m, n)."""
        scale = np.exp(-np.asarray(log_lengthscale))
        return self._radial(squared_distances(x_new * scale, self.x * scale))[0]

    def diagonal(self, log_lengthscale, x_new):
        """Prior correlation of each new point with itself: (m,)."""
        return np.ones(len(x_new))


class Linear:
    """k = sum_k x_k x'_k / l_k^2, Bayesian linear regression; l is the inverse weight scale.

    With one shared lengthscale the amplitude already carries the scale, so none is fitted.
    """

    def __init__(self, x, *, ard=False):
        self.x = x
        self.ard = ard and x.shape[1] > 1
        self.n_parameters = x.shape[1] if self.ard else 0

    def _scale(self, log_lengthscale):
        return np.exp(-np.asarray(log_lengthscale)) if self.ard else np.ones(self.x.shape[1])

    def matrix(self, log_lengthscale):
        """Gram matrix (n, n) of the scaled features."""
        self._scaled = self.x * self._scale(log_lengthscale)
        return self._scaled @ self._scaled.T

    def contract(self, weight):
        """Gradient of sum(weight * matrix) by the log lengthscales (empty when not ARD)."""
        if not self.ard:
            return np.empty(0)
        return -2.0 * np.einsum("ik,ik->k", self._scaled, weight @ self._scaled)

    def cross(self, log_lengthscale, x_new):
        """Covariance of x_new (m, d) with the training inputs: (m, n)."""
        scale = self._scale(log_lengthscale)
        return (x_new * scale) @ (self.x * scale).T

    def diagonal(self, log_lengthscale, x_new):
        """Prior variance of each new point: (m,)."""
        return np.einsum("ik,ik->i", x_new, x_new * self._scale(log_lengthscale) ** 2)


def make_kernel(name, x, *, ard=False):
    """The kernel called `name` (one of KERNELS) on standardised inputs x (n, d)."""
    if name not in KERNELS:
        raise InputError(f"unknown kernel {name!r}: expected one of {', '.join(KERNELS)}")
    return Linear(x, ard=ard) if name == "linear" else Stationary(x, name, ard=ard)
