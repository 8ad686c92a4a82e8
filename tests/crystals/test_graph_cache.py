"""The graph cache: found by content only, whole or not at all, rebuilt when damaged."""

import logging
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from crystal_examples import random_crystal
from pymatgen.core import Lattice, Structure

from mfutils import paths
from mfutils.crystals import graph, graph_cache, graph_data
from mfutils.crystals.graph_cache import load_or_build
from mfutils.crystals.structure import Crystal
from mfutils.errors import InputError

CRYSTALS = [random_crystal(seed, "ordinary") for seed in range(5)]
OPTIONS = {"cutoff": 8.0, "max_neighbors": 12}


@pytest.fixture
def load(tmp_path, caplog):
    """Load through a cache of its own; returns the data set and "hit", "miss" or "rebuilt"."""

    def run(structures=CRYSTALS, **options):
        caplog.clear()
        with caplog.at_level(logging.INFO, logger="mfutils.crystals.graph_cache"):
            dataset = load_or_build(structures, folder=tmp_path / "cache", **OPTIONS | options)
        said = [word for word in ("corrupt", "hit", "miss") if f"{word}" in caplog.text]
        return dataset, said

    run.entries = lambda: sorted((tmp_path / "cache").iterdir())
    return run


def assert_same(a, b):
    for name in graph_cache._ARRAYS:
        one, other = getattr(a, name), getattr(b, name)
        assert one.dtype == other.dtype
        assert np.array_equal(one, other), name
    assert (a.skips, a.cutoff, a.max_neighbors) == (b.skips, b.cutoff, b.max_neighbors)


def test_miss_then_hit_with_the_same_content(load):
    built, said = load()
    assert said == ["miss"]
    again, said = load()
    assert said == ["hit"]
    assert_same(built, again)
    assert_same(built, graph_data.build_dataset(CRYSTALS, **OPTIONS))
    assert len(load.entries()) == 1


def test_a_hit_builds_nothing(load, monkeypatch):
    load()
    monkeypatch.setattr(graph, "edges_of", None)
    assert load()[1] == ["hit"]


def changed(which):
    crystal = CRYSTALS[2]
    moved = crystal.frac_coords.copy()
    moved[0, 0] = np.nextafter(moved[0, 0], 1)
    return {
        "coordinate": Crystal(crystal.lattice, moved, crystal.numbers),
        "lattice": Crystal(crystal.lattice * (1 + 1e-15), crystal.frac_coords, crystal.numbers),
        "element": Crystal(crystal.lattice, crystal.frac_coords, crystal.numbers % 80 + 1),
    }[which]


@pytest.mark.parametrize("which", ["coordinate", "lattice", "element"])
def test_any_change_of_a_structure_is_a_miss(load, which):
    load()
    assert load([*CRYSTALS[:2], changed(which), *CRYSTALS[3:]])[1] == ["miss"]


@pytest.mark.parametrize(
    "options",
    [{"cutoff": 7.0}, {"max_neighbors": np.int64(11)}, {"max_neighbors": None}, {"short": "grow"},
     {"ids": ["a", "b", "c", "d", "e"]}],
)  # fmt: skip
def test_any_change_of_the_settings_is_a_miss(load, options):
    load()
    assert load(**options)[1] == ["miss"]
    assert load()[1] == ["hit"]


def test_order_and_number_of_structures_matter(load):
    load()
    assert load(CRYSTALS[::-1])[1] == ["miss"]
    assert load(CRYSTALS[:-1])[1] == ["miss"]


# Edits each module that reads structures or builds edges, in a copy of the package.
EDIT_CODE = """
import os, sys
from pathlib import Path
from mfutils import paths
from mfutils.crystals import graph_cache
def key():
    return graph_cache.content_key(["a"], ["b"], cutoff=8, max_neighbors=12, short="keep")
assert paths.ROOT == Path(sys.argv[1]).resolve()
keys = [key()]
for name in ["neighbors", "structure", "cif", "graph", "graph_data"]:
    for text in ("# a remark\\n", "_ADDED = 1\\n"):
        path = paths.ROOT / "mfutils" / "crystals" / f"{name}.py"
        path.write_text(path.read_text() + text)
        os.utime(path, ns=(0, 10**9 * len(keys)))
        keys.append(key())
print(*keys)
"""


def test_a_change_of_the_code_is_a_miss_and_a_remark_is_not(tmp_path):
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(paths.ROOT / "mfutils", tmp_path / "mfutils", ignore=ignore)
    done = subprocess.run(
        [sys.executable, "-c", EDIT_CODE, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    keys = done.stdout.split()
    assert len(keys) == 11
    assert keys[1::2] == keys[0:-1:2]
    assert len(set(keys)) == 6


def test_all_forms_of_structures_have_keys():
    structures = [Structure(Lattice(c.lattice), c.numbers, c.frac_coords) for c in CRYSTALS]
    charged = structures[0].copy()
    charged.replace_species({charged[0].specie: "Li"})
    keys = {
        graph_cache.content_key(batch, ["a"], short="keep", **OPTIONS)
        for batch in (
            [CRYSTALS[0]],
            [structures[0]],
            [charged],
            [structures[0].to(fmt="cif")],
            [None],
        )
    }
    assert len(keys) == 5


def test_equal_numbers_of_other_types_give_the_same_key():
    keys = {
        graph_cache.content_key(CRYSTALS, ["a"], cutoff=cutoff, max_neighbors=k, short="keep")
        for cutoff, k in ((8, 12), (8.0, np.int64(12)), (np.float64(8), 12))
    }
    assert len(keys) == 1


def test_every_damage_is_rebuilt_or_harmless(load):
    built, _ = load()
    (entry,) = load.entries()
    whole = entry.read_bytes()
    rng = np.random.default_rng(0)
    damages = [whole[:cut] for cut in rng.integers(0, len(whole), 20)]
    for at in rng.integers(0, len(whole), 150):
        flipped = bytearray(whole)
        flipped[at] ^= 1 << rng.integers(8)
        damages.append(bytes(flipped))
    damages += [b"", b"PK", b"not an archive", whole[::-1]]
    rebuilt = 0
    for damage in damages:
        entry.write_bytes(damage)
        dataset, said = load()
        assert_same(dataset, built)
        # a few bytes of an archive (dates, permissions) mean nothing
        assert said in (["hit"], ["corrupt", "miss"])
        if said != ["hit"]:
            rebuilt += 1
            assert load()[1] == ["hit"]
    assert rebuilt > 120


def test_an_entry_with_another_key_or_shape_is_not_believed(load, tmp_path):
    built, _ = load()
    (entry,) = load.entries()
    graph_cache.write(entry, built, "0" * 64)
    assert load()[1] == ["corrupt", "miss"]
    with np.load(entry) as archive:
        arrays = dict(archive)
    for name, value in [
        ("neighbor", arrays["neighbor"][:-1]), ("distance", arrays["distance"].astype(float)),
        ("atom_pointer", arrays["atom_pointer"][::-1]), ("shift", arrays["shift"].ravel()),
    ]:  # fmt: skip
        np.savez(entry, **arrays | {name: value})
        dataset, said = load()
        assert said == ["corrupt", "miss"]
        assert_same(dataset, built)


def test_a_write_that_fails_leaves_no_entry_and_costs_no_result(load, monkeypatch, caplog):
    def full_disk(handle, **arrays):
        handle.write(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", full_disk)
        dataset, said = load()
        assert "graph cache not written ([Errno 28] No space left on device)" in caplog.text
    assert said == ["miss"]
    assert len(dataset) == 5
    assert load.entries() == []
    assert load()[1] == ["miss"]


def test_a_folder_that_cannot_be_made_costs_no_result(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    with caplog.at_level(logging.WARNING):
        dataset = load_or_build(CRYSTALS, folder=tmp_path / "file", **OPTIONS)
    assert len(dataset) == 5
    assert "graph cache not written" in caplog.text


def test_skips_survive_the_cache(load, caplog):
    structures = [CRYSTALS[0], "no CIF", CRYSTALS[1]]
    built, _ = load(structures, ids=["a", "b", "c"])
    again, said = load(structures, ids=["a", "b", "c"])
    assert said == ["hit"]
    assert again.skips == built.skips
    assert "skipped 1 of 3 structures; the first: b: CIF" in caplog.text
    assert again.skips[0].id == "b"
    assert again.rows.tolist() == [0, 2]
    with pytest.raises(InputError, match="b: CIF"):
        load(structures, ids=["a", "b", "c"], on_error="raise")


def test_bad_settings_are_refused_before_any_work(load):
    with pytest.raises(InputError, match="cutoff is 0"):
        load(cutoff=0)
    with pytest.raises(InputError, match="id 'a' stands at rows"):
        load(ids=["a", "a", "b", "c", "d"])
    with pytest.raises(InputError, match="on_error is 'hide'"):
        load(on_error="hide")
    with pytest.raises(InputError, match="2 ids for 5"):
        load(ids=["a", "b"])
