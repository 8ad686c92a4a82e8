"""Dominance, fronts and layers against the definition, pymoo and pymoo's hypervolume."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pymoo.indicators.hv import HV
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

from mfutils.errors import InputError
from mfutils.screening.pareto import hypervolume, pareto_front, pareto_layers

# Few distinct values, so that ties and copies are the rule
POINTS = st.tuples(st.integers(1, 40), st.integers(1, 4)).flatmap(
    lambda shape: arrays(float, shape, elements=st.integers(-3, 3).map(float))
)
PLANE = st.integers(1, 40).flatmap(
    lambda n: arrays(float, (n, 2), elements=st.integers(-3, 3).map(float))
)


def by_definition(points):
    """Front by comparing every pair."""
    no_worse = (points[:, None, :] <= points[None, :, :]).all(axis=2)
    better = (points[:, None, :] < points[None, :, :]).any(axis=2)
    return ~(no_worse & better).any(axis=0)


@given(POINTS)
def test_front_is_the_definition(points):
    np.testing.assert_array_equal(pareto_front(points), by_definition(points))


@given(POINTS)
def test_layers_are_pymoos(points):
    expected = np.empty(len(points), int)
    for layer, rows in enumerate(NonDominatedSorting().do(points)):
        expected[rows] = layer
    np.testing.assert_array_equal(pareto_layers(points), expected)


@given(PLANE)
def test_hypervolume_is_pymoos(points):
    corner = np.array([2.0, 2.5])
    assert hypervolume(points, corner) == pytest.approx(HV(ref_point=corner)(points), abs=1e-12)


@pytest.mark.parametrize("d", [2, 3, 5])
def test_large_random_data_with_ties(d):
    rng = np.random.default_rng(d)
    for points in (rng.normal(size=(1500, d)), rng.integers(0, 12, size=(1500, d)).astype(float)):
        front = pareto_front(points)
        np.testing.assert_array_equal(front, by_definition(points))
        np.testing.assert_array_equal(pareto_layers(points) == 0, front)


@given(POINTS, st.data())
def test_maximise_is_a_change_of_sign(points, data):
    up = np.array(data.draw(st.lists(st.booleans(), min_size=points.shape[1],
                                     max_size=points.shape[1])))  # fmt: skip
    expected = pareto_front(points * np.where(up, -1.0, 1.0))
    np.testing.assert_array_equal(pareto_front(points, maximise=up), expected)
    np.testing.assert_array_equal(pareto_front(points, maximise=True), pareto_front(-points))


@given(PLANE, st.integers(0, 10**6))
@settings(max_examples=50)
def test_order_of_the_rows_does_not_matter(points, seed):
    shuffled = np.random.default_rng(seed).permutation(len(points))
    np.testing.assert_array_equal(pareto_layers(points)[shuffled], pareto_layers(points[shuffled]))
    np.testing.assert_array_equal(pareto_front(points)[shuffled], pareto_front(points[shuffled]))


def test_small_cases():
    # Equal in one objective and better in the other dominates; equal in both does not
    assert pareto_front([[1.0, 2.0], [1.0, 3.0]]).tolist() == [True, False]
    assert pareto_front([[1.0, 3.0], [1.0, 2.0]], maximise=True).tolist() == [True, False]
    mixed = pareto_front([[1.0, 3.0], [2.0, 1.0]], maximise=[False, True])
    assert mixed.tolist() == [True, False]
    assert pareto_front([[0.0, 0.0], [0.0, 0.0], [0.0, -0.0], [1.0, 0.0]]).tolist() == [
        True, True, True, False
    ]  # fmt: skip
    assert hypervolume([[0, 0]], [-1, -1]) == 0
    assert hypervolume([[1, 1]], [3, 2], maximise=[False, False]) == pytest.approx(2)
    assert hypervolume([[3, 2]], [1, 1], maximise=True) == pytest.approx(2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pareto_front([1.0, 2.0]), "shape"),
        (lambda: pareto_front(np.empty((0, 2))), "shape"),
        (lambda: pareto_front([[0.0, 1.0], [np.nan, 0.0]]), "first row 1"),
        (lambda: pareto_layers([[0.0, np.inf]]), "first row 0"),
        (lambda: pareto_front([[0.0, 1.0]], maximise=[True]), "maximise"),
        (lambda: pareto_front([[0.0, 1.0]], maximise=1), "maximise"),
        (lambda: hypervolume([[1, 2, 3]], [1, 2, 3]), "expected"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message):
        call()
