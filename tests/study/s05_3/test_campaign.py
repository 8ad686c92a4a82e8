"""Campaigns on a made pair of fidelities: what they may buy, and what it costs."""

import numpy as np
import pytest

from mfutils.errors import InputError
from mfutils.gp.information_gain import RULES
from mfutils.study.s05_3.campaign import BASELINES, draw_start, run_campaign

COST = [1.0, 5.0]
BUDGETS = [10.0, 30.0]


@pytest.fixture(scope="module")
def made():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(70, 3))
    low = np.sin(x[:, 0]) + 0.3 * x[:, 1] + 0.2 * rng.normal(size=70)
    high = 1.2 * low + 0.4 + 0.05 * rng.normal(size=70)
    gap = np.column_stack([low, high])
    gap[rng.permutation(70)[:10], 0] = np.nan
    group = np.arange(70) // 2
    target, owned = draw_start(gap, group, targets=16, pairs=10, seed=0)
    return {"x": x, "gap": gap, "target": target, "owned": owned}, group


def test_start_keeps_targets_and_their_compositions_apart(made):
    case, group = made
    target, owned = case["target"], case["owned"]
    assert 16 <= target.sum() <= 17
    assert owned.all(axis=1).sum() == 10
    assert not owned[target].any()
    assert not set(group[target]) & set(group[owned.any(axis=1)])
    again = draw_start(case["gap"], group, targets=16, pairs=10, seed=0, cheap_known=True)
    assert (again[0] == target).all()
    assert (again[1][:, 0] == np.isfinite(case["gap"][:, 0])).all()
    with pytest.raises(InputError, match="take fewer pairs"):
        draw_start(case["gap"], group, targets=16, pairs=60, seed=0)


@pytest.mark.parametrize("rule", [*BASELINES, *RULES])
def test_a_campaign_spends_what_it_says_on_what_it_may_buy(made, rule):
    case, _ = made
    steps = run_campaign(**case, cost=COST, rule=rule, budgets=BUDGETS, seed=0)
    assert [s.budget for s in steps] == [0, *BUDGETS]
    for step in steps:
        bought = np.add(step.bought, step.bought_at_targets)
        assert step.spent == pytest.approx(bought @ np.array(COST))
        assert step.spent <= step.budget
        assert step.bought_at_targets[1] == 0
    # nothing cheaper than 5 is left unspent while there are labels of both kinds to buy
    assert steps[-1].spent > BUDGETS[-1] - 5
    if rule == "high":
        assert steps[-1].bought == (0, 6)
    if rule == "cheap first":
        known = np.isfinite(case["gap"][case["target"], 0]).sum()
        assert steps[1].bought_at_targets[0] == min(known, 10)


def test_the_targets_labels_never_enter(made):
    case, _ = made
    changed = {**case, "gap": case["gap"].copy()}
    changed["gap"][case["target"], 1] += 100.0
    for rule in ("pairs", "information"):
        options = {"cost": COST, "rule": rule, "budgets": BUDGETS, "seed": 0}
        first, second = run_campaign(**case, **options), run_campaign(**changed, **options)
        assert [s.bought for s in first] == [s.bought for s in second]
        assert [s.std for s in first] == [s.std for s in second]


def test_bad_input(made):
    case, _ = made
    options = {"cost": COST, "budgets": BUDGETS, "seed": 0}
    with pytest.raises(InputError, match="expected one of high"):
        run_campaign(**case, **options, rule="best")
    with pytest.raises(InputError, match="must rise"):
        run_campaign(**case, **(options | {"budgets": [5, 5]}), rule="high")
    owned = case["owned"].copy()
    owned[np.flatnonzero(case["target"])[0], 1] = True
    with pytest.raises(InputError, match="which scores"):
        run_campaign(**(case | {"owned": owned}), **options, rule="high")
