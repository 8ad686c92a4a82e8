"""Order of fidelity and its bootstrap: against scipy's bootstrap and known differences."""

import numpy as np
import pytest
from scipy import stats

from mfutils.errors import InputError
from mfutils.uncertainty.ranking import rank


def _errors(gap, *, members=10, n=300, seed=0):
    """Three data sets: `low` is better than `high` by `gap`, and `worst` far behind."""
    rng = np.random.default_rng(seed)
    hard = rng.exponential(size=n)  # materials that are hard for all

    def one(level):
        return hard * level + 0.1 * rng.exponential(size=(members, n))

    return {"high": one(1.0 + gap), "worst": one(3.0), "low": one(1.0)}


def test_order_and_text():
    ranking = rank(_errors(0.2))
    assert ranking.order == ("low", "high", "worst")
    assert str(ranking) == "low>high>worst"
    errors = _errors(0.2)
    means = [errors[name].mean() for name in ranking.order]
    np.testing.assert_allclose(ranking.table["error"], means, rtol=1e-12)
    np.testing.assert_allclose(ranking.pairs["difference"], np.diff(means), rtol=1e-10)
    assert ranking.pairs["probability"].tolist() == [1.0, 1.0]


def test_probability_follows_the_size_of_the_difference():
    found = [rank(_errors(gap)).probability("low", "high") for gap in (0.0, 0.003, 0.3)]
    assert 0.02 < found[0] < 0.98
    assert found[2] == 1.0
    assert found[0] < found[2]
    ranking = rank(_errors(0.003))
    assert ranking.probability("low", "high") == pytest.approx(
        1 - ranking.probability("high", "low")
    )


def test_equal_data_sets_are_a_coin_toss():
    errors = np.random.default_rng(0).exponential(size=(10, 200))
    ranking = rank({"a": errors, "b": errors.copy()})
    assert ranking.probability("a", "b") == pytest.approx(0.5, abs=0.06)


def test_intervals_equal_scipys_bootstrap_over_materials():
    """One member each, so that only materials are resampled; both paired."""
    errors = {name: values[:1] for name, values in _errors(0.05, n=150).items()}
    ranking = rank(errors, draws=20_000)

    def difference(a, b, axis=-1):
        return b.mean(axis=axis) - a.mean(axis=axis)

    expected = stats.bootstrap(
        (errors["low"][0], errors["high"][0]), difference, paired=True, n_resamples=20_000,
        method="percentile", rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    pair = ranking.pairs.iloc[0]
    assert (pair.low, pair.high) == pytest.approx((expected.low, expected.high), abs=4e-3)


def test_weights_change_the_mix():
    errors = {"a": np.array([[0.0, 2.0]] * 3), "b": np.array([[1.0, 0.5]] * 3)}
    assert str(rank(errors)) == "b>a"
    ranking = rank(errors, weight=[3.0, 1.0])
    assert str(ranking) == "a>b"
    np.testing.assert_allclose(ranking.table["error"], [0.5, 0.875])
    # with all weight on one sample every draw that has it is the same
    assert rank(errors, weight=[1.0, 0.0]).probability("a", "b") == 1.0


def test_same_seed_same_draws():
    a, b, c = (rank(_errors(0.01), seed=s).draws for s in (0, 0, 1))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


GOOD = np.ones((2, 4))


@pytest.mark.parametrize(
    ("errors", "options", "message"),
    [
        ({}, {}, r"0 data set\(s\)"),
        ({"a": GOOD}, {}, r"1 data set\(s\): there is nothing to rank"),
        ({"a": GOOD, "b": GOOD[:, :3]}, {}, "different numbers of test samples .a 4, b 3."),
        ({"a": GOOD, "b": -GOOD}, {}, "errors of b are negative"),
        ({"a": GOOD, "b": np.empty((0, 4))}, {}, r"errors of b have shape \(0, 4\)"),
        ({"a": GOOD, "b": GOOD * np.nan}, {}, "errors of b are negative or not finite"),
        ({"a": GOOD, "b": GOOD}, {"weight": np.zeros(4)}, "4 values of at least 0"),
        ({"a": GOOD, "b": GOOD}, {"weight": np.ones(3)}, "4 values of at least 0"),
    ],
)
def test_bad_input_is_one_clear_line(errors, options, message):
    with pytest.raises(InputError, match=message):
        rank(errors, **options)
    with pytest.raises(InputError, match="no data set 'z'; ranked are"):
        rank({"a": GOOD, "b": GOOD}).probability("a", "z")
