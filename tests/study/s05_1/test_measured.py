"""Who trains, calibrates and tests; the jobs of every model, at the smallest size that runs."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from mfutils.errors import InputError
from mfutils.study.s05_1 import jobs, measured
from mfutils.uncertainty.forecasts import Atoms, Normal

SMALL = {"dataset": "open", "limit": 60, "split": {"fold": 0}}


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
        parts = measured.split(study, fold)
        systems = [set(study.system[rows]) for rows in parts]
        assert systems[0].isdisjoint(systems[1] | systems[2])
        assert systems[1].isdisjoint(systems[2])
        assert sorted(np.concatenate(parts)) == list(range(len(study)))
        assert len(parts[1]) / (len(parts[0]) + len(parts[1])) == pytest.approx(0.2, abs=0.08)
        tested.append(parts[2])
        left_out = []
        for member in range(5):
            seen, left = measured.inner_split(study, parts[0], member)
            assert not set(study.system[seen]) & set(study.system[left])
            left_out.append(left)
        assert sorted(np.concatenate(left_out)) == sorted(parts[0])
    assert sorted(np.concatenate(tested)) == list(range(len(study)))


def test_splits_follow_the_seed(study):
    first, again, other = (measured.split(study, 1, seed=s)[2] for s in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert set(first) != set(other)


@pytest.mark.parametrize("architecture", ["cgcnn", "megnet"])
def test_networks_see_their_rows_only_and_masks_spread(study, architecture):
    small = {"cgcnn": {"features": 8, "hidden": 12, "convolutions": 1}}
    small["megnet"] = {"blocks": 1, "dense": (8, 4), "update": (8, 4), "cutoff": 4.0}
    options = {"architecture": architecture, "model": small[architecture]}
    options |= {**SMALL, "training": {"epochs": 2}}
    plain = jobs.network(**options, member=1, descriptor=True)
    train, _, _ = measured.split(study, 0)
    assert sorted([*plain["seen"], *plain["left"]]) == sorted(train)
    assert plain["prediction"].shape == (60,)
    assert plain["descriptor"].shape[0] == 60
    dropped = jobs.network(**options, dropout=0.3, masks=20)
    assert (dropped["spread"] > 0).all()
    wide, same = (jobs.forecast(r, study.y) for r in (dropped, dropped))
    assert (wide.std >= dropped["spread"]).all()
    np.testing.assert_array_equal(wide.std, same.std)


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
        found = jobs.head(method=method, x=x, y=straight, x_new=new)
        np.testing.assert_allclose(found["mean"], 3 + new @ [0.8, -0.5, 0.0], atol=0.25)
        assert found["std"] == pytest.approx(0.2, abs=0.08)
    atoms = Atoms(jobs.head(method="hurdle", x=x, y=y, x_new=new)["atoms"])
    scaled = (x - x.mean(0)) / x.std(0)
    gate = LogisticRegression(C=0.05).fit(scaled, y > 0)
    zero = gate.predict_proba((new - x.mean(0)) / x.std(0))[:, 0]
    np.testing.assert_allclose((atoms.values == 0).mean(axis=0), zero, atol=0.011)


def test_leaf_quantiles_of_a_forest_are_weighted_quantiles(study):
    leaves = np.array([[0, 1], [0, 1], [1, 1], [1, 0], [0, 0]])
    y = np.array([3.0, 1.0, 2.0, 5.0, 0.0])
    found = jobs._leaf_quantiles(leaves, np.arange(4), y)
    # row 4 shares a leaf with rows 0 and 1 in the first tree, with row 3 in the second
    np.testing.assert_array_equal(np.unique(found[:, 4]), [1.0, 3.0, 5.0])
    assert [(found[:, 4] == v).sum() for v in (1.0, 3.0, 5.0)] == [25, 25, 50]


@pytest.mark.parametrize("method", jobs.TREES)
def test_trees_forecast_every_row(study, method):
    result = jobs.trees(**SMALL, method=method, members=5, count=10)
    forecast = jobs.forecast(result, study.y)
    assert len(forecast) == 60
    assert np.isfinite(forecast.point()).all()
    train, _, test = measured.split(study, 0)
    error = np.abs(forecast.point() - study.y)
    assert error[train].mean() < np.abs(study.y[train] - np.median(study.y[train])).mean()
    assert error[test].mean() < 3


def test_an_ensemble_adds_the_noise_that_its_spread_does_not_explain():
    rng = np.random.default_rng(6)
    truth = rng.normal(size=5000)
    y = truth + rng.normal(0, 0.6, 5000)
    members = truth + rng.normal(0, 0.8, (4, 5000))
    left = np.split(np.arange(5000), 4)
    found = jobs.ensemble(members, left, y)
    # 0.36 noise + 0.64 spread; a member errs by both on what it left out
    np.testing.assert_allclose(np.mean(found.std**2), 0.36 + 0.64, rtol=0.03)
    single = jobs.ensemble(members[:1], left[:1], y)
    assert single.std[0] == pytest.approx(1.0, rel=0.06)
    assert isinstance(single, Normal)


def test_bad_input_is_refused(study):
    with pytest.raises(InputError, match="fold is 5"):
        measured.split(study, 5)
    with pytest.raises(InputError, match="share"):
        measured.split(study, 0, calibration=1.0)
    with pytest.raises(InputError, match="at least 20"):
        measured.load("open", limit=10)
    with pytest.raises(InputError, match="cgcnn or megnet"):
        jobs.network(**SMALL, architecture="schnet")
    with pytest.raises(InputError, match="below 1"):
        jobs.network(**SMALL, architecture="cgcnn", dropout=1.0)
    with pytest.raises(InputError, match="hurdle"):
        jobs.head(method="probit", x=np.eye(3), y=np.ones(3), x_new=np.eye(3))
    with pytest.raises(InputError, match="above 0"):
        jobs.head(method="hurdle", x=np.eye(3), y=np.ones(3), x_new=np.eye(3))
    with pytest.raises(InputError, match="extra trees"):
        jobs.trees(**SMALL, method="stump")
