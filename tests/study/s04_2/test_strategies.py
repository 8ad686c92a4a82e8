"""Training orders on real crystals: what trains, what stops, what starts where."""

import numpy as np
import pytest

from mfutils.errors import InputError
from mfutils.study.s04_2 import strategies
from mfutils.study.s04_2.job import draw_labels, train_strategy
from mfutils.study.s04_2.label_noise import LEVELS
from mfutils.study.s04_2.passes import Case, first_job, label_errors, next_job
from mfutils.study.s04_2.strategies import STRATEGIES, steps

SMALL = {"network": {"features": 6, "hidden": 6, "convolutions": 1}}
SMALL["training"] = {"batch_size": 4, "epochs": 2}
DRAW = {"dataset": "open", "size": 150, "seed": 3, "scored": 200}


@pytest.fixture(scope="module")
def case():
    return Case(**DRAW, kind="sampling", level="medium")


@pytest.fixture(scope="module")
def onion(case):
    return train_strategy(**first_job(case, "onion", **SMALL))


def test_steps_of_every_strategy():
    assert steps("onion") == ("ABCD", "BCD", "CD", "D")
    assert steps("1by1") == ("A", "B", "C", "D")
    assert steps("BD") == ("BD",)
    for unknown in ("", "peel", "AA", "ABX"):
        with pytest.raises(InputError, match="unknown strategy"):
            steps(unknown)


def test_every_step_trains_its_own_subsets_and_never_a_label_that_stops(case, monkeypatch):
    seen = []
    real = strategies.fit

    def watch(model, graphs, train, stop, **options):
        seen.append((train.index, stop.index, train.target))
        return real(model, graphs, train, stop, **options)

    monkeypatch.setattr(strategies, "fit", watch)
    train_strategy(**first_job(case, "onion", **SMALL))
    part = case.partition
    assert len(seen) == 4
    stopping = set(part.rows[part.validates])
    label = dict(zip(part.rows, case.noisy, strict=True))
    for letters, (train, stop, target) in zip(STRATEGIES["onion"], seen, strict=True):
        assert set(train) == set(part.rows[np.isin(part.subset, list(letters)) & ~part.validates])
        assert set(stop) == set(part.rows[np.isin(part.subset, list(letters)) & part.validates])
        assert not stopping & set(train)
        assert not set(part.scored) & set(train)
        assert target.tolist() == [label[row] for row in train]


def test_steps_are_warm_and_the_first_step_of_onion_is_all_together(case, onion):
    together = train_strategy(**first_job(case, "all", **SMALL))
    assert together.steps == onion.steps[:1]
    assert [s.subsets for s in onion.steps] == list(STRATEGIES["onion"])
    # the second step alone, from the weights of the first, is the second step of the chain
    second = train_strategy(**next_job(case, "BCD", case.noisy, together.state, **SMALL))
    assert second.steps[0].mae == onion.steps[1].mae
    fresh = train_strategy(**first_job(case, "BCD", **SMALL))
    assert fresh.steps[0].mae != onion.steps[1].mae


def test_a_result_says_what_it_is(case, onion):
    assert onion.steps[-1].mae == pytest.approx(np.abs(onion.error).mean(), rel=1e-6)
    assert onion.steps[-1].bias == pytest.approx(onion.error.mean(), abs=1e-6)
    assert onion.prediction.shape == case.true.shape
    assert onion.descriptor.shape == (len(case.true), 6)
    again = train_strategy(**first_job(case, "onion", **SMALL))
    np.testing.assert_array_equal(again.prediction, onion.prediction)
    other = train_strategy(**first_job(case, "onion", member=1, **SMALL))
    assert not np.array_equal(other.prediction, onion.prediction)
    # the weights that are kept are those that predicted
    back = train_strategy(
        **next_job(
            case,
            "D",
            case.noisy,
            onion.state,
            **SMALL | {"training": {"batch_size": 4, "epochs": 1, "learning_rate": 1e-12}},
        )
    )
    np.testing.assert_allclose(back.steps[0].mae, onion.steps[-1].mae, rtol=0.05)


def test_a_case_holds_truth_noise_and_disjoint_rows(case):
    draw = draw_labels(**DRAW)
    data, part, true, judged = draw.data, draw.partition, draw.true, draw.scored
    np.testing.assert_array_equal(case.true, data.gap("mp_pbe")[case.partition.rows])
    np.testing.assert_array_equal(part.rows, case.partition.rows)
    np.testing.assert_array_equal(draw.truth, data.gap("mp_pbe")[judged])
    assert len(judged) == 200
    assert not set(judged) & set(part.rows)
    clean = part.subset == "D"
    np.testing.assert_array_equal(case.noisy[clean], true[clean])
    assert case.theta[part.subset == "A"].tolist() == [LEVELS["medium"]["A"]] * sum(
        part.subset == "A"
    )
    errors = label_errors(case, case.noisy)
    assert errors["D"] == 0
    noisy = ~clean
    assert errors["ABC"] == pytest.approx(np.abs(case.noisy - true)[noisy].mean())
    assert label_errors(case, true) == dict.fromkeys(["A", "B", "C", "D", "ABC"], 0.0)


def test_levels_share_their_normal_numbers(case):
    low = Case(**DRAW, kind="sampling", level="low")
    both = (low.noisy > 0) & (case.noisy > 0) & (case.theta > 0)
    shift = ((1 - v.noisy[both] / v.true[both]) / v.theta[both] for v in (low, case))
    np.testing.assert_allclose(*shift, atol=1e-9)


def test_megnet_takes_the_same_path():
    case = Case(**DRAW | {"scored": 40}, kind="sampling", level="low", architecture="megnet")
    training = {"batch_size": 4, "epochs": 1}
    network = {"blocks": 1, "gaussians": 20}
    run = train_strategy(**first_job(case, "1by1", network=network, training=training))
    assert [s.subsets for s in run.steps] == ["A", "B", "C", "D"]
    assert np.isfinite(run.prediction).all()


def test_bad_input(case):
    job = first_job(case, "D", **SMALL)
    with pytest.raises(InputError, match="less than one batch of 64: take more data"):
        train_strategy(**job | {"training": {"batch_size": 64}})
    with pytest.raises(InputError, match=r"labels have shape \(3,\); expected \(136,\)"):
        train_strategy(**job | {"labels": np.ones(3)})
    with pytest.raises(InputError, match="labels of D differ from the truth"):
        train_strategy(**job | {"labels": case.noisy + 0.1})
    with pytest.raises(InputError, match="architecture is 'schnet'"):
        train_strategy(**job | {"architecture": "schnet"})
    with pytest.raises(InputError, match="noise level 'extreme'"):
        Case(**DRAW, kind="sampling", level="extreme")
    with pytest.raises(InputError, match="7000 labels are wanted"):
        Case(**DRAW | {"size": 7000}, kind="sampling", level="low")


def test_a_scored_row_that_trains_is_refused(case):
    part = case.partition
    with pytest.raises(InputError, match=r"1 scored rows also train.*the test leaks into training"):
        strategies.run_steps(
            None, None, part, case.noisy, strategy="D", settings=None, scaler=None,
            scored=np.append(part.test, part.rows[0]), truth=None,
        )  # fmt: skip
