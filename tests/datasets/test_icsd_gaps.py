"""The measured crystals of the study: made files for the reader, the real ones where they are."""

import gzip
import json

import numpy as np
import pytest

from mfutils.crystals.disordered import DisorderedCrystal
from mfutils.crystals.structure import Crystal
from mfutils.datasets import icsd_gaps
from mfutils.errors import DataError

CELL = {"a": 4.0, "matrix": [[4.0, 0, 0], [0, 4.0, 0], [0, 0, 4.0]]}


def site(place, *shares):
    return {
        "abc": place, "xyz": [0, 0, 0], "label": "x",
        "species": [{"element": e, "occu": o, "oxidation_state": 1.0} for e, o in shares],
    }  # fmt: skip


def crystal(gap, *shares, second=(0.5, 0.5, 0.5)):
    """One entry as the authors write it: caesium at the origin, the shares at the second site."""
    sites = [site([0, 0, 0], ("Cs", 1.0)), site(list(second), *shares)]
    return {"structure": {"lattice": CELL, "charge": None, "sites": sites}, "band_gap": gap}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A data directory with one crystal per fold and two disordered ones."""
    monkeypatch.setenv("MFUTILS_DATA", str(tmp_path))
    counts = dict.fromkeys(icsd_gaps.FOLDS, 1) | {"icsd_disordered": 2}
    monkeypatch.setattr(icsd_gaps, "COUNTS", counts)
    for fold in range(5):
        write(tmp_path / f"ordered_{fold}.json", {f"icsd-{fold}": crystal(fold / 2, ("Cl", 1.0))})
    mixed = {"icsd-8": crystal(2.0, ("Cl", 0.5), ("Br", 0.5)), "icsd-9": crystal(1.0, ("I", 0.9))}
    write(tmp_path / "disordered.json", mixed)
    return tmp_path


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def test_ordered_crystals_keep_fold_gap_and_elements(folder):
    assert icsd_gaps.available()
    table, left_out = icsd_gaps.ordered()
    assert table["material_id"].tolist() == [f"icsd-{fold}" for fold in range(5)]
    assert table["fold"].tolist() == [0, 1, 2, 3, 4]
    assert table["gap"].tolist() == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert set(table["formula"]) == {"CsCl"}
    first = table["structure"][0]
    assert isinstance(first, Crystal)
    assert first.numbers.tolist() == [55, 17]
    assert left_out.empty


def test_disordered_crystals_keep_their_shares(folder):
    table, left_out = icsd_gaps.disordered()
    assert table["formula"].tolist() == ["Cl0.5 Br0.5 Cs1", "I0.9 Cs1"]
    assert all(isinstance(c, DisorderedCrystal) for c in table["structure"])
    assert table["structure"][0].occupancy[1, [16, 34]].tolist() == [0.5, 0.5]
    assert left_out.empty


def test_a_damaged_crystal_is_left_out_with_its_reason(folder):
    write(folder / "ordered_1.json", {"icsd-1": crystal(1.0, ("Cs", 1.0), second=(0, 0, 1e-4))})
    write(folder / "ordered_2.json", {"icsd-2": crystal(1.0, ("Cl", 0.5))})
    write(folder / "ordered_3.json", {"icsd-3": {"structure": {"sites": []}, "band_gap": 1.0}})
    table, left_out = icsd_gaps.ordered()
    assert table["fold"].tolist() == [0, 4]
    assert left_out["material_id"].tolist() == ["icsd-1", "icsd-2", "icsd-3"]
    on_top, shared, broken = left_out["reason"]
    assert on_top.startswith("atoms 0 (Cs) and 1 (Cs) lie on top of each other")
    assert shared == "site 1 is shared; expected one whole atom per site"
    assert broken.startswith("not a pymatgen structure")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"icsd-0": crystal(1.0, ("Cl", 1.0))}, "ordered_3.json: id icsd-0 is repeated"),
        ({"icsd-3": crystal(-1.0, ("Cl", 1.0))}, "band_gap of icsd-3 is -1.0"),
        ({"icsd-3": crystal(None, ("Cl", 1.0))}, "band_gap of icsd-3 is None"),
        ('{"icsd-3": {"band_gap": 1.0}, "icsd-3": {"band_gap": 2.0}}', "2 crystals; expected"),
        ({}, "0 crystals; expected an object of 1 crystals"),
        ("[1, 2]", "expected an object of 1 crystals by id"),
        ('{"icsd-3": ', "not readable as JSON or cut short"),
    ],
)
def test_a_damaged_file_is_one_line(folder, content, says):
    write(folder / "ordered_3.json", content)
    with pytest.raises(DataError, match=says) as error:
        icsd_gaps.ordered()
    assert "\n" not in str(error.value)


def test_a_missing_fold_is_one_line(folder):
    (folder / "ordered_4.json").unlink()
    assert not icsd_gaps.available()
    with pytest.raises(DataError, match=r"no file of icsd_ordered_4 .*make data"):
        icsd_gaps.ordered()


def test_compressed_files_are_read(folder):
    path = folder / "ordered_0.json"
    (folder / "ordered_0.json.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    assert len(icsd_gaps.ordered()[0]) == 5


@pytest.mark.data
@pytest.mark.skipif(not icsd_gaps.available(), reason="the study's measured crystals are not here")
def test_the_real_crystals():
    """Counts, shares and gaps of the study's test set; the gaps are those of Chen et al."""
    table, left_out = icsd_gaps.ordered()
    assert len(table) == 2702
    assert left_out["material_id"].tolist() == ["icsd-42318"]
    assert "(Cd) lie on top of each other" in left_out["reason"][0]
    assert np.mean(table["gap"] == 0) == pytest.approx(0.512, abs=5e-4)
    assert table["gap"].mean() == pytest.approx(1.196, abs=5e-4)
    shared, refused = icsd_gaps.disordered()
    assert len(shared) == 278
    assert refused.empty
    assert not any(c.ordered for c in shared["structure"])
