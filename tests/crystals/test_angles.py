"""Legendre sums against the direct double sum, and what colours can tell apart."""

import numpy as np
import pytest
from crystal_examples import random_crystal
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial import legendre

from mfutils.crystals import angles, symmetry
from mfutils.crystals.graph import build_graph
from mfutils.crystals.structure import from_arrays
from mfutils.errors import InputError

VECTORS = st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda v: np.linalg.norm(v) > 1e-3)


@settings(max_examples=150, deadline=None)
@given(u=VECTORS, v=VECTORS, degree=st.integers(0, 12))
def test_addition_theorem(u, v, degree):
    cosine = np.dot(u, v) / np.linalg.norm(u) / np.linalg.norm(v)
    expected = legendre.legval(cosine, np.eye(degree + 1)[degree])
    assert angles.addition_theorem([u], [v], degree)[0] == pytest.approx(expected, abs=1e-11)
    assert angles.legendre_sum([u], [v], degree)[0] == pytest.approx(expected, abs=1e-11)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 40), kind=st.sampled_from(["one_atom", "tiny", "skewed", "ordinary"]))
def test_both_ways_give_the_same_features(seed, kind):
    graph = build_graph(random_crystal(seed, kind), cutoff=4.0, max_neighbors=None)
    fast = angles.directional_features(graph, cutoff=4.0)
    slow = angles.directional_features_by_pairs(graph, cutoff=4.0)
    np.testing.assert_allclose(fast, slow, rtol=1e-9, atol=1e-9)
    # l = 0 knows no angle: it is the square of the two-body sum
    two = angles.two_body_features(graph, cutoff=4.0)
    np.testing.assert_allclose(fast[..., 0], two**2, rtol=1e-9, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 40), operation=st.sampled_from([*symmetry.OPERATIONS]))
def test_mean_features_keep_every_symmetry(seed, operation):
    crystal = random_crystal(seed, "tiny")

    def mean(c):
        graph = build_graph(c, cutoff=3.5, max_neighbors=None)
        return angles.directional_features(graph, cutoff=3.5).mean(axis=0)

    assert symmetry.largest_change(mean, crystal, operation, seed=seed) < 1e-9


def _chain(angle, bond=1.5):
    """Zigzag chains of carbon with the given angle, far from each other."""
    half = np.radians(angle) / 2
    along, up = 2 * bond * np.sin(half), bond * np.cos(half)
    frac = np.array([[0, 0.5, 0.5], [0.5, 0.5 + up / 20, 0.5]])
    return from_arrays(np.diag([along, 20.0, 20.0]), frac, [6, 6])


def test_two_body_colours_cannot_see_an_angle_and_three_body_colours_can():
    graphs = [build_graph(_chain(a), cutoff=2.2, max_neighbors=None) for a in (110, 150)]
    assert graphs[0].n_edges == graphs[1].n_edges == 4
    assert angles.colours(graphs[0], rounds=6) == angles.colours(graphs[1], rounds=6)
    assert angles.colours(graphs[0], rounds=1, angles=True) != angles.colours(
        graphs[1], rounds=1, angles=True
    )
    two = [angles.two_body_features(g, cutoff=2.2) for g in graphs]
    three = [angles.directional_features(g, cutoff=2.2) for g in graphs]
    np.testing.assert_allclose(*two, atol=1e-12)
    # of two bonds the second Legendre sum is 2 + 2 P_2(cos) times a square: far apart
    ratio = three[0][0, :, 2] / three[1][0, :, 2]
    expected = [
        1 + angles.legendre_sum([[1, 0, 0]], [[np.cos(a), np.sin(a), 0]], 2)[0]
        for a in np.radians((110, 150))
    ]
    np.testing.assert_allclose(ratio, expected[0] / expected[1], rtol=1e-9)


def test_colours_follow_the_crystal_and_not_its_arrays():
    crystal = random_crystal(7, "ordinary")
    rng = np.random.default_rng(1)
    first = angles.colours(build_graph(crystal, cutoff=4.0, max_neighbors=None), angles=True)
    for operation in ("translation", "rotation", "permutation", "other cell"):
        moved = symmetry.OPERATIONS[operation](crystal, rng)
        graph = build_graph(moved, cutoff=4.0, max_neighbors=None)
        assert angles.colours(graph, angles=True) == first, operation


def test_vectors_without_direction_are_refused():
    with pytest.raises(InputError, match="vector 1 has no direction"):
        angles.addition_theorem([[1, 0, 0], [0, 0, 0]], [[1, 0, 0], [1, 0, 0]], 2)
