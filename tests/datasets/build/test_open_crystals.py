"""The builder of the embedded crystals on archives made here, and the committed result."""

import dataclasses
import io
import json
import tarfile
import warnings
import zipfile

import numpy as np
import pandas as pd
import pytest

from mfutils import files, paths
from mfutils.crystals import formulas
from mfutils.crystals.structure import check
from mfutils.datasets import registry, tables
from mfutils.datasets.build import open_crystals, packages
from mfutils.errors import DataError, InputError

FCC = [[0.0, 2.0, 2.0], [2.0, 0.0, 2.0], [2.0, 2.0, 0.0]]
BCC = [[3.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 3.0]]


def literal(lattice, *sites, occupancy=1):
    """A structure as the flla table writes it."""
    entry = {
        "lattice": {"matrix": lattice},
        "sites": [
            {"abc": list(at), "species": [{"occu": occupancy, "element": symbol}]}
            for symbol, at in sites
        ],
    }
    return repr(entry)


def poscar(lattice, symbols, counts, coords, mode="direct"):
    rows = [" ".join(f"{x:.6f}" for x in row) for row in lattice]
    atoms = [" ".join(f"{x:.6f}" for x in row) + " X" for row in coords]
    return "\n".join(["name", "1.0", *rows, " ".join(symbols), " ".join(counts), mode, *atoms, ""])


def csv(rows):
    return "# ref: somebody, 2000\n" + pd.DataFrame(rows).to_csv(index=False)


ROCKSALT = literal(FCC, ("Na", (0, 0, 0)), ("Cl", (0.5, 0.5, 0.5)))
CESIUM_TYPE = literal(BCC, ("Na", (0, 0, 0)), ("Cl", (0.5, 0.5, 0.5)))
SILICON = poscar(
    [[0, 2.7, 2.7], [2.7, 0, 2.7], [2.7, 2.7, 0]], ["Si"], ["2"], [[0] * 3, [0.25] * 3]
)
TENSOR = np.diag([100.0, 100.0, 100.0, 40.0, 40.0, 40.0]) + 0.0
TENSOR[:3, :3] += 50.0 - 50.0 * np.eye(3)


def world():
    """Members of the three archives; tests change a part before packing."""
    flla = [
        {"material_id": "mp-30", "structure": CESIUM_TYPE, "e": -1.9, "e_above_hull": 0.1},
        {"material_id": "mp-4", "structure": ROCKSALT, "e": -2.0, "e_above_hull": 0.0},
    ]
    flla = [
        {**{k: v for k, v in row.items() if k != "e"}, "formation_energy_per_atom": row["e"]}
        for row in flla
    ]
    elastic = [
        {
            "material_id": "mp-149",
            "poscar": SILICON,
            "space_group": 227,
            "elastic_tensor": repr(TENSOR.tolist()),
            "K_VRH": 66.7,
            "G_VRH": 37.0,
        },
        # Also in flla, which is preferred for the structure; the moduli are kept.
        {
            "material_id": "mp-4",
            "poscar": SILICON,
            "space_group": 225,
            "elastic_tensor": repr(TENSOR.tolist()),
            "K_VRH": 25.0,
            "G_VRH": 15.0,
        },
    ]
    dielectric = [
        {"material_id": "mp-149", "poscar": SILICON, "space_group": 227, "band_gap": 0.61}
    ]
    piezo = [{"material_id": "mp-7", "poscar": SILICON.replace("Si", "C"), "space_group": 227}]
    benchmark = "crabnet/data/benchmark_data/{}/{}.csv"
    crabnet = {"crabnet/data/matbench/expt_gap.csv": "formula,target\nClNa,8.5\nSi0.5Ge0.5,0.9\n"}
    for table in ("aflow__Egap", "OQMD_Bandgap"):
        crabnet[benchmark.format(table, "train")] = "formula,target\nNa1Cl1,5.0\n"
        crabnet[benchmark.format(table, "val")] = "formula,target\nSi1,0.6\n"
        crabnet[benchmark.format(table, "test")] = "formula,target\nNa2Cl2,5.4\n"
    for table in ("aflow__ael_bulk_modulus_vrh", "aflow__ael_shear_modulus_vrh"):
        for part, row in (("train", "Si1,88.0\n"), ("val", ""), ("test", "N1Na1,1.0\n")):
            crabnet[benchmark.format(table, part)] = "formula,target\n" + row
    return {
        "matminer": {
            "matminer/datasets/flla_2015.csv": flla,
            "matminer/datasets/elastic_tensor.csv": elastic,
            "matminer/datasets/dielectric_constant.csv": dielectric,
            "matminer/datasets/piezoelectric_tensor.csv": piezo,
        },
        "crabnet": crabnet,
        "jarvis_leaderboard": {
            "megnet_e_form": {"train": {"mp-4": "-2.1"}, "val": {"mp-149": "0.0"}, "test": {}},
            "megnet_gappbe": {
                "train": {"mp-4": "5.003000000000001", "mp-999": "1.0"},
                "val": {"mp-149": "0.6103"},
                "test": {"mp-30": "4.1"},
            },
        },
    }


@pytest.fixture
def pack(tmp_path, monkeypatch):
    """Write the archives of a world and pin their checksums; returns their folder."""

    def write(members):
        folder = tmp_path / "archives"
        folder.mkdir()
        for name, content in members.items():
            package = packages.PACKAGES[name]
            target = folder / package.file
            if package.is_wheel:
                _wheel(target, content)
            else:
                _sdist(target, f"{name}-{package.version}", content)
            pinned = dataclasses.replace(package, sha256=files.sha256_of(target))
            monkeypatch.setitem(packages.PACKAGES, name, pinned)
        return folder

    return write


def _sdist(target, root, members):
    with tarfile.open(target, "w:gz") as tar:
        for path, content in members.items():
            text = content if isinstance(content, str) else csv(content)
            info = tarfile.TarInfo(f"{root}/{path}")
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))


def _wheel(target, members):
    folder = "jarvis_leaderboard/benchmarks/AI/SinglePropertyPrediction"
    with zipfile.ZipFile(target, "w") as wheel:
        for name, parts in members.items():
            inner = io.BytesIO()
            with zipfile.ZipFile(inner, "w") as archive:
                archive.writestr(f"{name}.json", json.dumps(parts))
            wheel.writestr(f"{folder}/{name}.json.zip", inner.getvalue())


def test_small_world(pack, tmp_path):
    table = open_crystals.build(folder=pack(world())).set_index("material_id")
    assert table.index.tolist() == ["mp-4", "mp-7", "mp-30", "mp-149"]  # by number
    assert table["formula"].tolist() == ["NaCl", "C", "NaCl", "Si"]
    assert table["spacegroup"].tolist() == [225, 227, 221, 227]
    assert table["source"].tolist() == [
        "flla_2015",
        "piezoelectric_tensor",
        "flla_2015",
        "elastic_tensor",
    ]
    # The newer formation energy wins where there is one; the lowest polymorph follows it.
    assert table["formation_energy_per_atom"].tolist()[:1] == [-2.1]
    assert table.loc["mp-30", "formation_energy_per_atom"] == -1.9
    assert table["lowest_polymorph"].tolist() == [True, True, False, True]
    assert table["gap_mp_pbe"].round(4).tolist()[2:] == [4.1, 0.6103]
    # Labels by composition: the median of two spellings, and only on the lowest polymorph.
    assert table.loc["mp-4", "gap_aflow_pbe"] == pytest.approx(5.2)
    assert table.loc["mp-4", "gap_exp"] == 8.5
    assert np.isnan(table.loc["mp-30", ["gap_aflow_pbe", "gap_exp"]].astype(float)).all()
    assert table.loc["mp-4", "bulk_modulus"] == 25.0
    assert table.loc["mp-149", "bulk_modulus_aflow"] == 88.0
    np.testing.assert_allclose(table.loc["mp-4", "structure"].lattice, FCC)


def test_rerun_is_byte_identical_and_reads_back(pack, tmp_path):
    folder = pack(world())
    outputs = [tmp_path / "one.parquet", tmp_path / "two.parquet"]
    for output in outputs:
        open_crystals.main(["--archives", str(folder), "--output", str(output)])
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    table = open_crystals.build(folder=folder)
    again = tables.read(outputs[0])
    assert again["gap_mp_pbe"].tolist()[0] == 5.003
    for old, new in zip(table["structure"], again["structure"], strict=True):
        np.testing.assert_allclose(new.lattice, old.lattice, atol=1e-8)
        np.testing.assert_allclose(new.frac_coords, old.frac_coords, atol=1e-8)
        np.testing.assert_array_equal(new.numbers, old.numbers)
    assert again["elastic_tensor"][1] is None
    np.testing.assert_allclose(again["elastic_tensor"][0], TENSOR[np.triu_indices(6)])


def _set(path, value):
    """A change to a world: follow `path`, then set the last key."""

    def change(members):
        at = members
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = value

    return change


FLLA = ("matminer", "matminer/datasets/flla_2015.csv")
ELASTIC = ("matminer", "matminer/datasets/elastic_tensor.csv")
GAPS = ("jarvis_leaderboard", "megnet_gappbe")
EXPERIMENT = ("crabnet", "crabnet/data/matbench/expt_gap.csv")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set((*FLLA, 1, "material_id"), "mp-30"), r"flla_2015.csv: .*mp-30 stands twice"),
        (_set((*FLLA, 1, "material_id"), "sample"), r"'sample' does not end in a number"),
        (_set((*FLLA, 1, "structure"), "{'lattice':"), r"row 1 \(mp-4\) holds no readable"),
        (_set((*FLLA, 0, "structure"), literal(FCC, ("Xx", (0, 0, 0)))), r"row 0 .*Xx"),
        (
            _set((*FLLA, 0, "structure"), literal(FCC, ("Na", (0, 0, 0)), occupancy=0.5)),
            r"row 0 .*partly occupied",
        ),
        (
            _set((*FLLA, 0, "structure"), literal(np.zeros((3, 3)).tolist(), ("Na", (0, 0, 0)))),
            r"row 0 .*no volume",
        ),
        (
            _set((*FLLA, 0, "structure"), literal(FCC, ("Na", (0, 0, 0)), ("Cl", (0, 0, 0)))),
            r"row 0 .*on top of each other",
        ),
        (_set((*FLLA, 0, "formation_energy_per_atom"), "n/a"), r"row 0 of formation_energy.*nan"),
        (_set((*ELASTIC, 0, "poscar"), SILICON.replace("direct", "cartesian")), r"not direct"),
        (_set((*ELASTIC, 0, "elastic_tensor"), "[[1, 2]]"), r"row 0: elastic tensor is not"),
        (_set((*GAPS, "val"), {"mp-4": "1.0"}), r"mp-4 stands in two parts"),
        (_set((*GAPS, "val"), {"mp-149": "NaN"}), r"row 2 of megnet_gappbe holds 'NaN'"),
        (_set(EXPERIMENT, "formula,target\nNaCl,\n"), r"row 0 of target holds ''"),
        (_set(EXPERIMENT, "formula,target\nNaQq,1\n"), r"row 0: .*unknown element Qq"),
        (_set(EXPERIMENT, "formula,target\nNa(Cl,1\n"), r"row 0: .*cannot be read"),
    ],
)
def test_malformed_sources_are_named(pack, change, message):
    members = world()
    change(members)
    with pytest.raises(DataError, match=message) as caught:
        open_crystals.build(folder=pack(members))
    assert "\n" not in str(caught.value)


def test_changed_archive_and_missing_member(pack):
    members = world()
    del members["crabnet"]["crabnet/data/matbench/expt_gap.csv"]
    folder = pack(members)
    with pytest.raises(DataError, match=r"crabnet-2.0.8.tar.gz: no member .*expt_gap.csv"):
        open_crystals.build(folder=folder)
    target = folder / packages.PACKAGES["matminer"].file
    target.write_bytes(target.read_bytes() + b"\0")
    with pytest.raises(DataError, match=r"sha256 is .* expected .*delete the file"):
        packages.fetch_archive("matminer", folder=folder)
    with pytest.raises(InputError, match=r"known: .*crabnet, jarvis"):
        packages.fetch_archive("numpy")


def test_pip_downloads_by_name_and_checks_the_hash(tmp_path, monkeypatch):
    index = tmp_path / "index"
    index.mkdir()
    wheel = index / "tinydata-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tinydata/table.csv", "a,b\n1,2\n")
        archive.writestr("tinydata-1.0.dist-info/METADATA", "Name: tinydata\nVersion: 1.0\n")
        archive.writestr("tinydata-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\n")
        archive.writestr("tinydata-1.0.dist-info/RECORD", "")
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index)}.items():
        monkeypatch.setenv(name, value)
    right = packages.Package("tinydata", "1.0", wheel.name, files.sha256_of(wheel), "none")
    monkeypatch.setitem(packages.PACKAGES, "tinydata", right)
    archive = packages.fetch_archive("tinydata", folder=tmp_path / "got")
    assert archive.read("tinydata/table.csv") == b"a,b\n1,2\n"
    monkeypatch.setitem(packages.PACKAGES, "tinydata", dataclasses.replace(right, sha256="0" * 64))
    with pytest.raises(DataError, match=r"pip could not download tinydata==1.0 .*put tinydata"):
        packages.fetch_archive("tinydata", folder=tmp_path / "other")
    assert list((tmp_path / "other").iterdir()) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [("Ga2O3", "O3Ga2"), ("Ca(OH)2", "CaO2H2"), ("Na2Cl2", "NaCl"), ("Ag0.5Ge1", "AgGe2")],
)
def test_composition_keys_agree_with_pymatgen(one, other):
    from pymatgen.core import Composition

    assert formulas.composition_key(one) == formulas.composition_key(other)
    fractions = Composition(one).fractional_composition.get_el_amt_dict()
    expected = "|".join(f"{s}:{round(f, 5):g}" for s, f in sorted(fractions.items()))
    assert formulas.composition_key(one) == expected


def test_reduced_formula_of_noble_gases_is_silent():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert formulas.reduced_formula(np.array([54, 9, 9, 54, 9, 9])) == "XeF2"


# The committed file.


@pytest.fixture(scope="module")
def committed():
    return tables.read(registry.path("open_bandgap"))


def test_committed_counts(committed):
    assert len(committed) == 6317
    assert committed.shape[1] == 19
    counts = committed.notna().sum()
    assert counts["gap_mp_pbe"] == 6277
    assert counts["gap_aflow_pbe"] == 4962
    assert counts["gap_oqmd_pbe"] == 5303
    assert counts["gap_exp"] == 589
    assert counts["formation_energy_per_atom"] == 6306
    assert counts["e_above_hull"] == 3938
    assert counts["dielectric_gap"] == 1056
    assert counts[["bulk_modulus", "shear_modulus", "elastic_tensor"]].tolist() == [1181] * 3
    assert counts[["bulk_modulus_aflow", "shear_modulus_aflow"]].tolist() == [1603] * 2
    elements = {int(z) for s in committed["structure"] for z in s.numbers}
    assert len(elements) == 87
    assert committed["nsites"].mean() == pytest.approx(11.10, abs=0.005)


def test_committed_crystals_are_sound(committed):
    assert not committed["material_id"].duplicated().any()
    for name, structure, n in committed[["material_id", "structure", "nsites"]].itertuples(
        index=False
    ):
        check(structure, name=name)
        assert len(structure) == n
    assert committed["spacegroup"].between(1, 230).all()
    gaps = committed.filter(like="gap_")
    assert (gaps.min() >= 0).all()
    assert np.isfinite(gaps.max()).all()


def test_labels_by_composition_sit_on_the_lowest_polymorph(committed):
    by_composition = ["gap_aflow_pbe", "gap_oqmd_pbe", "gap_exp", "bulk_modulus_aflow"]
    assert committed.loc[~committed["lowest_polymorph"], by_composition].isna().all(axis=None)
    lowest = committed.sort_values("formation_energy_per_atom", kind="stable")
    lowest = lowest.groupby("formula")["formation_energy_per_atom"].min()
    kept = committed[committed["lowest_polymorph"]].set_index("formula")
    assert kept.index.is_unique
    energies = kept["formation_energy_per_atom"].loc[lowest.index]
    np.testing.assert_array_equal(energies, lowest)


def test_two_independent_pbe_columns_agree(committed):
    both = committed[["dielectric_gap", "gap_mp_pbe"]].dropna()
    assert len(both) > 1000
    assert (both["dielectric_gap"] - both["gap_mp_pbe"]).abs().mean() < 0.03


def test_documented_defects_are_really_there(committed):
    zeros = committed[committed["formula"].isin(["AlAs", "EuF3"]) & committed["gap_exp"].notna()]
    assert zeros["gap_exp"].tolist() == [0.0, 0.0]
    assert (zeros["gap_mp_pbe"] > 1).all()
    measured = committed[committed["gap_exp"].notna()]["e_above_hull"].dropna()
    assert (measured > 0.05).mean() == pytest.approx(0.12, abs=0.005)
    noble = {2, 10, 18, 36, 54, 86}
    assert sum(bool(noble & set(s.numbers.tolist())) for s in committed["structure"]) == 11


def test_space_groups_agree_with_pymatgen(committed):
    from pymatgen.core import Structure
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    for row in committed.sample(25, random_state=3).itertuples():
        s = row.structure
        structure = Structure(s.lattice, s.numbers, s.frac_coords)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            found = SpacegroupAnalyzer(structure, symprec=open_crystals.SYMPREC)
            assert found.get_space_group_number() == row.spacegroup
        assert structure.composition.reduced_formula == row.formula


def test_committed_file_stays_small():
    assert (paths.DATA / open_crystals.FILE).stat().st_size < 2_000_000
