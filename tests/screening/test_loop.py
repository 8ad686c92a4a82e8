"""The screening loop: what it looks at, what it reports, and that it beats chance."""

import numpy as np
import pytest

from mfutils.errors import InputError
from mfutils.screening import loop


@pytest.fixture(scope="module")
def pool():
    rng = np.random.default_rng(3)
    x = rng.uniform(-2, 2, size=(150, 2))
    return x, (x[:, 0] ** 2 + x[:, 1] ** 2) * np.cos(2 * x[:, 0]) + 0.5 * x[:, 1]


@pytest.mark.parametrize("policy", list(loop.POLICIES))
def test_looks_are_distinct_and_accounted_for(pool, policy):
    x, y = pool
    campaign = loop.screen(x, y, policy, initial=5, queries=7, batch=3, seed=2)
    assert len(campaign.order) == 12
    assert len(set(campaign.order.tolist())) == 12
    expected = [y[campaign.order[: k + 1]].min() for k in range(12)]
    np.testing.assert_array_equal(campaign.best, expected)


def test_initial_looks_depend_on_the_seed_alone(pool):
    x, y = pool
    runs = [loop.screen(x, y, p, initial=6, queries=2, seed=4) for p in ("random", "EI")]
    np.testing.assert_array_equal(runs[0].order[:6], runs[1].order[:6])
    again = loop.screen(x, y, "EI", initial=6, queries=2, seed=4)
    np.testing.assert_array_equal(again.order, runs[1].order)
    other = loop.screen(x, y, "EI", initial=6, queries=2, seed=5)
    assert set(other.order.tolist()) != set(again.order.tolist())


def test_policy_sees_predictions_of_the_unseen_and_the_largest_score_wins(pool):
    x, y = pool
    states = []

    def last_one(state):
        states.append(state)
        return np.arange(len(state.mean))

    campaign = loop.screen(x, y, last_one, initial=4, queries=3)
    unseen = sorted(set(range(150)) - set(campaign.order[:4].tolist()))
    assert campaign.order[4:].tolist() == unseen[:-4:-1]
    assert [len(s.mean) for s in states] == [146, 145, 144]
    assert states[0].best == y[campaign.order[:4]].min()
    assert all((s.std > 0).all() and s.noise > 0 for s in states)


def test_watch_is_called_after_every_fit(pool):
    x, y = pool
    seen = []

    def watch(mean, std, mask):
        seen.append(int(mask.sum()))
        return float(np.abs(mean - y).mean())

    campaign = loop.screen(x, y, "random", initial=5, queries=20, batch=10, watch=watch)
    assert seen == [5, 15, 25]
    assert campaign.watched[-1] < campaign.watched[0]


def test_guided_search_beats_chance(pool):
    x, y = pool
    regret = {
        policy: np.mean(
            [
                loop.screen(x, y, policy, initial=6, queries=15, seed=s).best[-1] - y.min()
                for s in range(6)
            ]
        )
        for policy in ("random", "EI", "LCB")
    }
    assert max(regret["EI"], regret["LCB"]) < 0.5 * regret["random"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"policy": "best"}, "no policy named"),
        ({"initial": 1}, "at least 2"),
        ({"batch": 0}, "at least 2"),
        ({"queries": 500}, "pool of 150"),
        ({"policy": lambda s: np.zeros(3)}, "one score"),
        ({"policy": lambda s: np.full(len(s.mean), np.nan)}, "NaN"),
    ],
)
def test_bad_input(pool, options, message):
    with pytest.raises(InputError, match=message):
        loop.screen(*pool, **({"policy": "EI", "initial": 5, "queries": 2} | options))
