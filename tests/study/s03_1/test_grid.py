"""The composition grid, difference slopes and their kinds."""

import math

import numpy as np
import pytest

from mfutils.errors import InputError
from mfutils.study.s03_1 import grid


def test_the_grid_of_the_study_has_213928_points():
    compositions = grid.composition_grid()
    assert compositions.shape == (math.comb(17, 7), 8)
    assert np.allclose(compositions.sum(axis=1), 1.0, atol=1e-12)
    assert len(np.unique(np.round(10 * compositions).astype(int), axis=0)) == 19448
    points = grid.with_currents(compositions, np.arange(11))
    assert points.shape == (213928, 9)
    assert list(points[:11, 8]) == list(range(11))


@pytest.mark.parametrize(("elements", "parts"), [(2, 1), (3, 4), (4, 5)])
def test_the_grid_is_complete(elements, parts):
    ours = {tuple(row) for row in np.round(grid.composition_grid(elements, parts=parts) * parts)}
    shape = (parts + 1,) * elements
    brute = {tuple(map(float, i)) for i in np.ndindex(shape) if sum(i) == parts}
    assert ours == brute


def test_one_sided_slopes_of_a_parabola():
    x = np.array([[0.5, 1.0], [0.5, 2.0]])
    backward, forward = grid.one_sided_slopes(lambda p: p[:, 1] ** 2, x, 0.5)
    assert np.allclose(backward, [1.5, 3.5])
    assert np.allclose(forward, [2.5, 4.5])


def test_slope_kinds():
    kind = grid.slope_kind([-1, 1, -1, 1, 0, 0, 3], [-2, 2, 1, -1, 1, 0, 0])
    names = [grid.KINDS[k] for k in kind]
    expected = ["negative", "positive", "opposite signs", "opposite signs", *["zero"] * 3]
    assert names == expected


def test_equation_3_2():
    x = np.array([-99.0, -3.0, -2.9, 0.0, 2.0, 9.0])
    expected = [-2.0, -math.log10(4), -2.9, 0.0, 2.0, 1.0]
    assert np.allclose(grid.compress(x), expected)


def test_bad_input_is_named():
    with pytest.raises(InputError, match="at least 2 elements"):
        grid.composition_grid(1)
    with pytest.raises(InputError, match="step"):
        grid.one_sided_slopes(lambda p: p[:, 0], np.ones((2, 2)), 0.0)
