"""What section 5.4 records of its goals and differences: results in, plain values out."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from mfutils.study.s05_4.protocols import crossed
from mfutils.uncertainty import compare

__all__ = ["PRINTED_SPLIT", "goal_row", "interval_rows", "of_folds", "of_goals", "of_splits"]

# eV, Chen et al. 2021, random 80/10/10: mean over five splits
PRINTED_SPLIT = 0.38
# (coverage, width in eV) that conformal intervals should keep
_COVERAGE, _WIDTH = (0.88, 0.92), (0.0, 1.3)
# differences on the five folds that are stated: id -> (rule, model) first and second
_FOLDS = {
    "twins_train": (("as dealt", "crystal"), ("compositions out", "crystal")),
    "relatives_help": (("compositions out", "crystal"), ("systems out", "crystal")),
    "known_gaps": (("compositions out", "known gaps"), ("compositions out", "crystal")),
    "crystal_helps_formula": (("compositions out", "crystal"), ("compositions out", "formula")),
    "fine_tuned_input": (
        ("compositions out", "crystal, told by it"), ("compositions out", "crystal"),
    ),
}  # fmt: skip
# eV: numbers of a first run on these folds, and the aim
_FIRST = {
    "compositions_out.mae": ("compositions out", "error", 0.264),
    "compositions_out.crps": ("compositions out", "crps", 0.198),
    "systems_out.mae": ("systems out", "error", 0.266),
    "aim": ("compositions out", "error", 0.24),
}


def goal_row(
    id: str, values: np.ndarray, draws: compare.Draws, goals: tuple[float, float]
) -> dict[str, object]:
    """A row of the table of goals: mean of values (n,) with its interval, and what it should beat.

    goals are the number to beat and the harder target, NaN where there is none.
    """
    mean, (easy, hard) = compare.mean_interval(values, draws), goals
    return {
        "goal": id, "ours": mean.estimate, "low": mean.low, "high": mean.high, "to beat": easy,
        "beaten": bool(mean.estimate <= easy), "target": hard,
        "reached": bool(mean.estimate <= hard),
    }  # fmt: skip


def interval_rows(intervals: pd.DataFrame) -> list[dict[str, object]]:
    """Rows of the goals of conformal intervals: coverage and mean width of two models, in order."""
    rows = []
    for name, row in zip(("crystal", "known"), intervals.to_dict("records"), strict=True):
        for id, value, (low, high) in (
            (f"coverage.{name}", row["coverage"], _COVERAGE),
            (f"width.{name}", row["mean width (eV)"], _WIDTH),
        ):
            rows.append(
                {
                    "goal": id, "ours": value, "low": np.nan, "high": np.nan, "to beat": high,
                    "beaten": bool(low <= value <= high), "target": np.nan, "reached": False,
                }
            )  # fmt: skip
    return rows


def of_goals(table: pd.DataFrame, *, n: int) -> dict[str, object]:
    """The values to record of a table of goal rows on n records; a missed target is its number."""
    values = {}
    for row in table.to_dict("records"):
        value = {"holds": bool(row["beaten"]), "n": n, "effect": row["ours"]}
        if np.isfinite(row["low"]):
            value["interval"] = [row["low"], row["high"]]
        values[f"goal.{row['goal']}"] = value
        if np.isfinite(row["target"]):
            reached = {"holds": True, "n": n, "effect": row["ours"]}
            values[f"target.{row['goal']}"] = reached if row["reached"] else row["ours"]
    return values


def of_folds(
    results: Mapping[tuple[str, str], Sequence[Mapping[str, np.ndarray]]], gap: np.ndarray,
    groups: np.ndarray, *, resamples: int,
) -> dict[str, object]:  # fmt: skip
    """Differences on the five folds, and the numbers of the crystal model beside the first run's.

    results: (rule, model) -> scores per seed of records with gaps (n,) and compositions groups
    (n,). A difference holds when its whole interval over compositions and seeds is below 0, as a
    relation of the first to the second.
    """
    values = {}
    for id, (first, second) in _FOLDS.items():
        runs = [[run["error"] for run in results[key]] for key in (first, second)]
        common = min(map(len, runs))
        pair = [np.array(part[:common]) for part in runs]
        d = crossed(*pair, groups, resamples=resamples)
        values[f"folds.{id}"] = {
            "holds": d.high < 0, "n": len(gap), "effect": d.estimate, "interval": list(d.ends),
            "seeds": common, "probability": d.probability,
        }  # fmt: skip
        values[f"folds.{id}.effect"] = d.estimate
    for id, (rule, what, printed) in _FIRST.items():
        scores = np.array([run[what] for run in results[rule, "crystal"]])
        against = np.full_like(scores, printed)
        d = crossed(scores, against, groups, resamples=resamples)
        ours = float(scores.mean())
        values[f"folds.first_try.{id}"] = {
            "holds": ours <= printed, "n": len(gap), "effect": ours, "seeds": len(scores),
            "interval": [d.low + printed, d.high + printed],
        }  # fmt: skip
        values[f"folds.first_try.{id}.effect"] = ours
    return values


def of_splits(scores: Sequence[Mapping[str, np.ndarray]]) -> dict[str, object]:
    """The mean absolute error over random splits beside the printed one, with its interval.

    Student's t over the splits, whose tests overlap by chance alone; with one split there is no
    interval and nothing holds.
    """
    over = np.array([np.nanmean(run["error"]) for run in scores])
    values = {"splits.mae": float(over.mean())}
    if len(over) > 1:
        d = compare.repeat_interval(over - PRINTED_SPLIT, over="splits")
        ends = {"effect": d.estimate, "interval": list(d.ends), "n": len(over)}
        values["splits.below_printed"] = {"holds": d.high < 0, **ends}
    else:
        values["splits.below_printed"] = {"holds": False, "n": 1, "effect": over[0] - PRINTED_SPLIT}
    return values
