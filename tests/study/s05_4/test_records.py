"""Records with and without a crystal: what is held out, and the models that learn from both."""

from dataclasses import replace

import numpy as np
import pytest

from mfutils.crystals.formulas import composition_key
from mfutils.datasets import bandgap, icsd_gaps
from mfutils.errors import InputError
from mfutils.study import gap_graphs
from mfutils.study.s05_4 import crystal_model, fine_tuning, gap_networks, models, records
from mfutils.study.s05_4.records import Deal
from mfutils.uncertainty.forecasts import Draws

HERE = bandgap.available("chen2021") and icsd_gaps.available()
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


def test_no_computed_gap_of_a_measured_composition_may_train(data):
    table = data.crystals
    measured = table["gap_exp"].notna().to_numpy()
    assert np.array_equal(data.kept_apart("crystal"), measured)
    apart = data.kept_apart("composition")
    assert set(table["composition"][~apart]).isdisjoint(table["composition"][measured])
    assert apart.sum() > measured.sum()
    with pytest.raises(InputError, match="apart is 'id'"):
        data.kept_apart("id")


def test_a_split_tests_a_tenth_and_leaves_a_tenth_aside(data):
    deal = Deal("open", 0.5, 3, by="composition", dealing="split")
    fold, n = deal.fold(), len(data.gap)
    assert deal.asked() == (0,)
    assert (fold == 0).sum() == (fold == -1).sum() == round(0.1 * n)
    assert set(fold) == {-1, 0, 1, 2, 3, 4}
    learns, _ = deal.learners(fold == 0)
    assert not learns[fold <= 0].any()
    assert learns.sum() >= 0.75 * n  # compositions of the test leave training
    assert not np.array_equal(fold, replace(deal, seed=4).fold())


def test_folds_of_the_authors(data, monkeypatch):
    deal = Deal("open", 0.5, 0, dealing="authors")
    with pytest.raises(InputError, match="not dealt to 5 folds"):
        deal.fold()
    given = replace(data, fold=np.arange(len(data.gap)) % 5)
    monkeypatch.setattr(records, "load", lambda *a, **k: given)
    for by in records.BY:
        learns, _ = replace(deal, by=by).learners(given.fold == 1)
        groups = data.groups(by)
        # a group may stand in several of these folds, and still nothing of it trains
        assert not set(groups[learns]) & set(groups[given.fold == 1])
    with pytest.raises(InputError, match="dealing is 'x'"):
        replace(deal, dealing="x").fold()


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
    crystals = {
        **options,
        "crystal": coordinates.crystal,
        "network": network,
        "calibrate": 1,
        "rounds": 3,
    }
    first = models.composition_model(**options, formula=coordinates.formula)
    fused = crystal_model.fused(**crystals, inner=first.inner)
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
    other = crystal_model.fused(**crystals, inner=again.inner)
    assert np.array_equal(fused.forecast[test], other.forecast[test])
    seen = np.isfinite(fused.calibration[0]).all(axis=1)
    assert seen.any()
    assert not (seen & test).any()
    assert np.array_equal(fused.calibration[0][seen], other.calibration[0][seen])


def test_known_gaps_and_loose_records(data, computed):
    network, coordinates = computed
    known = crystal_model.fused(
        deal=DEAL, crystal=coordinates.crystal, loose=coordinates.loose, network=network,
        inner=np.zeros((5, len(data.gap), 7)), known=True, trees=10, rounds=20,
    )  # fmt: skip
    assert known.calibration is None
    error = np.abs(Draws(known.forecast).median() - data.gap).mean()
    assert error < data.gap.mean()  # better than always 0
    loose = models.loose_model(deal=DEAL, computed=coordinates, inputs="coordinates", trees=10)
    assert np.abs(Draws(loose).median() - data.loose_gap).mean() < data.loose_gap.mean()


def test_bad_input(data, computed):
    with pytest.raises(InputError, match="hidden"):
        records.load("open", hidden=1.5)
    with pytest.raises(InputError, match="open has exp"):
        records.load("open", measured="exp_icsd")
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
    data = records.load("open", hidden=0.5)
    rows = data.rows
    assert not data.kept_apart("composition")[trained.train].any()
    loose = gap_networks.pretrain(
        **shared, samples=2000, training={"epochs": 1}, model=small, apart="crystal"
    )
    # twins of measured compositions train under the softer rule, the measured crystals do not
    assert data.kept_apart("composition")[loose.train].any()
    assert not data.kept_apart("crystal")[loose.train].any()
    assert trained.prediction["mp_pbe"].shape == (6317,)
    options = {"dataset": "open", "seed": 0, "training": {"epochs": 1}, "network": trained}
    tuned = fine_tuning.fine_tune(
        **options, rows=rows[:40], gap=np.arange(40.0), predict=rows[40:45]
    )
    assert np.isfinite(tuned).all()
    with pytest.raises(InputError, match="keep them apart"):
        fine_tuning.fine_tune(**options, rows=rows[:4], gap=np.zeros(4), predict=rows[3:5])
    with pytest.raises(InputError, match="not the state"):
        fine_tuning.fine_tune(
            **{**options, "network": replace(trained, state={})},
            rows=rows[:4],
            gap=np.zeros(4),
            predict=rows[4:5],
        )
    with pytest.raises(InputError, match="exp, exp repeat"):
        gap_networks.pretrain(dataset="open", fidelities=["exp"], seed=0)
    with pytest.raises(InputError, match="apart is"):
        gap_networks.pretrain(dataset="open", fidelities=["mp_pbe"], seed=0, apart="id")

    deal = Deal("open", 0.5, 0, by="composition", dealing="split")
    told = fine_tuning.out_of_fold(deal=deal, network=trained, training={"epochs": 1})
    fold = deal.fold()
    assert np.array_equal(np.isfinite(told.prediction), fold == 0)
    assert np.array_equal(np.isfinite(told.inner[0]), fold >= 0)
    short = replace(trained, prediction={"mp_pbe": np.zeros(3)})
    with pytest.raises(InputError, match="read 3 crystals"):
        fine_tuning.out_of_fold(deal=deal, network=short)


def test_networks_and_records_keep_the_same_crystals_apart(data):
    graphs = gap_graphs.load("open", cutoff=8.0, max_neighbors=12)
    for apart in gap_networks.APART:
        rows = gap_networks.kept_apart(graphs, apart)
        assert np.array_equal(rows, np.flatnonzero(data.kept_apart(apart)))


@pytest.mark.data
@pytest.mark.skipif(not HERE, reason="the study's measured crystals are not here")
def test_every_measured_set_of_the_study():
    icsd, joined = (records.load("chen2021", measured=m) for m in ("exp_icsd", "exp_mp"))
    assert records.load("chen2021").measured == "exp_icsd"
    assert (len(icsd.gap), len(joined.gap)) == (2702, 1280)
    for data in (icsd, joined):
        assert not set(data.composition) & set(data.loose_composition)
        apart = data.kept_apart("composition")
        computed = data.crystals[[f"gap_{f}" for f in data.fidelities]].notna().any(axis=1)
        learns = set(data.crystals["composition"][computed & ~apart])
        assert learns.isdisjoint(icsd.composition)
        assert learns.isdisjoint(joined.composition)
    # compositions are unique in the study's test, systems are not
    deal = Deal("chen2021", 0.5, 0, by="composition", measured="exp_icsd", dealing="authors")
    fold = deal.fold()
    assert np.bincount(fold).tolist() == [541, 541, 541, 539, 540]
    assert len(set(icsd.composition)) == len(icsd.gap)
    for by, fewer in (("composition", False), ("system", True)):
        learns, extra = replace(deal, by=by).learners(fold == 0)
        assert (learns.sum() < (fold != 0).sum()) == fewer
        assert (extra.sum() < len(extra)) == fewer
