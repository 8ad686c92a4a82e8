"""Scores against scoringrules and definitions written out; intervals and recalibration by trial."""

import numpy as np
import pytest
import scoringrules
from scipy import stats

from mfutils.errors import InputError
from mfutils.uncertainty import scores as scoring

RNG = np.random.default_rng(0)
MEAN, STD = RNG.normal(size=500), RNG.uniform(0.3, 2.0, 500)
Y = MEAN + STD * RNG.normal(size=500)


def test_crps_and_nll_equal_scoringrules():
    np.testing.assert_allclose(
        scoring.crps(Y, MEAN, STD), scoringrules.crps_normal(Y, MEAN, STD), atol=1e-10
    )
    np.testing.assert_allclose(
        scoring.nll(Y, MEAN, STD), scoringrules.logs_normal(Y, MEAN, STD), atol=1e-10
    )


@pytest.mark.parametrize("count", [1, 2, 17])
def test_sample_crps_equals_scoringrules(count):
    samples = RNG.normal(size=(count, 500))
    expected = scoringrules.crps_ensemble(Y, samples.T, estimator="nrg")
    np.testing.assert_allclose(scoring.crps_samples(Y, samples), expected, atol=1e-10)


def test_metrics_are_their_definitions():
    table = scoring.score_table(Y, MEAN, STD, resamples=20).set_index("metric")["value"]
    z = (Y - MEAN) / STD
    assert table["z variance"] == pytest.approx(np.mean(z**2))
    assert table["sharpness"] == pytest.approx(np.sqrt(np.mean(STD**2)))
    assert table["coverage 90"] == pytest.approx(np.mean(np.abs(z) <= stats.norm.ppf(0.95)))
    levels = np.linspace(0, 1, 20001)[1:-1]
    share = np.array([np.mean(np.abs(z) <= stats.norm.ppf(0.5 + p / 2)) for p in levels[::20]])
    area = np.mean(np.abs(share - levels[::20]))
    assert table["miscalibration area"] == pytest.approx(area, abs=2e-3)
    u = stats.norm.cdf(z)
    below = np.array([np.mean(u <= p) for p in levels[::20]])
    assert table["ECE"] == pytest.approx(np.mean(np.abs(below - levels[::20])), abs=2e-3)


def test_pit_histogram_is_flat_for_honest_predictions():
    rng = np.random.default_rng(1)
    std = rng.uniform(0.5, 2, 20_000)
    y = std * rng.normal(size=20_000)
    table = scoring.pit_histogram(y, 0 * y, std, bins=10)
    counts = (table["share"] * len(y)).round()
    assert counts.sum() == len(y)
    assert stats.chisquare(counts).pvalue > 1e-3


def test_bootstrap_interval_of_a_mean_is_the_textbook_one():
    table = scoring.score_table(Y, MEAN, STD, metrics=["MAE"], resamples=4000).iloc[0]
    error = np.abs(Y - MEAN)
    half = 1.96 * error.std() / np.sqrt(len(Y))
    assert table["high"] - table["low"] == pytest.approx(2 * half, rel=0.1)
    assert table["low"] < table["value"] < table["high"]


def test_groups_that_hang_together_widen_the_interval():
    rng = np.random.default_rng(2)
    group = np.repeat(np.arange(40), 25)
    y = np.repeat(rng.normal(size=40), 25) + 0.1 * rng.normal(size=1000)
    args = y, np.zeros(1000), np.ones(1000)
    alone = scoring.score_table(*args, metrics=["MAE"], resamples=500).iloc[0]
    together = scoring.score_table(*args, metrics=["MAE"], groups=group, resamples=500).iloc[0]
    assert together["high"] - together["low"] > 3 * (alone["high"] - alone["low"])
    # with groups of one the resampling is the same as without groups
    single = scoring.score_table(*args, metrics=["MAE"], groups=np.arange(1000), resamples=500)
    assert single.iloc[0].to_dict() == alone.to_dict()


def test_scale_minimises_the_likelihood():
    factor = scoring.fit_scale(Y, MEAN, 0.4 * STD)
    best = scoring.nll(Y, MEAN, factor * 0.4 * STD).mean()
    for other in (0.95, 1.05):
        assert scoring.nll(Y, MEAN, other * factor * 0.4 * STD).mean() > best
    assert factor == pytest.approx(2.5, rel=0.1)


def test_quantile_map_mends_a_bias_on_new_data():
    rng = np.random.default_rng(3)
    y = 0.8 + 1.7 * rng.normal(size=4000)
    zero, one = np.zeros(2000), np.ones(2000)
    repaired = scoring.quantile_map(y[:2000], zero, one)
    before = scoring.pit(y[2000:], zero, one)
    after = repaired(before)
    assert stats.kstest(before, "uniform").statistic > 0.2
    assert stats.kstest(after, "uniform").statistic < 0.06
    grid = repaired(np.linspace(0, 1, 101))
    assert (np.diff(grid) >= 0).all()
    assert grid.min() >= 0
    assert grid.max() <= 1


def test_refuses_bad_input():
    with pytest.raises(InputError, match="no metric named 'R2'"):
        scoring.score_table(Y, MEAN, STD, metrics=["R2"])
    with pytest.raises(InputError, match="groups have shape"):
        scoring.score_table(Y, MEAN, STD, groups=np.arange(3))
    with pytest.raises(InputError, match="std is -1 in row 1"):
        scoring.score_table([1.0, 2.0], [0.0, 0.0], [1.0, -1.0])
    with pytest.raises(InputError, match="empty"):
        scoring.z_variance([], [], [])
    with pytest.raises(InputError, match=r"\(n,\) and \(K, n\)"):
        scoring.crps_samples(Y, np.zeros((3, 4)))
    with pytest.raises(InputError, match="bins is 0"):
        scoring.pit_histogram(Y, MEAN, STD, bins=0)
