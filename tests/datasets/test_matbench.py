"""Matbench's public file format, on a small file written here by pymatgen's own serialiser."""

import gzip
import json

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from mfutils.datasets import matbench
from mfutils.errors import DataError, InputError
from mfutils.study.s09 import moduli


def structures():
    salt = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
    iron = Structure(Lattice.cubic(2.87), ["Fe", "Fe"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    alloy = Structure(Lattice.cubic(2.9), [{"Fe": 0.5, "Al": 0.5}], [[0, 0, 0]])
    return [salt.get_primitive_structure(), iron, alloy]


def content(task="log_gvrh", values=(1.2, 1.9, 1.5)):
    rows = [[s.as_dict(), v] for s, v in zip(structures(), values, strict=True)]
    names = [f"mb-{task.replace('_', '-')}-{k + 1:05d}" for k in range(3)]
    return {"index": names, "columns": ["structure", matbench.COLUMNS[task]], "data": rows}


def write(path, table):
    with gzip.open(path, "wt", encoding="utf-8") as handle:
        json.dump(table, handle)
    return path


def test_reads_structures_and_targets_and_lists_what_is_disordered(tmp_path):
    path = write(tmp_path / "matbench_log_gvrh.json.gz", content())
    table, skips = matbench.read(path, "log_gvrh")
    assert table["material_id"].tolist() == ["mb-log-gvrh-00001", "mb-log-gvrh-00002"]
    assert table["formula"].tolist() == ["NaCl", "Fe"]
    assert table["log_modulus"].tolist() == [1.2, 1.9]
    for crystal, structure in zip(table["structure"], structures(), strict=False):
        assert np.allclose(crystal.lattice, structure.lattice.matrix)
        assert np.allclose(crystal.frac_coords, structure.frac_coords)
        assert crystal.numbers.tolist() == [site.specie.Z for site in structure]
    assert [(s.row, s.id) for s in skips] == [(2, "mb-log-gvrh-00003")]
    assert "partial occupancy" in skips[0].reason


def test_a_file_in_the_data_directory_is_found_and_screened(tmp_path, monkeypatch):
    monkeypatch.setenv("MFUTILS_DATA", str(tmp_path))
    moduli.load_moduli.cache_clear()
    assert matbench.find("log_kvrh") is None
    with pytest.raises(DataError, match="no matbench_log_kvrh"):
        matbench.load("log_kvrh")
    write(tmp_path / "matbench_log_kvrh.json.gz", content("log_kvrh"))
    data = moduli.load_moduli("matbench", "bulk")
    moduli.load_moduli.cache_clear()
    assert len(data) == 2
    assert data.target == pytest.approx([1.2, 1.9])
    assert data.table["system"].tolist() == ["cubic", "cubic"]
    assert data.table["spacegroup"].tolist() == [225, 229]
    assert data.left_out["reason"].str.contains("partial occupancy").tolist() == [True]


def broken(change):
    table = content()
    change(table)
    return table


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop("data"), "index, columns and data"),
        (lambda t: t.update(columns=["structure", "other"]), "no column"),
        (lambda t: t["index"].pop(), "2 ids for 3 rows"),
        (lambda t: t["data"][1].pop(), "row 1 is not a list of 2"),
        (lambda t: t["data"][0].__setitem__(1, float("nan")), "row 0 .* finite number"),
        (lambda t: t["data"][0].__setitem__(1, "12"), "finite number"),
        (lambda t: t["index"].__setitem__(1, t["index"][0]), "twice"),
        (lambda t: [row.__setitem__(0, {}) for row in t["data"]], "none of 3 rows"),
    ],
)
def test_damaged_files_are_refused_in_one_line(tmp_path, change, words):
    path = write(tmp_path / "file.json.gz", broken(change))
    with pytest.raises(DataError, match=words) as caught:
        matbench.read(path, "log_gvrh")
    assert "\n" not in str(caught.value)


def test_a_cut_file_is_refused(tmp_path):
    path = write(tmp_path / "file.json.gz", content())
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match="cut short"):
        matbench.read(path, "log_gvrh")


def test_unknown_task():
    with pytest.raises(InputError, match="log_gvrh, log_kvrh"):
        matbench.find("steels")
