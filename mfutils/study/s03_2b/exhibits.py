"""Tables and the figure of experiment in training: runs in, data frames and artists out.

A variant is a list of `runs.Run`, one per split, under a name. Every split has its own test
crystals, its own training crystals and its own seed of the network, so an interval over splits (of
Student) covers all three; one over crystals (a bootstrap) covers the test crystals alone.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from mfutils.errors import InputError
from mfutils.study.s03_2b.runs import Run
from mfutils.uncertainty.compare import Interval, draw_groups, mean_interval, repeat_interval

__all__ = [
    "Variants", "difference_table", "differences", "draw_errors", "label_table", "maes",
    "score_table",
]  # fmt: skip

Variants = Mapping[str, Sequence[Run]]


def maes(runs: Sequence[Run]) -> np.ndarray:
    """Mean absolute error (s,) in eV of every split."""
    return np.array([_error(run).mean() for run in runs])


def differences(first: Sequence[Run], second: Sequence[Run]) -> Interval:
    """MAE of the first less that of the second (eV), split by split, with Student's interval.

    Raises InputError when the two were not tested on the same crystals.
    """
    _check_paired(first, second)
    return repeat_interval(maes(first) - maes(second), over="splits")


def label_table(variants: Variants) -> pd.DataFrame:
    """What trained: labels per kind, and the share of test crystals whose composition trained
    with a computed or a measured label; means over the splits of every variant."""
    rows = []
    for name, runs in variants.items():
        kinds = list(dict.fromkeys(kind for run in runs for kind in run.labels))
        row = {"variant": name, "tested": np.mean([len(run.test) for run in runs])}
        row |= {kind: np.mean([run.labels.get(kind, 0) for run in runs]) for kind in kinds}
        for kind in ("computed", "measured"):
            shares = [run.same_composition[kind] / len(run.test) for run in runs]
            row[f"composition {kind}"] = np.mean(shares)
        rows.append(row)
    return pd.DataFrame(rows).fillna(0)


def score_table(variants: Variants, *, resamples: int = 2000) -> pd.DataFrame:
    """Errors (eV) of every variant: mean and standard deviation over splits, 95 % intervals over
    splits and over crystals, and the MAE where the measured gap is 0 and where it is not.

    "cut at 0" is the MAE of predictions without their negative part.
    """
    rows = []
    for name, runs in variants.items():
        over_splits = repeat_interval(maes(runs), over="splits")
        error, gap, composition = _pooled(runs)
        crystals = mean_interval(error, draw_groups(composition, resamples=resamples))
        rows.append(
            {
                "variant": name,
                "MAE (eV)": over_splits.estimate,
                "cut at 0": np.mean([_error(run, least=0.0).mean() for run in runs]),
                "std over splits": np.std(maes(runs), ddof=1) if len(runs) > 1 else np.nan,
                "low": over_splits.low,
                "high": over_splits.high,
                "low, crystals": crystals.low,
                "high, crystals": crystals.high,
                "measured 0": error[gap == 0].mean(),
                "measured > 0": error[gap > 0].mean(),
                "splits": len(runs),
                "crystals": crystals.count,
            }
        )
    return pd.DataFrame(rows)


def difference_table(
    variants: Variants, pairs: Mapping[str, tuple[str, str]], *, resamples: int = 2000
) -> pd.DataFrame:
    """MAE of one variant less that of another on the same test crystals, one row per question.

    pairs: question -> names of both variants. The intervals are those of `score_table`. Raises
    InputError when two variants were not tested on the same crystals.
    """
    rows = []
    for question, (first, second) in pairs.items():
        one, other = variants[first], variants[second]
        over_splits = differences(one, other)
        (error, _, composition), (theirs, _, _) = _pooled(one), _pooled(other)
        drawn = draw_groups(composition, resamples=resamples)
        crystals = mean_interval(error - theirs, drawn)
        rows.append(
            {
                "question": question,
                "difference (eV)": over_splits.estimate,
                "low": over_splits.low,
                "high": over_splits.high,
                "low, crystals": crystals.low,
                "high, crystals": crystals.high,
            }
        )
    return pd.DataFrame(rows)


def draw_errors(
    axes: Axes, table: pd.DataFrame, variants: Variants, *, printed: tuple[float, float] | None
) -> pd.DataFrame:
    """Every split as a dot and the mean with its interval over splits; returns what was drawn.

    printed: a mean and its spread (eV), drawn as a band.
    """
    shown = table.set_index("variant")
    if printed is not None:
        mean, spread = printed
        axes.axvspan(mean - spread, mean + spread, color="0.88", zorder=0)
        axes.axvline(
            mean, color="0.5", linewidth=0.8, zorder=0, label=f"printed {mean:g} ± {spread:g} eV"
        )
    rows = []
    for place, (name, runs) in enumerate(reversed(list(variants.items()))):
        values, line = maes(runs), shown.loc[name]
        axes.plot(
            values, np.full(len(values), place - 0.18), "o", color="C0", markersize=3, alpha=0.7,
            label="one split" if place == 0 else None,
        )  # fmt: skip
        ends = np.nan_to_num([line["MAE (eV)"] - line["low"], line["high"] - line["MAE (eV)"]])
        axes.errorbar(
            line["MAE (eV)"], place + 0.12, xerr=ends[:, None], fmt="D", color="C1", markersize=4,
            label="mean, 95 % interval" if place == 0 else None,
        )  # fmt: skip
        rows += [{"variant": name, "split": k, "MAE (eV)": v} for k, v in enumerate(values)]
    axes.set_yticks(range(len(variants)), list(reversed(list(variants))))
    axes.set(xlabel="mean absolute error (eV)", ylim=(-0.6, len(variants) - 0.4))
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, fontsize=7)
    return pd.DataFrame(rows)


def _error(run, *, least=-np.inf):
    return np.abs(np.maximum(run.prediction, least) - run.gap)


def _pooled(runs):
    """Errors, gaps and compositions of the test crystals of all splits."""
    error = np.concatenate([_error(run) for run in runs])
    gap = np.concatenate([run.gap for run in runs])
    return error, gap, np.concatenate([run.composition for run in runs])


def _check_paired(first, second):
    same = len(first) == len(second) and all(
        np.array_equal(one.test, other.test) for one, other in zip(first, second, strict=True)
    )
    if not same:
        raise InputError(
            "the variants were tested on different crystals; compare runs of the same splits"
        )
