"""The expert rules on the table of the study and on cases small enough to judge by eye."""

import numpy as np
import pandas as pd
import pytest

from mfutils.datasets import battery
from mfutils.errors import InputError
from mfutils.study.s03_1 import battery_rules


def cells(*rows):
    """Table from (composition dict, current, energy, source)."""
    lines = [
        {e: share.get(e, 0.0) for e in battery.ELEMENTS}
        | {battery.CURRENT: current, battery.ENERGY: energy, "source": source}
        for share, current, energy, source in rows
    ]
    table = pd.DataFrame(lines)
    table["composition"] = [battery.composition_label(row) for _, row in table.iterrows()]
    return table


def brute_force_rule_2(table):
    """Every violating pair, by looking at all pairs of rows."""
    found = set()
    for i in table.index:
        for j in table.index:
            a, b = table.loc[i], table.loc[j]
            same = a.source == b.source and a.composition == b.composition
            rises = a[battery.CURRENT] < b[battery.CURRENT]
            if same and rises and a[battery.ENERGY] < b[battery.ENERGY]:
                found.add((i, j))
    return found


def test_rule_2_finds_five_pairs_all_from_source_93():
    used = battery.load()
    pairs = battery_rules.current_raises_energy(used)
    assert len(pairs) == 5
    assert set(pairs.source) == {"93"}
    assert set(pairs.composition) == {"Sb45 Bi45 Sn10"}
    assert set(zip(pairs.row, pairs.other_row, strict=True)) == brute_force_rule_2(used)
    assert "rises from 191 to 200" in pairs.reason[0]


def test_each_printed_series_of_source_93_obeys_rule_2_by_itself():
    used = battery.load()
    for rows in (range(38, 42), range(42, 47)):
        assert battery_rules.current_raises_energy(used.loc[list(rows)]).empty


def test_rule_2_ignores_equal_currents_and_other_sources():
    alloy = {"sb": 40.0, "bi": 60.0}
    table = cells((alloy, 100, 200, "a"), (alloy, 100, 210, "a"), (alloy, 200, 220, "b"))
    assert battery_rules.current_raises_energy(table).empty
    table = cells((alloy, 100, 200, "a"), (alloy, 200, 200, "a"))
    assert battery_rules.current_raises_energy(table).empty, "equal energies do not rise"


def test_rule_3_on_the_table():
    pairs = battery_rules.active_content_lowers_energy(battery.load())
    assert list(zip(pairs.row, pairs.other_row, strict=True)) == [(58, 56)]
    assert "Sb 20 to 25 %" in pairs.reason[0]
    printed = battery_rules.active_content_lowers_energy(battery.load("printed"))
    assert {(55, 57), (58, 56), (58, 57)} == set(zip(printed.row, printed.other_row, strict=True))


def test_rule_3_wants_all_else_equal():
    poor, rich = {"sb": 30.0, "pb": 70.0}, {"sb": 40.0, "pb": 60.0}
    violation = cells((poor, 100, 200, "a"), (rich, 100, 190, "a"))
    assert len(battery_rules.active_content_lowers_energy(violation)) == 1
    fine = [
        cells((poor, 100, 200, "a"), (rich, 200, 190, "a")),
        cells((poor, 100, 200, "a"), (rich, 100, 190, "b")),
        cells((poor, 100, 200, "a"), ({"sb": 40.0, "sn": 60.0}, 100, 190, "a")),
        cells((poor, 100, 200, "a"), ({"bi": 40.0, "pb": 60.0}, 100, 190, "a")),
    ]
    for table in fine:
        assert battery_rules.active_content_lowers_energy(table).empty
    tin = cells(({"sn": 30.0, "pb": 70.0}, 1, 9, "a"), ({"sn": 40.0, "pb": 60.0}, 1, 8, "a"))
    assert battery_rules.active_content_lowers_energy(tin).empty
    assert len(battery_rules.active_content_lowers_energy(tin, active=("sn",))) == 1


def test_rule_1_says_when_it_cannot_judge():
    used = battery.load()
    result = battery_rules.loading_mismatch(used)
    assert len(result) == len(used)
    assert set(result.verdict) == {"cannot be judged"}
    assert result.reason.str.contains("anode_loading_mg_cm2").all()
    used["anode_loading_mg_cm2"] = 10.0
    result = battery_rules.loading_mismatch(used)
    assert set(result.verdict) == {"cannot be judged"}
    assert "has no cathode_loading_mg_cm2" in result.reason[0]


def test_rule_1_judges_by_capacity():
    # Li3Bi: 3 F / M(Bi) = 384.7 mAh/g; lithium: F / 6.94 = 3861.8 mAh/g
    table = cells(*[({"bi": 100.0}, 100, 200, "a")] * 4)
    table["cathode_loading_mg_cm2"] = [100.0, 100.0, 100.0, 100.0]
    matched = 100.0 * 384.747 / 3861.8
    table["anode_loading_mg_cm2"] = [0.5 * matched, 1.2 * matched, 2.0 * matched, np.nan]
    result = battery_rules.loading_mismatch(table)
    assert list(result.row) == [0, 2, 3]
    assert list(result.verdict) == ["violates", "violates", "cannot be judged"]
    assert "0.50 times" in result.reason[0]
    assert "cathode material stays unused" in result.reason[0]
    assert "lithium stays unused" in result.reason[1]
    assert battery_rules.loading_mismatch(table.loc[[1]]).empty
    wide = battery_rules.loading_mismatch(table, limits=(0.4, 3.0))
    assert list(wide.row) == [3]
    copper = cells(({"cu": 100.0}, 100, 200, "a"))
    copper[["cathode_loading_mg_cm2", "anode_loading_mg_cm2"]] = 1.0
    assert "stores no lithium" in battery_rules.loading_mismatch(copper).reason[0]


def test_capacity_matches_hand_calculation():
    table = cells(({"te": 100.0}, 1, 1, "a"), ({"sb": 50.0, "sn": 50.0}, 1, 1, "a"))
    faraday = 96485.332 / 3.6
    hand = [2 * faraday / 127.60, (1.5 + 2.2) * faraday / (60.88 + 59.355)]
    assert np.allclose(battery_rules.capacity_mah_per_g(table), hand)


def test_bad_input_is_named():
    used = battery.load()
    with pytest.raises(InputError, match="lacks sb"):
        battery_rules.current_raises_energy(used.drop(columns="sb"))
    with pytest.raises(InputError, match="limits"):
        battery_rules.loading_mismatch(used, limits=(2.0, 1.0))
    with pytest.raises(InputError, match="active elements"):
        battery_rules.active_content_lowers_energy(used, active=("xx",))
    with pytest.raises(InputError, match="index repeats"):
        battery_rules.current_raises_energy(pd.concat([used, used]))
