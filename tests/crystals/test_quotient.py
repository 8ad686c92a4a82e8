"""Quotients of crystal graphs: nothing lost, equal atoms found, the same for a supercell."""

import numpy as np
import pytest
import spglib
from crystal_examples import (
    KINDS,
    permuted,
    random_crystal,
    random_rotation,
    rotated,
    supercell,
    symmetric_crystals,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from mfutils.crystals.graph_data import build_dataset
from mfutils.crystals.quotient import quotient
from mfutils.crystals.structure import Crystal
from mfutils.errors import InputError

SYMMETRIC = symmetric_crystals()


def batch_of(*crystals, cutoff=5.0):
    dataset = build_dataset(crystals, cutoff=cutoff, max_neighbors=None, progress=False)
    return dataset.batch(np.arange(len(dataset)))


def contents(merged):
    """Every edge class as (numbers of both ends, length, how many in all), sorted."""
    centre, neighbor = merged.edge_index
    total = merged.edge_count * merged.atom_count[centre]
    ends = merged.numbers[centre], merged.numbers[neighbor]
    return sorted(zip(*ends, np.round(merged.lengths, 4).tolist(), total.tolist(), strict=True))


def test_rock_salt_by_hand():
    merged = quotient(batch_of(SYMMETRIC["rock salt"]))
    assert merged.numbers.tolist() == [11, 17]
    assert merged.atom_count.tolist() == [4, 4]
    assert merged.n_atoms.tolist() == [2]
    assert merged.n_edges.tolist() == [6]
    assert merged.edge_index.tolist() == [[0, 0, 0, 1, 1, 1], [1, 0, 1, 0, 1, 0]]
    np.testing.assert_allclose(merged.lengths, 2 * [2.82, 2.82 * 2**0.5, 2.82 * 3**0.5], rtol=1e-6)
    assert merged.edge_count.tolist() == 2 * [6, 12, 8]


@pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning")
@pytest.mark.parametrize("name", SYMMETRIC)
def test_atoms_that_symmetry_makes_equal_are_one(name):
    crystal = SYMMETRIC[name]
    found = spglib.get_symmetry_dataset((crystal.lattice, crystal.frac_coords, crystal.numbers))
    orbits, sizes = np.unique(found.equivalent_atoms, return_counts=True)
    merged = quotient(batch_of(crystal))
    # never more classes than orbits; in these crystals no two orbits look alike
    assert len(merged.numbers) == len(orbits)
    assert sorted(merged.atom_count) == sorted(sizes)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 500), st.sampled_from(KINDS)), min_size=1, max_size=4))
def test_nothing_is_lost(choices):
    batch = batch_of(*(random_crystal(*choice) for choice in choices))
    merged = quotient(batch)
    centre, neighbor = merged.edge_index
    for g in range(len(batch.n_atoms)):
        old, new = batch.graph_index == g, merged.graph_index == g
        assert merged.n_atoms[g] == new.sum()
        assert merged.atom_count[new].sum() == old.sum()
        for z in np.unique(batch.numbers[old]):
            kept = merged.atom_count[new & (merged.numbers == z)]
            assert kept.sum() == (old & (batch.numbers == z)).sum()
        edges, old_edges = new[centre], old[batch.edge_index[0]]
        total = merged.edge_count * merged.atom_count[centre]
        assert merged.n_edges[g] == edges.sum()
        assert total[edges].sum() == old_edges.sum()
        np.testing.assert_allclose(
            (total * merged.lengths)[edges].sum(), batch.distances[old_edges].sum(), rtol=1e-5
        )
    assert np.array_equal(merged.graph_index[centre], merged.graph_index[neighbor])
    assert np.all(np.diff(centre) >= 0)


def test_a_crystal_without_symmetry_keeps_its_atoms():
    crystal = random_crystal(5, "ordinary")
    batch = batch_of(crystal)
    merged = quotient(batch)
    assert len(merged.numbers) == len(crystal) > 4
    # to an image of itself an atom has edges in pairs, there and back
    own = (batch.edge_index[0] == batch.edge_index[1]).sum()
    assert merged.n_edges.sum() == len(batch.distances) - own // 2


@pytest.mark.parametrize("times", [(2, 1, 1), (1, 3, 1), (2, 2, 2)])
@pytest.mark.parametrize("crystal", [SYMMETRIC["perovskite"], random_crystal(3, "skewed")])
def test_a_supercell_has_the_quotient_of_its_cell(crystal, times):
    cell, large = quotient(batch_of(crystal)), quotient(batch_of(supercell(crystal, times)))
    cells = np.prod(times)
    assert np.array_equal(cell.n_atoms, large.n_atoms)
    assert sorted(cell.atom_count * cells) == sorted(large.atom_count)
    assert [(*row[:3], row[3] * cells) for row in contents(cell)] == contents(large)


def test_order_and_rotation_do_not_matter():
    rng = np.random.default_rng(0)
    crystal = SYMMETRIC["perovskite"]
    other = rotated(permuted(crystal, rng.permutation(len(crystal))), random_rotation(rng))
    assert contents(quotient(batch_of(crystal))) == contents(quotient(batch_of(other)))


def test_companions_do_not_matter():
    first, second = SYMMETRIC["perovskite"], random_crystal(1, "ordinary")
    both, alone = quotient(batch_of(first, second)), quotient(batch_of(second))
    tail = both.graph_index == 1
    assert np.array_equal(both.numbers[tail], alone.numbers)
    edges = tail[both.edge_index[0]]
    assert np.array_equal(both.edge_index[:, edges] - (~tail).sum(), alone.edge_index)
    assert np.array_equal(both.lengths[edges], alone.lengths)
    assert np.array_equal(both.edge_count[edges], alone.edge_count)


def test_the_tolerance_decides_what_is_equal():
    # a cell stretched by a thousandth: cubic to a rough eye only
    crystal = Crystal(np.diag([4.0, 4.0, 4.004]), np.zeros((1, 3)), np.array([29]))
    assert quotient(batch_of(crystal)).n_edges.tolist() == [2]
    assert quotient(batch_of(crystal), tolerance=0.01).n_edges.tolist() == [1]
    merged = quotient(batch_of(crystal), tolerance=0.01)
    assert merged.lengths[0] == pytest.approx((4 * 4.0 + 2 * 4.004) / 6, abs=1e-6)
    for tolerance in (-1e-6, float("nan"), 0.5):
        with pytest.raises(InputError, match="expected a rounding error"):
            quotient(batch_of(crystal), tolerance=tolerance)


def test_graphs_without_edges():
    xenon = Crystal(np.eye(3) * 6.0, np.zeros((1, 3)), np.array([54]))
    merged = quotient(batch_of(xenon))
    assert merged.n_edges.tolist() == [0]
    assert merged.edge_index.shape == (2, 0)
    assert merged.atom_count.tolist() == [1]
    mixed = quotient(batch_of(SYMMETRIC["rock salt"], xenon, SYMMETRIC["rock salt"]))
    assert mixed.n_edges.tolist() == [6, 0, 6]
    assert np.array_equal(mixed.edge_index[:, 6:], mixed.edge_index[:, :6] + 3)
