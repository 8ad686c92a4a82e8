"""Operations on crystals: each leaves the crystal what it is, by pymatgen's judgement."""

import numpy as np
import pytest
from crystal_examples import random_crystal, symmetric_crystals
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure

from mfutils.crystals import symmetry
from mfutils.errors import InputError


def _structure(crystal):
    return Structure(Lattice(crystal.lattice), crystal.numbers, crystal.frac_coords)


@pytest.mark.parametrize("operation", symmetry.OPERATIONS)
def test_operations_keep_the_crystal(operation):
    matcher = StructureMatcher(ltol=1e-5, stol=1e-5, angle_tol=1e-3, scale=False)
    for name in ("perovskite", "hcp", "zinc blende"):
        crystal = symmetric_crystals()[name]
        moved = symmetry.OPERATIONS[operation](crystal, np.random.default_rng(3))
        assert matcher.fit(_structure(crystal), _structure(moved)), name


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), reflect=st.booleans())
def test_rotations_are_orthogonal(seed, reflect):
    q = symmetry.random_rotation(np.random.default_rng(seed), reflect=reflect)
    np.testing.assert_allclose(q @ q.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(q) == pytest.approx(-1 if reflect else 1)


def test_rotations_are_evenly_spread():
    rng = np.random.default_rng(0)
    q = np.array([symmetry.random_rotation(rng) for _ in range(4000)])
    # for the uniform distribution every entry has mean 0 and mean square 1/3
    np.testing.assert_allclose(q.mean(axis=0), 0, atol=0.04)
    np.testing.assert_allclose((q**2).mean(axis=0), 1 / 3, atol=0.03)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), kind=st.sampled_from(["tiny", "skewed", "ordinary"]))
def test_translation_and_images_move_atoms_as_said(seed, kind):
    crystal = random_crystal(seed % 50, kind)
    rng = np.random.default_rng(seed)
    by = rng.normal(size=3)
    moved = symmetry.translated(crystal, by)
    np.testing.assert_allclose(moved.positions - crystal.positions, [by] * len(crystal), atol=1e-9)
    shifts = rng.integers(-3, 4, (len(crystal), 3))
    images = symmetry.other_images(crystal, shifts)
    np.testing.assert_allclose(
        images.positions - crystal.positions, shifts @ crystal.lattice, atol=1e-9
    )


def test_atoms_turned_in_a_fixed_lattice_are_another_crystal():
    crystal = symmetric_crystals()["perovskite"]
    turned = symmetry.atoms_turned(crystal, symmetry.random_rotation(np.random.default_rng(0)))
    matcher = StructureMatcher(ltol=1e-3, stol=1e-2, angle_tol=0.1, scale=False)
    assert not matcher.fit(_structure(crystal), _structure(turned))


def test_largest_change():
    crystal = symmetric_crystals()["rock salt"]
    assert symmetry.largest_change(lambda c: [c.volume], crystal, "rotation") < 1e-12
    assert symmetry.largest_change(lambda c: [c.volume], crystal, "supercell") == pytest.approx(1)
    assert symmetry.largest_change(lambda c: c.numbers, crystal, "supercell") == np.inf


def test_bad_input_is_one_clear_line():
    crystal = symmetric_crystals()["hcp"]
    with pytest.raises(InputError, match=r"order \[0, 0\] is no permutation of 2"):
        symmetry.permuted(crystal, [0, 0])
    with pytest.raises(InputError, match="determinant 2; expected whole numbers and 1"):
        symmetry.other_cell(crystal, np.diag([2, 1, 1]))
    with pytest.raises(InputError, match="expected three counts above 0"):
        symmetry.supercell(crystal, [1, 0, 1])
    with pytest.raises(InputError, match="no operation 'mirror'; choose from translation"):
        symmetry.largest_change(lambda c: c.numbers, crystal, "mirror")
