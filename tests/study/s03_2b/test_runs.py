"""Experiment in training: who is dealt where, what the sound protocol shuts out, one small run."""

import numpy as np
import pytest

from mfutils.datasets import bandgap, icsd_gaps
from mfutils.errors import InputError
from mfutils.study.s03_2b import measured_gaps, runs, splits

HERE = (
    bandgap.available("chen2021")
    and icsd_gaps.available()
    and measured_gaps.has_disordered("chen2021")
)
GRAPH = {"cutoff": 8.0, "max_neighbors": 12}
NET = {"features": 8, "convolutions": 1, "hidden": 8}
SMALL = {"samples": 60, "training": {"epochs": 2}, "model": NET}


@pytest.fixture(scope="module")
def data():
    return measured_gaps.load("open", disordered=False, **GRAPH)


@pytest.fixture(scope="module")
def real():
    return measured_gaps.load("chen2021", disordered=True, **GRAPH)


def check_deal(data, split, part):
    """The two protocols of one part, after checking what holds of any."""
    printed, sound = (
        splits.deal(data, split=split, part=part, protocol=protocol)
        for protocol in splits.PROTOCOLS
    )
    assert np.array_equal(printed.test, sound.test)
    assert not len(printed.shut_out)
    together = np.concatenate([printed.train, printed.validation, printed.test])
    assert np.array_equal(np.sort(together), data.rows)
    formula = {
        name: set(data.formula(getattr(sound, name))) for name in ("train", "validation", "test")
    }
    assert not formula["test"] & (formula["train"] | formula["validation"])
    assert not formula["train"] & formula["validation"]
    assert set(sound.held) <= set(sound.shut_out)
    assert set(data.formula(sound.shut_out)) == formula["test"] | formula["validation"]
    return printed, sound


def test_random_parts_hold_a_tenth_and_another_tenth(data):
    count = len(data.rows)
    tests = []
    for part in (0, 1):
        printed, _ = check_deal(data, "random", part)
        assert abs(len(printed.test) - count / 10) <= 1
        assert abs(len(printed.validation) - count / 10) <= 1
        tests.append(printed.test)
    assert not np.array_equal(*tests)


def test_the_embedded_data_have_no_folds_and_nothing_disordered(data):
    with pytest.raises(InputError, match="open has no folds of its authors"):
        splits.deal(data, split="folds", part=0, protocol="sound")
    assert len(data.disordered) == 0
    with pytest.raises(InputError, match="open has no disordered crystals here; expected chen2021"):
        measured_gaps.load("open", disordered=True, **GRAPH)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"split": "thirds"}, "split is 'thirds'; expected one of random, folds"),
        ({"protocol": "thesis"}, "protocol is 'thesis'; expected one of printed, sound"),
        ({"weight": 0.0}, "weight is 0.0; expected a number above 0"),
    ],
)
def test_bad_input_is_one_line(options, says):
    job = {"dataset": "open", "split": "random", "part": 0, "protocol": "sound", "seed": 0}
    with pytest.raises(InputError, match=says) as error:
        runs.train(**{**job, **SMALL, **options})
    assert "\n" not in str(error.value)


def test_a_run_is_scored_on_crystals_whose_measured_gap_it_never_saw(data):
    job = {"dataset": "open", "split": "random", "part": 0, "seed": 0, **SMALL}
    printed, sound = (runs.train(**job, protocol=protocol) for protocol in splits.PROTOCOLS)
    for run in (printed, sound):
        assert run.prediction.shape == run.gap.shape == run.composition.shape
        assert np.array_equal(run.gap, data.gap[run.test])
        assert run.disordered_gap.shape == run.disordered_prediction.shape == (0,)
        assert run.labels["mp_pbe"] == 60
        assert run.labels["disordered"] == 0
        assert len(run.history["validation_mae"]) == 2
    assert np.array_equal(printed.test, sound.test)
    assert sound.same_composition == {"computed": 0, "measured": 0}
    # the same run again, to the last bit
    again = runs.train(**job, protocol="sound")
    assert np.array_equal(again.prediction, sound.prediction)


def test_without_computed_gaps_the_network_knows_one_fidelity():
    job = {"dataset": "open", "split": "random", "part": 0, "protocol": "printed", "seed": 0}
    run = runs.train(**job, **{**SMALL, "computed": []})
    assert set(run.labels) == {"exp", "disordered"}
    assert run.same_composition["computed"] == 0


@pytest.mark.data
@pytest.mark.skipif(not HERE, reason="the study's measured crystals are not here")
def test_the_folds_and_the_disordered_crystals_of_the_study(real):
    assert (len(real.rows), len(real.disordered)) == (2702, 278)
    assert np.isfinite(real.gap[real.disordered]).all()
    # every composition was measured once: only computed labels can give a test crystal away
    assert len(set(real.formula(real.rows))) == 2702
    assert len(real.graphs.mixtures) == 323
    for part in range(5):
        printed, sound = check_deal(real, "folds", part)
        assert len(printed.test) in (539, 540, 541)
        assert np.array_equal(printed.train, sound.train)
    check_deal(real, "random", 0)


@pytest.mark.data
@pytest.mark.skipif(not HERE, reason="the study's measured crystals are not here")
def test_under_the_sound_protocol_no_disordered_crystal_shares_the_elements_of_a_held_one():
    job = {"dataset": "chen2021", "split": "random", "part": 0, "seed": 0, "disordered": True}
    printed, sound = (
        runs.train(**job, **SMALL, protocol=protocol) for protocol in splits.PROTOCOLS
    )
    assert printed.labels["disordered"] == 222
    assert len(printed.disordered_gap) == 56
    assert 222 < sound.labels["disordered"] < 278
    assert len(sound.disordered_gap) == 0
