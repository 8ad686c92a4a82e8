"""Folds and intervals by group, against brute force."""

import numpy as np
import pytest

from mfutils.crystals.graph_data import build_dataset
from mfutils.crystals.structure import from_arrays
from mfutils.errors import InputError
from mfutils.uncertainty.groups import chemical_systems, group_folds, paired_difference


def test_chemical_systems_are_sets_of_elements():
    cells = [[22, 8, 8], [8, 22], [14]]
    crystals = [
        from_arrays(4 * np.eye(3), np.linspace(0, 0.6, len(z))[:, None] * np.ones(3), z)
        for z in cells
    ]
    graphs = build_dataset(crystals, cutoff=5.0, max_neighbors=4, progress=False)
    assert chemical_systems(graphs).tolist() == ["O-Ti", "O-Ti", "Si"]


def test_folds_hold_whole_groups_and_a_share_of_the_scarce_rows():
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 200, 1000).astype(str)
    scarce = rng.random(1000) < 0.05
    fold = group_folds(groups, 5, spread=scarce, seed=1)
    assert set(fold) == set(range(5))
    assert all(len(set(fold[groups == g])) == 1 for g in np.unique(groups))
    assert np.bincount(fold[scarce], minlength=5).min() >= 5
    assert not np.array_equal(fold, group_folds(groups, 5, spread=scarce, seed=2))


def test_folds_refuse_what_cannot_be_dealt():
    groups = np.array(["a", "a", "b", "c"])
    with pytest.raises(InputError, match="expected 2 to 1"):
        group_folds(groups, 2, spread=groups == "a", seed=0)
    with pytest.raises(InputError, match="shapes"):
        group_folds(groups, 2, spread=np.ones(3, bool), seed=0)


def test_paired_difference_is_a_bootstrap_of_groups():
    rng = np.random.default_rng(4)
    groups = rng.integers(0, 40, 300)
    first = rng.normal(size=300) + 0.5 * rng.normal(size=40)[groups]
    second = rng.normal(size=300) + 0.1
    found = paired_difference(first, second, groups, resamples=4000)
    parts = [np.flatnonzero(groups == g) for g in np.unique(groups)]
    means = []
    for _ in range(4000):
        rows = np.concatenate([parts[k] for k in rng.integers(0, len(parts), len(parts))])
        means.append((first[rows] - second[rows]).mean())
    assert found["effect"] == pytest.approx((first - second).mean())
    assert np.allclose(found["interval"], np.quantile(means, [0.025, 0.975]), atol=0.02)
    assert found["probability"] == pytest.approx(np.mean(np.array(means) < 0), abs=0.03)
    assert (found["n"], found["groups"]) == (300, len(parts))
    # Rows that move together make the interval wider than rows of their own
    alone = paired_difference(first, second, np.arange(300))
    assert np.ptp(found["interval"]) > 1.2 * np.ptp(alone["interval"])


def test_paired_difference_refuses_unfit_rows():
    one = np.ones(4)
    with pytest.raises(InputError, match="at least 2"):
        paired_difference(one, one, np.zeros(4))
    with pytest.raises(InputError, match="NaN"):
        paired_difference(one, np.array([1, 1, np.nan, 1]), np.arange(4))
    with pytest.raises(InputError, match="shapes"):
        paired_difference(one, one, np.arange(3))
