"""Neighbours against pymatgen and ASE, and what they must not depend on."""

import numpy as np
import pytest
from ase import Atoms
from ase.neighborlist import neighbor_list
from crystal_examples import (
    KINDS,
    permuted,
    random_crystal,
    random_rotation,
    rotated,
    supercell,
    symmetric_crystals,
    translated,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from mfutils.crystals import neighbors
from mfutils.crystals.graph import build_graph
from mfutils.crystals.structure import from_arrays

SYMMETRIC = symmetric_crystals()
# no pair of the symmetric crystals lies exactly at these radii
CUTOFFS = (4.03, 6.17, 8.0)


def edge_table(i, j, shift, distance):
    """Pairs as sorted rows (i, j, shift) with their distances in that order."""
    rows = np.column_stack([i, j, np.asarray(shift).reshape(-1, 3)]).astype(int)
    order = np.lexsort(rows.T[::-1])
    return rows[order], np.asarray(distance, dtype=float)[order]


def of_graph(graph):
    return edge_table(*graph.edge_index, graph.cell_shifts, graph.distances)


def of_pymatgen(crystal, cutoff):
    structure = Structure(Lattice(crystal.lattice), crystal.numbers, crystal.frac_coords)
    pairs = [
        (i, other.index, other.image, other.nn_distance)
        for i, others in enumerate(structure.get_all_neighbors(cutoff))
        for other in others
    ]
    return edge_table(*zip(*pairs, strict=True)) if pairs else edge_table([], [], [], [])


def of_ase(crystal, cutoff):
    atoms = Atoms(
        crystal.numbers, scaled_positions=crystal.frac_coords, cell=crystal.lattice, pbc=True
    )
    # ASE leaves out the surface of the sphere
    i, j, distance, shift = neighbor_list("ijdS", atoms, cutoff + 1e-8)
    return edge_table(i, j, shift, distance)


CASES = [(kind, seed) for kind in KINDS for seed in range(40)]


@pytest.mark.parametrize("kind", KINDS)
def test_pairs_and_distances_equal_pymatgen_and_ase_on_200_random_structures(kind):
    edges = 0
    for seed in range(40):
        crystal = random_crystal(seed, kind)
        cutoff = CUTOFFS[seed % 3]
        rows, distances = of_graph(build_graph(crystal, cutoff=cutoff, max_neighbors=None))
        edges += len(rows)
        for peer in (of_pymatgen, of_ase):
            peer_rows, peer_distances = peer(crystal, cutoff)
            assert np.array_equal(rows, peer_rows), (kind, seed, peer.__name__)
            np.testing.assert_allclose(distances, peer_distances, rtol=0, atol=1e-9)
    assert edges > 1000


@pytest.mark.parametrize("name", SYMMETRIC)
def test_symmetric_crystals_equal_pymatgen_and_ase(name):
    for cutoff in CUTOFFS:
        ours = of_graph(build_graph(SYMMETRIC[name], cutoff=cutoff, max_neighbors=None))
        for peer in (of_pymatgen, of_ase):
            rows, distances = peer(SYMMETRIC[name], cutoff)
            assert np.array_equal(ours[0], rows)
            np.testing.assert_allclose(ours[1], distances, rtol=0, atol=1e-9)


def test_pairs_on_the_surface_of_the_sphere_are_neighbours():
    lattice = random_rotation(np.random.default_rng(3)) * 4.0
    cubic = SYMMETRIC["simple cubic"]
    turned = type(cubic)(lattice, cubic.frac_coords, cubic.numbers)
    # 6 at a, 12 at sqrt(2) a, 8 at sqrt(3) a, 6 at 2 a = 8 Angstrom in spite of rounding
    assert build_graph(turned, cutoff=8.0, max_neighbors=None).n_edges == 6 + 12 + 8 + 6


def test_cells_of_the_random_structures_cover_the_hard_cases():
    heights = np.array(
        [1 / np.linalg.norm(np.linalg.inv(random_crystal(s, k).lattice), axis=0) for k, s in CASES]
    )
    lattices = [random_crystal(seed, "skewed").lattice for seed in range(40)]
    cosines = [
        abs(a @ b) / np.linalg.norm(a) / np.linalg.norm(b)
        for lattice in lattices
        for a, b in zip(lattice, np.roll(lattice, 1, axis=0), strict=True)
    ]
    assert (heights.min(axis=1) < 4.03).sum() > 60
    assert max(cosines) > np.cos(np.radians(20))


@pytest.mark.parametrize("k", [1, 4, 12, 30])
def test_nearest_are_the_first_of_all(k):
    crystals = [random_crystal(seed, kind) for kind in KINDS for seed in range(8)]
    for crystal in [*crystals, *SYMMETRIC.values()]:
        every = build_graph(crystal, cutoff=8.0, max_neighbors=None)
        nearest = build_graph(crystal, cutoff=8.0, max_neighbors=k)
        rank = np.concatenate(
            [np.arange(c) for c in np.bincount(every.edge_index[0], minlength=len(crystal))]
        )
        first = rank < k
        assert np.array_equal(nearest.edge_index, every.edge_index[:, first])
        assert np.array_equal(nearest.cell_shifts, every.cell_shifts[first])
        assert np.array_equal(nearest.distances, every.distances[first])


def straddling_cell(b):
    """One atom per cell, 10 neighbours, then 2 at c = 4 and 2 at 2 a = c + 5e-6 Angstrom."""
    return from_arrays(np.diag([2.0000025, b, 4.0]), np.zeros((1, 3)), [29])


def test_a_shell_is_complete_before_it_is_cut():
    # The radius of the search follows the volume: these 6000 cells move it through the shell
    # in steps below the width of the shell, wherever it starts.
    for b in np.linspace(1.855, 1.865, 6000):
        every = build_graph(straddling_cell(b), cutoff=5.0, max_neighbors=None)
        nearest = build_graph(straddling_cell(b), cutoff=5.0, max_neighbors=12)
        assert np.array_equal(nearest.cell_shifts, every.cell_shifts[:12]), b
    assert np.ptp(every.distances[10:14]) == pytest.approx(5e-6, rel=1e-3)


def test_growing_does_not_look_beyond_the_cutoff_without_need():
    keep, grow = (
        build_graph(straddling_cell(1.86), cutoff=4.000002, max_neighbors=12, short=short)
        for short in ("keep", "grow")
    )
    assert keep.n_edges == grow.n_edges == 12
    assert grow.distances.max() <= 4.000002
    assert np.array_equal(keep.cell_shifts, grow.cell_shifts)


def test_distances_ascend_to_within_the_tie_tolerance():
    for crystal in [random_crystal(5, "ordinary"), *SYMMETRIC.values()]:
        graph = build_graph(crystal, cutoff=8.0, max_neighbors=None)
        same = np.diff(graph.edge_index[0]) == 0
        assert np.diff(graph.distances)[same].min() >= -neighbors.TIE


anything = st.one_of(
    st.builds(random_crystal, st.integers(0, 10**6), st.sampled_from(KINDS)),
    st.sampled_from(list(SYMMETRIC.values())),
)
nearest_or_all = st.sampled_from([(8.0, 12), (5.03, None), (9.01, 5)])
seeds = st.integers(0, 2**32 - 1)
examples = settings(max_examples=60, deadline=None, derandomize=True)


def built(crystal, setting):
    cutoff, max_neighbors = setting
    return build_graph(crystal, cutoff=cutoff, max_neighbors=max_neighbors)


@examples
@given(anything, nearest_or_all, seeds)
def test_translation_leaves_every_edge_in_place(crystal, setting, seed):
    moved = translated(crystal, np.random.default_rng(seed).random(3))
    before, after = built(crystal, setting), built(moved, setting)
    assert np.array_equal(before.edge_index, after.edge_index)
    np.testing.assert_allclose(after.vectors, before.vectors, rtol=0, atol=1e-9)


@examples
@given(anything, nearest_or_all, seeds)
def test_rotation_turns_every_edge(crystal, setting, seed):
    rotation = random_rotation(np.random.default_rng(seed))
    before, after = built(crystal, setting), built(rotated(crystal, rotation), setting)
    assert np.array_equal(before.edge_index, after.edge_index)
    assert np.array_equal(before.cell_shifts, after.cell_shifts)
    np.testing.assert_allclose(after.distances, before.distances, rtol=0, atol=1e-9)
    np.testing.assert_allclose(after.vectors, before.vectors @ rotation.T, rtol=0, atol=1e-9)


@examples
@given(anything, nearest_or_all, seeds)
def test_permutation_only_renames_the_atoms(crystal, setting, seed):
    order = np.random.default_rng(seed).permutation(len(crystal))
    before, after = built(crystal, setting), built(permuted(crystal, order), setting)
    by_atom = np.argsort(order[after.edge_index[0]], kind="stable")
    assert np.array_equal(order[after.edge_index[:, by_atom]], before.edge_index)
    np.testing.assert_allclose(after.vectors[by_atom], before.vectors, rtol=0, atol=1e-9)


@examples
@given(anything, nearest_or_all, st.tuples(*[st.integers(1, 3)] * 3))
def test_supercell_repeats_every_edge(crystal, setting, times):
    before, after = built(crystal, setting), built(supercell(crystal, times), setting)
    copies, n = int(np.prod(times)), len(crystal)
    edges = np.tile(np.arange(before.n_edges), copies)
    assert after.n_edges == copies * before.n_edges
    assert np.array_equal(after.edge_index % n, before.edge_index[:, edges])
    np.testing.assert_allclose(after.vectors, before.vectors[edges], rtol=0, atol=1e-9)


@examples
@given(anything, st.sampled_from([3.1, 5.03, 8.0]))
def test_every_pair_within_the_cutoff_counts_in_both_directions(crystal, cutoff):
    graph = build_graph(crystal, cutoff=cutoff, max_neighbors=None)
    i, j = graph.edge_index
    forth, there = edge_table(i, j, graph.cell_shifts, graph.distances)
    back, again = edge_table(j, i, -graph.cell_shifts, graph.distances)
    assert np.array_equal(forth, back)
    np.testing.assert_allclose(there, again, rtol=0, atol=1e-12)
    assert np.all(graph.distances > 0)
    assert np.all(graph.distances <= cutoff + 1e-7)
    np.testing.assert_allclose(np.linalg.norm(graph.vectors, axis=1), graph.distances, atol=1e-10)


def test_closest_pair_finds_atoms_on_top_of_each_other_across_the_boundary():
    lattice = random_crystal(2, "skewed").lattice
    near = np.array([[0.1, 0.2, 0.3], [0.9999999, 0.5, 0.5], [1e-7, 2.5, -0.5]])
    assert neighbors.closest_pair(lattice, near)[:2] == (1, 2)
    apart = random_crystal(4, "ordinary")
    assert neighbors.closest_pair(apart.lattice, apart.frac_coords) == (-1, -1, np.inf)
