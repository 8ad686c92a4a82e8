"""Committee of sparse potentials against direct solves, and what active learning chooses."""

import numpy as np
import pytest
from test_committees import snap

from mfutils.errors import InputError
from mfutils.forces.active_learning import Pool, learning_curve
from mfutils.forces.sparse_potential import choose_inducing, fit_sparse, rows_of

SNAPS = [snap(5, s, atoms=[0, 3]) for s in range(24)]
VALUES = np.concatenate([s.environments.values for s in SNAPS])
INDUCING = VALUES[choose_inducing(VALUES, 14, 2)]
ROWS = [rows_of(s, INDUCING, 2) for s in SNAPS]
FITTED = fit_sparse(ROWS[:8], INDUCING, amplitude=1.0, noise=(0.05, 0.2))
POOL, TEST = Pool(ROWS[:18], FITTED), Pool(ROWS[18:], FITTED)


def test_fit_on_all_is_the_sparse_potential():
    counts = np.zeros(18)
    counts[:8] = 1
    np.testing.assert_allclose(POOL.fit(counts), FITTED.weights, atol=1e-8)
    energy, force = TEST.errors(FITTED.weights)
    found = [FITTED.predict(r) for r in ROWS[18:]]
    expected = [abs(p.energy - r.energy) / 5 for p, r in zip(found, ROWS[18:], strict=True)]
    assert energy == pytest.approx(np.mean(expected))
    errors = [np.abs(p.forces - r.forces).mean() for p, r in zip(found, ROWS[18:], strict=True)]
    assert force == pytest.approx(np.mean(errors))


def test_a_structure_that_counts_twice_is_two_structures():
    counts = np.zeros(18)
    counts[[0, 1]] = 2, 1
    twice = Pool([ROWS[0], ROWS[0], ROWS[1]], FITTED)
    np.testing.assert_allclose(POOL.fit(counts), twice.fit(np.ones(3)), atol=1e-9)


def test_curves_share_their_start_and_label_each_structure_once():
    options = {"start": 4, "batch": 3, "rounds": 4, "seed": 5}
    chance = learning_curve(POOL, TEST, strategy="random", **options)
    committee = learning_curve(POOL, TEST, strategy="committee", **options)
    assert chance[0] == committee[0]
    for curve in (chance, committee):
        assert [p.labels for p in curve] == [4, 7, 10, 13, 16]
        every = np.concatenate([p.chosen for p in curve])
        assert len(set(every.tolist())) == 16
    again = learning_curve(POOL, TEST, strategy="committee", **options)
    assert again == committee
    assert committee[-1].force_mae < committee[0].force_mae


def test_disagreement_is_a_standard_deviation():
    weights = np.random.default_rng(0).normal(size=(5, 14))
    score = POOL.disagreement(weights)
    forces = np.array([FITTED.features(ROWS[2])[1] @ w for w in weights])
    assert score[2] == pytest.approx(np.sqrt(forces.var(0, ddof=1).mean()))


def test_refuses_bad_input():
    with pytest.raises(InputError, match="strategy 'best' is unknown"):
        learning_curve(POOL, TEST, strategy="best", start=4, batch=2, rounds=1)
    with pytest.raises(InputError, match="the pool has 18"):
        learning_curve(POOL, TEST, strategy="random", start=4, batch=5, rounds=4)
