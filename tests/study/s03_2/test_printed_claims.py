"""What is recorded beside a printed value, and that it can fail."""

import numpy as np
import pytest
from ensemble_examples import made

from mfutils.compendium.published import Printed, compare, load
from mfutils.study.s03_2 import claims, sentences, tables
from mfutils.uncertainty.compare import draw_groups

FIDELITIES = ("scan", "hse", "pbe", "gllb-sc")


@pytest.fixture(scope="module")
def ensemble():
    return made(fidelities=FIDELITIES)


@pytest.fixture(scope="module")
def draws(ensemble):
    return draw_groups(ensemble.group, resamples=500, seed=0)


def judged(printed, ours, kind="spread"):
    return compare(Printed("x", str(printed), "Table", kind), ours)


def test_cells_are_the_errors_of_every_network(ensemble):
    found = claims.cells("t", ensemble, "exact")
    assert len(found) == 8
    error = ensemble.error("exact", "pbe")
    np.testing.assert_allclose(found["t.pbe.mae"], error.mean(axis=1))
    np.testing.assert_allclose(found["t.pbe.mse"], (error**2).mean(axis=1))
    assert judged(error.mean(), found["t.pbe.mae"])["ok"]
    assert not judged(error.mean() + 0.2, found["t.pbe.mae"])["ok"]


def test_a_fused_cell_has_the_interval_of_a_repetition(ensemble):
    found = claims.fused_cells("t", ensemble, "sparse")
    mae = found["t.fused.mae"]
    assert mae["n"] == 6
    low, high = mae["interval"]
    assert low < mae["effect"] < high
    assert judged(round(mae["effect"], 3), mae)["ok"]
    assert "our interval" in judged(mae["effect"], mae)["verdict"]
    assert not judged(high + 0.01, mae)["ok"]
    assert not judged(1.0, {"interval": [1.0], "n": 6})["ok"]


def test_an_order_holds_only_when_every_pair_does(ensemble, draws):
    right = claims.order_holds(ensemble, "exact", ("hse", "scan", "gllb-sc"), draws)
    assert right["holds"]
    assert right["interval"][1] < 0
    wrong = claims.order_holds(ensemble, "exact", ("scan", "hse", "gllb-sc"), draws)
    assert not wrong["holds"]
    assert wrong["pairs"] == ["worse", "better"]
    assert not judged("SCAN>HSE", wrong, "trend")["ok"]


def test_gains_of_fusion(ensemble, draws):
    gain = claims.fusion_gain(ensemble, "sparse", "gllb-sc")
    against = claims.against_single(ensemble, "sparse", "gllb-sc", draws)
    assert gain["effect"] == pytest.approx(-against.difference)
    assert against.verdict == "better"
    same = claims.difference_of_singles((ensemble, "exact"), (ensemble, "exact"), "hse", draws)
    assert same.difference == 0


def test_the_section_records_what_is_printed(ensemble, draws):
    other = made(fidelities=FIDELITIES, seed=1)
    rows = {
        "megnet": (other, "network"), "megnet_gpr": (other, "sparse"),
        "cgcnn": (ensemble, "z-score"), "cgcnn_gpr": (ensemble, "sparse"),
    }  # fmt: skip
    found = claims.section(
        rows, known=other, second={"exp_mp": other}, pair=("hse", "pbe"), draws=draws
    )
    assert set(found) == {p.id for p in load("03_2_model_based_fidelity")}
    assert found["table_3_6.cgcnn"]["pairs"][1:] == ["better", "better"]
    assert found["section_3_2_4.gllb_least.megnet"]["holds"]
    # two ensembles that differ by chance do not order the fidelities differently
    assert not found["section_3_2_4.orders_of_gpr_models"]["holds"]


def test_a_factor_and_a_bound_that_half_the_rows_teach():
    rng = np.random.default_rng(0)
    y, std = rng.normal(size=4000), np.full(4000, 0.5)
    learns = np.arange(4000) % 2 == 0
    found = tables.recalibrated(y, np.zeros(4000), std, learns=learns)
    assert found["factor"] == pytest.approx(2, abs=0.1)
    assert found["inside 95 %"] == pytest.approx(0.67, abs=0.03)
    assert found["scaled: inside 95 %"] == pytest.approx(0.95, abs=0.02)
    assert found["conformal: inside 95 %"] == pytest.approx(0.95, abs=0.02)


def test_tables_and_sentences_carry_the_same_numbers(ensemble, draws):
    table = tables.evaluation_table(ensemble)
    hse = table.set_index("trained on").loc["HSE"]
    assert hse["eV"] == pytest.approx(ensemble.error("network", "hse").mean())
    assert f"{hse['eV']:.3f} eV when they are transformed back" in sentences.read_as_ev(
        table, "HSE"
    )
    printed = tables.printed_table(
        {"m": ("made", ensemble, "exact")}, {"m.hse.mae": 0.3, "m.hse.mse": 0.2}
    )
    row = printed.set_index("trained on").loc["HSE"]
    assert (row["printed MAE"], row["printed MSE"]) == (0.3, 0.2)
    assert row["smallest MAE"] < row["MAE"] < row["largest MAE"]
    zero = ensemble.y == 0
    expected = ensemble.error("exact", "hse")[:, zero].mean()
    assert row["zeros"] == pytest.approx(expected)
    calibration = tables.calibration_table([ensemble])
    assert len(calibration) == 8
    assert calibration["inside 95 %"].between(0, 1).all()
    words = sentences.gains(
        {("made", "all"): claims.against_single(ensemble, "exact", "hse", draws)}
    )
    assert words.startswith("*made*\n\n- all: ")


def test_errors_of_several_predictions_and_of_their_mean():
    y = np.array([0.0, 2.0])
    table = tables.error_table({("a", "b"): (np.array([[1.0, 2.0], [0.0, 4.0]]), y)}, ["x", "y"])
    row = table.iloc[0]
    assert (row["x"], row["y"], row["MAE"]) == ("a", "b", 0.75)
    assert (row["smallest MAE"], row["largest MAE"]) == (0.5, 1.0)
    assert row["averaged: MAE"] == 0.75
    assert (row["zeros"], row["nonzeros"]) == (0.5, 1.0)
