"""The claims of section 4.2 on made errors whose answers are known."""

from itertools import product

import numpy as np
import pandas as pd
import pytest

from mfutils.study.s04_2 import claims
from mfutils.study.s04_2.label_noise import KINDS

LEVELS = ["low", "medium", "high"]
SEEDS = [4, 7]
SINGLE = {"A": 0.6, "B": 0.7, "C": 0.8, "D": 0.9, "ABCD": 0.5}
ENDS = {"1by1": 0.45, "onion": 0.4}


@pytest.fixture
def errors():
    """Errors that follow the study: noise adds 0.1 a level, and the seed very little."""
    single, chains = [], []
    for kind, (loud, level), seed in product(KINDS, enumerate(["none", *LEVELS]), SEEDS):
        key = {"noise": kind, "level": level, "seed": seed}
        shift = 0.1 * loud + 0.001 * seed + 0.02 * (kind == "sampling") * (loud > 0)
        single.append(key | {name: value + shift for name, value in SINGLE.items()})
        chains += [
            key | {"strategy": s, "step": step, "mae": end + 0.02 * (3 - step) + shift}
            for s, end in ENDS.items()
            for step in range(4)
        ]
    single = pd.DataFrame(single).set_index(["noise", "level", "seed"]).sort_index()
    return claims.Errors(single, pd.DataFrame(chains), SEEDS)


def by_id(listed):
    return {claim.id: claim for claim in listed}


def test_errors_are_read_by_cell_and_seed(errors):
    np.testing.assert_allclose(errors.of("scaling", "low", "B"), [0.804, 0.807])
    np.testing.assert_allclose(errors.of("scaling", "low", "onion"), [0.504, 0.507])
    less = errors.less(("sampling", "high", "1by1"), ("scaling", "none", "D"))
    np.testing.assert_allclose(less, [0.45 + 0.3 + 0.02 - 0.9] * 2)


def test_strategy_claims_compare_the_cells_that_they_name(errors):
    stated = by_id(claims.strategy_claims(errors, LEVELS))
    assert len(stated) == 12
    np.testing.assert_allclose(stated["more_data_is_better"].differences, -0.1)
    assert stated["noise_hurts"].differences.shape == (2 * 3 * 3, 2)
    assert stated["onion_beats_one_by_one"].differences.shape == (5, 2)
    assert stated["onion_beats_one_by_one_sampling"].differences.shape == (3, 2)
    np.testing.assert_allclose(stated["a_loses_to_b_and_c"].differences[::2], 0.1)
    np.testing.assert_allclose(stated["d_beats_all_at_high"].differences, 0.4)
    np.testing.assert_allclose(stated["onion_beats_all"].differences, -0.1)
    np.testing.assert_allclose(stated["final_beats_only_true"].differences.max(), -0.45)
    np.testing.assert_allclose(stated["scaling_hurts_less"].differences, -0.02)


def test_pass_claims_are_changes_in_percent():
    rows = [
        {"seed": seed, "noise": kind, "level": "high", "strategy": s, "pass": number, "mae": mae}
        for seed, kind, s in product(SEEDS, KINDS, ENDS)
        for number, mae in enumerate([0.5, 0.45 if kind == "sampling" else 0.6])
    ]
    stated = by_id(claims.pass_claims(pd.DataFrame(rows), SEEDS, ["high"]))
    assert list(stated) == [
        "denoising_helps_one_by_one", "denoising_helps_onion", "scaling_first_pass_fails",
    ]  # fmt: skip
    np.testing.assert_allclose(stated["denoising_helps_onion"].differences, [[-10, -10]])
    np.testing.assert_allclose(stated["scaling_first_pass_fails"].differences, [[-20] * 2] * 2)
    first = pd.DataFrame([row for row in rows if not row["pass"]])
    assert claims.pass_claims(first, SEEDS, ["high"]) == []


def test_rule_claims_average_over_the_levels():
    columns = ["against onion (%)", "against all (%)", "label change (%)"]
    effects = pd.DataFrame(
        [
            {"rule": rule, "level": level, "seed": seed} | dict.fromkeys(columns, seed - bonus)
            for rule, bonus in (("posterior", 10.0), ("rescaled", 0.0))
            for level, seed in product(LEVELS, SEEDS)
        ]
    )
    stated = claims.rule_claims(effects, {"posterior": "best"})
    assert [claim.id for claim in stated] == ["best_onion", "best_all", "best_labels"]
    assert claims.judge(stated[0]).interval.estimate == pytest.approx(-4.5)
    assert claims.judge(stated[0]).right_sign == "6 of 6"


@pytest.mark.parametrize(
    ("differences", "word"),
    [
        ([[-1.0, -1.1, -0.9], [-2.0, -2.2, -2.1]], "holds"),
        ([[0.1, 0.1, 0.1], [-2.0, -2.2, -2.1]], "on average only"),
        ([[1.0, 1.1, 0.9], [2.0, 2.2, 2.1]], "does not hold"),
        ([[-1.0, 1.1, -0.9], [-2.0, 2.2, -2.1]], "not settled"),
    ],
)
def test_a_claim_holds_as_a_whole_and_in_every_cell(differences, word):
    verdict = claims.judge(claims.Claim("a", "4.2", "text", np.array(differences)))
    assert verdict.word == word
    assert verdict.holds == (word == "holds")
    kept = verdict.as_record()
    assert kept["holds"] is verdict.holds
    assert kept["n"] == 3
    assert kept["effect"] == pytest.approx(np.mean(differences))


def test_a_margin_is_on_both_sides(errors):
    settled = claims.settled_claim(errors)
    assert settled.differences.shape == (2, 2)
    assert claims.judge(settled).word == "does not hold"  # 20 % from first step to last
    small = claims.Claim("b", "4.2", "text", np.array([[1.0, 1.2, 0.9]]), margin=5.0)
    verdict = claims.judge(small)
    assert (verdict.word, verdict.right_sign) == ("holds", "")
    table = claims.verdict_table([verdict, claims.judge(settled)])
    assert table.verdict.tolist() == ["holds", "does not hold"]
    assert table.seeds.tolist() == [3, 2]
