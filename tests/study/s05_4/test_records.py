"""Records with and without a crystal: what is held out, and the models that learn from both."""

from dataclasses import replace

import numpy as np
import pytest

from mfutils.crystals.formulas import composition_key
from mfutils.errors import InputError
from mfutils.study.s05_4 import gap_networks, models, records
from mfutils.study.s05_4.records import Deal
from mfutils.uncertainty.forecasts import Draws

DEAL = Deal("open", 0.5, 0)


@pytest.fixture(scope="module")
def data():
    return records.load("open", hidden=0.5)


@pytest.fixture(scope="module")
def computed(data):
    gap = np.nan_to_num(data.crystals["gap_mp_pbe"].to_numpy(float))
    network = np.column_stack([gap, gap])
    return network, models.computed_models(
        dataset="open", hidden=0.5, cheap="mp_pbe", answer="mp_pbe", network=network, rounds=3
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
    deal = Deal("open", 0.5, 1, by=by)
    fold = deal.fold()
    for f in range(5):
        learns, extra = deal.learners(fold == f)
        held = set(data.groups(by)[fold == f])
        assert np.array_equal(learns, fold != f)
        assert not held & set(data.groups(by)[learns])
        assert not held & set(data.loose_groups(by)[extra])
    part = replace(deal, share=0.3, structured=0.3)
    for all_of_them, some in zip(deal.learners(fold == 0), part.learners(fold == 0), strict=True):
        assert 0 < some.sum() < all_of_them.sum()
        assert not (some & ~all_of_them).any()
    assert not replace(deal, share=0.0).learners(fold == 0)[1].any()


def test_systems(data):
    elements = {p.split(":")[0] for p in composition_key("SrTiO3").split("|")}
    assert records._system(composition_key("SrTiO3")) == "-".join(sorted(elements))


def test_no_label_of_a_fold_reaches_its_forecast(data, computed, monkeypatch):
    """Other measured gaps in a fold, of both kinds, leave its own forecasts as they were."""
    network, coordinates = computed
    options = {"deal": DEAL, "trees": 3, "loose": coordinates.loose}
    crystals = {**options, "crystal": coordinates.crystal, "network": network, "calibrate": 1}
    first = models.composition_model(**options, formula=coordinates.formula)
    fused = models.fused(**crystals, inner=first.inner)
    assert (np.diff(fused.forecast, axis=1) >= 0).all()
    assert np.isfinite(fused.forecast).all()

    test = DEAL.fold() == 0
    _, extra = DEAL.learners(test)
    held = ~extra
    changed = replace(
        data,
        gap=np.where(test & (data.gap > 0), 50.0, data.gap),
        loose_gap=np.where(held, 50.0, data.loose_gap),
    )
    monkeypatch.setattr(records, "load", lambda *a, **k: changed)
    again = models.composition_model(**options, formula=coordinates.formula)
    assert np.array_equal(first.forecast[test], again.forecast[test])
    assert np.array_equal(first.inner[0], again.inner[0])
    assert not np.array_equal(first.forecast[~test], again.forecast[~test])
    other = models.fused(**crystals, inner=again.inner)
    assert np.array_equal(fused.forecast[test], other.forecast[test])
    seen = np.isfinite(fused.calibration[0]).all(axis=1)
    assert seen.any()
    assert not (seen & test).any()
    assert np.array_equal(fused.calibration[0][seen], other.calibration[0][seen])


def test_known_gaps_and_loose_records(data, computed):
    network, coordinates = computed
    known = models.fused(
        deal=DEAL, crystal=coordinates.crystal, loose=coordinates.loose, network=network,
        inner=np.zeros((5, len(data.gap), 7)), known=True, trees=10,
    )  # fmt: skip
    assert known.calibration is None
    error = np.abs(Draws(known.forecast).median() - data.gap).mean()
    assert error < data.gap.mean()  # better than always 0
    loose = models.loose_model(deal=DEAL, computed=coordinates, inputs="coordinates", trees=10)
    assert np.abs(Draws(loose).median() - data.loose_gap).mean() < data.loose_gap.mean()


def test_bad_input(data, computed):
    with pytest.raises(InputError, match="hidden"):
        records.load("open", hidden=1.5)
    with pytest.raises(InputError, match="by is"):
        data.groups("space group")
    with pytest.raises(InputError, match="network has shape"):
        models.computed_models(
            dataset="open", hidden=0.5, cheap="mp_pbe", answer="mp_pbe", network=np.zeros((3, 2))
        )
    with pytest.raises(InputError, match="inputs is"):
        models.loose_model(deal=DEAL, computed=computed[1], inputs="x")


def test_network_learns_experiment_from_its_best_functional():
    shared = {"dataset": "open", "fidelities": ["mp_pbe", "oqmd_pbe"], "seed": 1}
    small = {"features": 8, "hidden": 8, "convolutions": 1}
    trained = gap_networks.pretrain(**shared, samples=60, training={"epochs": 1}, model=small)
    weight = trained.state["fidelity.weight"]
    assert np.array_equal(weight[-1], weight[-2])
    rows = records.load("open", hidden=0.5).rows
    assert not np.isin(trained.train, rows).any()
    assert trained.prediction["mp_pbe"].shape == (6317,)
    options = {"dataset": "open", "seed": 0, "training": {"epochs": 1}, "network": trained}
    tuned = gap_networks.fine_tune(
        **options, rows=rows[:40], gap=np.arange(40.0), predict=rows[40:45]
    )
    assert np.isfinite(tuned).all()
    with pytest.raises(InputError, match="keep them apart"):
        gap_networks.fine_tune(**options, rows=rows[:4], gap=np.zeros(4), predict=rows[3:5])
    with pytest.raises(InputError, match="not the state"):
        gap_networks.fine_tune(
            **{**options, "network": replace(trained, state={})},
            rows=rows[:4],
            gap=np.zeros(4),
            predict=rows[4:5],
        )
    with pytest.raises(InputError, match="among the fidelities"):
        gap_networks.pretrain(dataset="open", fidelities=["exp"], seed=0)
