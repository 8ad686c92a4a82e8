"""The nearest image against pymatgen and a search over many shifts."""

import numpy as np
import pytest
from crystal_examples import KINDS, random_crystal
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice

from mfutils.crystals import periodic_images
from mfutils.errors import InputError


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 10**5), kind=st.sampled_from(KINDS))
def test_nearest_image_is_that_of_pymatgen_and_of_a_wide_search(seed, kind):
    lattice = random_crystal(seed % 100, kind).lattice
    difference = np.random.default_rng(seed).uniform(-2, 2, (5, 3))
    shift, length = periodic_images.nearest_image(lattice, difference)
    np.testing.assert_allclose(
        np.linalg.norm((difference + shift) @ lattice, axis=1), length, atol=1e-10
    )
    wide = np.stack(np.meshgrid(*[np.arange(-6, 7)] * 3, indexing="ij"), -1).reshape(-1, 3)
    every = np.linalg.norm((difference[:, None] + wide) @ lattice, axis=2)
    assert (length <= every.min(axis=1) + 1e-9).all()
    for d, r in zip(difference, length, strict=True):
        assert Lattice(lattice).get_distance_and_image([0, 0, 0], d % 1)[0] >= r - 1e-9
    _, rounded = periodic_images.rounded_image(lattice, difference)
    assert (rounded >= length - 1e-12).all()


def test_rounding_is_right_in_a_box_and_wrong_in_a_skewed_cell():
    difference = np.random.default_rng(0).uniform(-1, 1, (200, 3))
    box = np.diag([3.0, 4.0, 7.0])
    assert np.allclose(
        periodic_images.rounded_image(box, difference)[1],
        periodic_images.nearest_image(box, difference)[1],
    )
    skewed = np.array([[4.0, 0, 0], [3.0, 2.0, 0], [0, 0, 5.0]])
    wrong = (
        periodic_images.rounded_image(skewed, difference)[1]
        - periodic_images.nearest_image(skewed, difference)[1]
    )
    assert (wrong > 0.1).mean() > 0.1


def test_half_width_is_the_largest_sphere_without_a_second_image():
    assert periodic_images.half_width(np.diag([3.0, 4.0, 7.0])) == pytest.approx(1.5)
    crystal = random_crystal(5, "skewed")
    planes = [
        crystal.volume / np.linalg.norm(np.cross(crystal.lattice[i - 2], crystal.lattice[i - 1]))
        for i in range(3)
    ]
    assert periodic_images.half_width(crystal.lattice) == pytest.approx(min(planes) / 2)


def test_bad_input_is_one_clear_line():
    with pytest.raises(InputError, match="expected three independent vectors"):
        periodic_images.nearest_image(np.zeros((3, 3)), [[0, 0, 0]])
    with pytest.raises(InputError, match="expected finite fractional numbers"):
        periodic_images.rounded_image(np.eye(3), [[0, np.nan, 0]])


def test_a_very_skewed_cell_is_no_harder():
    box = np.diag([3.0, 4.0, 5.0])
    shear = np.array([[1, 0, 0], [40, 1, 0], [-7, 60, 1]])
    difference = np.random.default_rng(2).uniform(-1, 1, (50, 3))
    _, plain = periodic_images.nearest_image(box, difference @ shear)
    shift, length = periodic_images.nearest_image(shear @ box, difference)
    np.testing.assert_allclose(length, plain, atol=1e-9)
    rebuilt = np.linalg.norm((difference + shift) @ shear @ box, axis=1)
    np.testing.assert_allclose(rebuilt, length, atol=1e-8)
