"""Flat data sets of graphs: equal to single graphs, batched by index, nothing lost in silence."""

import logging

import numpy as np
import pytest
import torch
from crystal_examples import KINDS, random_crystal
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from mfutils.crystals.graph import build_graph
from mfutils.crystals.graph_data import build_dataset
from mfutils.crystals.structure import Crystal
from mfutils.errors import InputError

CRYSTALS = [random_crystal(seed, kind) for seed in range(4) for kind in KINDS]
SETTINGS = {"nearest": (8.0, 12), "all": (5.0, None)}
DATASETS = {
    name: build_dataset(CRYSTALS, cutoff=cutoff, max_neighbors=k)
    for name, (cutoff, k) in SETTINGS.items()
}


@pytest.mark.parametrize("name", SETTINGS)
def test_every_graph_equals_the_one_built_alone(name):
    cutoff, k = SETTINGS[name]
    dataset = DATASETS[name]
    assert len(dataset) == len(CRYSTALS)
    for i, crystal in enumerate(CRYSTALS):
        alone, stored = build_graph(crystal, cutoff=cutoff, max_neighbors=k), dataset.graph(i)
        assert np.array_equal(alone.numbers, stored.numbers)
        assert np.array_equal(alone.edge_index, stored.edge_index)
        # the data set keeps atoms inside the cell, so only the vectors compare
        np.testing.assert_allclose(stored.vectors, alone.vectors, rtol=0, atol=1e-9)
        np.testing.assert_allclose(stored.distances, alone.distances, rtol=0, atol=1e-9)
    assert np.array_equal(dataset.n_atoms, [len(c) for c in CRYSTALS])
    assert dataset.n_edges.sum() == len(dataset.distance)
    assert dataset.short_atoms == 0


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    st.sampled_from(list(SETTINGS)),
    st.lists(st.integers(0, len(CRYSTALS) - 1), min_size=0, max_size=12),
)
def test_a_batch_is_its_graphs_side_by_side(name, index):
    dataset = DATASETS[name]
    batch = dataset.batch(np.array(index, dtype=int))
    parts = [dataset.graph(i) for i in index]
    starts = np.cumsum([0] + [p.n_atoms for p in parts])
    assert np.array_equal(batch.n_atoms, [p.n_atoms for p in parts])
    assert np.array_equal(batch.n_edges, [p.n_edges for p in parts])
    for g, part in enumerate(parts):
        atoms = np.flatnonzero(batch.graph_index == g)
        edges = np.flatnonzero(np.isin(batch.edge_index[0], atoms))
        assert np.array_equal(atoms, np.arange(starts[g], starts[g + 1]))
        assert np.array_equal(batch.numbers[atoms], part.numbers)
        assert np.array_equal(batch.edge_index[:, edges], part.edge_index + starts[g])
        np.testing.assert_allclose(batch.distances[edges], part.distances, rtol=2e-7)


def test_a_batch_as_torch_tensors():
    batch = DATASETS["nearest"].batch([3, 1, 3])
    tensors = batch.to_torch()
    for name, dtype in [
        ("numbers", torch.int64), ("edge_index", torch.int64), ("distances", torch.float32),
        ("graph_index", torch.int64), ("n_atoms", torch.int64), ("n_edges", torch.int64),
    ]:  # fmt: skip
        assert getattr(tensors, name).dtype == dtype
        assert np.array_equal(getattr(tensors, name).numpy(), getattr(batch, name))
    table = tensors.distances.reshape(len(batch.numbers), 12)
    assert torch.all(table.diff(dim=1) >= -2e-5)


@pytest.mark.parametrize(
    ("index", "message"),
    [([99], "runs from 99 to 99"), ([-1], "runs from -1"), ([0.5], "float64"), ([[0]], "shape")],
)
def test_a_bad_batch_index(index, message):
    with pytest.raises(InputError, match=message):
        DATASETS["all"].batch(index)


def with_defects():
    good = random_crystal(2, "ordinary")
    flat = Crystal(np.diag([3.0, 3.0, 0.0]), np.zeros((1, 3)), np.array([3]))
    twice = Crystal(np.eye(3) * 4, np.zeros((2, 3)), np.array([3, 4]))
    alloy = Structure(Lattice(np.eye(3) * 3), [{"Fe": 0.5, "Ni": 0.5}], [[0, 0, 0]])
    return [good, flat, "no CIF", twice, good, alloy, None]


def test_defects_are_counted_listed_and_logged(caplog):
    ids = [f"mp-{i}" for i in range(7)]
    with caplog.at_level(logging.WARNING):
        dataset = build_dataset(iter(with_defects()), ids=ids, cutoff=8.0, max_neighbors=12)
    assert dataset.ids.tolist() == ["mp-0", "mp-4"]
    assert dataset.rows.tolist() == [0, 4]
    assert [skip.row for skip in dataset.skips] == [1, 2, 3, 5, 6]
    for skip, reason in zip(
        dataset.skips,
        ["no volume", "CIF", "on top of each other", "partial occupancy", "is no crystal"],
        strict=True,
    ):
        assert skip.id == ids[skip.row]
        assert skip.reason.startswith(f"{skip.id}: ")
        assert reason in skip.reason
        assert "\n" not in skip.reason
    assert "skipped 5 of 7 structures; the first: mp-1: cell has no volume" in caplog.text


def test_defects_raise_when_asked():
    with pytest.raises(InputError, match="1: cell has no volume"):
        build_dataset(with_defects(), cutoff=8.0, max_neighbors=12, on_error="raise")
    with pytest.raises(InputError, match="on_error is 'hide'"):
        build_dataset(CRYSTALS, cutoff=8.0, max_neighbors=12, on_error="hide")


def test_nothing_left_is_an_error():
    with pytest.raises(InputError, match="no graph from 1 structures; the first: 0: "):
        build_dataset(["data_x"], cutoff=8.0, max_neighbors=12)
    with pytest.raises(InputError, match="no graph from 0 structures"):
        build_dataset([], cutoff=8.0, max_neighbors=12)


def test_ids_must_be_unique_and_match():
    with pytest.raises(InputError, match="id 'a' stands at rows 0 and 2"):
        build_dataset(CRYSTALS[:3], ids=["a", "b", "a"], cutoff=8.0, max_neighbors=12)
    for count in (2, 4):
        for structures in (CRYSTALS[:3], iter(CRYSTALS[:3])):
            with pytest.raises(InputError, match=f"{count} ids for"):
                build_dataset(structures, ids=range(count), cutoff=8.0, max_neighbors=12)


def test_atoms_without_enough_neighbours_are_counted(caplog):
    sparse = Crystal(np.eye(3) * 6.0, np.zeros((1, 3)), np.array([54]))
    with caplog.at_level(logging.WARNING):
        nearest = build_dataset([CRYSTALS[0], sparse], cutoff=8.0, max_neighbors=12)
        every = build_dataset([CRYSTALS[0], sparse], cutoff=5.0, max_neighbors=None)
        grown = build_dataset([sparse], cutoff=5.0, max_neighbors=12, short="grow")
    assert nearest.short_atoms == every.short_atoms == 1
    assert grown.short_atoms == 0
    assert "1 of 2 atoms have fewer than 12 neighbours within 8 Angstrom" in caplog.text
    assert "1 of 2 atoms have fewer than 1 neighbours within 5 Angstrom" in caplog.text
    assert every.batch([1]).edge_index.shape == (2, 0)


def test_a_cell_too_thin_for_the_stored_shifts_is_skipped_not_wrapped():
    thin = Crystal(np.diag([0.3, 30.0, 30.0]), np.zeros((1, 3)), np.array([1]))
    dataset = build_dataset([CRYSTALS[0], thin], cutoff=45.0, max_neighbors=None)
    assert len(dataset) == 1
    assert "more than 127 cells away" in dataset.skips[0].reason


def test_the_progress_bar_shows_on_request(capsys):
    build_dataset(CRYSTALS[:3], cutoff=8.0, max_neighbors=12, progress=True)
    assert "3/3" in capsys.readouterr().err
    build_dataset(CRYSTALS[:3], cutoff=8.0, max_neighbors=12, progress=False)
    assert capsys.readouterr().err == ""
