"""Scores, intervals and claims of section 5.4 on made results."""

import numpy as np
import pytest

from mfutils.errors import InputError
from mfutils.study.s05_4 import claims, exhibits, protocols
from mfutils.study.s05_4.crystal_model import Fused
from mfutils.uncertainty import compare
from mfutils.uncertainty.forecasts import Draws

N, K = 600, 200


@pytest.fixture(scope="module")
def made():
    """Gaps (n,), forecasts (n, K) that are right, folds (n,) and groups (n,)."""
    rng = np.random.default_rng(0)
    middle = rng.uniform(0.5, 4, N)
    gap = rng.normal(middle, 0.3)
    forecast = np.sort(rng.normal(middle[:, None], 0.3, (N, K)), axis=1)
    return gap, forecast, np.arange(N) % 5, rng.integers(0, 150, N)


def test_scores_of_points_of_forecasts_and_of_nothing(made):
    gap, forecast, fold, _ = made
    point = protocols.scored(gap + 0.25, gap)
    assert np.allclose(point["error"], 0.25)
    assert np.isnan(point["crps"]).all()
    part = np.where((fold == 2)[:, None], forecast, np.nan)
    scores = protocols.scored(part, gap)
    assert np.array_equal(np.isfinite(scores["error"]), fold == 2)
    draws = Draws(forecast[fold == 2])
    assert np.allclose(scores["crps"][fold == 2], draws.crps(gap[fold == 2]))


def test_a_crossed_interval_covers_records_and_seeds(made):
    _, _, _, groups = made
    rng = np.random.default_rng(3)
    rows = rng.normal(-0.1, 0.4, N)
    seeds = np.array([-0.3, 0.0, 0.3])
    first = rows + seeds[:, None]
    second = np.zeros_like(first)
    both = protocols.crossed(first, second, groups)
    one = protocols.crossed(first.mean(axis=0)[None], second[:1], groups)
    assert both.estimate == pytest.approx(one.estimate)
    assert both.high - both.low > 2 * (one.high - one.low)  # seeds differ by more than rows do
    assert (both.over, one.over) == ("groups and seeds", "groups")
    alone = compare.paired_difference(
        first.mean(axis=0), second[0], compare.draw_groups(groups, resamples=2000)
    )
    assert one.ends == pytest.approx(alone.ends, abs=0.01)
    with pytest.raises(InputError, match="seeds, records"):
        protocols.crossed(first[:, :5], second[:, :5], groups)


def test_conformal_intervals_keep_their_promise(made):
    gap, forecast, fold, _ = made
    narrow = 0.4 * forecast + 0.6 * np.median(forecast, axis=1, keepdims=True)
    calibration = np.full((5, N, K), np.nan, np.float32)
    for f in range(5):
        other = fold == (f + 1) % 5
        calibration[f, other] = narrow[other]
    table = protocols.covered(Fused(narrow, calibration), gap, fold, alpha=0.1)
    assert table["plain"].mean() < 0.7
    assert table["inside"].mean() == pytest.approx(0.9, abs=0.04)
    assert np.allclose(table["width"], table["high"] - table["low"])


def test_tables_and_claims(made):
    gap, forecast, _, groups = made
    good = [protocols.scored(forecast, gap)] * 2
    bad = [protocols.scored(np.zeros(N), gap)] * 2
    results = {
        (rule, model): good if model != "formula" else bad
        for rule in ("as dealt", "compositions out", "systems out")
        for model in ("formula", "crystal", "known gaps")
    }
    results["compositions out", "crystal, told by it"] = good[:1]
    table = exhibits.rules_table(results, gap, groups, base="compositions out", resamples=200)
    rows = table.set_index(["rule", "model"])
    assert np.isnan(rows.loc[("compositions out", "crystal"), "change (eV)"])
    assert rows.loc[("as dealt", "crystal"), "change (eV)"] == 0
    assert rows.loc[("as dealt", "crystal"), "std over runs"] == 0
    values = claims.of_folds(results, gap, groups, resamples=200)
    assert values["folds.crystal_helps_formula"]["holds"]
    assert not values["folds.twins_train"]["holds"]
    assert values["folds.fine_tuned_input"]["seeds"] == 1
    first = values["folds.first_try.aim"]
    assert first["effect"] == pytest.approx(good[0]["error"].mean())
    assert first["interval"][0] < first["effect"] < first["interval"][1]

    splits = [protocols.scored(forecast + shift, gap) for shift in (0.0, 0.02, -0.02)]
    stated = claims.of_splits(splits)
    assert stated["splits.below_printed"]["holds"] == (stated["splits.mae"] < 0.37)
    assert not claims.of_splits(splits[:1])["splits.below_printed"]["holds"]
    table = exhibits.splits_table({"as printed": splits})
    assert table["MAE (eV)"].item() == pytest.approx(stated["splits.mae"])


def test_goals_are_beaten_reached_or_missed(made):
    gap, forecast, _, groups = made
    error = protocols.scored(forecast, gap)["error"]
    draws = compare.draw_groups(groups, resamples=200)
    mean = error.mean()
    rows = [
        claims.goal_row("easy", error, draws, (mean + 0.01, mean - 0.01)),
        claims.goal_row("hard", error, draws, (mean - 0.01, np.nan)),
    ]
    assert [row["beaten"] for row in rows] == [True, False]
    values = claims.of_goals(exhibits.pd.DataFrame(rows), n=N)
    assert values["goal.easy"]["holds"]
    assert values["target.easy"] == pytest.approx(mean)  # missed: the number itself
    assert not values["goal.hard"]["holds"]
    assert "target.hard" not in values
