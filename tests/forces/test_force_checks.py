"""Tests of forces on fields whose energy, curl and motion are known in closed form."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfutils.errors import InputError
from mfutils.forces import force_checks

N = 4


def _field(seed):
    """A quadratic-plus-cubic energy of 3N coordinates, its forces and Hessian."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(3 * N, 3 * N))
    hessian, cubic = a + a.T, rng.normal(size=3 * N)

    def energy(x):
        v = np.ravel(x)
        return 0.5 * v @ hessian @ v + (cubic * v**3).sum() / 6

    def forces(x):
        v = np.ravel(x)
        return -(hessian @ v + cubic * v**2 / 2).reshape(N, 3)

    def curvature(x):
        return -(hessian + np.diag(cubic * np.ravel(x)))

    return energy, forces, curvature


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_gradients_pass_every_test(seed):
    energy, forces, curvature = _field(seed)
    x = np.random.default_rng(seed + 1).normal(size=(N, 3))
    np.testing.assert_allclose(
        force_checks.finite_difference_forces(energy, x), forces(x), atol=1e-6
    )
    np.testing.assert_allclose(force_checks.jacobian(forces, x), curvature(x), atol=1e-6)
    assert abs(force_checks.loop_work(forces, force_checks.circle(x, seed=seed))) < 1e-11


@settings(max_examples=40, deadline=None)
@given(radius=st.floats(0.05, 2), curl=st.floats(-3, 3), points=st.integers(4, 40))
def test_loop_work_is_curl_times_area(radius, curl, points):
    angle = 2 * np.pi * np.arange(points) / points
    path = radius * np.stack([np.cos(angle), np.sin(angle), 0 * angle], -1)[:, None]

    def swirl(x):
        return curl / 2 * np.stack([-x[:, 1], x[:, 0], 0 * x[:, 0]], -1)

    area = np.pi * radius**2
    work = force_checks.loop_work(swirl, path)
    assert work == pytest.approx(curl * area, rel=1e-9, abs=1e-12)


def test_circle_stays_near_and_closes():
    x = np.zeros((5, 3))
    path = force_checks.circle(x, radius=0.3, points=50, seed=2)
    assert path.shape == (50, 5, 3)
    assert abs(path).max() <= 0.3 + 1e-12
    np.testing.assert_allclose(path.mean(axis=0), 0, atol=1e-12)


def test_verlet_follows_the_harmonic_oscillator():
    # one atom of mass 2 u on a spring of 3 eV/Angstrom^2: omega^2 = k / m in 1/fs^2
    omega = np.sqrt(3 / (2 * force_checks.KINETIC_UNIT))
    step, count = 0.5, 400
    path, kinetic = force_checks.velocity_verlet(
        lambda x: -3 * x, [[0.1, 0, 0]], np.zeros((1, 3)), [2.0], step=step, count=count
    )
    time = step * np.arange(count + 1)
    np.testing.assert_allclose(path[:, 0, 0], 0.1 * np.cos(omega * time), atol=2e-3)
    total = kinetic + 1.5 * path[:, 0, 0] ** 2
    assert np.ptp(total) / total[0] < 1e-3


def test_unit_of_kinetic_energy_is_that_of_ase():
    from ase import units

    assert pytest.approx(units._amu * 1e10 / units._e, rel=1e-7) == force_checks.KINETIC_UNIT


def test_bad_input_is_one_clear_line():
    with pytest.raises(InputError, match=r"path of shape \(3, 1, 3\)"):
        force_checks.loop_work(lambda x: x, np.zeros((3, 1, 3)))
    with pytest.raises(InputError, match="radius 0"):
        force_checks.circle(np.zeros((1, 3)), radius=0)
    with pytest.raises(InputError, match="atoms run away in step"):
        force_checks.velocity_verlet(
            lambda x: 50 * x, [[1.0, 0, 0]], np.zeros((1, 3)), [0.01], step=10.0, count=50
        )
