"""The set of neutral compositions against brute force over all small vectors."""

from itertools import combinations_with_replacement
from math import comb, gcd

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from mfutils.errors import InputError
from mfutils.screening.composition_space import CompositionSpace

CHARGES = st.lists(st.integers(-4, 4), min_size=1, max_size=5)


def brute_force(charges, n_atoms):
    """All neutral multisets of n_atoms species, as rows of counts in the order of their words."""
    rows = [
        np.bincount(word, minlength=len(charges))
        for word in combinations_with_replacement(range(len(charges)), n_atoms)
        if sum(charges[i] for i in word) == 0
    ]
    return np.array(rows, dtype=int).reshape(-1, len(charges))


@given(CHARGES, st.integers(1, 6))
@settings(deadline=None)
def test_count_and_list_are_brute_force(charges, n_atoms):
    space = CompositionSpace(charges, n_max=6)
    expected = brute_force(charges, n_atoms)
    assert space.count(n_atoms) == len(expected)
    np.testing.assert_array_equal(space.enumerate(n_atoms), expected)
    primitive = sum(gcd(*row.tolist()) == 1 for row in expected)
    assert space.count(n_atoms, primitive=True) == primitive
    assert space.contains(expected, n_atoms=n_atoms).all()


def test_all_small_cases():
    for e in (1, 2, 3):
        for charges in np.ndindex(*(5,) * e):
            charges = [c - 2 for c in charges]
            space = CompositionSpace(charges, n_max=5)
            for n in range(1, 6):
                assert space.count(n) == len(brute_force(charges, n))


@given(CHARGES, st.integers(1, 6), st.integers(0, 10**6))
@settings(deadline=None)
def test_every_walk_under_the_mask_ends_inside(charges, n_atoms, seed):
    space = CompositionSpace(charges, n_max=n_atoms)
    rng = np.random.default_rng(seed)
    last, charge, word = 0, 0, []
    for left in range(n_atoms, 0, -1):
        allowed = np.flatnonzero(space.mask([last], [left], [charge])[0])
        # Nothing allowed at the start only when nothing exists; later never
        assert len(allowed) or (not word and space.count(n_atoms) == 0)
        if not len(allowed):
            return
        last = int(rng.choice(allowed))
        charge += charges[last]
        word.append(last)
    assert charge == 0
    assert word == sorted(word)
    counts = np.bincount(word, minlength=len(charges))[None]
    assert space.words(counts)[0].tolist() == word


def test_samples_are_uniform():
    space = CompositionSpace([1, 2, 3, -1, -2, -3], n_max=6)
    listed = {tuple(row): i for i, row in enumerate(brute_force(space.charges, 6).tolist())}
    drawn = [listed[tuple(row)] for row in space.sample(6, 60 * len(listed), seed=0).tolist()]
    times = np.bincount(drawn, minlength=len(listed))
    assert chisquare(times).pvalue > 1e-3


def test_counts_beyond_64_bits_stay_exact():
    # Charges 1 and -1, half of each: products of two multiset coefficients
    space = CompositionSpace([1] * 60 + [-1] * 60, n_max=30)
    expected = comb(60 + 15 - 1, 15) ** 2
    assert expected > 2**63
    assert space.count(30) == expected
    drawn = space.sample(30, 50)
    assert space.contains(drawn, n_atoms=30).all()
    with pytest.raises(InputError, match="too many to list"):
        space.enumerate(30)


def test_contains_refuses_what_breaks_a_rule():
    space = CompositionSpace([1, -1], n_max=4, names=["Na1+", "Cl1-"])
    rows = np.array([[1, 1], [2, 1], [3, 3], [0, 0], [-1, -1], [2, 2]])
    assert space.contains(rows).tolist() == [True, False, False, False, False, True]
    assert space.contains(rows, n_atoms=2).tolist() == [True] + [False] * 5
    assert space.formula([2, 2]) == "Na1+2 Cl1-2"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: CompositionSpace([], n_max=3), "expected"),
        (lambda: CompositionSpace([1.5, -1], n_max=3), "charge 0 is 1.5"),
        (lambda: CompositionSpace([1, np.nan], n_max=3), "expected"),
        (lambda: CompositionSpace([1, -1], n_max=0), "n_max"),
        (lambda: CompositionSpace([1, -1], n_max=2, names=["a", "a"]), "no copies"),
        (lambda: CompositionSpace([1, -1], n_max=2).count(3), "1 to 2"),
        (lambda: CompositionSpace([1, -1], n_max=3).sample(3, 1), "no neutral"),
        (lambda: CompositionSpace([1, -1], n_max=2).contains(np.zeros((1, 3), int)), "shape"),
        (lambda: CompositionSpace([1, -1], n_max=2).contains([[1.0, 1.0]]), "whole"),
        (
            lambda: CompositionSpace([1, -1], n_max=4, names=["Na", "Cl"]).words(
                np.array([[1, 1], [2, 1]])
            ),
            r"row 1 \(Na2 Cl\) has 3 atoms and charge 1",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message):
        call()
