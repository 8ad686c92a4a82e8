"""Networks on moduli: the runs behind section 9, as plain values."""

import numpy as np
import pytest

from mfutils.compendium import sweep
from mfutils.study.s09 import moduli
from mfutils.study.s09.moduli_networks import network, survey

JOB = {"dataset": "open", "property": "bulk", "fold": 1, "train_size": 250}
FAST = {"epochs": 12, "batch_size": 32}


@pytest.fixture(scope="module")
def trained():
    return network(**JOB, training=FAST, gp=True)


def test_a_short_training_learns_and_reports_the_split(trained):
    data = moduli.load_moduli("open", "bulk")
    parts = moduli.split_rows(data, 1, train_size=250)
    for name, rows in zip(moduli.PARTS, parts, strict=True):
        assert np.array_equal(trained.rows[name], rows)
        assert trained.predicted[name].shape == rows.shape
    y = data.target
    rows = trained.rows["test"]
    blind = np.abs(y[rows] - y[parts[0]].mean()).mean()
    assert np.abs(trained.predicted["test"] - y[rows]).mean() < 0.5 * blind
    assert trained.validation_mae == pytest.approx(
        np.abs(trained.predicted["validation"] - y[trained.rows["validation"]]).mean()
    )
    assert trained.validation_mae == pytest.approx(trained.validation_history.min(), rel=1e-3)
    assert trained.best_epoch == trained.validation_history.argmin()


def test_the_process_on_descriptors_predicts_the_same_crystals(trained):
    y = moduli.load_moduli("open", "bulk").target[trained.rows["test"]]
    assert (trained.gp_std > 0).all()
    assert np.corrcoef(trained.gp_mean, y)[0, 1] > 0.9


def test_a_run_repeats_and_depends_on_its_seed(trained):
    again = network(**JOB, training=FAST)
    assert np.array_equal(again.predicted["test"], trained.predicted["test"])
    other = network(**JOB, training=FAST, seed=1)
    assert not np.array_equal(other.predicted["test"], trained.predicted["test"])


def test_without_selection_the_last_weights_stay():
    few = {"epochs": 3, "batch_size": 64}
    short = network(**JOB, training=few, select=False)
    assert np.isnan(short.validation_history).all()
    kept = network(**JOB, training={**few, "epochs": 3}, select=True)
    if kept.best_epoch == 2:
        assert np.array_equal(short.predicted["test"], kept.predicted["test"])


def test_depth_and_width_change_the_number_of_weights():
    one = {"epochs": 1}
    counts = {
        (c, h): network(**JOB, training=one, model={"convolutions": c, "hidden_layers": h}).weights
        for c, h in ((1, 1), (2, 1), (1, 2))
    }
    # A convolution: the dense layer (2 f x (2 f + 41) and bias) and two normalisations
    f = 64
    assert counts[2, 1] - counts[1, 1] == 2 * f * (2 * f + 41) + 2 * f + 4 * f + 2 * f
    assert counts[1, 2] - counts[1, 1] == 128 * 128 + 128


def test_megnet_runs_on_the_same_split(trained):
    run = network(**JOB, architecture="megnet", training={"epochs": 1})
    assert np.array_equal(run.rows["test"], trained.rows["test"])
    assert np.isfinite(run.predicted["test"]).all()


def test_a_stopped_grid_goes_on_where_it_was(tmp_path):
    """Stored runs are read back, not computed again."""
    jobs = [{**JOB, "training": {"epochs": 1}, "seed": seed} for seed in range(3)]
    first = sweep.run(network, jobs[:2], folder=tmp_path, workers=1)
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(stamps) == 2
    both = sweep.run(network, jobs, folder=tmp_path, workers=1)
    assert len(list(tmp_path.iterdir())) == 3
    assert all(path.stat().st_mtime_ns == then for path, then in stamps.items())
    assert all(
        np.array_equal(a.predicted["test"], b.predicted["test"])
        for a, b in zip(first, both, strict=False)
    )


def test_survey_predicts_crystals_without_a_tensor():
    found = survey(property="bulk", training={"epochs": 1})
    known = set(moduli.load_moduli("open", "bulk").table["material_id"])
    assert not known & set(found.material_id)
    assert len(found.prediction) + found.skipped + len(known) == 6317
    assert np.isfinite(found.prediction).all()
