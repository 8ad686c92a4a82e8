"""The light crystal and what it refuses."""

import numpy as np
import pytest
from crystal_examples import random_crystal
from pymatgen.core import Element, Lattice, Species, Structure
from pymatgen.core.periodic_table import DummySpecies

from mfutils.crystals import structure as structures
from mfutils.crystals.structure import from_arrays, from_pymatgen
from mfutils.errors import InputError

CUBE = np.eye(3) * 4.0


def test_symbols_are_those_of_pymatgen():
    expected = [Element.from_Z(z).symbol for z in range(1, 119)]
    assert list(structures.SYMBOLS) == expected
    assert structures.ATOMIC_NUMBERS["D"] == Element("D").Z


def test_from_pymatgen_keeps_every_number():
    expected = random_crystal(3, "outside")
    structure = Structure(Lattice(expected.lattice), expected.numbers, expected.frac_coords)
    crystal = from_pymatgen(structure)
    assert np.array_equal(crystal.lattice, expected.lattice)
    assert np.array_equal(crystal.frac_coords, expected.frac_coords)
    assert np.array_equal(crystal.numbers, expected.numbers)
    assert crystal.volume == pytest.approx(structure.volume, rel=1e-12)
    np.testing.assert_allclose(crystal.positions, structure.cart_coords, atol=1e-12)


def test_charged_species_count_as_their_element():
    structure = Structure(
        Lattice(CUBE), [Species("Na", 1), Species("Cl", -1)], [[0] * 3, [0.5] * 3]
    )
    assert from_pymatgen(structure).numbers.tolist() == [11, 17]


def test_flat_columns_give_the_same_crystal():
    crystal = random_crystal(7, "ordinary")
    flat = from_arrays(crystal.lattice.ravel(), crystal.frac_coords.ravel(), crystal.numbers)
    assert np.array_equal(flat.lattice, crystal.lattice)
    assert np.array_equal(flat.frac_coords, crystal.frac_coords)


NAN = float("nan")
BAD_ARRAYS = {
    "zero volume": ([[1, 0, 0], [0, 1, 0], [1, 1, 0]], [[0, 0, 0]], [1], "no volume"),
    "zero lattice": (np.zeros((3, 3)), [[0, 0, 0]], [1], "no volume"),
    "tiny volume": (np.eye(3) * 0.2, [[0, 0, 0]], [1], "no volume"),
    "long vector": (np.diag([2e3, 4, 4]), [[0, 0, 0]], [1], "2000 Angstrom long"),
    "nan lattice": (CUBE * NAN, [[0, 0, 0]], [1], "expected finite lengths"),
    "on top": (CUBE, [[0, 0, 0], [1.0, 0, 1e-4]], [6, 8], r"atoms 0 \(C\) and 1 \(O\) lie on top"),
    "image on top": (
        [[4, 0, 0], [3.95, 0.01, 0], [0, 0, 60]],
        [[0, 0, 0]],
        [1],
        "atoms 0 .* and 0",
    ),
    "nan coordinate": (CUBE, [[0, NAN, 0]], [1], "not finite or beyond"),
    "far coordinate": (CUBE, [[0, 1e9, 0]], [1], "not finite or beyond"),
    "element 0": (CUBE, [[0, 0, 0]], [0], "unknown element with atomic number 0"),
    "element 119": (CUBE, [[0, 0, 0]], [119], "unknown element with atomic number 119"),
    "half an element": (CUBE, [[0, 0, 0]], [1.5], "whole numbers"),
    "nan element": (CUBE, [[0, 0, 0]], [NAN], "whole numbers"),
    "no atoms": (CUBE, np.empty((0, 3)), np.empty(0, int), "no atoms"),
    "lengths differ": (CUBE, [[0, 0, 0]], [1, 2], "2 atomic numbers but 1 positions"),
    "not a lattice": ([1, 2], [[0, 0, 0]], [1], "arrays are not a crystal"),
    "words": (CUBE, [["a", "b", "c"]], [1], "arrays are not a crystal"),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_bad_arrays_are_one_clear_line(case):
    lattice, frac, numbers, message = BAD_ARRAYS[case]
    with pytest.raises(InputError, match=message) as error:
        from_arrays(lattice, frac, numbers, name="mp-7")
    assert str(error.value).startswith("mp-7: ")
    assert "expected" in str(error.value) or "must be" in str(error.value)
    assert "\n" not in str(error.value)


BAD_STRUCTURES = {
    "partial": ([{"Fe": 0.5, "Ni": 0.5}], "partial occupancy at site 0"),
    "vacancy": ([{"Fe": 0.9}], "partial occupancy at site 0"),
    "dummy": ([DummySpecies("X")], "unknown element"),
}


@pytest.mark.parametrize("case", BAD_STRUCTURES)
def test_structures_that_no_graph_can_hold(case):
    species, message = BAD_STRUCTURES[case]
    with pytest.raises(InputError, match=message):
        from_pymatgen(Structure(Lattice(CUBE), species, [[0, 0, 0]]))


def test_a_slab_is_not_taken_for_a_crystal():
    slab = Structure(Lattice(CUBE, pbc=(True, True, False)), ["Fe"], [[0, 0, 0]])
    with pytest.raises(InputError, match="periodic along 2 axes only"):
        from_pymatgen(slab)
