"""Crystals with shared sites: what they hold, when they are ordered, and what is refused."""

import numpy as np
import pytest

from mfutils.crystals.disordered import from_occupancies
from mfutils.errors import InputError

CELL = 4.0 * np.eye(3)
PLACES = [[0, 0, 0], [0.5, 0.5, 0.5]]


def test_shares_stand_in_the_columns_of_their_elements():
    crystal = from_occupancies(CELL, PLACES, [{29: 0.1, 47: 0.6}, {35: 1.0}])
    assert crystal.occupancy.shape == (2, 118)
    assert crystal.occupancy[0, [28, 46]].tolist() == [0.1, 0.6]
    assert crystal.occupancy.sum() == pytest.approx(1.7)
    assert crystal.numbers.tolist() == [47, 35]
    assert not crystal.ordered
    with pytest.raises(InputError, match="site 0 is shared"):
        crystal.as_ordered()


def test_whole_atoms_are_the_ordered_crystal():
    crystal = from_occupancies(CELL, PLACES, [{55: 1.0}, {17: 0.9995}])
    assert crystal.ordered
    ordered = crystal.as_ordered()
    assert ordered.numbers.tolist() == [55, 17]
    assert np.array_equal(ordered.lattice, CELL)
    assert np.array_equal(ordered.frac_coords, PLACES)


@pytest.mark.parametrize(
    ("occupancies", "says"),
    [
        ([{29: 0.0}, {35: 1.0}], "x: occupancy 0 of Cu at site 0; expected a share above 0"),
        ([{29: 1.2}, {35: 1.0}], "occupancy 1.2 of Cu"),
        ([{29: float("nan")}, {35: 1.0}], "occupancy nan of Cu"),
        ([{29: 0.7, 47: 0.7}, {35: 1.0}], "occupancies of site 0 add up to 1.4"),
        ([{}, {35: 1.0}], "occupancies of site 0 add up to 0"),
        ([{119: 1.0}, {35: 1.0}], "atomic number 119 at site 0"),
        ([{29: 1.0}], "2 positions and 1 sites"),
    ],
)
def test_what_is_no_crystal_is_one_line(occupancies, says):
    with pytest.raises(InputError, match=says) as error:
        from_occupancies(CELL, PLACES, occupancies, name="x")
    assert "\n" not in str(error.value)


def test_atoms_on_top_of_each_other_are_refused():
    with pytest.raises(InputError, match="on top of each other"):
        from_occupancies(CELL, [[0, 0, 0], [0, 0, 1e-4]], [{48: 0.5}, {48: 0.5}])
