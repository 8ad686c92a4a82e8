"""Tables, figure, sentences and claims of made runs, against numbers worked out by hand."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy import stats

from mfutils.datasets import bandgap, icsd_gaps
from mfutils.errors import InputError
from mfutils.study.s03_2b import claims, exhibits, readings, variants
from mfutils.study.s03_2b.measured_gaps import has_disordered
from mfutils.study.s03_2b.runs import Run

HERE = bandgap.available("chen2021") and icsd_gaps.available() and has_disordered("chen2021")


def run(error, *, test=(0, 1, 2), computed=1, disordered=0):
    """A made run whose predictions lie `error` (n,) eV above gaps of 0, 1 and 2 eV."""
    gap = np.array([0.0, 1.0, 2.0])
    return Run(
        test=np.array(test),
        gap=gap,
        prediction=gap + np.asarray(error, dtype=float),
        composition=np.array(["NaCl", "MgO", "TiO2"]),
        disordered_gap=np.ones(disordered),
        disordered_prediction=np.full(disordered, 1.5),
        labels={"pbe": 100, "exp": 8, "disordered": 4},
        same_composition={"computed": computed, "measured": 0},
        validation_mae=0.5,
        best_epoch=3,
        cpu_seconds=1.0,
        history={},
    )


PRINTED = [run([0.1, 0.2, 0.6]), run([0.2, 0.2, 0.2]), run([0.1, 0.1, 0.1])]
SOUND = [run([0.2, 0.3, 0.7], computed=0), run([0.3, 0.2, 0.4]), run([0.2, 0.3, 0.4])]
ALONE = [run([0.5, 0.5, 0.8]), run([0.4, 0.5, 0.3]), run([0.4, 0.2, 0.3])]
ALL = {variants.PRINTED: PRINTED, variants.SOUND: SOUND, variants.ALONE: ALONE}


def student(values):
    half = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5
    return np.mean(values) - half, np.mean(values) + half


def test_scores_are_means_over_splits_with_students_interval():
    table = exhibits.score_table(ALL, resamples=200).set_index("variant")
    line = table.loc[variants.PRINTED]
    assert line["MAE (eV)"] == pytest.approx(0.2)
    assert line["std over splits"] == pytest.approx(0.1)
    assert (line["low"], line["high"]) == pytest.approx(student([0.3, 0.2, 0.1]))
    assert line["low, crystals"] <= 0.2 <= line["high, crystals"]
    assert line["measured 0"] == pytest.approx(np.mean([0.1, 0.2, 0.1]))
    assert line["measured > 0"] == pytest.approx(np.mean([0.2, 0.6, 0.2, 0.2, 0.1, 0.1]))
    assert (line["splits"], line["crystals"]) == (3, 3)


def test_predictions_can_be_cut_at_zero():
    below = run([-0.3, -0.3, 0.3])  # the first gap is 0 eV
    table = exhibits.score_table({"one": [below]}, resamples=50)
    assert table["MAE (eV)"].tolist() == pytest.approx([0.3])
    assert table["cut at 0"].tolist() == pytest.approx([0.2])


def test_one_split_has_no_interval_over_splits():
    table = exhibits.score_table({"one": PRINTED[:1]}, resamples=50)
    assert np.isnan(table[["low", "high", "std over splits"]]).all(axis=None)
    _, axes = plt.subplots()
    drawn = exhibits.draw_errors(axes, table, {"one": PRINTED[:1]}, printed=None)
    assert drawn["MAE (eV)"].tolist() == pytest.approx([0.3])
    plt.close("all")


def test_differences_are_taken_split_by_split():
    table = exhibits.difference_table(ALL, variants.pairs(ALL), resamples=200)
    table = table.set_index("question")
    line = table.loc["the price of the sound protocol"]
    assert line["difference (eV)"] == pytest.approx(np.mean([0.1, 0.1, 0.2]))
    assert (line["low"], line["high"]) == pytest.approx(student([0.1, 0.1, 0.2]))
    assert "authors' folds" not in "".join(table.index)
    with pytest.raises(InputError, match="tested on different crystals"):
        exhibits.differences(PRINTED, [run([0, 0, 0], test=(0, 1, 3))] * 3)
    with pytest.raises(InputError, match="tested on different crystals"):
        exhibits.differences(PRINTED, SOUND[:2])


def test_labels_are_counted_and_shared_compositions_are_shares_of_the_test():
    line = exhibits.label_table(ALL).set_index("variant").loc[variants.SOUND]
    assert line[["pbe", "exp", "disordered"]].tolist() == [100, 8, 4]
    assert line["composition computed"] == pytest.approx(2 / 9)
    assert line["composition measured"] == 0


def test_the_figure_shows_every_split_and_the_printed_band():
    _, axes = plt.subplots()
    table = exhibits.score_table(ALL, resamples=50)
    drawn = exhibits.draw_errors(axes, table, ALL, printed=(0.38, 0.03))
    assert len(drawn) == 9
    assert {text.get_text() for text in axes.get_legend().get_texts()} == {
        "printed 0.38 ± 0.03 eV", "one split", "mean, 95 % interval",
    }  # fmt: skip
    plt.close("all")


def test_claims_hold_by_their_interval_over_splits():
    assert claims.errors("a", PRINTED)["a.mae"] == pytest.approx([0.3, 0.2, 0.1])
    given = claims.given_away("g", SOUND, PRINTED)["g"]
    assert given["effect"] == pytest.approx(np.mean([0.1, 0.1, 0.2]))
    assert not given["holds"]
    assert claims.given_away("g", PRINTED, SOUND)["g"]["holds"]
    assert claims.unchanged("u", PRINTED, PRINTED)["u"]["holds"]
    assert not claims.unchanged("u", SOUND, PRINTED)["u"]["holds"]
    better = claims.computed_gaps_help("h", PRINTED, ALONE)["h"]
    shares = [1 - 0.3 / 0.6, 1 - 0.2 / 0.4, 1 - 0.1 / 0.3]
    assert better["interval"] == pytest.approx(student(shares))
    assert better["holds"] == (student(shares)[0] > 0)
    assert not claims.computed_gaps_help("h", ALONE, PRINTED)["h"]["holds"]


def test_sentences_hold_the_numbers_of_the_run():
    scores = exhibits.score_table(ALL, resamples=50)
    assert "0.200 eV (as printed; 0.133 where the gap is 0" in readings.of_errors(scores)
    said = readings.of_differences(
        exhibits.difference_table(ALL, variants.pairs(ALL), resamples=50)
    )
    assert "*The price of the sound protocol*: +0.133 eV" in said
    assert "33% (as printed), 22% (sound) and" in readings.of_labels(exhibits.label_table(ALL))
    assert "No test crystal" in readings.of_labels(exhibits.label_table({"sound": SOUND[:1]}))
    assert "no disordered crystals" in readings.of_disordered(PRINTED)
    assert "no disordered crystals" in readings.of_disordered([])
    assert "is 0.50 eV, from 0.50 to 0.50" in readings.of_disordered([run([0, 0, 0], disordered=2)])


def test_variants_follow_the_data():
    sizes = {"weight": 5.0, "samples": 10, "epochs": 2, "alone_epochs": 3}
    jobs = variants.jobs("open", parts=[0, 3], folds=[0, 1], **sizes)
    assert list(jobs) == [variants.PRINTED, variants.SOUND, variants.ALONE]
    assert [job["seed"] for job in jobs[variants.SOUND]] == [0, 3]
    assert jobs[variants.ALONE][0]["training"] == {"epochs": 3}
    weights = variants.weight_jobs(jobs[variants.PRINTED][0], [1.0, 5.0])
    assert [job["weight"] for job in weights] == [1.0, 5.0]
    assert weights[1] == jobs[variants.PRINTED][0]


@pytest.mark.data
@pytest.mark.skipif(not HERE, reason="the study's measured crystals are not here")
def test_variants_of_the_study():
    sizes = {"weight": 5.0, "samples": 10, "epochs": 2, "alone_epochs": 3}
    jobs = variants.jobs("chen2021", parts=[0], folds=[0, 1], **sizes)
    assert len(jobs) == 6
    assert jobs[variants.WITH_DISORDERED][0]["disordered"]
    assert [job["part"] for job in jobs[variants.FOLDS_SOUND]] == [0, 1]
    assert len(variants.pairs(jobs)) == 4
