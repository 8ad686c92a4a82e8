"""The band-gap data sets: the embedded one, and the loaders of the study's originals."""

import gzip
import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from mfutils import files, paths
from mfutils.crystals.structure import Crystal
from mfutils.datasets import (
    bandgap,
    chen2021,
    elastic,
    icsd_gaps,
    registry,
    snapshot,
    tables,
    which,
)
from mfutils.errors import DataError, InputError

CIF = """data_{name}
_cell_length_a   {a}
_cell_length_b   4.0
_cell_length_c   4.0
_cell_angle_alpha   90.0
_cell_angle_beta   90.0
_cell_angle_gamma   90.0
_symmetry_space_group_name_H-M   'P 1'
loop_
 _symmetry_equiv_pos_site_id
 _symmetry_equiv_pos_as_xyz
  1  'x, y, z'
loop_
 _atom_site_type_symbol
 _atom_site_label
 _atom_site_symmetry_multiplicity
 _atom_site_fract_x
 _atom_site_fract_y
 _atom_site_fract_z
 _atom_site_occupancy
  {one}  {one}0  1  0.00000000  0.00000000  0.00000000  1
  {two}  {two}1  1  0.50000000  0.50000000  0.50000000  {occupancy}
"""


def entry(number, one="Cs", two="Cl", a=4.0, occupancy=1, **fields):
    """One crystal as the snapshot has it."""
    text = CIF.format(name=f"{one}{two}", a=a, one=one, two=two, occupancy=occupancy)
    basic = {"material_id": f"mp-{number}", "structure": text, "formation_energy_per_atom": -1.0}
    return basic | {"band_gap": 2.0, "graph": {"nodes": [1, 2, 3]}} | fields


GAPS = {
    "pbe": {"mp-1": 1.0, "mp-2": 0, "mp-77": 3.0},
    "hse": {"mp-1": 1.5},
    "gllb-sc": {"mp-2": 2.5},
    "scan": {},
    "ordered_exp": {"icsd-5": 1.0},
    "disordered_exp": {},
}
EXPERIMENT = {
    "index": [0, 1, 2],
    "columns": ["likely_mpid", "expt_gap", "formula"],
    "data": [["mp-1", 1.7, "CsCl"], [None, 2.0, "X"], ["mp-88", 0.0, "Y"]],
}


@pytest.fixture
def originals(tmp_path, monkeypatch):
    """Write the three originals into a data directory of their own."""
    folder = tmp_path / "raw"
    folder.mkdir()
    monkeypatch.setenv("MFUTILS_DATA", str(folder))
    monkeypatch.delenv("DATASET", raising=False)
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")

    def write(entries=None, gaps=GAPS, experiment=EXPERIMENT):
        entries = [entry(1), entry(2, "Na", "F", a=4.2)] if entries is None else entries
        text = entries if isinstance(entries, str) else json.dumps(entries)
        _gzip(folder / "mp.2019.04.01.json.gz", text)
        _gzip(
            folder / "data_no_structs.json.gz", gaps if isinstance(gaps, str) else json.dumps(gaps)
        )
        _gzip(folder / "expt_gap_kingsbury.json.gz", json.dumps(experiment))
        return folder

    return write


def _gzip(path, text):
    path.write_bytes(gzip.compress(text.encode(), mtime=0))


def reasons(frame):
    return sorted(map(tuple, frame[["material_id", "fidelity", "reason"]].fillna("").to_numpy()))


# The embedded data set.


def test_open_has_the_promised_form():
    frame = bandgap.load("open")
    assert frame.columns[:2].tolist() == ["material_id", "formula"]
    assert {f"gap_{f}" for f in bandgap.fidelities("open")} < set(frame.columns)
    assert isinstance(frame["structure"][0], Crystal)
    assert len(bandgap.skipped("open")) == 0
    few = bandgap.load("open", columns=["material_id", "gap_exp"])
    assert few.columns.tolist() == ["material_id", "gap_exp"]
    with pytest.raises(DataError, match=r"no column gap_hse; the table has material_id"):
        bandgap.load("open", columns=["gap_hse"])


def test_labels_of_open_are_the_columns():
    counts = bandgap.labels("open")["fidelity"].value_counts().to_dict()
    assert counts == {"mp_pbe": 6277, "aflow_pbe": 4962, "oqmd_pbe": 5303, "exp": 589}


def test_changed_committed_file_is_refused(tmp_path, monkeypatch):
    (tmp_path / "registry.yaml").write_bytes((paths.DATA / "registry.yaml").read_bytes())
    content = bytearray((paths.DATA / "open_bandgap.parquet").read_bytes())
    content[1000] ^= 1
    (tmp_path / "open_bandgap.parquet").write_bytes(bytes(content))
    monkeypatch.setattr(paths, "DATA", tmp_path)
    with pytest.raises(DataError, match="sha256"):
        bandgap.load("open")


def test_tables_refuses_other_files(tmp_path):
    path = tmp_path / "x.parquet"
    path.write_bytes(b"not a table")
    with pytest.raises(DataError, match="not readable as Parquet"):
        tables.read(path)
    repeated = bandgap.load("open", columns=["material_id", "gap_exp"]).head(2)
    repeated["material_id"] = "mp-1"
    repeated.to_parquet(path)
    with pytest.raises(DataError, match="mp-1 is repeated"):
        tables.read(path)


# Which data set is used.


def test_resolve(originals, monkeypatch):
    assert bandgap.resolve() == "open"
    assert not bandgap.available("chen2021")
    originals()
    assert bandgap.resolve() == "chen2021"
    monkeypatch.setenv("DATASET", "open")
    assert bandgap.resolve() == "open"
    assert bandgap.resolve("chen2021") == "chen2021"  # asked for by name: the setting yields
    monkeypatch.setenv("DATASET", "auto")
    assert bandgap.resolve() == "chen2021"
    monkeypatch.setenv("DATASET", "mp2020")
    with pytest.raises(InputError, match=r"'mp2020'; known: auto, open, chen2021"):
        bandgap.resolve()


def test_missing_originals_are_named(originals):
    folder = originals()
    (folder / "data_no_structs.json.gz").unlink()
    assert which.missing() == ["chen2021_gaps"]
    with pytest.raises(DataError, match=r"no file of chen2021_gaps .*make data.*MFUTILS_DATA"):
        bandgap.load("chen2021")


# The originals in their own formats.


def test_chen2021_joins_labels_to_structures(originals, caplog, monkeypatch):
    originals()
    monkeypatch.setattr(bandgap, "_REPORTED", set())
    frame = bandgap.load("chen2021").set_index("material_id")
    assert frame["formula"].tolist() == ["CsCl", "NaF"]
    expected = {"pbe": [1.0, 0.0], "hse": [1.5, np.nan], "gllb-sc": [np.nan, 2.5]}
    expected |= {"scan": [np.nan] * 2, "exp_mp": [1.7, np.nan]}
    for fidelity in bandgap.fidelities("chen2021"):
        np.testing.assert_array_equal(frame[f"gap_{fidelity}"], expected[fidelity])
    np.testing.assert_allclose(frame["structure"].iloc[1].volume, 4.2 * 16)
    orphan = "no structure with this id"
    assert reasons(bandgap.skipped("chen2021")) == [
        ("", "exp_mp", "no material id"),
        ("icsd-5", "exp_icsd", "structure is in a commercial database"),
        ("mp-77", "pbe", orphan),
        ("mp-88", "exp_mp", orphan),
    ]
    bandgap.load("chen2021")
    (record,) = caplog.records  # said once, however often the data is loaded
    assert "left out 4 entries" in record.message
    assert "no structure with this id (1 pbe, 1 exp_mp)" in record.message
    labels = bandgap.labels("chen2021")
    assert len(labels) == 8
    with pytest.raises(InputError, match="chen2021 has no column gap_mp_pbe"):
        bandgap.load("chen2021", columns=["gap_mp_pbe"])


def icsd(folder, monkeypatch, gap=1.0):
    """One ordered crystal per fold beside the originals; icsd-5 has `gap` in its file."""
    cell = {"matrix": [[4.0, 0, 0], [0, 4.0, 0], [0, 0, 4.0]]}
    for fold, source in enumerate(icsd_gaps.FOLDS):
        sites = [
            {"abc": [place] * 3, "species": [{"element": e, "occu": 1.0}]}
            for place, e in ((0.0, "Cs"), (0.5, "Cl"))
        ]
        value = gap if fold == 0 else fold / 2
        entry = {"structure": {"lattice": cell, "sites": sites}, "band_gap": value}
        (folder / f"ordered_{fold}.json").write_text(json.dumps({f"icsd-{fold + 5}": entry}))
        monkeypatch.setitem(icsd_gaps.COUNTS, source, 1)


def test_the_studys_own_test_stands_below_the_snapshot(originals, monkeypatch):
    measured = {f"icsd-{fold + 5}": fold / 2 if fold else 1.0 for fold in range(5)}
    folder = originals(gaps=json.dumps(GAPS | {"ordered_exp": measured}))
    assert bandgap.measured("chen2021") == ("exp_mp",)
    icsd(folder, monkeypatch)
    assert bandgap.measured("chen2021") == ("exp_icsd", "exp_mp")
    assert bandgap.fidelities("chen2021")[-2:] == ("exp_mp", "exp_icsd")
    assert bandgap.computed("chen2021") == ("pbe", "gllb-sc", "scan", "hse")
    frame = bandgap.load("chen2021")
    assert frame["material_id"].tolist() == ["mp-1", "mp-2", *measured]
    assert frame["gap_exp_icsd"].tolist()[2:] == list(measured.values())
    assert frame["gap_exp_icsd"].isna().tolist() == [True, True, *[False] * 5]
    assert frame["fold"].tolist()[2:] == [0, 1, 2, 3, 4]
    assert frame["gap_pbe"].notna().sum() == 2
    assert "exp_icsd" not in set(bandgap.skipped("chen2021")["fidelity"])


def test_a_crystal_whose_file_disagrees_with_the_gap_table_is_refused(originals, monkeypatch):
    measured = {f"icsd-{fold + 5}": fold / 2 if fold else 1.0 for fold in range(5)}
    folder = originals(gaps=json.dumps(GAPS | {"ordered_exp": measured}))
    icsd(folder, monkeypatch, gap=1.25)
    with pytest.raises(DataError, match=r"icsd-5: the file .* says 1.25 eV, the gap table 1.0"):
        bandgap.load("chen2021")


def test_bad_labels_are_listed_not_dropped(originals):
    gaps = json.dumps(GAPS).replace(
        '"mp-1": 1.0',
        '"mp-1": 1.0, "mp-1": 9.0, "mp-3": NaN, "mp-4": -0.1, "mp-5": "2", "mp-6": null, '
        '"mp-8": true, "mp-9": Infinity',
        1,
    )
    table = EXPERIMENT | {"data": [*EXPERIMENT["data"], ["mp-1", 1.9, "ClCs"], ["mp-2", None, "Z"]]}
    originals(gaps=gaps, experiment=table)
    _, left_out = chen2021.labels()
    number = "gap is not a finite number"
    assert reasons(left_out) == [
        ("", "exp_mp", "no material id"),
        ("mp-1", "exp_mp", "id repeated; the first value is kept"),
        ("mp-1", "pbe", "id repeated; the first value is kept"),
        ("mp-2", "exp_mp", number),
        ("mp-3", "pbe", number),
        ("mp-4", "pbe", "gap is negative"),
        ("mp-5", "pbe", number),
        ("mp-6", "pbe", number),
        ("mp-8", "pbe", number),
        ("mp-9", "pbe", number),
    ]
    frame = bandgap.load("chen2021").set_index("material_id")
    assert frame["gap_pbe"]["mp-1"] == 1.0
    assert frame["gap_exp_mp"]["mp-1"] == 1.7


def test_bad_crystals_are_listed_not_dropped(originals):
    entries = [
        entry(1),
        entry(1, a=5.0),
        entry(2, "Xx"),
        entry(3, occupancy=0.5),
        entry(4, a=0.0),
        entry(5, structure="data_\nnonsense"),
        entry(6, structure=None),
        entry(7, material_id=None),
        entry(8, band_gap=None, formation_energy_per_atom=float("nan")),
    ]
    entries[5].pop("graph")
    originals(entries)
    frame = bandgap.load("chen2021")
    assert frame["material_id"].tolist() == ["mp-1", "mp-8"]
    assert frame["formation_energy_per_atom"].isna().tolist() == [False, True]
    assert frame["structure"][0].lattice[0, 0] == 4.0
    skips = bandgap.skipped("chen2021")
    skips = skips[skips["fidelity"] == "structure"].set_index("material_id")["reason"]
    assert len(skips) + len(frame) == len(entries)
    assert skips["mp-1"].startswith("id repeated")
    assert "unknown element 'Xx'" in skips["mp-2"]
    assert "partial occupancy" in skips["mp-3"]
    assert "expected lengths above 0" in skips["mp-4"]
    assert "CIF" in skips["mp-5"]
    assert "expected text" in skips["mp-6"]
    assert skips["None"] == "no material id"


@pytest.mark.parametrize("chunk", [1, 7, 64, 1 << 20])
def test_stream_is_cut_anywhere(originals, monkeypatch, chunk):
    monkeypatch.setattr(snapshot, "_CHUNK", chunk)
    monkeypatch.setattr(snapshot, "_BATCH", 2)
    entries = [entry(i, formation_energy_per_atom=-i / 7) for i in range(1, 8)]
    folder = originals(json.dumps(entries, indent=1))
    found = list(snapshot.entries(folder / "mp.2019.04.01.json.gz"))
    assert found == entries
    frame, _ = snapshot.read_snapshot()
    assert frame["material_id"].tolist() == [f"mp-{i}" for i in range(1, 8)]
    np.testing.assert_array_equal(frame["formation_energy_per_atom"], -np.arange(1, 8) / 7)


def test_plain_and_zipped_originals_read_alike(originals):
    folder = originals()
    text = json.dumps([entry(1), entry(2)])
    (folder / "mp.2019.04.01.json.gz").unlink()
    (folder / "mp.2019.04.01.json").write_text(text)
    plain, _ = snapshot.read_snapshot()
    with zipfile.ZipFile(folder / "mp.2019.04.01.json.zip", "w") as archive:
        archive.writestr("mp.2019.04.01.json", text)
        archive.writestr("__MACOSX/._mp.2019.04.01.json", "junk")
    zipped, _ = snapshot.read_snapshot()
    assert plain.drop(columns="structure").equals(zipped.drop(columns="structure"))
    with zipfile.ZipFile(folder / "mp.2019.04.01.json.zip", "w") as archive:
        archive.writestr("a.json", text)
        archive.writestr("b.json", text)
    with pytest.raises(DataError, match="zip holds 2 files"):
        snapshot.read_snapshot()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1}', "starts with .*expected a JSON list"),
        ("[1, 2]", "entry 0 is 1; expected an object"),
        (json.dumps([entry(1), entry(2)])[:-30], "ends inside entry 1"),
        (json.dumps([entry(1)])[:-1] + ', {"material_id": }]', "entry 1"),
        ("", "ends inside entry 0"),
    ],
)
def test_damaged_snapshot(originals, text, message):
    originals(text)
    with pytest.raises(DataError, match=message):
        bandgap.load("chen2021")
    assert not list(paths.CACHE.glob("*.parquet*"))


def test_damaged_archives(originals):
    folder = originals()
    path = folder / "mp.2019.04.01.json.gz"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match="damaged after entry"):
        snapshot.read_snapshot()
    path = folder / "data_no_structs.json.gz"
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(DataError, match="not readable as JSON"):
        chen2021.labels()


@pytest.mark.parametrize(
    "gaps", ["[]", '{"pbe": {}}', '{"pbe": [1, 2]}', json.dumps(GAPS | {"hse": 3})]
)
def test_gap_table_of_another_form(originals, gaps):
    originals(gaps=gaps)
    with pytest.raises(DataError, match=r"no gaps for .*hse"):
        bandgap.labels("chen2021")


@pytest.mark.parametrize(
    "table", [[], {"columns": ["a"], "data": []}, {"columns": ["likely_mpid", "expt_gap"]}]
)
def test_experiment_of_another_form(originals, table):
    originals(experiment=table)
    with pytest.raises(DataError, match="not in the split layout"):
        bandgap.labels("chen2021")


def test_cache_follows_content_and_survives_damage(originals, monkeypatch, caplog):
    originals()
    bandgap.load("chen2021")
    (cached,) = paths.CACHE.glob("*.parquet")
    with monkeypatch.context() as patch:
        patch.setattr(snapshot, "entries", None)  # a hit must not read the original again
        assert len(bandgap.load("chen2021")) == 2
    cached.write_bytes(cached.read_bytes()[:100])
    assert len(bandgap.load("chen2021")) == 2
    assert "cache is damaged and will be rebuilt" in caplog.text
    originals([entry(1)])
    assert len(bandgap.load("chen2021")) == 1
    assert len(list(paths.CACHE.glob("*.parquet"))) == 2


# Moduli.


def test_moduli_follow_from_the_tensors():
    from pymatgen.analysis.elasticity import ElasticTensor

    frame = elastic.load()
    assert len(frame) == 1181
    assert len(elastic.load("aflow")) == 1603
    both = elastic.load("both")
    assert both["bulk_modulus"].notna().sum() == 1181
    assert both["bulk_modulus_aflow"].notna().sum() == 1603
    ours = np.array([elastic.voigt_reuss_hill(t) for t in frame["elastic_tensor"]])
    # The source rounds its tensors more than its averages: 0.01 GPa is that rounding.
    np.testing.assert_allclose(ours, frame[["bulk_modulus", "shear_modulus"]], atol=0.02)
    for i in range(0, 1181, 97):
        tensor = ElasticTensor.from_voigt(frame["elastic_tensor"][i])
        np.testing.assert_allclose(ours[i], [tensor.k_vrh, tensor.g_vrh], rtol=1e-9)
    with pytest.raises(InputError, match="expected mp, aflow, both"):
        elastic.load("oqmd")
    with pytest.raises(InputError, match="regular 6 x 6"):
        elastic.voigt_reuss_hill(np.zeros((6, 6)))


# The study's originals, where they are.


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Parse the real originals once, in a process of its own whose memory is measured."""
    if not bandgap.available("chen2021"):
        pytest.skip("the study's originals are not in the data directory")
    cache = tmp_path_factory.mktemp("cache")
    code = (
        "import resource, sys; from pathlib import Path; from mfutils import paths;"
        "paths.CACHE = Path(sys.argv[1]); from mfutils.datasets import bandgap;"
        "bandgap.load('chen2021');"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(cache)],
        check=True, capture_output=True, text=True, timeout=600, cwd=paths.ROOT,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "CACHE", cache)
        yield bandgap.load("chen2021"), int(done.stdout) * 1024


@pytest.mark.data
def test_table_4_2_exactly(study):
    gaps = bandgap.labels("chen2021")
    bins = {}
    for fidelity, gap in gaps.groupby("fidelity")["gap"]:
        zero, small = int((gap == 0).sum()), int(((gap > 0) & (gap < 2)).sum())
        bins[fidelity] = (zero, small, int((gap >= 2).sum()), len(gap))
    assert bins["pbe"] == (19903, 15218, 17227, 52348)
    assert bins["hse"] == (2775, 1019, 2236, 6030)
    assert bins["scan"] == (16, 291, 165, 472)
    assert bins["gllb-sc"] == (0, 531, 1759, 2290)
    assert bins["exp_icsd"][3] == 2703


@pytest.mark.data
def test_every_label_is_used_or_listed(study):
    frame, _ = study
    skips = bandgap.skipped("chen2021")
    with_structure = frame.filter(like="gap_").notna().sum()
    orphans = skips["reason"].str.startswith("no structure").groupby(skips["fidelity"]).sum()
    counted = bandgap.labels("chen2021")["fidelity"].value_counts()
    for fidelity in bandgap.fidelities("chen2021"):
        assert with_structure[f"gap_{fidelity}"] + orphans.get(fidelity, 0) == counted[fidelity]


@pytest.mark.data
def test_counts_of_the_development_subset(study):
    frame, memory = study
    path, _ = snapshot.originals.require("mp_2019_snapshot")
    if ".subset." not in path.name:
        pytest.skip("the full snapshot is here, not the subset")
    assert frame["material_id"].str.startswith("mp-").sum() == 36737
    counts = frame.filter(like="gap_").notna().sum()
    assert counts["gap_pbe"] == 34644
    assert counts["gap_hse"] == 4261
    assert counts["gap_gllb-sc"] == 1949
    assert counts["gap_scan"] == 394
    assert counts["gap_exp_mp"] == 1280
    assert memory < 1.5e9
    refused = bandgap.skipped("chen2021").query("fidelity == 'structure'")
    assert refused["material_id"].tolist() == ["icsd-42318"] * which.icsd_available()
    both = frame[["snapshot_pbe", "gap_pbe"]].dropna()
    np.testing.assert_array_equal(both["snapshot_pbe"], both["gap_pbe"])


@pytest.mark.data
def test_data_directory_is_never_written(study):
    before = {p.name: files.sha256_of(p) for p in registry.data_dir().iterdir() if p.is_file()}
    bandgap.labels("chen2021")
    after = {p.name: files.sha256_of(p) for p in registry.data_dir().iterdir() if p.is_file()}
    assert after == before
