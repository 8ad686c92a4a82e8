"""Sentences of section 3.2 whose numbers come from the run that shows them."""

from collections.abc import Mapping

import pandas as pd

from mfutils.study.s03_2.fusion import Contrast

__all__ = ["gains", "misnumbered", "read_as_ev", "with_few_labels"]


def read_as_ev(evaluation: pd.DataFrame, name: str) -> str:
    """On `tables.evaluation_table`, for the networks of one fidelity."""
    row = evaluation.set_index("trained on").loc[name]
    return (
        f"On {name} the networks err by {row['z-score']:.3f} eV when z-scores are read as eV, and "
        f"by {row['eV']:.3f} eV when they are transformed back. The Gaussian process seems to gain "
        f"{100 * row['gain over z-score']:.0f} % over the first number; over the second it gains "
        f"{100 * row['gain over eV']:.1f} %."
    )


def misnumbered(numbering: pd.DataFrame, name: str) -> str:
    """On `tables.numbering_table`, for the networks of one fidelity."""
    row = numbering.groupby("trained on").mean(numeric_only=True).loc[name]
    return (
        f"Read as published, the {name} networks err by {row['as published: training']:.2f} eV on "
        "the crystals that they were trained on, where predicting the mean errs by "
        f"{row['predicting the mean: training']:.2f} eV; with the elements known they err by "
        f"{row['elements known: training']:.2f} eV there. On the test it is "
        f"{row['as published: test']:.2f} against {row['elements known: test']:.2f} eV."
    )


def gains(answers: Mapping[tuple[str, str], Contrast]) -> str:
    """The answers of `comparisons.answers`, a list item each, under their titles."""
    lines, last = [], None
    for (title, question), c in answers.items():
        if title != last:
            lines += ["", f"*{title}*", ""]
            last = title
        lines.append(f"- {question}: {c.difference:+.3f} eV {_interval(c)}, {c.verdict}")
    return "\n".join(lines).strip()


def with_few_labels(name: str, labels: int, before: int, error: float, c: Contrast) -> str:
    """What leaving out test compositions changes when the number of labels is the same."""
    return (
        f"{name} keeps {labels} of {before} labels. Networks that see as few of its labels, test "
        f"compositions included, err by {error:.3f} eV; without test compositions the error "
        f"changes by {c.difference:+.3f} eV {_interval(c)}, {c.verdict}."
    )


def _interval(c: Contrast) -> str:
    return f"[{c.low:+.3f}, {c.high:+.3f}]"
