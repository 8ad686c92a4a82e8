"""Table 3.1 and its strict reader: what is accepted, and what is refused with which words."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfutils.datasets import battery
from mfutils.errors import DataError, InputError

HEADER = "se,sb,cu,bi,pb,sn,te,zn,current_density_ma_cm2,energy_density_wh_kg,source\n"
GOOD = "0,30,0,0,70,0,0,0,100,91.15,84\n0,30,0,0,70,0,0,0,250,80.41,84\n"

# The order of the study's fits, as 0-based printed rows (published beside the study)
FIT_ORDER = [
    *range(4, 23),
    *range(4),
    *range(26, 33),
    23,
    *range(33, 47),
    24,
    25,
    *range(47, 57),
    *range(58, 64),
]


def write(tmp_path, text, name="cells.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refused(tmp_path, text, *words, **options):
    path = write(tmp_path, text)
    with pytest.raises(DataError) as caught:
        battery.read(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    for word in (str(path), *words):
        assert word in message
    assert ";" in message, "the remedy follows a semicolon"


def test_printed_table_matches_the_study():
    printed = battery.load("printed")
    assert len(printed) == 64
    assert printed.groupby(list(battery.ELEMENTS)).ngroups == 20
    sums = printed[list(battery.ELEMENTS)].sum(axis=1)
    assert np.allclose(sums, 100, atol=1e-9)
    row = printed.loc[22]
    assert (row.composition, row.source) == ("Sb30 Pb70", "90")
    assert (row[battery.CURRENT], row[battery.ENERGY]) == (275, 79.96)


def test_used_rows_are_in_the_order_of_the_fits():
    used = battery.load()
    assert list(used.index) == FIT_ORDER
    assert len(used) == 63
    assert 57 not in used.index


def test_the_rejected_row_is_the_declared_one_and_sn100_stays_twice():
    (known,) = battery.PRINTED_CONTRADICTIONS
    printed, used = battery.load("printed"), battery.load("used")
    row = printed.loc[57]
    assert (row.composition, row[battery.ENERGY]) == (known.composition, known.dropped)
    tin = used[(used.composition == "Sn100") & (used[battery.CURRENT] == 100)]
    assert sorted(zip(tin.source, tin[battery.ENERGY], strict=True)) == [("90", 38.3), ("92", 35.3)]


def test_features_are_in_the_units_of_the_study():
    x, y = battery.features(battery.load())
    assert x.shape == (63, 9)
    assert y.shape == (63,)
    assert np.allclose(x[:, :8].sum(axis=1), 1.0)
    assert (x[0, 8], y[0]) == (1.0, 2.906)


def test_unknown_selection_is_an_input_error():
    with pytest.raises(InputError, match="'used'"):
        battery.load("all")


def test_a_good_file_is_read(tmp_path):
    table = battery.read(write(tmp_path, "\ufeff" + HEADER.replace("\n", "\r\n") + GOOD))
    assert list(table[battery.ENERGY]) == [91.15, 80.41]
    assert list(table.composition) == ["Sb30 Pb70"] * 2


def test_optional_loadings_may_have_gaps(tmp_path):
    header = HEADER.replace("source", "source,anode_loading_mg_cm2,cathode_loading_mg_cm2")
    table = battery.read(
        write(tmp_path, header + GOOD.replace("84\n", "84,10,60\n", 1).replace("84\n", "84,,\n"))
    )
    assert table.anode_loading_mg_cm2[0] == 10
    assert np.isnan(table.anode_loading_mg_cm2[1])
    refused(tmp_path, header + GOOD.replace("84\n", "84,-1,60\n"), "row 0", "anode", "positive")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("0,30,0,0,60,0,0,0,100,91.15,84", ["sum to 90", "100"]),
        ("0,30,0,0,70.1,0,0,0,100,91.15,84", ["sum to 100.1"]),
        ("0,-30,0,0,130,0,0,0,100,91.15,84", ["sb is -30", "0 to 100"]),
        ("0,30,0,0,70,0,0,0,-100,91.15,84", ["current_density_ma_cm2 is -100", "above 0"]),
        ("0,30,0,0,70,0,0,0,0,91.15,84", ["current_density_ma_cm2 is 0"]),
        ("0,30,0,0,70,0,0,0,,91.15,84", ["current_density_ma_cm2 is missing", "fill it in"]),
        ("0,30,0,0,70,0,0,0,100,,84", ["energy_density_wh_kg is missing"]),
        ("0,30,0,0,70,0,0,0,100,-1,84", ["energy_density_wh_kg is -1"]),
        ("0,30,0,0,70,0,0,0,about 100,91.15,84", ["'about 100'", "not a number"]),
        ("0,30,0,0,70,0,0,0,100,nan,84", ["'nan'", "not a number"]),
        ("0,30,0,0,70,0,0,0,1_0,91.15,84", ["'1_0'", "not a number"]),
        ("0,30,0,0,70,0,0,0,100,91.15,", ["source is missing"]),
        ("0,30,0,0,70,0,0,0,100,91.15", ["10 cells, expected 11"]),
        ("0,30,0,0,70,0,0,0,100,91.15,84,x", ["12 cells, expected 11"]),
    ],
)
def test_a_bad_row_is_refused_with_its_place(tmp_path, line, words):
    refused(tmp_path, HEADER + GOOD + line + "\n", "row 2 (line 4)", *words)


def test_rows_are_counted_past_blank_lines(tmp_path):
    text = HEADER + GOOD + "\n0,30,0,0,60,0,0,0,100,91.15,84\n"
    refused(tmp_path, text, "row 2 (line 5)", "sum to 90")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["empty"]),
        ("\n\n", ["empty"]),
        (HEADER, ["no rows"]),
        (HEADER.replace(",zn", "") + GOOD, ["zn is missing", "line 1"]),
        (HEADER.replace("source", "source,colour") + GOOD, ["'colour'", "unknown"]),
        (HEADER.replace("cu", "se") + GOOD, ["column cu, current_density_ma_cm2 is missing"]),
        (HEADER.replace("source", "source,se") + GOOD, ["se occurs twice"]),
        (b"\xff\xfe\x00", ["UTF-8"]),
        (HEADER + '0,"30', ["CSV"]),
    ],
)
def test_a_bad_file_is_refused(tmp_path, text, words):
    refused(tmp_path, text, *words)


def test_a_missing_file_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match=r"cells\.csv: cannot be read"):
        battery.read(tmp_path / "cells.csv")


def test_contradictions_are_refused_within_a_source_only(tmp_path):
    other = "0,30,0,0,70,0,0,0,250,75,{}\n"
    refused(
        tmp_path,
        HEADER + GOOD + other.format("84"),
        "row 2 (line 4)",
        "row 1 (line 3)",
        "Sb30 Pb70",
        "75",
        "80.41",
    )
    assert len(battery.read(write(tmp_path, HEADER + GOOD + other.format("90")))) == 3
    known = battery.Contradiction("84", "Sb30 Pb70", 250.0, 80.41, 75.0, "a slip of the pen")
    path = write(tmp_path, HEADER + GOOD + other.format("84"))
    assert len(battery.read(path, declared=[known])) == 3


def test_the_known_contradiction_is_refused_unless_declared(tmp_path):
    text = HEADER + "50,25,25,0,0,0,0,0,191,320.8,own\n50,25,25,0,0,0,0,0,191,237.5,own\n"
    assert len(battery.read(write(tmp_path, text))) == 2
    refused(tmp_path, text, "row 1", "237.5", "320.8", declared=())
    third = "50,25,25,0,0,0,0,0,191,200,own\n"
    refused(tmp_path, text + third, "row", "Se50 Sb25 Cu25")


def test_a_repeated_identical_row_is_no_contradiction(tmp_path):
    assert len(battery.read(write(tmp_path, HEADER + GOOD + GOOD))) == 4


def test_the_fit_order_refuses_another_table(tmp_path):
    with pytest.raises(InputError, match="printed Table"):
        battery.fit_order(battery.read(write(tmp_path, HEADER + GOOD.replace("84", "99"))))


@settings(deadline=None, max_examples=60)
@given(
    cells=st.lists(st.text(alphabet="0123456789.-eE nan\"'", max_size=6), min_size=11, max_size=11)
)
def test_nothing_but_a_data_error_comes_out(tmp_path_factory, cells):
    path = write(tmp_path_factory.mktemp("fuzz"), HEADER + GOOD + ",".join(cells) + "\n")
    try:
        table = battery.read(path)
    except DataError as error:
        assert "\n" not in str(error)
    else:
        assert np.isfinite(table[battery.ENERGY]).all()
