"""The jobs of one way of dealing, and how its forecasts are scored (section 5.2).

`Sources` is what computed gaps alone have taught: the networks' gaps of all crystals and the
coordinates of `mfutils.study.s05_4.models.computed_models`, under one rule of what was kept apart
and for one set of measured gaps. `formula_jobs` and `crystal_jobs` make the jobs of the two
learners for any deals on top of it. `scored` turns their forecasts into errors per record,
`covered` into conformal intervals, and `crossed` compares two models over records and seeds at
once.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mfutils.errors import InputError
from mfutils.study.s05_4.crystal_model import Fused
from mfutils.study.s05_4.gap_networks import Pretrained
from mfutils.study.s05_4.models import Coordinates, OutOfFold
from mfutils.study.s05_4.records import Deal, Records
from mfutils.uncertainty import compare, forecast_intervals
from mfutils.uncertainty.ensembles import bootstrap_counts
from mfutils.uncertainty.forecasts import Draws

__all__ = [
    "Sources", "computed_job", "covered", "crossed", "crystal_jobs", "formula_jobs", "heads",
    "scored", "without_labels",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Sources:
    """network (c, f): gaps in eV of all c crystals at every computed fidelity; computed: what trees
    made of computed gaps."""

    network: np.ndarray
    computed: Coordinates


def heads(trained: Sequence[Pretrained], fidelities: Iterable[str]) -> np.ndarray:
    """Gaps (c, f) of all crystals in eV, the mean over networks, in the order of `fidelities`."""
    return np.column_stack(
        [np.mean([t.prediction[f] for t in trained], axis=0) for f in fidelities]
    ).astype(float)


def computed_job(
    deal: Deal, network: np.ndarray, *, cheap: str, answer: str, apart: str, rounds: int
) -> dict:
    """The job of `computed_models` for the records of a deal and a network of `heads`."""
    names = deal.records().fidelities
    return {
        "dataset": deal.dataset, "hidden": deal.hidden, "measured": deal.measured, "cheap": cheap,
        "answer": answer, "apart": apart, "rounds": rounds,
        "network": network[:, [names.index(cheap), names.index(answer)]],
    }  # fmt: skip


def formula_jobs(deals: Iterable[Deal], sources: Sources, *, trees: int) -> list[dict]:
    """The jobs of `composition_model`, one per deal."""
    of = sources.computed
    return [{"deal": d, "trees": trees, "loose": of.loose, "formula": of.formula} for d in deals]


def crystal_jobs(
    deals: Sequence[Deal], sources: Sources, formulas: Sequence[OutOfFold], *, trees: int,
    rounds: int, known: bool = False, calibrate: int = 0, tuned: np.ndarray | None = None,
) -> list[dict]:  # fmt: skip
    """The jobs of `fused`, one per deal; formulas are the results of `formula_jobs`.

    calibrate holds for the first deal alone.
    """
    return [
        {
            "deal": deal, "crystal": sources.computed.crystal, "loose": sources.computed.loose,
            "network": sources.network, "inner": formula.inner, "tuned": tuned, "known": known,
            "trees": trees, "rounds": rounds, "calibrate": 0 if k else calibrate,
        }
        for k, (deal, formula) in enumerate(zip(deals, formulas, strict=True))
    ]  # fmt: skip


def scored(forecast: np.ndarray, gap: np.ndarray) -> dict[str, np.ndarray]:
    """error and crps (n,) in eV of forecasts (n, K) or points (n,); NaN where nothing was asked.

    A point has no crps: it is NaN.
    """
    forecast = np.asarray(forecast, dtype=float)
    asked = np.isfinite(forecast if forecast.ndim == 1 else forecast[:, 0])
    error, crps = np.full((2, len(gap)), np.nan)
    if forecast.ndim == 1:
        error[asked] = np.abs(forecast[asked] - gap[asked])
    elif asked.any():
        draws = Draws(forecast[asked])
        error[asked] = np.abs(draws.median() - gap[asked])
        crps[asked] = draws.crps(gap[asked])
    return {"error": error, "crps": crps}


def crossed(
    first: np.ndarray, second: np.ndarray, groups: np.ndarray, *, resamples: int = 2000,
    seed: int = 0,
) -> compare.Difference:  # fmt: skip
    """Mean of first - second, both (s, n) over s seeds and n records, with a 95 % interval.

    The bootstrap draws seeds and groups (n,) of records at once, the same for both models. With one
    seed the interval covers the groups alone, and `over` says so.
    """
    apart = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    if apart.ndim != 2 or apart.shape[1] != len(groups) or not np.isfinite(apart).all():
        raise InputError(
            f"differences have shape {apart.shape} for {len(groups)} records; expected (seeds, "
            "records), all finite"
        )
    draws = compare.draw_groups(groups, resamples=resamples, seed=seed)
    size = draws.counts @ np.bincount(draws.unit)
    totals = np.array([draws.counts @ np.bincount(draws.unit, row) for row in apart])
    shares = bootstrap_counts(len(apart), resamples, seed + 1) / len(apart)
    means = (shares.T * totals).sum(axis=0) / size
    low, high = np.quantile(means, [0.025, 0.975])
    return compare.Difference(
        estimate=float(apart.mean()),
        low=float(low),
        high=float(high),
        over="groups and seeds" if len(apart) > 1 else "groups",
        count=draws.counts.shape[1],
        probability=float((means < 0).mean()),
        rows=apart.shape[1],
    )


def without_labels(data: Records, sources: Sources, *, answer: str) -> dict[str, np.ndarray]:
    """Gaps (n,) in eV of the measured crystals by models that learnt no measured gap.

    The network's own answer at the fidelity `answer`; from the formula alone; and the mean of
    network and trees where trees do not expect a metal.
    """
    asked = np.maximum(sources.network[data.rows, data.fidelities.index(answer)], 0)
    of = sources.computed
    further, by_formula = np.maximum(of.crystal[:, 2], 0), np.maximum(of.formula[:, 2], 0)
    return {
        "no measured gaps: network": asked,
        "no measured gaps: formula only": np.where(of.formula[:, 0] > 0.5, 0, by_formula),
        "no measured gaps: network and trees": np.where(
            of.crystal[:, 0] > 0.5, 0, (asked + further) / 2
        ),
    }


def covered(result: Fused, gap: np.ndarray, fold: np.ndarray, *, alpha: float) -> pd.DataFrame:
    """low, high, inside, width and plain of the conformal interval of every record (n rows), eV.

    The rows that calibrate a fold come from other folds, forecast by models that saw neither them
    nor this fold. plain says whether the interval that the forecast itself believes in holds.
    """
    low, high, plain = np.empty((3, len(gap)))
    for f in np.unique(fold):
        test, seen = fold == f, np.isfinite(result.calibration[f]).all(axis=1)
        known, new = Draws(result.calibration[f][seen]), Draws(result.forecast[test])
        score = forecast_intervals.interval_scores(known, gap[seen])
        level, widen = forecast_intervals.conformal_level(score, alpha)
        ends = forecast_intervals.shortest_interval(new, level)
        low[test], high[test] = np.maximum(ends[0] - widen, 0), ends[1] + widen
        ends = forecast_intervals.shortest_interval(new, 1 - alpha)
        plain[test] = (gap[test] >= ends[0]) & (gap[test] <= ends[1])
    inside = (gap >= low) & (gap <= high)
    columns = {"low": low, "high": high, "inside": inside, "width": high - low, "plain": plain}
    return pd.DataFrame(columns)
