"""Who trains, calibrates and tests; the jobs of every model, at the smallest size that runs."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from mfutils.datasets import bandgap, icsd_gaps
from mfutils.errors import InputError
from mfutils.study.s05_1 import jobs, measured, scoring
from mfutils.study.s05_1.measured import Fold
from mfutils.uncertainty.forecasts import CensoredNormal, Draws

HERE = bandgap.available("chen2021") and icsd_gaps.available()
FIRST = Fold("open", 0, limit=60)


@pytest.fixture(scope="module")
def study():
    return measured.load("open", limit=60)


def test_chemical_names():
    assert measured.chemical_system("Ca3(PO4)2") == "Ca-O-P"
    names = ["NaCl", "TiO2", "CdS", "GaAs", "LaNi5", "TiC", "BiOCl", "Al0.15Ga0.85As"]
    groups = ["halide", "oxide", "chalcogenide", "pnictide", "metallic", "metallic", "halide"]
    assert [measured.chemical_group(n) for n in names] == [*groups, "pnictide"]


def test_parts_are_disjoint_by_system_and_cover_everything(study):
    tested = []
    for fold in range(5):
        deal = Fold("open", fold, limit=60)
        parts = deal.rows()
        systems = [set(study.system[rows]) for rows in parts]
        assert systems[0].isdisjoint(systems[1] | systems[2])
        assert systems[1].isdisjoint(systems[2])
        assert sorted(np.concatenate(parts)) == list(range(len(study)))
        assert len(parts[1]) / (len(parts[0]) + len(parts[1])) == pytest.approx(0.2, abs=0.08)
        tested.append(parts[2])
        left_out = []
        for member in range(5):
            seen, left = deal.inner(member)
            assert not set(study.system[seen]) & set(study.system[left])
            left_out.append(left)
        assert sorted(np.concatenate(left_out)) == sorted(parts[0])
    assert sorted(np.concatenate(tested)) == list(range(len(study)))


def test_splits_follow_the_seed():
    first, again, other = (Fold("open", 1, limit=60, seed=s).rows()[2] for s in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert set(first) != set(other)


@pytest.mark.parametrize("architecture", ["cgcnn", "megnet"])
def test_networks_see_their_rows_only_and_masks_spread(study, architecture):
    small = {"cgcnn": {"features": 8, "hidden": 12, "convolutions": 1}}
    small["megnet"] = {"blocks": 1, "dense": (8, 4), "update": (8, 4), "cutoff": 4.0}
    options = {"architecture": architecture, "model": small[architecture]}
    options |= {"fold": FIRST, "training": {"epochs": 2}}
    plain = jobs.network(**options, member=1)
    train, _, _ = FIRST.rows()
    assert sorted([*plain.seen, *plain.left]) == sorted(train)
    assert plain.prediction.shape == (60,)
    assert plain.descriptor.shape[0] == 60
    dropped = jobs.network(**options, dropout=0.3, masks=20)
    assert (dropped.spread > 0).all()
    fitted = jobs.ensemble([dropped], study.y)
    assert (fitted.forecast.std >= dropped.spread).all()
    assert fitted.cpu_seconds == dropped.cpu_seconds


def test_masks_of_a_linear_layer_have_the_known_mean_and_variance():
    torch.manual_seed(0)
    linear = nn.Linear(6, 1)
    rng = np.random.default_rng(0)
    d = rng.normal(size=(4, 6))
    rate = 0.25
    drawn = jobs.masked(nn.Sequential(nn.Dropout(rate), linear), d, masks=20000)
    weight = linear.weight.detach().numpy()[0]
    mean = d @ weight + linear.bias.item()
    # each input is 0, or divided by 1 - rate: variance rate / (1 - rate) of its share
    std = np.sqrt(rate / (1 - rate) * (d**2 @ weight**2))
    np.testing.assert_allclose(drawn.mean(axis=0), mean, atol=5 * std.max() / 20000**0.5)
    np.testing.assert_allclose(drawn.std(axis=0), std, rtol=0.03)


def test_heads_agree_on_a_line_and_the_hurdle_on_its_probability():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(150, 3))
    y = np.maximum(1.0 + x @ [0.8, -0.5, 0.0] + rng.normal(0, 0.2, 150), 0.0)
    straight = 3.0 + x @ [0.8, -0.5, 0.0] + rng.normal(0, 0.2, 150)
    new = rng.normal(size=(40, 3))
    for method in jobs.HEADS[:3]:
        forecast = jobs.head(method=method, x=x, y=straight, x_new=new).forecast
        np.testing.assert_allclose(forecast.mean, 3 + new @ [0.8, -0.5, 0.0], atol=0.25)
        assert forecast.std == pytest.approx(0.2, abs=0.08)
    hurdle = jobs.head(method="hurdle", x=x, y=y, x_new=new).forecast
    scaled = (x - x.mean(0)) / x.std(0)
    gate = LogisticRegression(C=0.05).fit(scaled, y > 0)
    zero = gate.predict_proba((new - x.mean(0)) / x.std(0))[:, 0]
    np.testing.assert_allclose(hurdle.zero_probability(), zero, atol=0.011)


@pytest.mark.parametrize("method", jobs.TREES)
def test_trees_forecast_every_row(study, method):
    forecast = jobs.trees(fold=FIRST, method=method, count=10).forecast
    assert len(forecast) == 60
    assert np.isfinite(forecast.median()).all()
    train, _, test = FIRST.rows()
    error = np.abs(forecast.median() - study.y)
    assert error[train].mean() < np.abs(study.y[train] - np.median(study.y[train])).mean()
    assert error[test].mean() < 3


def test_an_ensemble_adds_the_noise_that_its_spread_does_not_explain():
    rng = np.random.default_rng(6)
    truth = rng.normal(size=5000)
    y = truth + rng.normal(0, 0.6, 5000)
    predictions = truth + rng.normal(0, 0.8, (4, 5000))
    rows = np.arange(5000)
    members = [
        jobs.Member(p, np.setdiff1d(rows, left), left, 1.0)
        for p, left in zip(predictions, np.split(rows, 4), strict=True)
    ]
    fitted = jobs.ensemble(members, y)
    assert fitted.cpu_seconds == 4.0
    # 0.36 noise + 0.64 spread; a member errs by both on what it left out
    np.testing.assert_allclose(np.mean(fitted.forecast.std**2), 0.36 + 0.64, rtol=0.03)
    single = jobs.ensemble(members[:1], y).forecast
    assert single.std[0] == pytest.approx(1.0, rel=0.06)
    assert isinstance(single, CensoredNormal)


def test_scores_are_what_the_parts_say():
    rng = np.random.default_rng(1)
    mean, std = rng.normal(0.5, 1.5, 200), rng.uniform(0.1, 2.0, 200)
    y = np.maximum(rng.normal(mean, std), 0.0)
    forecast = CensoredNormal(mean, std)
    table = scoring.score(forecast, y, alpha=0.1)
    low, high = forecast.interval(0.1)
    np.testing.assert_allclose(table["width"], high - low)
    np.testing.assert_array_equal(table["inside"], (low <= y) & (y <= high))
    np.testing.assert_allclose(table["error"], np.abs(np.maximum(mean, 0) - y))
    assert table["inside"].mean() == pytest.approx(0.9, abs=0.07)
    # a point has a likelihood too
    assert np.isfinite(scoring.score(Draws(np.zeros((2, 20))), np.zeros(2), alpha=0.1)).all(None)


def test_judged_scores_the_test_rows_and_calibration_keeps_the_promise():
    rng = np.random.default_rng(2)
    mean = rng.uniform(0, 3, 900)
    y = np.maximum(rng.normal(mean, 0.5), 0)
    forecast = CensoredNormal(mean, np.full(900, 0.2))  # too sure of itself
    part = np.split(np.arange(900), [300, 600])
    table = scoring.judged(forecast, y, part, alpha=0.1, seed=0)
    for kind in ("as it is", "calibrated"):
        assert table[table["kind"] == kind]["row"].tolist() == part[2].tolist()
    raw, mended = (scoring.summary(t, y) for _, t in table.groupby("kind", sort=False))
    assert raw["coverage"] < 0.75
    assert mended["coverage"] == pytest.approx(0.9, abs=0.05)
    assert mended["width (eV)"] > raw["width (eV)"]
    below, above = mended["of zeros"], mended["of others"]
    share = (y[part[2]] == 0).mean()
    assert share * below + (1 - share) * above == pytest.approx(mended["coverage"])


def test_a_measured_set_is_named(study):
    assert study.measured == "exp"
    named = Fold("open", 0, limit=60, measured="exp")
    np.testing.assert_array_equal(named.study().y, study.y)
    np.testing.assert_array_equal(named.rows()[2], FIRST.rows()[2])
    # these crystals were measured and computed under one id: they are their own twins
    columns = [f"gap_{name}" for name in bandgap.computed("open")]
    own = study.table[columns].to_numpy(float)
    np.testing.assert_array_equal(measured.known("open", limit=60)[np.isfinite(own).any(1)],
                                  own[np.isfinite(own).any(1)])  # fmt: skip
    with pytest.raises(InputError, match="open has exp"):
        measured.load("open", measured="exp_icsd")


@pytest.mark.data
@pytest.mark.skipif(not HERE, reason="the study's measured crystals are not here")
def test_measured_sets_of_the_study():
    main, other = (measured.load("chen2021", measured=name) for name in (None, "exp_mp"))
    assert (main.measured, len(main), len(other)) == ("exp_icsd", 2702, 1280)
    assert (main.y == 0).mean() == pytest.approx(0.512, abs=0.001)
    for name, study in (("exp_icsd", main), ("exp_mp", other)):
        train, calibration, test = Fold("chen2021", 1, measured=name).rows()
        assert len(train) + len(calibration) + len(test) == len(study)
        assert set(study.system[test]).isdisjoint(study.system[train])


def test_bad_input_is_refused():
    with pytest.raises(InputError, match="fold is 5"):
        Fold("open", 5)
    with pytest.raises(InputError, match="share"):
        Fold("open", 0, calibration=1.0)
    with pytest.raises(InputError, match="at least 20"):
        measured.load("open", limit=10)
    with pytest.raises(InputError, match="cgcnn or megnet"):
        jobs.network(fold=FIRST, architecture="schnet")
    with pytest.raises(InputError, match="below 1"):
        jobs.network(fold=FIRST, architecture="cgcnn", dropout=1.0)
    with pytest.raises(InputError, match="hurdle"):
        jobs.head(method="probit", x=np.eye(3), y=np.ones(3), x_new=np.eye(3))
    with pytest.raises(InputError, match="above 0"):
        jobs.head(method="hurdle", x=np.eye(3), y=np.ones(3), x_new=np.eye(3))
    with pytest.raises(InputError, match="extra trees"):
        jobs.trees(fold=FIRST, method="stump")
