"""Plain values out of text files."""

import math

import pytest

from mfutils.errors import DataError
from mfutils.plain_values import brief, is_number, read_yaml


@pytest.mark.parametrize("value", [0, -3, 1.5, 10**300, 5e-324, 1.7976931348623157e308])
def test_numbers(value):
    assert is_number(value)


@pytest.mark.parametrize(
    "value", [True, None, "1", math.nan, math.inf, -math.inf, 10**400, 1j, [1], {}]
)
def test_what_is_no_number(value):
    assert not is_number(value)


def test_values_are_shown_short():
    endless = []
    endless.append(endless)
    for value in (10**5000, "x" * 500, endless, [[[[1]]]], {"a": list(range(100))}):
        assert len(brief(value)) < 100
    assert brief("wide") == "'wide'"


@pytest.mark.parametrize(
    "text",
    [
        "a: [", "a: !!int x", "a: !!bool maybe", "a: 2026-13-45", "a: !!timestamp x", "a: *b",
        "a: !!python/object/apply:os.system [x]", "<<: 3", "? [a]\n: b", "a: " + "[" * 5000,
        "a: " + "9" * 5000,
    ],
)  # fmt: skip
def test_every_defect_of_yaml_is_one_line(tmp_path, text):
    path = tmp_path / "table.yaml"
    path.write_text(text)
    with pytest.raises(DataError, match=r"table\.yaml: cannot be read as YAML .*; mend it$") as e:
        read_yaml(path, remedy="mend it")
    assert "\n" not in str(e.value)
    assert len(str(e.value)) < 1000


def test_bytes_that_are_no_text_and_files_that_are_not_there(tmp_path):
    (tmp_path / "bytes.yaml").write_bytes(b"a: \xff\xfe")
    for name in ("bytes.yaml", "absent.yaml", "."):
        with pytest.raises(DataError, match="cannot be read as YAML"):
            read_yaml(tmp_path / name, remedy="mend it")
    (tmp_path / "good.yaml").write_text("a: [1, x]\n")
    assert read_yaml(tmp_path / "good.yaml", remedy="mend it") == {"a": [1, "x"]}
