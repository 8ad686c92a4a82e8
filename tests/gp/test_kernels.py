"""Kernels that add and multiply: matrices entry by entry, pullbacks against finite differences."""

import numpy as np
import pytest

from mfutils.gp.kernels import KERNELS, Constant, Noisy, Scaled, make_kernel

RNG = np.random.default_rng(4)
X, NEW = RNG.normal(size=(9, 3)), RNG.normal(size=(5, 3))
WEIGHT = RNG.normal(size=(9, 9))
WEIGHT += WEIGHT.T
PLACE, LEVEL = slice(None, -1), slice(-1, None)


def composed():
    """A sum of products with every kind of part."""
    product = make_kernel("rbf", X, columns=PLACE) * make_kernel("matern52", X, columns=LEVEL)
    line = Constant(len(X)) + make_kernel("linear", X, columns=LEVEL)
    return Noisy(Scaled(product) + Scaled(line) * make_kernel("matern32", X, ard=True))


ALL = {f"{name}, {ard}": make_kernel(name, X, ard=ard) for name in KERNELS for ard in (False, True)}
ALL |= {
    "composed": composed(),
    "known noise": Noisy(make_kernel("rbf", X), np.arange(9.0)),
}


@pytest.mark.parametrize("kernel", ALL.values(), ids=ALL)
def test_pullback_equals_finite_differences(kernel):
    theta = 0.3 * RNG.normal(size=kernel.n_parameters)
    _, pullback = kernel.evaluate(theta)
    # Another theta in between leaves no trace
    kernel.evaluate(theta + 1.0)
    numeric = [
        np.vdot(WEIGHT, kernel.matrix(theta + step) - kernel.matrix(theta - step)) / 2e-5
        for step in 1e-5 * np.eye(len(theta))
    ]
    np.testing.assert_allclose(pullback(WEIGHT), numeric, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("kernel", ALL.values(), ids=ALL)
def test_matrix_cross_and_diagonal_are_one_function(kernel):
    theta = 0.3 * RNG.normal(size=kernel.n_parameters)
    noise = np.diag(np.broadcast_to(kernel.noise(theta), 9)) if isinstance(kernel, Noisy) else 0.0
    np.testing.assert_allclose(kernel.cross(theta, X) + noise, kernel.matrix(theta), atol=1e-12)
    np.testing.assert_allclose(kernel.diagonal(theta, X), np.diag(kernel.cross(theta, X)))
    assert kernel.cross(theta, NEW).shape == (5, 9)


def test_a_sum_and_a_product_written_out():
    theta = np.array([0.2, -0.3, 0.4, -0.1, 0.1, 0.5, -0.2, -0.7])

    def r2(scale, columns):
        return np.square((X[:, None, columns] - X[None, :, columns]) / scale).sum(axis=2)

    rough, wave = np.sqrt(5 * r2(np.exp(-0.3), LEVEL)), np.exp(-0.5 * r2(np.exp(0.2), PLACE))
    bent = (1 + rough + rough**2 / 3) * np.exp(-rough)
    kinked = np.sqrt(3 * r2(np.exp(theta[4:7]), slice(None)))
    line = (1 + np.outer(X[:, 2], X[:, 2])) * (1 + kinked) * np.exp(-kinked)
    expected = np.exp(0.8) * wave * bent + np.exp(-0.2) * line + np.exp(-1.4) * np.eye(9)
    np.testing.assert_allclose(composed().matrix(theta), expected, rtol=1e-12)
