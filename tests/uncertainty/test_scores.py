"""Scores of uncertainty against integrals, simulation, scoringrules and definitions afresh."""

import numpy as np
import pytest
import scoringrules
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from mfutils.errors import InputError
from mfutils.uncertainty import scores

RNG = np.random.default_rng(0)
MEAN, STD = RNG.normal(size=400), RNG.uniform(0.3, 2.0, 400)
HONEST = MEAN + STD * RNG.normal(size=400)
finite = st.floats(-5, 5)


def test_nll_and_pit_are_those_of_scipy():
    expected = stats.norm(MEAN, STD)
    np.testing.assert_allclose(scores.nll(HONEST, MEAN, STD), -expected.logpdf(HONEST), rtol=1e-12)
    np.testing.assert_allclose(scores.pit(HONEST, MEAN, STD), expected.cdf(HONEST), rtol=1e-12)


@given(finite, finite, st.floats(0.05, 5.0))
@settings(max_examples=30, deadline=None)
def test_crps_is_its_integral(y, mean, std):
    cdf = stats.norm(mean, std).cdf
    below = integrate.quad(lambda t: cdf(t) ** 2, mean - 12 * std - abs(y - mean), y, limit=200)
    above = integrate.quad(
        lambda t: (1 - cdf(t)) ** 2, y, mean + 12 * std + abs(y - mean), limit=200
    )
    value = scores.crps(np.array([y]), np.array([mean]), np.array([std]))[0]
    assert value == pytest.approx(below[0] + above[0], abs=1e-6)


def test_crps_is_the_energy_form_and_tends_to_the_absolute_error():
    rng = np.random.default_rng(1)
    a, b = rng.normal(0.4, 0.7, (2, 1_000_000))
    energy = np.abs(a - 1.3).mean() - 0.5 * np.abs(a - b).mean()
    one = np.array([1.3]), np.array([0.4])
    assert scores.crps(*one, np.array([0.7]))[0] == pytest.approx(energy, abs=2e-3)
    assert scores.crps(*one, np.array([1e-9]))[0] == pytest.approx(0.9, abs=1e-8)


def test_scores_are_least_for_the_truth():
    """Proper scores: promising more or less than the truth costs."""
    rng = np.random.default_rng(2)
    y = rng.normal(size=20_000)
    zero, one = np.zeros(len(y)), np.ones(len(y))
    for score in (scores.nll, scores.crps):
        honest = score(y, zero, one).mean()
        for factor in (0.7, 1.4):
            assert score(y, zero, factor * one).mean() > honest


def test_coverage_counts_the_targets_inside():
    inside = np.abs(HONEST - MEAN) <= 1.959963985 * STD
    assert scores.coverage(HONEST, MEAN, STD) == inside.mean()
    levels = np.array([[0.5, 0.8], [0.9, 0.99]])
    share = scores.coverage(HONEST, MEAN, STD, levels)
    assert share.shape == (2, 2)
    np.testing.assert_allclose(share, levels, atol=0.06)


@given(st.lists(st.floats(-4, 4), min_size=1, max_size=30))
@settings(max_examples=40, deadline=None)
def test_areas_are_integrals_of_the_empirical_distribution(z):
    z = np.array(z)
    zero, one = np.zeros(len(z)), np.ones(len(z))
    p = (np.arange(200_000) + 0.5) / 200_000
    u = np.sort(stats.norm.cdf(z))
    expected = np.abs(np.searchsorted(u, p, side="right") / len(u) - p).mean()
    assert scores.expected_calibration_error(z, zero, one) == pytest.approx(expected, abs=2e-5)
    inside = np.sort(2 * stats.norm.cdf(np.abs(z)) - 1)
    expected = np.abs(np.searchsorted(inside, p, side="right") / len(inside) - p).mean()
    assert scores.miscalibration_area(z, zero, one) == pytest.approx(expected, abs=2e-5)


def test_areas_at_the_extremes():
    y = RNG.normal(size=20_000)
    zero = np.zeros(len(y))
    assert scores.miscalibration_area(y, zero, np.ones(len(y))) < 0.01
    assert scores.miscalibration_area(y, zero, np.full(len(y), 1e-6)) == pytest.approx(
        0.5, abs=1e-3
    )
    assert scores.miscalibration_area(y, zero, np.full(len(y), 1e6)) == pytest.approx(0.5, abs=1e-3)
    # a bias that intervals of the right width would hide from nobody who looks at the PIT
    shifted = y + 3.0
    wide = np.full(len(y), np.sqrt(10.0))
    assert scores.expected_calibration_error(shifted, zero, wide) > 0.2
    # closed form of the miscalibration of a factor of two: z of std 1/2
    two = scores.miscalibration_area(y, zero, np.full(len(y), 2.0))
    exact = integrate.quad(
        lambda p: abs(2 * stats.norm.cdf(2 * stats.norm.ppf(0.5 + p / 2)) - 1 - p), 0, 1
    )[0]
    assert two == pytest.approx(exact, abs=0.01)


def test_ence_is_its_definition():
    order = np.argsort(STD)
    terms = []
    for k in range(8):
        part = order[50 * k : 50 * (k + 1)]
        rmse = np.sqrt(np.mean((HONEST - MEAN)[part] ** 2))
        rmv = np.sqrt(np.mean(STD[part] ** 2))
        terms.append(abs(rmse - rmv) / rmv)
    assert scores.ence(HONEST, MEAN, STD, bins=8) == pytest.approx(np.mean(terms), rel=1e-12)
    assert scores.ence(HONEST, MEAN, STD / 3, bins=8) > 3 * scores.ence(HONEST, MEAN, STD, bins=8)


def test_crps_and_nll_equal_scoringrules():
    np.testing.assert_allclose(
        scores.crps(HONEST, MEAN, STD), scoringrules.crps_normal(HONEST, MEAN, STD), atol=1e-10
    )
    np.testing.assert_allclose(
        scores.nll(HONEST, MEAN, STD), scoringrules.logs_normal(HONEST, MEAN, STD), atol=1e-10
    )


def test_nll_stays_finite_where_the_density_underflows():
    # the peer takes the logarithm of a density of 0 and is infinite from |z| = 39 on
    assert scores.nll([40.0], [0.0], [1.0])[0] == pytest.approx(0.5 * np.log(2 * np.pi) + 800)


@pytest.mark.parametrize("count", [1, 2, 17])
def test_sample_crps_equals_scoringrules(count):
    samples = RNG.normal(size=(400, count))
    expected = scoringrules.crps_ensemble(HONEST, samples, estimator="nrg")
    np.testing.assert_allclose(scores.crps_samples(HONEST, samples), expected, atol=1e-10)


def test_metrics_are_their_definitions():
    table = scores.score_table(HONEST, MEAN, STD, resamples=20).set_index("metric")["value"]
    z = (HONEST - MEAN) / STD
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
    table = scores.pit_histogram(y, 0 * y, std, bins=10)
    counts = (table["share"] * len(y)).round()
    assert counts.sum() == len(y)
    assert stats.chisquare(counts).pvalue > 1e-3


def test_bootstrap_interval_of_a_mean_is_the_textbook_one():
    table = scores.score_table(HONEST, MEAN, STD, metrics=["MAE"], resamples=4000).iloc[0]
    error = np.abs(HONEST - MEAN)
    half = 1.96 * error.std() / np.sqrt(len(HONEST))
    assert table["high"] - table["low"] == pytest.approx(2 * half, rel=0.1)
    assert table["low"] < table["value"] < table["high"]


def test_groups_that_hang_together_widen_the_interval():
    rng = np.random.default_rng(2)
    group = np.repeat(np.arange(40), 25)
    y = np.repeat(rng.normal(size=40), 25) + 0.1 * rng.normal(size=1000)
    args = y, np.zeros(1000), np.ones(1000)
    alone = scores.score_table(*args, metrics=["MAE"], resamples=500).iloc[0]
    together = scores.score_table(*args, metrics=["MAE"], groups=group, resamples=500).iloc[0]
    assert together["high"] - together["low"] > 3 * (alone["high"] - alone["low"])
    # with groups of one the resampling is the same as without groups
    single = scores.score_table(*args, metrics=["MAE"], groups=np.arange(1000), resamples=500)
    assert single.iloc[0].to_dict() == alone.to_dict()


def test_scale_minimises_the_likelihood():
    factor = scores.fit_scale(HONEST, MEAN, 0.4 * STD)
    best = scores.nll(HONEST, MEAN, factor * 0.4 * STD).mean()
    for other in (0.95, 1.05):
        assert scores.nll(HONEST, MEAN, other * factor * 0.4 * STD).mean() > best
    assert factor == pytest.approx(2.5, rel=0.1)


def test_quantile_map_mends_a_bias_on_new_data():
    rng = np.random.default_rng(3)
    y = 0.8 + 1.7 * rng.normal(size=4000)
    zero, one = np.zeros(2000), np.ones(2000)
    repaired = scores.quantile_map(y[:2000], zero, one)
    before = scores.pit(y[2000:], zero, one)
    after = repaired(before)
    assert stats.kstest(before, "uniform").statistic > 0.2
    assert stats.kstest(after, "uniform").statistic < 0.06
    grid = repaired(np.linspace(0, 1, 101))
    assert (np.diff(grid) >= 0).all()
    assert grid.min() >= 0
    assert grid.max() <= 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: scores.nll([1.0], [1.0], [0.0]), "std is 0 in row 0; expected values above 0"),
        (lambda: scores.crps([1.0], [np.nan], [1.0]), "mean is NaN or infinite in row 0"),
        (lambda: scores.pit([1.0, 2.0], [1.0], [1.0]), r"shapes \(2,\), \(1,\), \(1,\)"),
        (lambda: scores.ence([], [], []), "no samples"),
        (lambda: scores.ence([1.0], [1.0], [1.0], bins=2), "bins is 2; expected .* 1 to 1"),
        (lambda: scores.coverage([1.0], [1.0], [1.0], 1.0), "expected probabilities between"),
    ],
)  # fmt: skip
def test_bad_input_is_one_clear_line(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_refuses_bad_input():
    with pytest.raises(InputError, match="no metric named 'R2'"):
        scores.score_table(HONEST, MEAN, STD, metrics=["R2"])
    with pytest.raises(InputError, match="groups have shape"):
        scores.score_table(HONEST, MEAN, STD, groups=np.arange(3))
    with pytest.raises(InputError, match="std is -1 in row 1"):
        scores.score_table([1.0, 2.0], [0.0, 0.0], [1.0, -1.0])
    with pytest.raises(InputError, match="empty"):
        scores.z_variance([], [], [])
    with pytest.raises(InputError, match=r"\(n,\) and \(n, K\)"):
        scores.crps_samples(HONEST, np.zeros((3, 4)))
    with pytest.raises(InputError, match="bins is 0"):
        scores.pit_histogram(HONEST, MEAN, STD, bins=0)
