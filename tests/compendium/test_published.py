"""Verdicts beside printed values, class by class, and the reader of the YAML files."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfutils.compendium import published
from mfutils.compendium.published import Printed, compare
from mfutils.errors import DataError, InputError


def _value(printed, kind="exact", **more):
    return Printed(id="a.b", printed=printed, where="Table 1", kind=kind, **more)


@pytest.mark.parametrize(
    ("printed", "ours", "ok"),
    [
        ("12.181", 12.1809, True),
        ("12.181", 12.1816, False),
        ("-0.069", -0.0694, True),
        ("0.25", 0.245, True),  # a tie may round either way
        ("30", 30.4, True),
        ("30", 30.6, False),
        ("Te>Se>Sb", "Te > Se > Sb", True),
        ("Te>Se>Sb", "Se>Te>Sb", False),
        ("1.0", True, False),
        ("1.0", None, False),
    ],
)
def test_exact(printed, ours, ok):
    assert compare(_value(printed), ours)["ok"] is ok


@given(st.floats(-1e4, 1e4), st.integers(0, 5))
def test_exact_accepts_its_own_rounding(x, digits):
    assert compare(_value(f"{x:.{digits}f}"), x)["ok"]


@given(st.floats(-1e4, 1e4), st.integers(0, 5), st.sampled_from([-1, 1]))
def test_exact_rejects_the_neighbouring_digit(x, digits, sign):
    neighbour = round(x, digits) + sign * 2 * 10.0**-digits
    assert not compare(_value(f"{x:.{digits}f}"), neighbour)["ok"]


def test_relative_tolerance():
    value = _value("1099.932", rtol=0.01, reason="float32")
    assert compare(value, 1098.0)["ok"]
    assert not compare(value, 1080.0)["ok"]


def test_spread_trend_and_not_reproducible():
    assert compare(_value("1.5", "spread"), [1.0, 2.0])["ok"]
    assert not compare(_value("2.5", "spread"), [1.0, 2.0])["ok"]
    assert not compare(_value("1.5", "spread"), [1.5])["ok"]
    assert compare(_value("A>B", "trend"), {"holds": True, "probability": 0.9, "n": 10})["ok"]
    assert not compare(_value("A>B", "trend"), {"holds": False})["ok"]
    open_end = _value("-0.069", "not-reproducible", reason="noise")
    assert compare(open_end, -0.085)["ok"]
    bounded = _value("-0.069", "not-reproducible", reason="noise", expect=(-0.09, -0.08))
    assert compare(bounded, -0.085)["ok"]
    assert not compare(bounded, -0.07)["ok"]
    other = _value("1", dataset="chen2021")
    assert compare(other, None, dataset="open")["verdict"].startswith("not run")
    assert not compare(other, 2, dataset="chen2021")["ok"]
    # several runs count by their mean, a comparison by its effect
    assert published.compare(bounded, [-0.08, -0.09])["ok"]
    assert not published.compare(bounded, [-0.08, -0.02])["ok"]
    assert published.compare(bounded, {"effect": -0.085, "holds": False})["ok"]
    assert not published.compare(bounded, {"effect": 0.085})["ok"]
    assert not published.compare(bounded, {"holds": False})["ok"]


GOOD = "section: '1'\nvalues:\n- {id: a, printed: '1.0', where: here, class: exact}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected the keys section and values"),
        ("values: [", "cannot be read as YAML"),
        ("values:\n- 3", "value 0 is not a mapping"),
        (GOOD.replace("'1.0'", "1.0"), "needs printed as a non-empty, quoted string"),
        (GOOD.replace("exact", "sure"), "class 'sure'"),
        (GOOD.replace("exact", "not-reproducible"), "needs a reason"),
        (GOOD.replace("exact", "exact, rtol: 0.5, reason: r"), "rtol 0.5"),
        (GOOD.replace("exact", "exact, expect: [2, 1]"), "expect [2, 1]"),
        (GOOD.replace("'1.0'", "few").replace("exact", "exact, rtol: 0.01, reason: r"), "an rtol"),
        (GOOD.replace("exact", "exact, unit: 3"), "has unit 3; write it as a quoted string"),
        (GOOD.replace("exact", "exact, reason: !!bool maybe"), "cannot be read as YAML"),
        (GOOD.replace("exact", "exact, colour: red"), "unknown keys 'colour'"),
        (GOOD + "- {id: a, printed: '2', where: there, class: exact}\n", "occurs twice"),
    ],
)
def test_bad_files_are_named(tmp_path, text, message):
    (tmp_path / "03_1_x.yaml").write_text(text)
    with pytest.raises(DataError, match=r"03_1_x\.yaml") as caught:
        published.load("03_1_x", tmp_path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=200))
def test_reader_never_fails_from_the_depths(tmp_path_factory, text):
    folder = tmp_path_factory.getbasetemp()
    (folder / "fuzz.yaml").write_text(text, encoding="utf-8", errors="ignore")
    try:
        published.load("fuzz", folder)
    except InputError as error:
        assert "fuzz.yaml" in str(error)


def test_files_of_the_compendium_are_valid():
    stems = sorted(p.stem for p in published.paths.PUBLISHED.glob("*.yaml"))
    assert stems
    assert all(published.load(stem) for stem in stems)
