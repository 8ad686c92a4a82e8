"""Sentences about results, with the numbers of the run that they stand under."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from mfutils.study.s03_2b.runs import Run

__all__ = ["of_differences", "of_disordered", "of_errors", "of_labels", "of_weights"]


def of_weights(table: pd.DataFrame, chosen: float) -> str:
    """What the validation says of the weights; table has weight and validation MAE (eV)."""
    best = table.loc[table["validation MAE (eV)"].idxmin()]
    word = "that one" if best["weight"] == chosen else f"{chosen:g}, chosen on the study's data,"
    return (
        f"On the validation crystals of the first split a weight of {best['weight']:g} is best, "
        f"with {best['validation MAE (eV)']:.3f} eV. The runs below use {word} throughout."
    )


def of_labels(table: pd.DataFrame) -> str:
    """How many test crystals share their composition with a crystal that trains."""
    shared = table[table["composition computed"] > 0]
    said = [f"{row['composition computed']:.0%} ({row['variant']})" for _, row in shared.iterrows()]
    first = f"Share of test crystals whose composition trains with computed gaps: {_list(said)}. "
    if not said:
        first = "No test crystal has the composition of a crystal that trains with computed gaps. "
    twins = table["composition measured"].max()
    if twins == 0:
        return first + "In no variant does a second measured crystal of that composition train."
    return first + f"With a second measured gap it is at most {twins:.0%}."


def of_errors(table: pd.DataFrame) -> str:
    """The mean absolute error of every variant, best first."""
    said = [
        f"{row['MAE (eV)']:.3f} eV ({row['variant']}; {row['measured 0']:.3f} where the gap is 0, "
        f"{row['measured > 0']:.3f} elsewhere)"
        for _, row in table.sort_values("MAE (eV)").iterrows()
    ]
    return f"From the smallest error to the largest: {_list(said)}."


def of_differences(table: pd.DataFrame) -> str:
    """Which differences are settled: their whole interval over splits lies on one side of 0."""
    said = []
    for _, row in table.iterrows():
        settled = "settled" if row["low"] > 0 or row["high"] < 0 else "not settled"
        said.append(
            f"*{row['question'].capitalize()}*: {row['difference (eV)']:+.3f} eV, between "
            f"{row['low']:+.3f} and {row['high']:+.3f}, which is {settled}."
        )
    return f"A negative number is a gain. {' '.join(said)}"


def of_disordered(runs: Sequence[Run]) -> str:
    """The error on disordered crystals that did not train, or that there are none."""
    errors = [np.abs(r.disordered_prediction - r.disordered_gap) for r in runs]
    if not sum(map(len, errors)):
        return "These data have no disordered crystals, so there is nothing to test on."
    each = [error.mean() for error in errors]
    return (
        f"On {len(errors[0])} disordered crystals that did not train the error is "
        f"{np.mean(each):.2f} eV, from {min(each):.2f} to {max(each):.2f} over the splits."
    )


def _list(said):
    """Words as a list in a sentence."""
    return said[0] if len(said) == 1 else f"{', '.join(said[:-1])} and {said[-1]}" if said else ""
