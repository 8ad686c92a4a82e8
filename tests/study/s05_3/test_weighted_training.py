"""Strategies as weights: the same networks as section 4.2, and weights that count."""

import numpy as np
import pytest

from mfutils.errors import InputError
from mfutils.study.s04_2.job import train_strategy
from mfutils.study.s04_2.passes import Case, first_job
from mfutils.study.s04_2.strategies import STRATEGIES
from mfutils.study.s05_3.weighted_training import train_weighted

SMALL = {"network": {"features": 6, "hidden": 6, "convolutions": 1}}
SMALL["training"] = {"batch_size": 4, "epochs": 2}
DRAW = {"dataset": "open", "size": 150, "seed": 3, "scored": 200}


@pytest.fixture(scope="module")
def case():
    return Case(**DRAW, kind="sampling", level="medium")


def masks(case, letters):
    return [np.isin(case.partition.subset, list(part)).astype(float) for part in letters]


def job(case, weights, **options):
    return {**DRAW, "labels": case.noisy, "weights": np.array(weights), **SMALL, **options}


def test_zeros_and_ones_are_the_onion_of_section_4_2(case):
    onion = train_strategy(**first_job(case, "onion", **SMALL))
    ours = train_weighted(**job(case, masks(case, STRATEGIES["onion"])))
    for mine, theirs in zip(ours.steps, onion.steps, strict=True):
        assert mine.subsets == theirs.subsets
        assert mine.trained == theirs.trained == mine.effective
        assert mine.mae == pytest.approx(theirs.mae, rel=1e-6)
    np.testing.assert_allclose(ours.prediction, onion.prediction, rtol=1e-5, atol=1e-6)


def test_a_label_without_weight_does_not_count_and_equal_weights_are_none(case):
    weights = np.random.default_rng(0).uniform(0.1, 1, len(case.noisy))
    weights[case.partition.members("A")] = 0
    changed = case.noisy.copy()
    changed[case.partition.members("A")] += 3
    first = train_weighted(**job(case, [weights], stop="clean"))
    second = train_weighted(**job(case, [weights], stop="clean") | {"labels": changed})
    np.testing.assert_array_equal(first.prediction, second.prediction)
    assert first.steps[0].effective < first.steps[0].trained
    plain = train_weighted(**job(case, masks(case, ["ABCD"])))
    half = train_weighted(**job(case, [0.5 * w for w in masks(case, ["ABCD"])]))
    np.testing.assert_array_equal(plain.prediction, half.prediction)
    assert not np.array_equal(plain.prediction, first.prediction)


def test_weights_move_the_network_towards_the_heavy_labels(case):
    """Two halves of one subset with targets far apart: the heavy half decides the level."""
    rows = np.flatnonzero(case.partition.members("A", validates=False))
    half = np.isin(np.arange(len(case.noisy)), rows[::2])
    labels = np.where(case.partition.members("D"), case.true, np.where(half, 6.0, 0.0))
    options = {"training": {"batch_size": 8, "epochs": 12, "learning_rate": 0.01}}
    level = []
    for heavy in (True, False):
        weights = np.where(half == heavy, 1.0, 0.05)
        result = train_weighted(**job(case, [weights], **options) | {"labels": labels})
        level.append(result.prediction[case.partition.members("A")].mean())
    assert level[0] > level[1] + 1


def test_clean_labels_that_stop_are_reported(case):
    result = train_weighted(**job(case, masks(case, ["ABCD"]), stop="clean"))
    kept = case.partition.members("D", validates=True)
    expected = np.abs(result.prediction - case.true)[kept].mean()
    # single precision: the processor decides about the last digits of a forward pass
    assert result.steps[0].clean_mae == pytest.approx(expected, rel=1e-5)
    assert np.abs(result.error).mean() == pytest.approx(result.steps[0].mae, rel=1e-5)


def test_bad_input(case):
    good = job(case, masks(case, ["ABCD"]))
    for change, message in (
        ({"stop": "late"}, "expected one of own, clean"),
        ({"labels": case.noisy[1:]}, "one per training row"),
        ({"weights": good["weights"][0]}, "one row per step"),
        ({"weights": -good["weights"]}, "negative or not finite"),
        ({"weights": 0 * good["weights"]}, "at least 2"),
        ({"labels": case.noisy + 1}, "noise-free"),
    ):
        with pytest.raises(InputError, match=message):
            train_weighted(**good | change)
