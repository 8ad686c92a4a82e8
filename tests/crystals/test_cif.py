"""The fast CIF reader, with pymatgen as referee, and every kind of bad file."""

import gzip
import json
import warnings

import numpy as np
import pytest
from crystal_examples import KINDS, random_crystal, symmetric_crystals
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Species, Structure
from pymatgen.io.cif import CifParser, CifWriter

from mfutils.crystals import cif
from mfutils.crystals.structure import Crystal
from mfutils.datasets import registry
from mfutils.errors import InputError

# The layout of the database snapshots, with room for defects.
TEMPLATE = """\
# generated using pymatgen
data_{formula}
_symmetry_space_group_name_H-M   'P 1'
_cell_length_a   {a}
_cell_length_b   4.00000000
_cell_length_c   5.00000000
_cell_angle_alpha   {alpha}
_cell_angle_beta   80.00000000
_cell_angle_gamma   100.00000000
_symmetry_Int_Tables_number   1
_chemical_formula_structural   {formula}
_chemical_formula_sum   '{total}'
_cell_volume   58.6
_cell_formula_units_Z   {units}
loop_
 _symmetry_equiv_pos_site_id
 _symmetry_equiv_pos_as_xyz
  1  {operation}
loop_
 _atom_site_type_symbol
 _atom_site_label
 _atom_site_symmetry_multiplicity
 _atom_site_fract_x
 _atom_site_fract_y
 _atom_site_fract_z
 _atom_site_occupancy
{sites}
"""
SITES = [
    "  Na  Na0  1  0.00000000  0.00000000  0.00000000  1",
    "  Cl  Cl1  1  0.50000000  0.33333333  0.25000000  1",
]


def text(*, sites=tuple(SITES), **values):
    defaults = {
        "formula": "NaCl", "total": "Na1 Cl1", "units": 1, "a": "3.00000000",
        "alpha": "90.00000000", "operation": "'x, y, z'",
    }  # fmt: skip
    return TEMPLATE.format(sites="\n".join(sites), **defaults | values)


def by_pymatgen(cif_text):
    """The structure by pymatgen alone, its coordinates left as written."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parser = CifParser.from_str(cif_text, frac_tolerance=0)
        (structure,) = parser.parse_structures(primitive=False, on_error="raise")
    return structure


def assert_same_crystal(crystal, structure, atol=1e-12):
    """Equal lattice, and the same elements at the same places whatever the order of the atoms."""
    np.testing.assert_allclose(crystal.lattice, structure.lattice.matrix, rtol=0, atol=atol)
    assert len(crystal) == len(structure)
    numbers = np.array([site.specie.Z for site in structure])
    apart = crystal.frac_coords[:, None] - structure.frac_coords[None]
    apart = abs(apart - np.round(apart)).max(axis=2) + (crystal.numbers[:, None] != numbers)
    partner = apart.argmin(axis=1)
    assert sorted(partner) == list(range(len(crystal)))
    assert apart.min(axis=1).max() <= atol


def is_fast(cif_text):
    return cif._read_p1(cif_text, "x") is not None


def test_a_small_file_in_the_order_of_its_rows():
    crystal = cif.read_cif(text())
    assert is_fast(text())
    assert crystal.numbers.tolist() == [11, 17]
    assert crystal.frac_coords[1].tolist() == [0.5, 0.33333333, 0.25]
    assert_same_crystal(crystal, by_pymatgen(text()))


@pytest.mark.parametrize("kind", KINDS)
def test_files_written_by_pymatgen(kind):
    for seed in range(6):
        made = random_crystal(seed, kind)
        structure = Structure(Lattice(made.lattice), made.numbers, made.frac_coords)
        written = str(CifWriter(structure))
        assert is_fast(written)
        assert_same_crystal(cif.read_cif(written), by_pymatgen(written), atol=1e-9)


@pytest.mark.parametrize("name", ["rock salt", "perovskite", "hcp", "zinc blende"])
def test_files_with_symmetry_come_from_pymatgen(name):
    made = symmetric_crystals()[name]
    structure = Structure(Lattice(made.lattice), made.numbers, made.frac_coords)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pymatgen uses an old call of spglib
        written = str(CifWriter(structure, symprec=0.01))
    assert not is_fast(written)
    assert_same_crystal(cif.read_cif(written), by_pymatgen(written), atol=1e-4)


def test_charges_are_read_and_dropped():
    sodium_chloride = [Species("Na", 1), Species("Cl", -1)]
    structure = Structure(Lattice(np.eye(3) * 3.3), sodium_chloride, [[0] * 3, [0.5] * 3])
    written = str(CifWriter(structure))
    assert "Na+" in written
    assert_same_crystal(cif.read_cif(written), by_pymatgen(written))


OTHER_LAYOUTS = {
    "uncertainty": text(sites=[SITES[0], SITES[1].replace("0.25000000", "0.2500(3)")]),
    "quoted label": text(sites=[SITES[0].replace("Na0", "'Na 0'"), SITES[1]]),
    "another tag": text() + "_cell_measurement_temperature 293\n",
    "comment": text(sites=[*SITES, "# the end"]),
    "windows line ends": text().replace("\n", "\r\n"),
    "unknown occupancy": text(sites=[SITES[0], SITES[1][:-1] + "?"]),
    "labels only": text().replace(" _atom_site_type_symbol\n", "").replace("  Na  Na0", "  Na0")
    .replace("  Cl  Cl1", "  Cl1"),
    "tags of the newer dictionary": text()
    .replace("_symmetry_equiv_pos_as_xyz", "_space_group_symop_operation_xyz")
    .replace("_symmetry_equiv_pos_site_id", "_space_group_symop_id"),
}  # fmt: skip


@pytest.mark.parametrize("layout", OTHER_LAYOUTS)
def test_other_layouts_of_the_same_crystal(layout):
    assert_same_crystal(cif.read_cif(OTHER_LAYOUTS[layout]), by_pymatgen(text()), atol=1e-8)


def test_two_operations_are_symmetry():
    doubled = text(operation="'x, y, z'\n  2  '-x, -y, -z'", total="Na1 Cl2")
    assert not is_fast(doubled)
    assert sorted(cif.read_cif(doubled).numbers) == [11, 17, 17]


def test_formula_per_unit_and_per_cell_are_both_right():
    four = [
        SITES[0],
        SITES[1],
        SITES[0].replace("0.0000", "0.5000"),
        SITES[1].replace("0.50", "0.90"),
    ]
    for total, units in (("Na2 Cl2", 1), ("Na2 Cl2", 2), ("Na Cl", 2), ("Cl1 Na1", 2)):
        assert len(cif.read_cif(text(sites=four, total=total, units=units))) == 4


X = SITES[1]
BAD = {
    "partial occupancy": (text(sites=[SITES[0], X[:-1] + "0.5"]), "partial occupancy 0.5 of Cl"),
    "zero occupancy": (text(sites=[SITES[0], X[:-1] + "0"]), "partial occupancy 0 of Cl"),
    "occupancy nan": (text(sites=[SITES[0], X[:-1] + "nan"]), "partial occupancy nan of Cl"),
    "unknown element": (text(sites=[SITES[0], X.replace("Cl  ", "Xq  ")]), "unknown element 'Xq'"),
    "dummy element": (text(sites=[SITES[0], X.replace("Cl  ", "X  ")]), "unknown element 'X'"),
    "capitals": (text(sites=[SITES[0], X.replace("Cl  ", "CL  ")]), "unknown element 'CL'"),
    "on top": (
        text(sites=[*SITES, X.replace("0.500", "1.500")], total="Na1 Cl2"),
        "on top of each",
    ),
    "cut short": (text(sites=SITES[:1]), "formula says Na1 Cl1, the atoms are Na1"),
    "cut in a row": (text().rstrip()[:-14], "cannot be read|formula"),
    "cut in the cell": (text()[:150], "holds 0 structures"),
    "no rows": (text(sites=[]), "expected a CIF|holds 0|cannot be read"),
    "zero length": (text(a="0.0"), "cell is 0 4 5 Angstrom"),
    "negative length": (text(a="-3.0"), "cell is -3 4 5 Angstrom"),
    "zero volume": (text(alpha="20.00000000"), "no volume"),
    "impossible angles": (text(alpha="10.0"), "enclose no cell"),
    "infinite angle": (text(alpha="9E999"), "angles between 0 and 180"),
    "angle of 180": (text(alpha="180"), "angles between 0 and 180"),
    "length is a word": (text(a="wide"), "cannot be read"),
    "length is nan": (text(a="nan"), "cell is nan"),
    "coordinate is a word": (
        text(sites=[SITES[0], X.replace("0.25000000", "top")]),
        "cannot be read",
    ),
    "coordinate is inf": (text(sites=[SITES[0], X.replace("0.25000000", "inf")]), "not finite"),
    "two structures": (text() + text().replace("data_NaCl", "data_b"), "holds 2 structures"),
    "empty": ("", "holds 0 structures"),
    "not a CIF": ("The quick brown fox", "holds 0 structures|cannot be read"),
    "binary": ("\x00\x01\xff", "holds 0 structures|cannot be read"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_one_clear_line(case):
    content, message = BAD[case]
    with pytest.raises(InputError, match=message) as error:
        cif.read_cif(content, name="mp-9")
    assert str(error.value).startswith("mp-9: ")
    assert "\n" not in str(error.value)
    assert "expected" in str(error.value)
    assert len(str(error.value)) < 400


def test_what_is_no_text():
    with pytest.raises(InputError, match="mp-2: CIF is a NoneType; expected text"):
        cif.read_cif(None, name="mp-2")


def test_bad_rows_of_many_are_listed():
    rows = [text(), BAD["partial occupancy"][0], text(), None]
    found, skips = cif.read_many(rows, ids=["a", "b", "c", "d"])
    assert [row for row, _ in found] == [0, 2]
    assert [(skip.row, skip.id) for skip in skips] == [(1, "b"), (3, "d")]
    assert "partial occupancy" in skips[0].reason


SMALL = text()


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.lists(
        st.tuples(
            st.integers(0, len(SMALL)),
            st.integers(0, 12),
            st.text(
                st.sampled_from("0123456789.-+eE()'\"#;_ \n\tNaClxyz,loop_data\x00é"), max_size=6
            ),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_any_damage_gives_a_crystal_or_a_clear_error(edits):
    damaged = SMALL
    for at, cut, new in edits:
        damaged = damaged[:at] + new + damaged[at + cut :]
    try:
        crystal = cif.read_cif(damaged, name="damaged")
    except InputError as error:
        assert str(error).startswith("damaged: ")
        assert "\n" not in str(error)
    else:
        assert isinstance(crystal, Crystal)
        assert np.isfinite(crystal.positions).all()


@pytest.mark.data
def test_the_real_snapshot_reads_as_by_pymatgen():
    source = registry.data_dir() / "mp.2019.04.01.subset.json.gz"
    if not source.is_file():
        pytest.skip(f"{source.name} is not in the data directory")
    with gzip.open(source) as handle:
        entries = json.load(handle)
    assert len(entries) == 36737
    for entry in entries[::400]:
        assert is_fast(entry["structure"])
        crystal = cif.read_cif(entry["structure"], name=entry["material_id"])
        assert_same_crystal(crystal, by_pymatgen(entry["structure"]))
