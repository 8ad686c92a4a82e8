"""Fused errors and their intervals against plain formulas."""

import numpy as np
import pytest
from ensemble_examples import made

from mfutils.errors import InputError
from mfutils.study.s03_2 import comparisons, fusion
from mfutils.study.s03_2.fusion import average, contrast, jackknife, single
from mfutils.uncertainty import compare, pooling

NAMES = {"hse": "HSE", "gllb-sc": "GLLB-SC"}


@pytest.fixture(scope="module")
def ensemble():
    return made()


@pytest.fixture(scope="module")
def draws(ensemble):
    return compare.draw_groups(ensemble.group, resamples=500, seed=0, over="compositions")


def test_the_weights_of_the_study_by_hand(ensemble):
    mean, std = ensemble.pool("sparse")
    weight = 1 / std
    expected = (weight * mean).sum(axis=0) / weight.sum(axis=0)
    np.testing.assert_allclose(fusion.fused(ensemble, "sparse")[0], expected)
    assert len(mean) == 12
    assert len(ensemble.pool("sparse", ["hse"], without=0)[0]) == 5
    with pytest.raises(InputError, match="prediction is 'network'; a std has one of exact"):
        ensemble.pool("network")


def test_the_jackknife_of_a_mean_is_its_standard_error():
    x = np.random.default_rng(0).normal(size=9)
    error = jackknife(lambda i: float(np.delete(x, i).mean()), 9)
    assert error == pytest.approx(x.std(ddof=1) / 3)
    assert np.isnan(jackknife(lambda i: 0.0, 1))


def test_one_network_against_another_covers_both_variances(ensemble, draws):
    found = contrast(
        single(ensemble, "exact", "hse"), single(ensemble, "exact", "gllb-sc"), draws, networks=6
    )
    a, b = (ensemble.error("exact", f) for f in ("hse", "gllb-sc"))
    assert found.difference == pytest.approx(a.mean() - b.mean())
    # networks: the two sets are trained apart, so their errors of the mean add
    each = a.mean(axis=1) - b.mean(axis=1)
    assert found.se_networks == pytest.approx(each.std(ddof=1) / 6**0.5)
    groups = (a.mean(axis=0) - b.mean(axis=0)).reshape(-1, 2).mean(axis=1)
    assert found.se_compositions == pytest.approx(groups.std(ddof=1) / 40**0.5, rel=0.1)
    half = 1.96 * np.hypot(found.se_networks, found.se_compositions)
    assert found.high - found.difference == pytest.approx(half, rel=1e-3)
    assert found.verdict == "better"
    assert found.as_record()["holds"]


def test_a_prediction_against_itself_is_not_settled(ensemble, draws):
    one = average(ensemble, "exact", ["hse"])
    found = contrast(one, one, draws, networks=6)
    assert (found.difference, found.verdict) == (0.0, "not settled")
    assert not found.as_record()["holds"]


def test_every_subset_and_rule_has_a_row(ensemble, draws):
    table = fusion.subset_table(ensemble, "exact", draws, references=["hse"], names=NAMES, seed=1)
    assert len(table) == 3 * len(fusion.RULES)
    row = table[(table.fidelities == "HSE + GLLB-SC") & (table.rule == "median")].iloc[0]
    mean, std = ensemble.pool("exact")
    value = pooling.fuse(mean, std, "median")[0]
    assert row["MAE (eV)"] == pytest.approx(np.abs(value - ensemble.y).mean())
    assert row["networks"] == 12
    assert row["less HSE averaged: verdict"] == "worse"
    alone = table[table.fidelities == "HSE"]
    # as many networks as one fidelity has are all of them
    np.testing.assert_allclose(alone["MAE of 6"], alone["MAE (eV)"])


def test_questions_are_asked_of_every_ensemble(ensemble, draws):
    asked = comparisons.questions(("hse", "gllb-sc"), ("hse", "gllb-sc"))
    found = comparisons.answers(asked, {"made": (ensemble, "exact", draws)})
    assert set(found) == {("made", question) for question in asked}
    assert found["made", "all against averaging HSE"].verdict == "worse"
    assert found["made", "all against averaging GLLB-SC"].verdict == "better"


def test_neighbours_stand_in_order_of_their_errors(ensemble, draws):
    found = comparisons.neighbours([("made", ensemble, "exact")], draws)
    assert list(found) == [("made", "HSE before GLLB-SC")]
    assert next(iter(found.values())).verdict == "better"


def test_the_price_of_nothing_is_nothing(ensemble, draws):
    found = comparisons.price({"made": (ensemble, ensemble)}, "exact", draws)
    assert set(found) == {("made", n) for n in ("HSE", "GLLB-SC", "all, fused")}
    assert all(c.difference == 0 for c in found.values())
