"""What section 4.2 says of its strategies, as differences of errors with a verdict.

A claim says that one error is lower than another, in one or several cells (kinds and levels of
noise, subsets, strategies). Its differences, better less worse, stand in an array cells x seeds.
It holds when the 95 % interval over the seeds lies below zero and every cell is below zero on
average. Results come in as tables and go out as `Verdict`s; recording them is the notebook's.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from mfutils.study.s04_2.label_noise import KINDS
from mfutils.study.s04_2.partition import SUBSETS
from mfutils.uncertainty.compare import Interval, repeat_interval

__all__ = [
    "Claim",
    "Errors",
    "Verdict",
    "judge",
    "pass_claims",
    "rule_claims",
    "settled_claim",
    "strategy_claims",
    "verdict_table",
]

_WORDS = {"1by1": "one_by_one", "onion": "onion"}


@dataclass(frozen=True, eq=False)
class Claim:
    """differences (cells, seeds), in eV or in % where the text says so; negative is as claimed.

    margin: the claim is not that they are negative, but that their mean lies within this of 0.
    """

    id: str
    section: str
    text: str
    differences: np.ndarray
    margin: float | None = None


@dataclass(frozen=True, eq=False)
class Verdict:
    """A claim with the interval of its mean difference over the seeds."""

    claim: Claim
    interval: Interval
    holds: bool
    word: str

    @property
    def right_sign(self) -> str:
        """In how many cells and seeds the difference is negative; empty for a margin."""
        if self.claim.margin is not None:
            return ""
        return f"{(self.claim.differences < 0).sum()} of {self.claim.differences.size}"

    def as_record(self) -> dict[str, bool | float | int | list[float]]:
        """Plain values: holds, effect, interval and n, the number of seeds."""
        return {"holds": self.holds, **self.interval.as_record()}


@dataclass(frozen=True, eq=False)
class Errors:
    """Test errors (eV) of the first pass.

    single: one training on the subsets that name the column, "A" to "D" and "ABCD", by noise,
    level and seed. chains: column mae of the chains "onion" and "1by1" by seed, noise, level,
    strategy and step.
    """

    single: pd.DataFrame
    chains: pd.DataFrame
    seeds: Sequence[int]

    def of(self, kind: str, level: str, trained: str) -> np.ndarray:
        """Errors by seed (s,) of a column of `single`, or of the end of a chain."""
        if trained in self.single:
            return self.single.loc[(kind, level)].loc[list(self.seeds), trained].to_numpy()
        chain = self.chains[self.chains.strategy == trained]
        chain = chain[(chain.noise == kind) & (chain.level == level)]
        end = chain[chain.step == chain.step.max()]
        return end.set_index("seed").mae.loc[list(self.seeds)].to_numpy()

    def less(self, better: tuple[str, str, str], worse: tuple[str, str, str]) -> np.ndarray:
        """Difference (s,) of two cells (kind, level, trained)."""
        return self.of(*better) - self.of(*worse)


def strategy_claims(errors: Errors, levels: Sequence[str]) -> list[Claim]:
    """The claims of 4.2.3 to 4.2.5 on one pass; levels of noise from the lowest to the highest."""
    order = ["none", *levels]
    noisy = [(k, v) for k in KINDS for v in levels]
    loud = [(k, v) for k, v in noisy if v != "low"]
    clean = ("sampling", "none")
    claims = []

    def add(name, section, text, cells):
        differences = np.array([errors.less(better, worse) for better, worse in cells])
        claims.append(Claim(name, section, text, differences))

    add(
        "more_data_is_better", "4.2.3", "without noise more data give a lower error",
        [
            ((*clean, a), (*clean, b))
            for a, b in (("C", "D"), ("B", "C"), ("A", "B"), ("ABCD", "A"))
        ],
    )  # fmt: skip
    add(
        "noise_hurts", "4.2.3", "more noise, more error (A, B, C and all)",
        [((k, a, s), (k, b, s)) for k in KINDS for a, b in pairwise(order) for s in "ABC"],
    )  # fmt: skip
    add(
        "low_noise_mix_helps", "4.2.3", "at low noise all together beat every subset",
        [((k, levels[0], "ABCD"), (k, levels[0], s)) for k in KINDS for s in SUBSETS],
    )  # fmt: skip
    add(
        "a_loses_to_b_and_c", "4.2.3", "at medium and high noise B and C beat A",
        [((k, v, s), (k, v, "A")) for k, v in loud for s in "BC"],
    )  # fmt: skip
    add(
        "d_beats_all_at_high", "4.2.3", "at high noise D alone beats all together",
        [((k, levels[-1], "D"), (k, levels[-1], "ABCD")) for k in KINDS],
    )  # fmt: skip
    add(
        "onion_beats_all", "4.2.4", "onion beats all together under noise",
        [((k, v, "onion"), (k, v, "ABCD")) for k, v in noisy],
    )  # fmt: skip
    add(
        "one_by_one_beats_all", "4.2.4", "1by1 beats all together under noise",
        [((k, v, "1by1"), (k, v, "ABCD")) for k, v in noisy],
    )  # fmt: skip
    add(
        "onion_beats_one_by_one", "4.2.4", "onion beats 1by1 (scaling, high left out)",
        [
            ((k, v, "onion"), (k, v, "1by1"))
            for k, v in noisy
            if (k, v) != ("scaling", "high")
        ],
    )  # fmt: skip
    add(
        "onion_beats_one_by_one_sampling", "4.2.4", "onion beats 1by1 under sampling noise",
        [(("sampling", v, "onion"), ("sampling", v, "1by1")) for v in levels],
    )  # fmt: skip
    add(
        "final_beats_only_true", "4.2.4", "both strategies end below D alone",
        [((k, v, s), (k, v, "D")) for k, v in noisy for s in ("onion", "1by1")],
    )  # fmt: skip
    add(
        "more_noise_ends_higher", "4.2.4", "more noise, higher final error",
        [
            ((k, a, s), (k, b, s))
            for k in KINDS
            for s in ("onion", "1by1")
            for a, b in pairwise(levels)
        ],
    )  # fmt: skip
    add(
        "scaling_hurts_less", "4.2.5", "scaling noise ends below sampling noise (onion)",
        [(("scaling", v, "onion"), ("sampling", v, "onion")) for v in levels],
    )  # fmt: skip
    return claims


def pass_claims(passes: pd.DataFrame, seeds: Sequence[int], levels: Sequence[str]) -> list[Claim]:
    """The claims on denoising passes, changes of the test error in %; none for pass 0 alone.

    passes: column mae by seed, noise, level, strategy and pass.
    """
    last = int(passes["pass"].max())
    if not last:
        return []
    by_pass = passes.pivot_table(
        index=["seed", "noise", "level", "strategy"], columns="pass", values="mae"
    )
    relative = 100 * by_pass.div(by_pass[0], axis=0).sub(1)

    def change(kind, level, strategy, number):
        rows = relative.xs((kind, level, strategy), level=("noise", "level", "strategy"))
        return rows[number].loc[list(seeds)].to_numpy()

    claims = [
        Claim(
            f"denoising_helps_{word}",
            "4.2.5",
            f"eq 4.11 lowers the error of {strategy} under sampling noise (%)",
            np.array([change("sampling", v, strategy, last) for v in levels]),
        )
        for strategy, word in _WORDS.items()
    ]
    claims.append(
        Claim(
            "scaling_first_pass_fails",
            "4.2.5",
            "under scaling noise the first pass does not help (%)",
            np.array([-change("scaling", v, s, 1) for v in levels for s in _WORDS]),
        )
    )
    return claims


def settled_claim(errors: Errors) -> Claim:
    """Without noise the steps after the first change little: within 5 %."""
    first = {"onion": "ABCD", "1by1": "A"}
    clean = ("sampling", "none")
    differences = [errors.of(*clean, s) / errors.of(*clean, first[s]) - 1 for s in first]
    text = "without noise later steps change little (within 5 %)"
    return Claim("first_step_decides", "4.2.4", text, 100 * np.array(differences), margin=5.0)


def rule_claims(effects: pd.DataFrame, rules: dict[str, str]) -> list[Claim]:
    """Does one network on all corrected labels do better? Our claims on the rules of correction.

    effects: by rule, level and seed, the columns "against onion (%)", "against all (%)" and
    "label change (%)". rules: name of the rule -> how ids call it.
    """
    columns = {"against onion (%)": "onion", "against all (%)": "all", "label change (%)": "labels"}
    claims = []
    for rule, short in rules.items():
        part = effects[effects.rule == rule]
        for column, what in columns.items():
            wide = part.pivot_table(index="level", columns="seed", values=column)
            text = f"{rule} + one network: change against {what} (%)"
            claims.append(Claim(f"{short}_{what}", "ours", text, wide.to_numpy()))
    return claims


def judge(claim: Claim) -> Verdict:
    """The verdict by the interval of the mean over the cells, Student's t over the seeds."""
    mean = repeat_interval(claim.differences.mean(axis=0), over="seeds")
    if claim.margin is not None:
        holds = max(abs(mean.low), abs(mean.high)) < claim.margin
        return Verdict(claim, mean, holds, "holds" if holds else "does not hold")
    holds = bool(mean.high < 0 and (claim.differences.mean(axis=1) < 0).all())
    if holds:
        word = "holds"
    elif mean.high < 0:
        word = "on average only"
    else:
        word = "does not hold" if mean.estimate > 0 else "not settled"
    return Verdict(claim, mean, holds, word)


def verdict_table(verdicts: Iterable[Verdict]) -> pd.DataFrame:
    """One row per verdict: section, claim, verdict, effect, low, high, right sign, seeds."""
    return pd.DataFrame(
        [
            (
                v.claim.section, v.claim.text, v.word, v.interval.estimate, *v.interval.ends,
                v.right_sign, v.interval.count,
            )
            for v in verdicts
        ],
        columns=["section", "claim", "verdict", "effect", "low", "high", "right sign", "seeds"],
    )  # fmt: skip
