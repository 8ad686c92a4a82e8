"""build_graph: its inputs, the shape of its answer and its errors."""

import numpy as np
import pytest
from crystal_examples import random_crystal, symmetric_crystals
from pymatgen.core import Lattice, Structure
from typeguard import suppress_type_checks

from mfutils.crystals.graph import as_crystal, build_graph
from mfutils.errors import InputError

# one atom per cell of 6 Angstrom: 6 neighbours at 6, 12 at 8.49
SPARSE = Structure(Lattice(np.eye(3) * 6.0), ["Xe"], [[0, 0, 0]])


def test_structure_cif_and_crystal_give_the_same_graph():
    crystal = random_crystal(11, "ordinary")
    structure = Structure(Lattice(crystal.lattice), crystal.numbers, crystal.frac_coords)
    from_structure = build_graph(structure, cutoff=8.0, max_neighbors=12)
    from_crystal = build_graph(crystal, cutoff=8.0, max_neighbors=12)
    assert np.array_equal(from_structure.edge_index, from_crystal.edge_index)
    assert np.array_equal(from_structure.distances, from_crystal.distances)
    from_cif = build_graph(structure.to(fmt="cif"), cutoff=8.0, max_neighbors=12)
    # eight decimals, and a cell turned to its standard orientation
    np.testing.assert_allclose(from_cif.distances, from_crystal.distances, atol=1e-5)
    assert np.array_equal(from_cif.numbers, from_crystal.numbers)


def test_shapes_and_types():
    graph = build_graph(random_crystal(4, "ordinary"), cutoff=8.0, max_neighbors=12)
    n = graph.n_atoms
    assert graph.edge_index.shape == (2, 12 * n)
    assert graph.cell_shifts.shape == (12 * n, 3)
    assert graph.distances.shape == (graph.n_edges,) == (12 * n,)
    assert graph.edge_index.dtype == graph.cell_shifts.dtype == graph.numbers.dtype == np.int64
    assert graph.distances.dtype == graph.lattice.dtype == graph.frac_coords.dtype == np.float64
    assert np.array_equal(graph.edge_index[0], np.repeat(np.arange(n), 12))
    ends = graph.positions[graph.edge_index[1]] + graph.cell_shifts @ graph.lattice
    np.testing.assert_allclose(ends - graph.positions[graph.edge_index[0]], graph.vectors)


def test_first_shells_of_rock_salt():
    graph = build_graph(symmetric_crystals()["rock salt"], cutoff=8.0, max_neighbors=None)
    counts = np.unique(np.round(graph.distances[graph.edge_index[0] == 0], 6), return_counts=True)
    np.testing.assert_allclose(counts[0][:4], 5.64 * np.sqrt([1, 2, 3, 4]) / 2, atol=1e-6)
    assert counts[1][:4].tolist() == [6, 12, 8, 6]


@pytest.mark.parametrize(
    ("short", "cutoff", "edges", "longest"),
    [
        ("keep", 8.0, 6, 6.0),
        ("grow", 8.0, 12, 8.4853),
        ("grow", 3.0, 12, 8.4853),
        ("keep", 5.0, 0, 0),
    ],
)
def test_fewer_neighbours_than_wanted(short, cutoff, edges, longest):
    graph = build_graph(SPARSE, cutoff=cutoff, max_neighbors=12, short=short)
    assert graph.n_edges == edges
    assert graph.distances.max(initial=0) == pytest.approx(longest, abs=1e-3)


def test_growing_changes_only_the_atoms_in_need():
    # a slab of hydrogen over vacuum: a near pair and one far atom
    lattice = np.diag([4.0, 4.0, 30.0])
    structure = Structure(
        Lattice(lattice), ["H", "H", "H"], [[0, 0, 0], [0.5, 0.5, 0.02], [0, 0, 0.5]]
    )
    keep = build_graph(structure, cutoff=8.0, max_neighbors=16)
    grow = build_graph(structure, cutoff=8.0, max_neighbors=16, short="grow")
    assert np.bincount(keep.edge_index[0]).tolist() == [16, 16, 12]
    assert np.bincount(grow.edge_index[0]).tolist() == [16, 16, 16]
    assert np.array_equal(grow.distances[:32], keep.distances[:32])
    assert np.array_equal(grow.distances[32:44], keep.distances[32:])


def test_too_few_neighbours_can_be_an_error():
    message = r"mp-1: 1 of 1 atoms have fewer than 12 neighbours within 8 Angstrom \(least 6\)"
    with pytest.raises(InputError, match=message):
        build_graph(SPARSE, cutoff=8.0, max_neighbors=12, short="raise", name="mp-1")
    assert build_graph(SPARSE, cutoff=8.0, max_neighbors=6, short="raise").n_edges == 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cutoff": 0, "max_neighbors": 12}, "cutoff is 0"),
        ({"cutoff": -1.0, "max_neighbors": 12}, "cutoff is -1.0"),
        ({"cutoff": float("nan"), "max_neighbors": 12}, "cutoff is nan"),
        ({"cutoff": 1e6, "max_neighbors": 12}, "cutoff is 1000000.0"),
        ({"cutoff": "8", "max_neighbors": 12}, "cutoff is '8'"),
        ({"cutoff": 8.0, "max_neighbors": 0}, "max_neighbors is 0"),
        ({"cutoff": 8.0, "max_neighbors": 2.5}, "max_neighbors is 2.5"),
        ({"cutoff": 8.0, "max_neighbors": True}, "max_neighbors is True"),
        ({"cutoff": 8.0, "max_neighbors": 12, "short": "pad"}, "short is 'pad'"),
    ],
)
def test_bad_settings(options, message):
    with suppress_type_checks(), pytest.raises(InputError, match=message):
        build_graph(SPARSE, **options)


def test_what_is_no_structure():
    with pytest.raises(InputError, match="mp-3: a float is no crystal; expected"):
        as_crystal(float("nan"), name="mp-3")


def test_a_bad_crystal_is_checked_again():
    crystal = random_crystal(1, "one_atom")
    crystal.frac_coords[0, 0] = np.inf
    with pytest.raises(InputError, match="not finite"):
        build_graph(crystal, cutoff=8.0, max_neighbors=12)
