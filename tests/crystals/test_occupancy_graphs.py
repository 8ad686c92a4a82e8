"""Graphs of crystals with shared sites: codes of mixtures, the ordered limit, joined data sets."""

from dataclasses import fields

import numpy as np
import pytest
from crystal_examples import KINDS, random_crystal

from mfutils.crystals.disordered import from_occupancies
from mfutils.crystals.graph_data import GraphBatch, build_dataset
from mfutils.crystals.occupancy_graphs import FIRST_CODE, build, join
from mfutils.crystals.quotient import quotient
from mfutils.errors import InputError

GRAPH = {"cutoff": 8.0, "max_neighbors": 12}
CELL = 4.0 * np.eye(3)
PLACES = [[0, 0, 0], [0.5, 0.5, 0.5]]
ORDERED = [random_crystal(seed, kind) for seed in range(3) for kind in KINDS]


def whole(crystal):
    """The crystal with an occupancy of 1 everywhere."""
    shares = [{int(z): 1.0} for z in crystal.numbers]
    return from_occupancies(crystal.lattice, crystal.frac_coords, shares)


def mixed(*occupancies, places=PLACES, cell=CELL):
    return from_occupancies(cell, places, list(occupancies))


def numbers(*crystals):
    return build(crystals, **GRAPH).graphs.numbers.tolist()


def test_whole_atoms_give_the_ordered_graphs_to_the_last_bit():
    expected = build_dataset(ORDERED, **GRAPH, progress=False)
    found = build([whole(crystal) for crystal in ORDERED], **GRAPH)
    assert found.mixtures.shape == (0, 118)
    for field in fields(expected):
        one, other = getattr(found.graphs, field.name), getattr(expected, field.name)
        assert np.array_equal(one, other), field.name
        assert getattr(one, "dtype", None) == getattr(other, "dtype", None), field.name


def test_a_code_is_equal_exactly_where_the_mixture_is():
    copper, other = {29: 0.25, 47: 0.75}, {29: 0.75, 47: 0.25}
    turned = dict(reversed(copper.items()))
    assert numbers(mixed(copper, turned)) == [FIRST_CODE, FIRST_CODE]
    first, second = numbers(mixed(copper, other))
    assert first != second
    # the order of the crystals and of their sites is not what numbers a mixture
    assert numbers(mixed(other, copper)) == [second, first]
    assert numbers(mixed(copper, {35: 1.0}), mixed(other, {17: 1.0})) == [first, 35, second, 17]


def test_a_vacancy_makes_another_mixture():
    found = build([mixed({3: 0.5}, {3: 0.25}), mixed({3: 1.0}, {3: 0.5})], **GRAPH)
    half, quarter, whole_atom, again = found.graphs.numbers.tolist()
    assert half == again != quarter
    assert whole_atom == 3
    assert found.mixtures[half - FIRST_CODE, 2] == 0.5
    assert found.mixtures[quarter - FIRST_CODE].sum() == 0.25


def test_a_share_is_the_same_however_it_was_added_up():
    one, other = mixed({3: 0.1}, {3: 1.0}), mixed({3: 0.1}, {3: 1.0})
    one.occupancy[0, 2], other.occupancy[0, 2] = 0.1 + 0.2 + 0.3, 0.3 + 0.2 + 0.1
    assert one.occupancy[0, 2] != other.occupancy[0, 2]
    assert numbers(one, other) == [FIRST_CODE, 3] * 2


def test_a_graph_does_not_depend_on_the_other_crystals_of_the_data_set():
    rng = np.random.default_rng(0)
    places = [[x, y, z] for x in (0, 0.5) for y in (0, 0.5) for z in (0, 0.5)]
    kinds = [{29: 0.5, 47: 0.5}, {8: 1.0}, {3: 0.2}]
    cubic = mixed(*[kinds[k] for k in rng.integers(0, 3, 8)], places=places, cell=5.0 * np.eye(3))
    others = [mixed({z: 0.5}, {z: 0.3, 50: 0.4}) for z in (1, 20, 60)]
    alone, among = build([cubic], **GRAPH).graphs, build([*others, cubic], **GRAPH).graphs
    for name in ("neighbor", "shift", "distance"):
        assert np.array_equal(getattr(alone, name), getattr(among, name)[-8 * 12 :]), name


def test_distances_are_in_angstrom_and_split_sites_are_neighbours():
    found = build([mixed({3: 0.5}, {3: 0.5}, places=[[0, 0, 0], [0.1, 0, 0]])], **GRAPH)
    assert found.graphs.distance.reshape(2, 12)[:, 0] == pytest.approx([0.4, 0.4])


def test_codes_beyond_the_elements_merge_equal_atoms_as_elements_do():
    """The quotient packs a shell and a number into one integer, and a code is above 127."""
    rng = np.random.default_rng(1)
    for crystal in ORDERED:
        batch = build_dataset([crystal], **GRAPH, progress=False).batch([0])
        small = np.unique(batch.numbers, return_inverse=True)[1] + 1
        large = FIRST_CODE + rng.permutation(500)[small]
        parts = {f.name: getattr(batch, f.name) for f in fields(batch)}
        one, other = (quotient(GraphBatch(**parts | {"numbers": n})) for n in (small, large))
        assert np.array_equal(one.n_atoms, other.n_atoms)
        assert np.array_equal(np.sort(one.atom_count), np.sort(other.atom_count))
        assert np.array_equal(one.lengths, other.lengths)


def test_joined_graphs_are_those_of_both():
    ordered = build_dataset(ORDERED, ids=[f"o{i}" for i in range(len(ORDERED))], **GRAPH)
    shared = build([mixed({29: 0.5}, {35: 1.0}), mixed({3: 1.0}, {8: 0.5, 16: 0.5})], **GRAPH)
    both = shared.after(ordered)
    n = len(ordered)
    assert len(both.graphs) == n + 2
    assert both.graphs.ids.tolist() == [*ordered.ids, "0", "1"]
    assert both.graphs.rows.tolist() == list(range(n + 2))
    for i, (source, k) in enumerate(
        [*((ordered, i) for i in range(n)), *((shared.graphs, i) for i in (0, 1))]
    ):
        one, other = both.graphs.batch([i]), source.batch([k])
        for field in fields(one):
            assert np.array_equal(getattr(one, field.name), getattr(other, field.name))


def test_what_cannot_become_a_graph_is_listed_in_order():
    flat = mixed({3: 0.5}, {8: 1.0})
    flat.frac_coords[1] = 0.001
    good = mixed({3: 0.5}, {8: 1.0})
    found = build([good, flat, good, "CIF"], ids=["a", "b", "c", "d"], **GRAPH)
    assert found.graphs.ids.tolist() == ["a", "c"]
    assert found.graphs.rows.tolist() == [0, 2]
    assert [(skip.row, skip.id) for skip in found.graphs.skips] == [(1, "b"), (3, "d")]
    assert "b: atoms 0 (Li) and 1 (O) lie on top of each other" in found.graphs.skips[0].reason


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: build(["CIF"], **GRAPH), "a str has no occupancies"),
        (lambda: build([], **GRAPH), "no graph from 0 structures"),
        (lambda: build(["CIF"], on_error="raise", **GRAPH), "^0: a str has no occupancies"),
        (lambda: build([mixed({3: 0.5}, {8: 1.0})] * 2, ids=["a", "a"], **GRAPH), "id 'a' stands"),
        (lambda: build([mixed({3: 0.5}, {8: 1.0})], ids=["a", "b"], **GRAPH), "2 ids for 1"),
        (lambda: build([], cutoff=-1, max_neighbors=12), "cutoff is -1"),
        (
            lambda: build([mixed({3: 0.5}, {8: 1.0})], **GRAPH).after(
                build_dataset(ORDERED[:1], cutoff=6.0, max_neighbors=12)
            ),
            "graphs have cutoff 6.0 and 8.0",
        ),
        (
            lambda: join(*[build_dataset(ORDERED[:1], **GRAPH)] * 2),
            "id '0' stands at rows 0 and 1",
        ),
    ],
)
def test_bad_input_is_one_line(call, says):
    with pytest.raises(InputError, match=says) as error:
        call()
    assert "\n" not in str(error.value)
