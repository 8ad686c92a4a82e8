"""The study's subsets: their sizes, and that nothing trains what it tests."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfutils.errors import InputError
from mfutils.study.s04_2.partition import PROPORTIONS, Partition, deal_subsets, subset_sizes

PRINTED = {"A": 30000, "B": 10000, "C": 5000, "D": 2348, "test": 5000}


def test_the_studys_total_gives_the_studys_subsets():
    assert subset_sizes(52348) == PRINTED


@given(st.integers(23, 60000))
def test_sizes_add_up_and_stay_near_their_share(total):
    sizes = subset_sizes(total)
    assert sum(sizes.values()) == total
    for name, count in sizes.items():
        assert abs(count - total * PRINTED[name] / 52348) < 1


@given(st.integers(60, 400), st.integers(0, 10**6))
def test_a_partition_is_a_partition(size, seed):
    rows = np.arange(1000, 1500)
    part = deal_subsets(rows, size=size, seed=seed)
    everything = np.concatenate([part.rows, part.test, part.unused])
    assert sorted(everything) == rows.tolist()
    assert len(part.rows) + len(part.test) == size
    assert len(part.scored) == 500 - len(part.rows)
    assert not set(part.scored) & set(part.rows)
    for name, count in subset_sizes(size).items():
        if name != "test":
            assert part.members(name).sum() == count
            kept = part.members(name, validates=True).sum()
            assert kept == max(1, round(0.2 * count))
            assert kept + part.members(name, validates=False).sum() == count


def test_seeds_name_partitions():
    rows = np.arange(300)
    one, same, other = (deal_subsets(rows, size=200, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.rows, same.rows)
    assert not np.array_equal(one.rows, other.rows)


def test_members_of_combinations():
    part = deal_subsets(np.arange(300), size=200, seed=0)
    both = part.members("CD")
    np.testing.assert_array_equal(both, part.members("C") | part.members("D"))
    assert part.members("ABCD").all()
    for letters in ("", "E", "AA"):
        with pytest.raises(InputError, match="expected letters of ABCD"):
            part.members(letters)


def test_proportions_that_do_not_sum():
    wrong = {**PROPORTIONS, "A": PROPORTIONS["A"] + 0.1}
    with pytest.raises(InputError, match=r"the proportions sum to 1\.1: expected"):
        subset_sizes(1000, wrong)
    with pytest.raises(InputError, match="proportions of A, B: expected A, B, C, D, test"):
        subset_sizes(1000, {"A": 0.5, "B": 0.5})
    with pytest.raises(InputError, match=r"the share of B is -0\.2: expected"):
        subset_sizes(1000, {"A": 1.2, "B": -0.2, "C": 0.1, "D": 0.1, "test": -0.2})
    even = dict.fromkeys(PROPORTIONS, 0.2)
    assert set(subset_sizes(1000, even).values()) == {200}


def test_too_small_and_too_large():
    with pytest.raises(InputError, match="5 labels leave none for"):
        subset_sizes(5)
    with pytest.raises(InputError, match="400 labels are wanted but only 300 rows"):
        deal_subsets(np.arange(300), size=400, seed=0)
    with pytest.raises(InputError, match="subset D has 2 labels: too few to train and stop"):
        deal_subsets(np.arange(300), size=40, seed=0)
    with pytest.raises(InputError, match="validation is 1"):
        deal_subsets(np.arange(300), size=200, seed=0, validation=1)


def test_a_leak_is_refused():
    rows, letters, stop = np.arange(4), np.array(list("ABCD")), np.zeros(4, dtype=bool)
    with pytest.raises(InputError, match="1 training rows are also in test, the first is 3"):
        Partition(rows, letters, stop, np.array([3, 9]), np.array([10]))
    with pytest.raises(InputError, match="also in unused, the first is 0"):
        Partition(rows, letters, stop, np.array([9]), np.array([0]))
    with pytest.raises(InputError, match="a row trains twice"):
        Partition(np.array([0, 1, 1, 2]), letters, stop, np.array([9]), np.array([10]))
