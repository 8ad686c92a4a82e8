"""The comparisons that section 3.2 rests on, each a difference with an interval, by name."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from mfutils.study.s03_2.ensembles import Ensemble
from mfutils.study.s03_2.fusion import Contrast, average, contrast, single
from mfutils.study.s03_2.tables import NAMES
from mfutils.uncertainty.compare import Draws

__all__ = ["Question", "answers", "neighbours", "price", "questions"]


@dataclass(frozen=True)
class Question:
    """Is fusing the networks of some fidelities better than something else?

    chosen fidelities are fused by `rule`; `reference` is compared with it, one fidelity or more:
    all its networks under `other` ("mean" averages them), or a single network for other="one".
    """

    chosen: tuple[str, ...]
    reference: tuple[str, ...]
    rule: str = "inverse-std"
    other: str = "mean"

    def answer(self, ensemble: Ensemble, prediction: str, draws: Draws) -> Contrast:
        """The difference of the two errors on one ensemble."""
        if self.other == "one":
            second = single(ensemble, prediction, self.reference[0])
        else:
            second = average(ensemble, prediction, self.reference, rule=self.other)
        first = average(ensemble, prediction, self.chosen, rule=self.rule)
        return contrast(first, second, draws, networks=ensemble.members)


def questions(fidelities: Sequence[str], pair: Sequence[str]) -> dict[str, Question]:
    """What fusing gains, and against what; `pair`: two fidelities that were fixed beforehand."""
    every, both = tuple(fidelities), tuple(pair)
    together = " + ".join(NAMES[f] for f in pair)
    asked = {f"all against one network of {NAMES[pair[0]]}": Question(every, both[:1], other="one")}
    asked |= {f"all against averaging {NAMES[f]}": Question(every, (f,)) for f in pair}
    asked |= {f"{together} against averaging {NAMES[f]}": Question(both, (f,)) for f in pair}
    asked["all: weights 1/std against equal ones"] = Question(every, every)
    asked[f"{together}: weights 1/std against equal ones"] = Question(both, both)
    return asked


def answers(
    asked: Mapping[str, Question], ensembles: Mapping[str, tuple[Ensemble, str, Draws]]
) -> dict[tuple[str, str], Contrast]:
    """(title, question) -> Contrast; ensembles: title -> ensemble, prediction and draws."""
    return {
        (title, text): question.answer(ensemble, prediction, draws)
        for title, (ensemble, prediction, draws) in ensembles.items()
        for text, question in asked.items()
    }


def neighbours(
    rows: Iterable[tuple[str, Ensemble, str]], draws: Draws
) -> dict[tuple[str, str], Contrast]:
    """(model, "A before B") -> Contrast for neighbours in each model's own order of fidelities."""
    found = {}
    for title, ensemble, prediction in rows:
        by_error = sorted(
            ensemble.fidelities, key=lambda f, e=ensemble, p=prediction: e.error(p, f).mean()
        )
        for better, worse in pairwise(by_error):
            found[title, f"{NAMES[better]} before {NAMES[worse]}"] = contrast(
                single(ensemble, prediction, better), single(ensemble, prediction, worse), draws,
                networks=ensemble.members,
            )  # fmt: skip
    return found


def price(
    pairs: Mapping[str, tuple[Ensemble, Ensemble]], prediction: str, draws: Draws
) -> dict[tuple[str, str], Contrast]:
    """(network, trained on) -> first less second ensemble, for single networks and all fused."""
    found = {}
    for title, (first, second) in pairs.items():
        networks = first.members
        for name in first.fidelities:
            found[title, NAMES[name]] = contrast(
                single(first, prediction, name), single(second, prediction, name), draws,
                networks=networks,
            )  # fmt: skip
        both = (average(e, prediction, e.fidelities, rule="inverse-std") for e in (first, second))
        found[title, "all, fused"] = contrast(*both, draws, networks=networks)
    return found
