"""Records with and without a crystal: what is held out, and the models that learn from both."""

import numpy as np
import pytest

from mfutils.crystals.formulas import composition_key
from mfutils.errors import InputError
from mfutils.study.s05_4 import gap_networks, models, records
from mfutils.uncertainty import forecasts

SHARED = {"dataset": "open", "hidden": 0.5}


@pytest.fixture(scope="module")
def data():
    return records.load("open", hidden=0.5)


@pytest.fixture(scope="module")
def computed(data):
    gap = np.nan_to_num(data.crystals["gap_mp_pbe"].to_numpy(float))
    network = np.column_stack([gap, gap])
    return network, models.computed_models(
        **SHARED, cheap="mp_pbe", answer="mp_pbe", network=network, rounds=3
    )


def test_a_composition_is_of_one_kind(data):
    assert not set(data.composition) & set(data.loose_composition)
    assert data.features.shape[1] > data.shared == data.loose_features.shape[1]
    # the columns that need the formula alone are the same for both kinds
    twin = data.polymorph()
    assert (twin >= 0).all()
    assert np.allclose(data.features[twin, : data.shared], data.loose_features, rtol=1e-4)


@pytest.mark.parametrize("by", records.BY)
def test_nothing_of_a_held_out_group_trains(data, by):
    fold = data.folds(5, seed=1, by=by)
    names = data.loose_system if by == "system" else data.loose_composition
    for f in range(5):
        held = set(data.groups(by)[fold == f])
        assert not held & set(data.groups(by)[fold != f])
        assert not held & set(names[data.usable(fold == f, by=by)])
    kept = data.usable(fold == 0, by=by)
    part = data.usable(fold == 0, by=by, share=0.3)
    assert part.sum() < kept.sum()
    assert not (part & ~kept).any()
    assert not data.usable(fold == 0, by=by, share=0.0).any()


def test_systems(data):
    elements = {p.split(":")[0] for p in composition_key("SrTiO3").split("|")}
    assert records._system(composition_key("SrTiO3")) == "-".join(sorted(elements))


def test_no_label_of_a_fold_reaches_its_forecast(data, computed, monkeypatch):
    """Other measured gaps in a fold, of both kinds, leave its own forecasts as they were."""
    network, found = computed
    options = {**SHARED, "split_seed": 0, "trees": 3, "computed": found}
    first = models.composition_model(**options)
    fused = models.fused(**options, network=network, inner=first["inner"], calibrate=1)
    assert (np.diff(fused["forecast"], axis=1) >= 0).all()
    assert np.isfinite(fused["forecast"]).all()

    fold = data.folds(5, seed=0)
    test = fold == 0
    held = ~data.usable(test)
    changed = data.__class__(
        **{
            **vars(data),
            "gap": np.where(test & (data.gap > 0), 50.0, data.gap),
            "loose_gap": np.where(held, 50.0, data.loose_gap),
        }
    )
    monkeypatch.setattr(models.heterogeneous, "load", lambda *a, **k: changed)
    again = models.composition_model(**options)
    assert np.array_equal(first["forecast"][test], again["forecast"][test])
    assert np.array_equal(first["inner"][0], again["inner"][0])
    assert not np.array_equal(first["forecast"][~test], again["forecast"][~test])
    other = models.fused(**options, network=network, inner=again["inner"], calibrate=1)
    assert np.array_equal(fused["forecast"][test], other["forecast"][test])
    seen = np.isfinite(fused["calibration"][0]).all(axis=1)
    assert not (seen & test).any()
    assert np.array_equal(fused["calibration"][0][seen], other["calibration"][0][seen])


def test_known_gaps_and_loose_records(data, computed):
    network, found = computed
    inner = np.zeros((5, len(data.gap), 7))
    options = {**SHARED, "split_seed": 0, "trees": 10, "computed": found}
    known = models.fused(**options, network=network, inner=inner, known=True)
    error = np.abs(forecasts.median(known["forecast"]) - data.gap).mean()
    assert error < data.gap.mean()  # better than always 0
    loose = models.loose_model(**options, inputs="coordinates", structured=True)
    assert (
        np.abs(forecasts.median(loose["forecast"]) - data.loose_gap).mean() < data.loose_gap.mean()
    )


def test_bad_input(data, computed):
    with pytest.raises(InputError, match="hidden"):
        records.load("open", hidden=1.5)
    with pytest.raises(InputError, match="by is"):
        data.groups("space group")
    with pytest.raises(InputError, match="network has shape"):
        models.computed_models(**SHARED, cheap="mp_pbe", answer="mp_pbe", network=np.zeros((3, 2)))
    with pytest.raises(InputError, match="inputs is"):
        models.loose_model(
            **SHARED, computed=computed[1], split_seed=0, inputs="x", structured=True
        )


def test_network_learns_experiment_from_its_best_functional():
    shared = {"dataset": "open", "fidelities": ["mp_pbe", "oqmd_pbe"], "seed": 1}
    small = {"features": 8, "hidden": 8, "convolutions": 1}
    found = gap_networks.pretrain(**shared, samples=60, training={"epochs": 1}, model=small)
    weight = found["state"]["fidelity.weight"]
    assert np.array_equal(weight[-1], weight[-2])
    rows = records.load("open", hidden=0.5).rows
    assert not np.isin(found["train"], rows).any()
    assert found["prediction"]["mp_pbe"].shape == (6317,)
    options = {"dataset": "open", "network": found, "seed": 0, "training": {"epochs": 1}}
    tuned = gap_networks.fine_tune(
        **options, rows=rows[:40], gap=np.arange(40.0), predict=rows[40:45]
    )
    assert np.isfinite(tuned["prediction"]).all()
    with pytest.raises(InputError, match="keep them apart"):
        gap_networks.fine_tune(**options, rows=rows[:4], gap=np.zeros(4), predict=rows[3:5])
    with pytest.raises(InputError, match="not a network"):
        gap_networks.fine_tune(
            **{**options, "network": {}}, rows=rows[:4], gap=np.zeros(4), predict=rows[4:5]
        )
    with pytest.raises(InputError, match="among the fidelities"):
        gap_networks.pretrain(dataset="open", fidelities=["exp"], seed=0)
