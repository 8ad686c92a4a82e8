"""Tables and figures of section 5.4: results in, a table or a figure and its data out."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from mfutils.study.s05_4.protocols import crossed
from mfutils.study.s05_4.records import Records

__all__ = [
    "draw_folds", "kept_apart", "mean_line", "relatives", "rules_table", "splits_table",
    "twins_table",
]  # fmt: skip

Scores = Mapping[str, np.ndarray]


def twins_table(sets: Mapping[str, Records]) -> pd.DataFrame:
    """How many measured crystals of each set were computed too, by what identifies them."""
    rows = []
    for name, data in sets.items():
        twins = data.twins
        rows.append(
            {
                "measured set": name,
                "crystals": len(data.gap),
                "composition computed": (twins.same_composition > 0).sum(),
                "space group too": (twins.candidates > 0).sum(),
                "one such crystal": (twins.candidates == 1).sum(),
                "several": (twins.candidates > 1).sum(),
            }
        )
    return pd.DataFrame(rows)


def kept_apart(data: Records) -> pd.DataFrame:
    """Computed gaps per fidelity: all of them, and those that each rule keeps out of training."""
    rows = []
    for name in data.fidelities:
        has = data.crystals[f"gap_{name}"].notna().to_numpy()
        row = {"fidelity": name, "computed gaps": has.sum()}
        row["of measured crystals"] = (has & data.kept_apart("crystal")).sum()
        row["of their compositions"] = (has & data.kept_apart("composition")).sum()
        rows.append(row)
    return pd.DataFrame(rows)


def relatives(data: Records, apart: str) -> float:
    """Share of the crystals that a rule does not keep apart with all elements of a measured one."""
    composition = data.crystals["composition"][~data.kept_apart(apart)]
    parts = composition.str.split("|").map(lambda each: sorted(p.split(":")[0] for p in each))
    return float(parts.str.join("-").isin(set(data.system)).mean())


def mean_line(scores: Sequence[Scores], gap: np.ndarray) -> dict[str, float]:
    """MAE, its parts on zeros and nonzeros, CRPS and std over runs of one model, in eV.

    scores: one result of `protocols.scored` per run; records that a run did not test count nowhere.
    """
    error, crps = (np.array([run[what] for run in scores]) for what in ("error", "crps"))
    over = np.nanmean(error, axis=1)
    return {
        "MAE (eV)": over.mean(),
        "zeros": _mean(error[:, gap == 0]),
        "nonzeros": _mean(error[:, gap > 0]),
        "CRPS (eV)": _mean(crps),
        "runs": len(over),
        "std over runs": over.std(ddof=1) if len(over) > 1 else np.nan,
    }


def _mean(values: np.ndarray) -> float:
    """Mean of what is known, NaN where nothing is: a point prediction has no CRPS at all."""
    values = values[np.isfinite(values)]
    return float(values.mean()) if values.size else np.nan


def rules_table(
    results: Mapping[tuple[str, str], Sequence[Scores]], gap: np.ndarray, groups: np.ndarray, *,
    base: str, resamples: int,
) -> pd.DataFrame:  # fmt: skip
    """One row per (rule, model): the scores, and the change of the MAE against the rule `base`.

    Intervals draw compositions, the names (n,) in groups, and seeds at once; where a model has one
    run, compositions alone.
    """
    rows = []
    for (rule, model), scores in results.items():
        row = {"rule": rule, "model": model, **mean_line(scores, gap)}
        if rule != base and (base, model) in results:
            pair = [[run["error"] for run in part] for part in (scores, results[base, model])]
            change = crossed(*map(np.array, pair), groups, resamples=resamples)
            row |= {"change (eV)": change.estimate, "low": change.low, "high": change.high}
            row["over"] = change.over
        rows.append(row)
    return pd.DataFrame(rows)


def draw_folds(axes: Axes, table: pd.DataFrame, *, colors: Mapping[str, str], goals: Mapping):
    """MAE of each model under each rule as points in a row; goals: label -> eV, dashed."""
    models, rules = (list(dict.fromkeys(table[c])) for c in ("model", "rule"))
    place = {model: k for k, model in enumerate(reversed(models))}
    shades = [colors[name] for name in ("orange", "blue", "green")]
    for rule, color, shift in zip(rules, shades, (0.16, 0.0, -0.16), strict=False):
        part = table[table["rule"] == rule]
        at = [place[model] + shift for model in part["model"]]
        axes.plot(part["MAE (eV)"], at, "o", color=color, label=rule)
    for label, value in goals.items():
        axes.axvline(value, color="0.4", linewidth=0.8, linestyle="--")
        axes.annotate(
            label, (value, 1.0), xycoords=("data", "axes fraction"), fontsize=7, rotation=90,
            ha="right", va="top",
        )  # fmt: skip
    axes.set_yticks(list(place.values()), list(place))
    axes.set(xlabel="mean absolute error (eV)", xlim=(0, None))
    axes.legend(fontsize=7, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)


def splits_table(results: Mapping[str, Sequence[Scores]]) -> pd.DataFrame:
    """MAE and CRPS of every random split, one row per rule, and their mean and std in eV."""
    rows = []
    for rule, scores in results.items():
        over = np.array([np.nanmean(run["error"]) for run in scores])
        row = {"rule": rule, **{f"split {k + 1}": value for k, value in enumerate(over)}}
        row["MAE (eV)"] = over.mean()
        row["std over splits"] = over.std(ddof=1) if len(over) > 1 else np.nan
        row["CRPS (eV)"] = np.mean([np.nanmean(run["crps"]) for run in scores])
        rows.append(row)
    return pd.DataFrame(rows)
