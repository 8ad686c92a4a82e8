"""The reference of section 5.2 on made predictions, against a loop."""

from types import SimpleNamespace

import numpy as np
import pytest

from mfutils.study.s04_2.label_noise import LEVELS, add_noise
from mfutils.study.s04_2.partition import deal_subsets
from mfutils.study.s05_3.assessment import assess_labels


@pytest.fixture(scope="module")
def made():
    """A case of 1,200 labels and predictions whose errors grow from C to A."""
    rng = np.random.default_rng(3)
    part = deal_subsets(np.arange(1200), size=1200, seed=0)
    true = rng.uniform(0.5, 5, len(part.rows))
    theta = np.array([LEVELS["medium"][s] for s in part.subset])
    noisy = add_noise(true, theta, "sampling", seed=1)
    case = SimpleNamespace(partition=part, true=true, noisy=noisy)
    errors = {"A": 0.6, "B": 0.4, "C": 0.3}
    single = {
        k: 0.8 * np.maximum(true + e * rng.normal(size=len(true)), 0) for k, e in errors.items()
    }
    return case, np.maximum(true + 0.2 * rng.normal(size=len(true)), 0), single


def test_reference_asks_no_model_about_its_own_subset(made):
    case, onion, single = made
    ours = assess_labels(case, onion, single)
    d = case.partition.subset == "D"
    for row in range(0, len(case.true), 97):
        others = []
        for letter, prediction in single.items():
            if letter != case.partition.subset[row]:
                p = np.maximum(prediction, 0.01)
                others.append(p[row] * (p @ (case.true * d)) / (p**2 @ d))
        expected = 0.5 * max(onion[row], 0.01) + 0.5 * np.mean(others)
        assert ours.prediction[row] == pytest.approx(expected)
    moved = assess_labels(case, onion, single | {"A": np.where(d, single["A"], 9.0)})
    a = case.partition.subset == "A"
    np.testing.assert_array_equal(moved.prediction[a], ours.prediction[a])
    assert not np.array_equal(moved.prediction, ours.prediction)


def test_std_fits_the_kept_labels_and_errors_tell_the_order(made):
    case, onion, single = made
    ours = assess_labels(case, onion, single)
    kept = case.partition.members("D", validates=True)
    assert ours.floor == pytest.approx(np.square(ours.prediction - case.true)[kept].mean())
    assert np.square(ours.std)[kept].mean() == pytest.approx(ours.floor)
    assert ours.error["A"] > ours.error["B"] > ours.error["C"]
    assert ours.noise.square["A"] > ours.noise.square["B"] > ours.noise.square["C"]
    wrong = np.abs(case.noisy - case.true)
    for letter in "ABCD":
        rows = case.partition.subset == letter
        assert np.square(ours.expected[rows]).mean() == pytest.approx(
            np.square(wrong[rows]).mean(), rel=0.2, abs=1e-9
        )
