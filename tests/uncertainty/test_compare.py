"""Intervals and paired differences against brute force, scipy and themselves."""

import numpy as np
import pytest
from scipy import stats

from mfutils.errors import InputError
from mfutils.uncertainty import compare


def test_a_bootstrap_of_groups_is_that_of_a_loop_over_groups():
    rng = np.random.default_rng(4)
    groups = rng.integers(0, 40, 300)
    first = rng.normal(size=300) + 0.5 * rng.normal(size=40)[groups]
    second = rng.normal(size=300) + 0.1
    ours = compare.paired_difference(first, second, compare.draw_groups(groups, resamples=4000))
    parts = [np.flatnonzero(groups == g) for g in np.unique(groups)]
    means = []
    for _ in range(4000):
        rows = np.concatenate([parts[k] for k in rng.integers(0, len(parts), len(parts))])
        means.append((first[rows] - second[rows]).mean())
    assert ours.estimate == pytest.approx((first - second).mean())
    assert np.allclose(ours.ends, np.quantile(means, [0.025, 0.975]), atol=0.02)
    assert ours.probability == pytest.approx(np.mean(np.array(means) < 0), abs=0.03)
    assert (ours.rows, ours.count, ours.over) == (300, len(parts), "groups")
    kept = ours.as_record()
    assert (kept["effect"], kept["n"], kept["groups"]) == (ours.estimate, 300, len(parts))
    # Rows that move together make the interval wider than rows of their own
    alone = compare.paired_difference(first, second, compare.draw_rows(300))
    assert np.ptp(ours.ends) > 1.2 * np.ptp(alone.ends)


@pytest.mark.parametrize("picks", [False, True])
def test_rows_give_the_interval_of_scipy(picks):
    values = np.random.default_rng(1).gamma(2.0, size=200)
    draws = compare.draw_rows(200, resamples=4000, picks=picks, over="crystals")
    ours = compare.mean_interval(values, draws, level=0.9)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=4000, method="percentile", confidence_level=0.9,
        rng=np.random.default_rng(2),
    ).confidence_interval  # fmt: skip
    assert np.allclose(ours.ends, theirs, atol=0.01)
    assert (ours.estimate, ours.over, ours.count) == (values.mean(), "crystals", 200)


def test_picks_are_the_samples_of_their_generator():
    """A stored result that indexed the rows itself is met to the last digits."""
    values = np.random.default_rng(1).normal(size=50)
    by_hand, ours = np.random.default_rng(7), np.random.default_rng(7)
    for _ in range(2):  # one generator for several intervals, in their order
        means = values[by_hand.integers(0, 50, (80, 50))].mean(axis=1)
        draws = compare.draw_rows(50, resamples=80, seed=ours, picks=True)
        np.testing.assert_allclose(draws.means(values), means, rtol=1e-12)


def test_weights_stand_for_repeated_rows():
    values, times = np.array([1.0, 4.0, 2.0, 7.0]), np.array([2, 0, 1, 3])
    once = compare.draw_groups(np.arange(4), resamples=200, seed=3)
    long = compare.Draws(once.counts, np.repeat(once.unit, times), once.over)
    np.testing.assert_allclose(once.means(values, times), long.means(np.repeat(values, times)))
    weighted = compare.mean_interval(values, once, weight=times)
    assert weighted.estimate == pytest.approx(np.repeat(values, times).mean())
    # a sample that holds nothing but the second row has no mean
    assert len(once.means(values, [0, 1, 0, 0])) == (once.counts[:, 1] > 0).sum() < 200


def test_the_other_way_round_is_the_other_sign():
    a, b = np.random.default_rng(5).normal(size=(2, 90))
    draws = compare.draw_rows(90, resamples=300)
    one, two = compare.paired_difference(a, b, draws), compare.paired_difference(b, a, draws)
    assert np.allclose([one.estimate, *one.ends], [-two.estimate, -two.high, -two.low])
    assert one.probability == pytest.approx(1 - two.probability)
    assert compare.paired_difference(a, a, draws).probability == 0.5


def test_repeats_have_the_interval_of_a_t_test():
    values = np.array([0.3, 0.5, 0.1, 0.45])
    ours = compare.repeat_interval(values, over="seeds")
    assert np.allclose(ours.ends, stats.ttest_1samp(values, 0).confidence_interval(0.95))
    assert (ours.over, ours.count) == ("seeds", 4)
    assert ours.as_record() == {"effect": ours.estimate, "interval": [*ours.ends], "n": 4}
    one = compare.repeat_interval([2.0])
    assert one.estimate == 2.0
    assert np.isnan(one.ends).all()


def test_bad_input():
    one = np.ones(4)
    draws = compare.draw_rows(4, resamples=10)
    for attempt, words in (
        (lambda: compare.draw_groups(np.zeros(4)), "at least 2"),
        (lambda: compare.draw_groups(np.zeros((2, 2))), "shape"),
        (lambda: compare.draw_rows(0), "at least one"),
        (lambda: compare.draw_rows(0, picks=True), "at least one"),
        (lambda: compare.paired_difference(one, [1, 1, np.nan, 1], draws), "NaN"),
        (lambda: compare.paired_difference(one, np.ones(3), draws), "shapes"),
        (lambda: compare.mean_interval(np.ones(3), draws), "one per row"),
        (lambda: compare.mean_interval(one, draws, weight=-one), "negative"),
        (lambda: compare.mean_interval(one, draws, weight=0 * one), "all are 0"),
        (lambda: compare.mean_interval(one, draws, level=95), "share between 0 and 1"),
        (lambda: compare.repeat_interval([]), "at least one"),
    ):
        with pytest.raises(InputError, match=words):
            attempt()
