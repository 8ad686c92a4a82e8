"""A measured crystal finds the computed crystal that it is, or none."""

import numpy as np
import pandas as pd
import pytest

from mfutils.crystals import symmetry
from mfutils.crystals.formulas import composition_key
from mfutils.crystals.structure import Crystal
from mfutils.datasets import bandgap, icsd_gaps
from mfutils.study import gap_twins
from mfutils.study.s05_4 import records

HERE = bandgap.available("chen2021") and icsd_gaps.available()


def rocksalt(a, formula="NaCl"):
    numbers = {"NaCl": (11, 17), "KCl": (19, 17)}[formula]
    lattice = a / 2 * np.array([[0.0, 1, 1], [1, 0, 1], [1, 1, 0]])
    return Crystal(lattice, np.array([[0.0, 0, 0], [0.5, 0.5, 0.5]]), np.array(numbers))


def caesium_chloride(a):
    return Crystal(a * np.eye(3), np.array([[0.0, 0, 0], [0.5, 0.5, 0.5]]), np.array([11, 17]))


def table_of(*rows):
    table = pd.DataFrame(rows, columns=["formula", "structure"])
    return table.assign(composition=[composition_key(f) for f in table["formula"]])


def test_space_groups():
    assert gap_twins.space_group(rocksalt(5.6)) == 225
    assert gap_twins.space_group(caesium_chloride(3.4)) == 221
    turned = symmetry.rotated(rocksalt(5.6), symmetry.random_rotation(np.random.default_rng(1)))
    assert gap_twins.space_group(turned) == 225


def test_a_twin_has_composition_and_space_group_and_the_nearest_volume():
    table = table_of(
        ("NaCl", rocksalt(5.60)),  # measured
        ("NaCl", caesium_chloride(3.4)),  # a polymorph
        ("NaCl", rocksalt(5.90)),
        ("NaCl", rocksalt(5.65)),
        ("KCl", rocksalt(6.3, "KCl")),  # measured and computed
        ("KCl", rocksalt(6.2, "KCl")),  # measured alone
        ("NaCl", rocksalt(5.61)),  # nobody computed it
    )
    computed = np.array([False, True, True, True, True, False, False])
    found = gap_twins.find(table, np.array([0, 4, 5]), computed)
    assert found.row.tolist() == [3, 4, 4]
    assert found.same_composition.tolist() == [3, 1, 1]
    assert found.candidates.tolist() == [2, 1, 1]


def test_a_polymorph_is_no_twin():
    table = table_of(("NaCl", rocksalt(5.6)), ("NaCl", caesium_chloride(3.4)))
    found = gap_twins.find(table, np.array([0]), np.array([False, True]))
    assert found.row.tolist() == [-1]
    assert found.same_composition.tolist() == [1]
    assert found.candidates.tolist() == [0]


@pytest.mark.data
@pytest.mark.skipif(not HERE, reason="the study's measured crystals are not here")
def test_crystals_of_two_databases():
    data = records.load("chen2021", measured="exp_icsd")
    twins = data.twins
    assert (twins.same_composition > 0).sum() == 1824
    assert ((twins.candidates == 1).sum(), (twins.candidates > 1).sum()) == (1666, 17)
    has = twins.row >= 0
    key = data.crystals["composition"].to_numpy()
    assert np.array_equal(key[data.rows[has]], key[twins.row[has]])
    assert np.array_equal(np.isfinite(data.known).any(axis=1), has)
    # a computed gap says as a rule whether the crystal is a metal
    pbe = data.known[:, data.fidelities.index("pbe")]
    known = np.isfinite(pbe)
    assert ((pbe[known] < 0.05) == (data.gap[known] == 0)).mean() > 0.9
