"""Covariance functions with pullbacks, the building blocks of every Gaussian process.

A stationary kernel is a function of the scaled squared distance
r2 = sum_k (x_k - x'_k)^2 / l_k^2; the radial basis function is exp(-r2 / 2) (eq 2.5, section 2.2).
A kernel is bound to the training inputs, holds what can be computed once and never changes.
`evaluate(theta)` returns the matrix together with its pullback, the function that turns the
gradient of any scalar by the matrix into its gradient by theta. Kernels add and multiply; the
parameters theta (p,), all logarithms, of a sum or product are those of its parts, left to right.
"""

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mfutils.errors import InputError

__all__ = [
    "KERNELS",
    "Constant",
    "Kernel",
    "Linear",
    "Noisy",
    "Product",
    "Pullback",
    "Scaled",
    "Stationary",
    "Sum",
    "make_kernel",
    "squared_distances",
]

KERNELS = ("rbf", "matern32", "matern52", "linear")

# Gradient by the matrix, symmetric (n, n), to gradient by theta (p,)
Pullback = Callable[[np.ndarray], np.ndarray]


def squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances between the rows of a (n, d) and b (m, d): (n, m), never < 0.

    One matrix product: with a hundred features many times faster than scipy's `cdist`.
    """
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


class Kernel(ABC):
    """A covariance function bound to n training inputs."""

    n_parameters: int

    @abstractmethod
    def evaluate(self, theta: np.ndarray) -> tuple[np.ndarray, Pullback]:
        """Matrix (n, n) of the training inputs at theta (p,), and its pullback.

        The pullback holds nothing of the matrix, which the caller may overwrite.
        """

    @abstractmethod
    def cross(self, theta: np.ndarray, x_new: np.ndarray) -> np.ndarray:
        """Covariance of x_new (m, d) with the training inputs: (m, n)."""

    @abstractmethod
    def diagonal(self, theta: np.ndarray, x_new: np.ndarray) -> np.ndarray:
        """Prior variance of each new point: (m,)."""

    def matrix(self, theta: np.ndarray) -> np.ndarray:
        """The matrix (n, n) alone."""
        return self.evaluate(theta)[0]

    def __add__(self, other: "Kernel") -> "Sum":
        return Sum(self, other)

    def __mul__(self, other: "Kernel") -> "Product":
        return Product(self, other)


def _rbf(r2):
    value = -0.5 * r2
    np.exp(value, out=value)
    return value, -0.5 * value


def _matern32(r2):
    root = np.sqrt(3.0 * r2)
    decay = np.exp(-root)
    return (1.0 + root) * decay, -1.5 * decay


def _matern52(r2):
    root = np.sqrt(5.0 * r2)
    decay = np.exp(-root)
    return (1.0 + root + root * root / 3.0) * decay, (-5.0 / 6.0) * (1.0 + root) * decay


# name -> r2 to (correlation, its derivative with respect to r2)
_RADIAL = {"rbf": _rbf, "matern32": _matern32, "matern52": _matern52}


class Stationary(Kernel):
    """A radial kernel on the columns of x (n, d), one lengthscale or one per column (ard=True)."""

    def __init__(
        self, x: np.ndarray, name: str, *, ard: bool = False, columns: slice = slice(None)
    ):
        self._x, self._columns = np.ascontiguousarray(x[:, columns]), columns
        width = self._x.shape[1]
        self._ard = ard and width > 1
        self.n_parameters = width if self._ard else 1
        self._radial = _RADIAL[name]
        self._raw = None if self._ard else squared_distances(self._x, self._x)

    def evaluate(self, theta: np.ndarray) -> tuple[np.ndarray, Pullback]:
        scale = np.exp(-theta)
        if not self._ard:
            r2 = self._raw * scale[0] ** 2
            value, slope = self._radial(r2)
            return value, lambda weight: np.array([-2.0 * np.vdot(weight * slope, r2)])
        scaled = self._x * scale
        value, slope = self._radial(squared_distances(scaled, scaled))

        def pullback(weight):
            # sum_ij p_ij (x_i - x_j)^2 without forming one (n, n) matrix per feature
            product = weight * slope
            square = np.einsum("i,ik->k", product.sum(axis=1), np.square(scaled))
            cross = np.einsum("ik,ik->k", scaled, product @ scaled)
            return -4.0 * (square - cross)

        return value, pullback

    def cross(self, theta: np.ndarray, x_new: np.ndarray) -> np.ndarray:
        scale = np.exp(-theta)
        r2 = squared_distances(x_new[:, self._columns] * scale, self._x * scale)
        return self._radial(r2)[0]

    def diagonal(self, theta: np.ndarray, x_new: np.ndarray) -> np.ndarray:
        return np.ones(len(x_new))


class Linear(Kernel):
    """k = sum_k x_k x'_k / l_k^2, Bayesian linear regression; l is the inverse weight scale.

    With one shared lengthscale the amplitude already carries the scale, so none is fitted.
    """

    def __init__(self, x: np.ndarray, *, ard: bool = False, columns: slice = slice(None)):
        self._x, self._columns = np.ascontiguousarray(x[:, columns]), columns
        width = self._x.shape[1]
        self._ard = ard and width > 1
        self.n_parameters = width if self._ard else 0

    def _scale(self, theta):
        return np.exp(-theta) if self._ard else np.ones(self._x.shape[1])

    def evaluate(self, theta: np.ndarray) -> tuple[np.ndarray, Pullback]:
        scaled = self._x * self._scale(theta)

        def pullback(weight):
            if not self._ard:
                return np.empty(0)
            return -2.0 * np.einsum("ik,ik->k", scaled, weight @ scaled)

        return scaled @ scaled.T, pullback

    def cross(self, theta: np.ndarray, x_new: np.ndarray) -> np.ndarray:
        scale = self._scale(theta)
        return (x_new[:, self._columns] * scale) @ (self._x * scale).T

    def diagonal(self, theta: np.ndarray, x_new: np.ndarray) -> np.ndarray:
        x_new = x_new[:, self._columns]
        return np.einsum("ik,ik->i", x_new, x_new * self._scale(theta) ** 2)


@dataclass(frozen=True, eq=False)
class Constant(Kernel):
    """k = 1 between all n points: a shared shift."""

    n: int
    n_parameters = 0

    def evaluate(self, theta: np.ndarray) -> tuple[np.ndarray, Pullback]:
        return np.ones((self.n, self.n)), lambda weight: np.empty(0)

    def cross(self, theta: np.ndarray, x_new: np.ndarray) -> np.ndarray:
        return np.ones((len(x_new), self.n))

    def diagonal(self, theta: np.ndarray, x_new: np.ndarray) -> np.ndarray:
        return np.ones(len(x_new))


@dataclass(frozen=True, eq=False)
class _Pair(Kernel):
    left: Kernel
    right: Kernel

    @property
    def n_parameters(self) -> int:
        return self.left.n_parameters + self.right.n_parameters

    @staticmethod
    @abstractmethod
    def _join(a, b):
        """What becomes of an entry of the left and one of the right."""

    def _split(self, theta):
        return theta[: self.left.n_parameters], theta[self.left.n_parameters :]

    def _evaluate(self, theta):
        first, second = self._split(theta)
        return *self.left.evaluate(first), *self.right.evaluate(second)

    def cross(self, theta: np.ndarray, x_new: np.ndarray) -> np.ndarray:
        first, second = self._split(theta)
        return self._join(self.left.cross(first, x_new), self.right.cross(second, x_new))

    def diagonal(self, theta: np.ndarray, x_new: np.ndarray) -> np.ndarray:
        first, second = self._split(theta)
        return self._join(self.left.diagonal(first, x_new), self.right.diagonal(second, x_new))


class Sum(_Pair):
    """left + right."""

    _join = staticmethod(operator.add)

    def evaluate(self, theta: np.ndarray) -> tuple[np.ndarray, Pullback]:
        a, pull_a, b, pull_b = self._evaluate(theta)
        return a + b, lambda weight: np.concatenate([pull_a(weight), pull_b(weight)])


class Product(_Pair):
    """left * right, entry by entry."""

    _join = staticmethod(operator.mul)

    def evaluate(self, theta: np.ndarray) -> tuple[np.ndarray, Pullback]:
        a, pull_a, b, pull_b = self._evaluate(theta)
        return a * b, lambda weight: np.concatenate([pull_a(weight * b), pull_b(weight * a)])


@dataclass(frozen=True, eq=False)
class Scaled(Kernel):
    """s^2 k, whose last parameter is log s."""

    kernel: Kernel

    @property
    def n_parameters(self) -> int:
        return self.kernel.n_parameters + 1

    def evaluate(self, theta: np.ndarray) -> tuple[np.ndarray, Pullback]:
        signal = np.exp(2.0 * theta[-1])
        shape, pull = self.kernel.evaluate(theta[:-1])

        def pullback(weight):
            return np.append(signal * pull(weight), 2.0 * signal * np.vdot(weight, shape))

        return signal * shape, pullback

    def cross(self, theta: np.ndarray, x_new: np.ndarray) -> np.ndarray:
        return np.exp(2.0 * theta[-1]) * self.kernel.cross(theta[:-1], x_new)

    def diagonal(self, theta: np.ndarray, x_new: np.ndarray) -> np.ndarray:
        return np.exp(2.0 * theta[-1]) * self.kernel.diagonal(theta[:-1], x_new)


class Noisy(Kernel):
    """k with independent noise on the diagonal of its matrix; new points are free of it.

    noise_variance: a number or (n,); None makes the log of its root the last parameter.
    """

    def __init__(self, kernel: Kernel, noise_variance: float | np.ndarray | None = None):
        self.kernel, self.noise_variance = kernel, noise_variance
        self.n_parameters = kernel.n_parameters + (noise_variance is None)

    def noise(self, theta: np.ndarray) -> float | np.ndarray:
        """Noise variance of the training points, a number or (n,)."""
        known = self.noise_variance
        return float(np.exp(2.0 * theta[-1])) if known is None else known

    def _own(self, theta):
        return theta[: self.kernel.n_parameters]

    def evaluate(self, theta: np.ndarray) -> tuple[np.ndarray, Pullback]:
        noise = self.noise(theta)
        out, pull = self.kernel.evaluate(self._own(theta))
        out[np.diag_indices_from(out)] += noise

        def pullback(weight):
            if self.noise_variance is not None:
                return pull(weight)
            return np.append(pull(weight), 2.0 * noise * np.trace(weight))

        return out, pullback

    def cross(self, theta: np.ndarray, x_new: np.ndarray) -> np.ndarray:
        return self.kernel.cross(self._own(theta), x_new)

    def diagonal(self, theta: np.ndarray, x_new: np.ndarray) -> np.ndarray:
        return self.kernel.diagonal(self._own(theta), x_new)


def make_kernel(
    name: str, x: np.ndarray, *, ard: bool = False, columns: slice = slice(None)
) -> Stationary | Linear:
    """The kernel called `name` (one of KERNELS) on those columns of standardised x (n, d)."""
    if name not in KERNELS:
        raise InputError(f"unknown kernel {name!r}: expected one of {', '.join(KERNELS)}")
    if name == "linear":
        return Linear(x, ard=ard, columns=columns)
    return Stationary(x, name, ard=ard, columns=columns)
