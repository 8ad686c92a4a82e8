"""The embedded forces: what the set holds, what physics says about it, and its builder."""

import io

import numpy as np
import pyarrow.parquet as pq
import pytest

from mfutils.datasets import mlearn
from mfutils.datasets.build import mlearn_forces
from mfutils.errors import DataError, InputError

TABLE = mlearn.load()


def test_counts_are_those_of_the_source_without_its_repeats():
    assert len(TABLE) == 1566
    assert TABLE["id"].is_unique
    counts = TABLE.groupby(["element", "split"]).size().unstack()
    # Zuo et al. 2020 test on a tenth of every element
    assert counts["test"].to_dict() == {
        "Cu": 31, "Ge": 25, "Li": 29, "Mo": 23, "Ni": 31, "Si": 25
    }  # fmt: skip
    assert set(TABLE["group"]) == set(mlearn.GROUPS)
    assert (TABLE["id"].str.endswith("a") == (TABLE["split"] == "test")).all()


def test_forces_of_a_cell_sum_to_zero():
    worst = max(np.abs(f.sum(0)).max() for f in TABLE["forces"])
    assert worst < 1e-4 * 0.5 * 110  # at most what rounding to 1e-4 can add up to


def test_groups_are_what_they_say():
    volume = TABLE["structure"].map(lambda c: c.volume / len(c))
    usual = volume.groupby(TABLE["element"]).transform("median")
    assert (volume[TABLE["group"] == "surface"] > 1.25 * usual[TABLE["group"] == "surface"]).all()
    vacancy = TABLE[TABLE["group"] == "vacancy"]
    assert set(vacancy["atoms"]) == {53, 63, 107}


def test_loader_selects_and_refuses():
    part = mlearn.load("Li", split="test")
    assert set(part["element"]) == {"Li"}
    assert len(part) == 29
    assert set(part["structure"].iloc[0].numbers.tolist()) == {3}
    with pytest.raises(InputError, match="'Fe' asked for"):
        mlearn.load(["Li", "Fe"])
    with pytest.raises(InputError, match="split is 'val'"):
        mlearn.load(split="val")
    with pytest.raises(InputError, match="no element"):
        mlearn.load([])


def record(name, *, forces=((0.1, 0, 0), (-0.1, 0, 0)), energy=-8.0, per_atom=-4.0):
    return {
        "jid": name,
        "atoms": {
            "lattice_mat": [[4, 0, 0], [0, 4, 0], [0, 0, 4]],
            "coords": [[0, 0, 0], [0.5, 0.5, 1.25]],
            "elements": ["Li", "Li"],
        },
        "energy": energy,
        "total_energy": per_atom,
        "forces": forces,
        "stresses": [[1, 6, 5], [6, 2, 4], [5, 4, 3]],
    }


def test_builder_keeps_one_of_each_and_survives_the_file():
    table = mlearn_forces.tabulate([record("Li-1"), record("Li-2a"), record("Li-2a")])
    assert list(table["id"]) == ["Li-1", "Li-2a"]
    assert list(table["split"]) == ["train", "test"]
    np.testing.assert_array_equal(table["stress"].iloc[0], [1, 2, 3, 4, 5, 6])
    content = mlearn_forces.to_parquet(table)
    assert content == mlearn_forces.to_parquet(table)
    raw = pq.read_table(io.BytesIO(content)).to_pandas()
    np.testing.assert_allclose(raw["coords_1e6"].iloc[0][3:], [500000, 500000, 250000])
    np.testing.assert_allclose(raw["forces_1e4"].iloc[0], [1000, 0, 0, -1000, 0, 0])


def test_builder_refuses_inconsistent_energies():
    with pytest.raises(DataError, match=r"Li-1 has energy -8\.0 but -8\.0 per atom"):
        mlearn_forces.tabulate([record("Li-1", per_atom=-8.0)])
    with pytest.raises(DataError, match="forces"):
        mlearn_forces.tabulate([record("Li-1", forces=((0.1, 0, 0),))])
