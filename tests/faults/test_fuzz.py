"""Fuzzing of every reader: a valid result or one clear line, never another error, never a hang.

Valid files are damaged (see mutations.py). By default some hundred fixed inputs per reader; with
MFUTILS_LONG=1 at least ten thousand random ones.
"""

import gzip
import json
import math
import warnings
from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import damaged_bytes, damaged_text, damaged_tree
from pymatgen.core import Lattice, Structure
from trials import LONG, cpu_limit, keep, trials

from mfutils import paths
from mfutils.compendium import published
from mfutils.compendium.runner import parameters
from mfutils.crystals import cif
from mfutils.crystals.structure import Crystal
from mfutils.datasets import battery, chen2021, matbench, originals, snapshot
from mfutils.errors import InputError

COUNT = trials(150, 10_000)
fuzz = settings(
    max_examples=COUNT,
    deadline=None,
    database=None,
    derandomize=not LONG,
    suppress_health_check=list(HealthCheck),
)


class Tally:
    """Counts what a reader does; what it must not do fails at once, with the input."""

    def __init__(self, name, fault):
        self.name, self.fault, self.outcomes = name, fault, Counter()

    def call(self, read, check=lambda result: None):
        try:
            with cpu_limit(10), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                result = read()
        except InputError as error:
            assert "\n" not in str(error).strip(), str(error)
            assert len(str(error)) < 2000, "an error that fills the screen"
            self.outcomes["one-line error"] += 1
        else:
            check(result)
            self.outcomes["valid result"] += 1

    def done(self):
        total = sum(self.outcomes.values())
        assert total >= COUNT * 0.9
        assert self.outcomes["one-line error"] > 0
        assert self.outcomes["valid result"] > 0
        keep(self.fault, self.name, self.outcomes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


# --- battery CSV ---------------------------------------------------------------------------------

_TABLE = (paths.DATA / "lmb_energy_density.csv").read_text().splitlines()
CSV = ["\n".join([_TABLE[0], *_TABLE[first : first + 3]]) + "\n" for first in (1, 20, 40, 55)]


def check_battery(table):
    assert np.isfinite(table[list(battery._NUMBERS)].to_numpy()).all()
    assert (abs(table[list(battery.ELEMENTS)].sum(axis=1) - 100) < 0.1).all()
    assert (table[battery.CURRENT] > 0).all()


def test_battery_csv(folder):
    tally = Tally("fuzz-battery", "fuzzed battery CSV (mfutils.datasets.battery)")
    path = folder / "battery.csv"

    @fuzz
    @given(damaged_bytes(*CSV))
    def run(content):
        path.write_bytes(content)
        tally.call(lambda: battery.read(path), check_battery)

    run()
    tally.done()


# --- CIF -----------------------------------------------------------------------------------------


def _cif_files():
    salt = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
    from pymatgen.io.cif import CifWriter
    from test_cif import text

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = salt.get_primitive_structure()
        return [text(), str(CifWriter(plain)), str(CifWriter(plain, symprec=0.01))]


def check_crystal(crystal):
    assert isinstance(crystal, Crystal)
    assert np.isfinite(crystal.positions).all()
    assert crystal.volume > 0
    assert ((crystal.numbers >= 1) & (crystal.numbers <= 118)).all()


def test_cif():
    tally = Tally("fuzz-cif", "fuzzed CIF (mfutils.crystals.cif)")

    @fuzz
    @given(damaged_text(*_cif_files()))
    def run(content):
        tally.call(lambda: cif.read_cif(content, name="damaged"), check_crystal)

    run()
    tally.done()


# --- profiles, parameter cells and notebooks -----------------------------------------------------

STEM = "03_1_topic"
KNOBS = """\
seed: int = 7  # where random numbers start
rate: float = 0.01  # step of the optimiser
name: str = "auto"  # data set
sound: bool = True  # the careful protocol
sizes: list[int] = [1, 2]  # numbers of samples
levels: list[float] = [0.1, 0.5]  # noise
"""
PROFILE = """\
# sizes of the tests
common:
  seed: 7
03_1_topic:
  rate: 1.0e-2
  name: auto   # or open
  sound: true
  sizes: [1, 2, 3]
  levels:
  - 0.1
  - 2
02_1_other: {}
"""


def notebook(knobs=KNOBS):
    cells = [
        {"cell_type": "markdown", "id": "a", "metadata": {}, "source": ["# Title\n"]},
        {"cell_type": "code", "id": "b", "metadata": {"tags": ["parameters"]},
         "source": knobs.splitlines(keepends=True), "outputs": [], "execution_count": None},
        {"cell_type": "code", "id": "c", "metadata": {}, "source": "print(seed)",
         "outputs": [], "execution_count": None},
    ]  # fmt: skip
    return {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(paths, "PROFILES", tmp_path / "profiles")
    (tmp_path / "profiles").mkdir()
    for stem in (STEM, "02_1_other"):
        (tmp_path / f"{stem}.ipynb").write_text(json.dumps(notebook()))
    return tmp_path


def check_values(values):
    """Every parameter has a plain, finite value of its type that survives a stamp."""
    kinds = {p.name: p.type for p in parameters.declared(notebook(), STEM)}
    for name, value in values.items():
        items = value if isinstance(value, list) else [value]
        kind = kinds.get(name, "").removeprefix("list[").removesuffix("]")
        assert all(kind in ("", type(item).__name__) for item in items)
        assert all(math.isfinite(x) for x in items if isinstance(x, float))
    assert json.loads(json.dumps(values)) == values


def test_profile(place):
    tally = Tally("fuzz-profile", "fuzzed profile (mfutils.compendium.runner.parameters)")
    path = place / "profiles" / "smoke.yaml"
    good = notebook()

    @fuzz
    @given(damaged_bytes(PROFILE))
    def run(content):
        path.write_bytes(content)
        tally.call(lambda: parameters.resolve(STEM, good, "smoke"), check_values)

    run()
    tally.done()


def test_parameters_cell(place):
    tally = Tally("fuzz-cell", "fuzzed parameters cell (mfutils.compendium.runner.parameters)")
    (place / "profiles" / "smoke.yaml").write_text(PROFILE)

    @fuzz
    @given(damaged_text(KNOBS, most=2))
    def run(knobs):
        tally.call(lambda: parameters.resolve(STEM, notebook(knobs), "smoke"), check_values)

    run()
    tally.done()


def test_notebook_file(place):
    tally = Tally("fuzz-notebook", "fuzzed notebook file (mfutils.compendium.runner.parameters)")
    (place / "profiles" / "smoke.yaml").write_text(PROFILE)
    path = place / f"{STEM}.ipynb"
    tree = damaged_tree(notebook()).map(lambda tree: json.dumps(tree).encode())
    text = damaged_bytes(json.dumps(notebook(), indent=1))

    @fuzz
    @given(st.one_of(tree, text))
    def run(content):
        path.write_bytes(content)

        def read():
            found = parameters.read_notebook(path)
            parameters.code_cells(found)
            return parameters.resolve(STEM, found, "smoke")

        tally.call(read, check_values)

    run()
    tally.done()


# --- printed values ------------------------------------------------------------------------------

PRINTED = """\
section: "3.1"
values:
- {id: mae, printed: "30.207", unit: Wh/kg, where: Table 3.2, class: exact}
- id: rank
  printed: "1.0e-3"
  where: Fig 3.5
  class: exact
  rtol: 0.01
  reason: rounded twice
- {id: slope, printed: "-0.069", where: p. 40, class: not-reproducible, reason: noise, expect: [-1, 0]}
- {id: order, printed: HSE > PBE, where: p. 41, class: trend, dataset: chen2021}
- {id: spread, printed: "12.18", where: Table 3.2, class: spread}
"""  # noqa: E501
OURS = {
    "mae": 30.207, "rank": 1e-3, "slope": -0.08,
    "order": {"holds": True, "probability": 0.9, "n": 5}, "spread": [12.0, 12.5],
}  # fmt: skip


def test_published_values(folder):
    """The reader, and then the verdicts on what it has read."""
    tally = Tally(
        "fuzz-published", "fuzzed printed values (mfutils.compendium.published.load, compare)"
    )
    path = folder / f"{STEM}.yaml"

    @fuzz
    @given(damaged_bytes(PRINTED))
    def run(content):
        path.write_bytes(content)

        def read():
            found = published.load(STEM, folder)
            return [published.compare(p, OURS.get(p.id), dataset="chen2021") for p in found]

        tally.call(read, lambda rows: all(isinstance(row["ok"], bool) for row in rows))

    run()
    tally.done()


def test_recorded_values(folder):
    tally = Tally(
        "fuzz-values", "fuzzed values.json (mfutils.compendium.published.read_values, compare)"
    )
    path = folder / f"{STEM}.yaml"
    place = folder / "values"
    place.mkdir()
    path.write_text(PRINTED)
    content = {"artifacts": {}, "dataset": "chen2021", "values": OURS}
    tree = damaged_tree(content).map(lambda tree: json.dumps(tree).encode())

    @fuzz
    @given(st.one_of(tree, damaged_bytes(json.dumps(content, indent=1))))
    def run(content):
        (place / "values.json").write_bytes(content)

        def read():
            values, dataset = published.read_values(place)
            rows = [
                published.compare(p, values.get(p.id), dataset=dataset)
                for p in published.load(STEM, folder)
            ]
            return [published.shown(row["ours"]) for row in rows]

        tally.call(read)

    run()
    tally.done()


# --- JSON of the originals -----------------------------------------------------------------------


def compressed(trees, *texts):
    """Files of damaged trees, of damaged text, and of damaged gzip streams."""
    packed = st.one_of(trees.map(lambda t: json.dumps(t).encode()), damaged_bytes(*texts))
    streams = st.tuples(
        packed, st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=2)
    )
    return st.one_of(packed, streams.map(_pack))


def _pack(item):
    content, flips = item
    stream = bytearray(gzip.compress(content, mtime=0))
    for place, value in flips:
        stream[min(len(stream) - 1, int(place * len(stream)))] = value
    return bytes(stream)


def matbench_table():
    from test_matbench import content

    table = json.loads(json.dumps(content()))
    for row in table["data"]:
        row[0] = {"lattice": row[0]["lattice"], "sites": row[0]["sites"]}
    return table


def test_matbench(folder):
    tally = Tally("fuzz-matbench", "fuzzed Matbench JSON (mfutils.datasets.matbench)")
    path, table = folder / "matbench.json.gz", matbench_table()

    @fuzz
    @given(compressed(damaged_tree(table), json.dumps(table, indent=0)))
    def run(content):
        path.write_bytes(content)

        def check(result):
            frame, _ = result
            assert len(frame)
            assert np.isfinite(frame["log_modulus"]).all()
            for crystal in frame["structure"]:
                check_crystal(crystal)

        tally.call(lambda: matbench.read(path, "log_gvrh"), check)

    run()
    tally.done()


@pytest.fixture
def raw(tmp_path, monkeypatch):
    monkeypatch.setenv("MFUTILS_DATA", str(tmp_path))
    return tmp_path


def test_chen2021_gaps(raw):
    from test_bandgap import EXPERIMENT, GAPS

    tally = Tally("fuzz-gaps", "fuzzed gap tables (mfutils.datasets.chen2021)")
    kinds = {"data_no_structs.json.gz": GAPS, "expt_gap_kingsbury.json.gz": EXPERIMENT}
    for name, tree in kinds.items():
        (raw / name).write_bytes(gzip.compress(json.dumps(tree).encode(), mtime=0))
    whole = {name: (raw / name).read_bytes() for name in kinds}

    def check(result):
        kept, _ = result
        assert np.isfinite(kept["gap"]).all()
        assert (kept["gap"] >= 0).all()

    @fuzz
    @given(
        st.sampled_from(sorted(kinds)).flatmap(
            lambda name: st.tuples(
                st.just(name), compressed(damaged_tree(kinds[name]), json.dumps(kinds[name]))
            )
        )
    )
    def run(item):
        name, content = item
        (raw / name).write_bytes(content)
        tally.call(chen2021.labels, check)
        (raw / name).write_bytes(whole[name])

    run()
    tally.done()


def test_snapshot(folder):
    from test_bandgap import entry

    tally = Tally("fuzz-snapshot", "fuzzed snapshot of crystals (mfutils.datasets.snapshot)")
    tree = [entry(1), entry(2, "Na", "F", a=4.2)]
    path = folder / "snapshot.json.gz"

    def read():
        skips, seen = [], set()
        rows = [snapshot._row(entry, seen, skips) for entry in snapshot.entries(path)]
        return [row for row in rows if row], skips

    def check(result):
        rows, _ = result
        for row in rows:
            check_crystal(row["structure"])
        if rows:
            snapshot._table(rows)

    @fuzz
    @given(compressed(damaged_tree(tree), json.dumps(tree)))
    def run(content):
        path.write_bytes(content)
        tally.call(read, check)

    run()
    tally.done()


@pytest.mark.parametrize("name", ["checksums.yaml", "sources.yaml"])
def test_lists_of_originals(folder, name):
    tally = Tally(f"fuzz-{name[:-5]}", f"fuzzed {name} (mfutils.datasets.originals)")
    digest = "0123456789abcdef" * 4
    seeds = {
        "checksums.yaml": (f"gaps.json.gz: {digest}\nother.zip: {digest}\n", originals.recorded),
        "sources.yaml": (
            (paths.DATA / "sources.yaml").read_text(),
            lambda where: originals.sources(where / "sources.yaml"),
        ),
    }
    text, read = seeds[name]

    @fuzz
    @given(damaged_bytes(text))
    def run(content):
        (folder / name).write_bytes(content)
        tally.call(lambda: read(folder))

    run()
    tally.done()
