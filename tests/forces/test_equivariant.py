"""Group kernels: what a rotation does to them, and their equality with augmentation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import block_diag
from scipy.spatial.transform import Rotation

from mfutils.errors import InputError
from mfutils.forces import equivariant

GROUP = equivariant.cubic_group()


def places(n, seed):
    generator = np.random.default_rng(seed)
    return [generator.normal(scale=1.5, size=(int(generator.integers(3, 7)), 3)) for _ in range(n)]


def test_group_is_that_of_scipy():
    proper = GROUP[np.linalg.det(GROUP) > 0]
    reference = Rotation.create_group("O").as_matrix()
    assert len(proper) == 24
    assert len(GROUP) == 48
    for matrix in reference:
        assert np.abs(proper - matrix).max((1, 2)).min() < 1e-12
    products = (GROUP[:, None] @ GROUP[None]).reshape(-1, 3, 3)
    assert {m.astype(int).tobytes() for m in products} == {m.astype(int).tobytes() for m in GROUP}


def test_overlap_is_a_double_sum():
    a, b = places(2, 0)
    expected = sum(np.exp(-np.sum((x - y) ** 2) / (4 * 0.5**2)) for x in a for y in b)
    assert equivariant.overlap(a, b, 0.5) == pytest.approx(expected, rel=1e-12)


@given(st.integers(0, 47), st.integers(0, 47), st.integers(0, 500))
@settings(max_examples=20, deadline=None)
def test_kernel_turns_with_its_arguments(g, h, seed):
    a, b = places(2, seed)
    base = equivariant.force_kernel([a], [b], group=GROUP)[0, :, 0, :]
    turned = equivariant.force_kernel([a @ GROUP[g].T], [b @ GROUP[h].T], group=GROUP)[0, :, 0, :]
    np.testing.assert_allclose(turned, GROUP[g] @ base @ GROUP[h].T, atol=1e-12)
    shuffled = equivariant.force_kernel([a[::-1]], [b], group=GROUP)[0, :, 0, :]
    np.testing.assert_allclose(shuffled, base, atol=1e-12)


def test_kernels_are_covariances():
    some = places(8, 1)
    for group in (None, GROUP):
        kernel = equivariant.force_kernel(some, some, group=group).reshape(24, 24)
        np.testing.assert_allclose(kernel, kernel.T, atol=1e-12)
        assert np.linalg.eigvalsh(kernel).min() > -1e-10


def test_prediction_is_conditioning():
    known, new = places(5, 2), places(3, 3)
    forces = np.random.default_rng(4).normal(size=(5, 3))
    model = equivariant.fit_vector_process(known, forces, amplitude=1.4, noise=0.2, group=GROUP)
    kernel = 1.96 * equivariant.force_kernel(known + new, known + new, group=GROUP).reshape(24, 24)
    noisy = kernel[:15, :15] + 0.04 * np.eye(15)
    mean = kernel[15:, :15] @ np.linalg.solve(noisy, forces.ravel())
    covariance = kernel[15:, 15:] - kernel[15:, :15] @ np.linalg.solve(noisy, kernel[:15, 15:])
    found, spread = model.predict(new)
    np.testing.assert_allclose(found.ravel(), mean, atol=1e-10)
    inside = block_diag(*np.ones((3, 3, 3))).astype(bool)
    np.testing.assert_allclose(block_diag(*spread)[inside], covariance[inside], atol=1e-10)


def test_one_observation_informs_the_orbit():
    place = places(1, 5)
    copies = [place[0] @ g.T for g in GROUP]
    forces = np.array([[0.3, -0.2, 0.5]])
    model = equivariant.fit_vector_process(place, forces, amplitude=5.0, noise=0.01, group=GROUP)
    mean, spread = model.predict(copies)
    np.testing.assert_allclose(mean, GROUP @ mean[0], atol=1e-10)
    np.testing.assert_allclose(spread, GROUP @ spread[0] @ GROUP.transpose(0, 2, 1), atol=1e-10)


def test_summed_kernel_is_augmentation():
    known, new = places(3, 6), places(4, 7)
    forces = np.random.default_rng(8).normal(size=(3, 3))
    summed = equivariant.fit_vector_process(
        known, forces, amplitude=np.sqrt(48), noise=0.1, group=GROUP
    )
    turned = [p @ g.T for p in known for g in GROUP]
    labels = np.array([g @ f for f in forces for g in GROUP])
    augmented = equivariant.fit_vector_process(turned, labels, amplitude=1.0, noise=0.1)
    np.testing.assert_allclose(augmented.predict(new)[0], summed.predict(new)[0], atol=1e-9)


def test_refuses_bad_input():
    with pytest.raises(InputError, match="no surroundings"):
        equivariant.force_kernel([], places(1, 0))
    with pytest.raises(InputError, match="width 0"):
        equivariant.force_kernel(places(1, 0), places(1, 0), width=0)
    with pytest.raises(InputError, match="1 surroundings but forces"):
        equivariant.fit_vector_process(places(1, 0), np.zeros((2, 3)))
    with pytest.raises(InputError, match="noise 0"):
        equivariant.fit_vector_process(places(1, 0), np.zeros((1, 3)), noise=0)
