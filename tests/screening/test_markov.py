"""Exact solutions against linear programming; learners against the exact solution."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.optimize import linprog

from mfutils.errors import InputError
from mfutils.screening.markov import Process, model_based, q_learning


def _random(seed, n=6, k=3, discount=0.9):
    """A process of n states and the end, with some transitions missing."""
    rng = np.random.default_rng(seed)
    rows = rng.random((n * k, n + 1)) * (rng.random((n * k, n + 1)) < 0.5)
    rows[:, -1] += 0.05
    rows /= rows.sum(axis=1, keepdims=True)
    ending = np.zeros((k, n + 1))
    ending[:, -1] = 1
    reward = np.vstack([rng.normal(size=(n, k)), np.zeros((1, k))])
    return Process(sparse.csr_array(np.vstack([rows, ending])), reward, discount, n)


def _by_linear_programming(process):
    """Smallest v with v(s) >= r(s, a) + gamma sum p v for every s and a."""
    n, k = process.reward.shape
    matrix = process.discount * process.transition.toarray() - np.repeat(np.eye(n), k, axis=0)
    solution = linprog(np.ones(n), matrix, -process.reward.ravel(), bounds=(None, None))
    assert solution.status == 0
    return solution.x


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(2, 7), st.integers(1, 4), st.floats(0.3, 0.98))
def test_three_ways_to_the_optimum(seed, n, k, discount):
    process = _random(seed, n, k, discount)
    value, policy, _ = process.policy_iteration()
    assert np.allclose(value, _by_linear_programming(process), atol=1e-6)
    assert np.abs(value - process.value_iteration(tolerance=1e-9)).max() < 1e-9 + 1e-12
    assert np.allclose(process.evaluate(policy), value)
    assert value[process.end] == pytest.approx(0, abs=1e-12)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6))
def test_no_policy_beats_the_optimum(seed):
    process = _random(seed)
    best = process.policy_iteration()[0]
    rng = np.random.default_rng(seed)
    for _ in range(20):
        policy = rng.integers(process.reward.shape[1], size=len(process.reward))
        assert (process.evaluate(policy) <= best + 1e-9).all()


def test_evaluation_is_the_mean_of_played_episodes():
    process = _random(3)
    policy = np.array([0, 1, 2, 0, 1, 2, 0])
    rng = np.random.default_rng(0)
    dense, totals = process.transition.toarray(), []
    for _ in range(4000):
        s, factor, total = 0, 1.0, 0.0
        while s != process.end and factor > 1e-6:
            total += factor * process.reward[s, policy[s]]
            s = rng.choice(len(dense[0]), p=dense[s * 3 + policy[s]])
            factor *= process.discount
        totals.append(total)
    error = np.std(totals) / np.sqrt(len(totals))
    assert abs(np.mean(totals) - process.evaluate(policy)[0]) < 5 * error


def test_q_learning_finds_the_optimum():
    process = _random(5)
    best = process.policy_iteration()[0]
    run = q_learning(
        process, start=0, episodes=60_000, checkpoints=[0, 60_000], explore=0.5, power=0.7
    )
    assert np.allclose(run.q[-1], process.backup(best), atol=0.1)
    assert run.regret(process, 0)[-1] < 1e-9
    assert len(run.returns) == 60_000


def test_model_based_learning_finds_the_optimum():
    process = _random(7)
    run = model_based(
        process, start=0, episodes=800, checkpoints=[0, 50, 800], optimism=20.0, trials=60, every=5
    )
    regret = run.regret(process, 0)
    assert regret[-1] < 0.02
    assert (regret >= 0).all()


def test_learners_repeat_themselves():
    process = _random(1)
    options = {"start": 0, "episodes": 50, "checkpoints": [0, 7, 50]}
    one, two = (q_learning(process, **options, seed=4) for _ in range(2))
    assert np.array_equal(one.q, two.q)
    assert np.array_equal(one.returns, two.returns)
    other = q_learning(process, **options, seed=5)
    assert not np.array_equal(one.q, other.q)
    # what was kept at 7 is what a run of 7 ends with
    short = q_learning(process, start=0, episodes=7, checkpoints=[7], seed=4)
    assert np.array_equal(short.q[0], one.q[1])
    one, two = (model_based(process, **options, optimism=5.0, seed=4) for _ in range(2))
    assert np.array_equal(one.q, two.q)


def test_a_chain_by_hand():
    """Go on (pay 1) or stop (earn what stands there): stopping at the third place is best."""
    n, k = 4, 2
    rows = np.zeros(((n + 1) * k, n + 1))
    for s in range(n):
        rows[s * k, min(s + 1, n - 1)] = 1
        rows[s * k + 1, n] = 1
    rows[n * k :, n] = 1
    reward = np.array([[-1, 0], [-1, 0], [-1, 10], [-1, 3], [0, 0]], dtype=float)
    process = Process(sparse.csr_array(rows), reward, 0.9, n)
    value, policy, _ = process.policy_iteration()
    assert value[:3].tolist() == pytest.approx([-1 - 0.9 + 0.81 * 10, -1 + 9, 10])
    assert policy[:4].tolist() == [0, 0, 1, 1]


def test_bad_processes():
    good = _random(0)
    with pytest.raises(InputError, match=r"expected \(n k, n\)"):
        Process(good.transition, good.reward[:-1], 0.9, 6)
    with pytest.raises(InputError, match="discount"):
        Process(good.transition, good.reward, 1.0, 6)
    broken = good.reward.copy()
    broken[2, 1] = np.nan
    with pytest.raises(InputError, match="action 1 in state 2"):
        Process(good.transition, broken, 0.9, 6)
    with pytest.raises(InputError, match="action 0 in state 0 sum to"):
        Process(good.transition * 0.5, good.reward, 0.9, 6)
    negative = good.transition.toarray()
    negative[4, :2] = [-0.2, 1.2]
    negative[4, 2:] = 0
    with pytest.raises(InputError, match="action 1 in state 1"):
        Process(sparse.csr_array(negative), good.reward, 0.9, 6)
    with pytest.raises(InputError, match="to be the end"):
        Process(good.transition, good.reward, 0.9, 2)
    with pytest.raises(InputError, match="expected 7 actions"):
        good.evaluate(np.full(7, 3))
    with pytest.raises(InputError, match="expected a state"):
        q_learning(good, start=9, episodes=5, checkpoints=[0])
    with pytest.raises(InputError, match="between 0 and 5"):
        q_learning(good, start=0, episodes=5, checkpoints=[6])
    with pytest.raises(InputError, match="between 0 and 5"):
        model_based(good, start=0, episodes=5, checkpoints=[], optimism=1.0)
    with pytest.raises(InputError, match="decay and rate"):
        q_learning(good, start=0, episodes=5, checkpoints=[1], rate=0.0)
