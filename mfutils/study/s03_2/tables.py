"""The tables of section 3.2: results in, a DataFrame out. Errors are in eV and eV squared."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from mfutils.study.gap_graphs import GapGraphs
from mfutils.study.s03_2.ensembles import Ensemble
from mfutils.study.s03_2.fusion import Contrast
from mfutils.study.s03_2.members import Member
from mfutils.uncertainty import conformal, scores

__all__ = [
    "NAMES", "baseline_table", "by_class", "calibration_table", "contrast_table", "cost_table",
    "data_table", "error_table",
    "evaluation_table", "leak_table", "looked_up", "numbering_table", "printed_table",
    "recalibrated",
    "settings_table",
]  # fmt: skip

# How tables and figures call the fidelities, in the order of the study's tables
NAMES = {
    "scan": "SCAN", "hse": "HSE", "pbe": "PBE", "gllb-sc": "GLLB-SC", "mp_pbe": "PBE (MP)",
    "aflow_pbe": "PBE (AFLOW)", "oqmd_pbe": "PBE (OQMD)", "exp": "experiment",
    "exp_icsd": "experiment (ICSD)", "exp_mp": "experiment (MP)",
}  # fmt: skip


def by_class(prediction: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """MAE of all crystals, of those with a measured gap of 0 and of the others, and the MSE.

    prediction is (n,) or (m, n) of m networks, whose errors are averaged; y is (n,).
    """
    error = np.abs(np.atleast_2d(prediction) - y)
    mae, zero = error.mean(axis=0), y == 0
    return {
        "MAE": mae.mean(),
        "zeros": mae[zero].mean() if zero.any() else np.nan,
        "nonzeros": mae[~zero].mean() if not zero.all() else np.nan,
        "MSE": (error**2).mean(),
    }


def data_table(data: GapGraphs, fidelities: Iterable[str]) -> pd.DataFrame:
    """Crystals, share of zeros, mean gap, and how many compositions a measured set has too."""
    formula = data.table["formula"]
    rows = []
    for name in (*fidelities, *data.measured):
        graphs = data.rows(name)
        gap = data.gap(name)[graphs]
        row = {
            "fidelity": NAMES[name],
            "crystals": len(gap),
            "share of zeros": (gap == 0).mean(),
            "mean gap (eV)": gap.mean(),
        }
        for measured in data.measured:
            known = set(formula.iloc[data.rows(measured)])
            row[f"compositions also in {NAMES[measured]}"] = formula.iloc[graphs].isin(known).mean()
        rows.append(row)
    return pd.DataFrame(rows)


def baseline_table(y: np.ndarray, looked_up: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Predictions that need no network; looked_up: name -> gaps (n,), NaN where there is none."""
    plain = {"always 0": np.zeros_like(y), "the median gap": np.full_like(y, np.median(y))}
    rows = []
    for name, value in {**plain, **looked_up}.items():
        known = np.isfinite(value)
        if known.sum() > 10:
            rows.append({"prediction": name, "crystals": known.sum()})
            rows[-1] |= by_class(value[known], y[known])
    return pd.DataFrame(rows)


def evaluation_table(ensemble: Ensemble) -> pd.DataFrame:
    """MAE of one network in z-scores and in eV, and what the exact process gains on either."""
    rows = []
    for name in ensemble.fidelities:
        raw, right, process = (
            ensemble.error(kind, name).mean() for kind in ("z-score", "network", "exact")
        )
        rows.append((NAMES[name], raw, right, process, 1 - process / raw, 1 - process / right))
    columns = ["trained on", "z-score", "eV", "with process", "gain over z-score", "gain over eV"]
    return pd.DataFrame(rows, columns=columns)


def numbering_table(
    members: Mapping[str, Sequence[Member]], measured: str, printed: Mapping[str, float]
) -> pd.DataFrame:
    """MAE of every MEGNet on the crystals it was trained on and on the test, under both numberings.

    printed: fidelity -> the printed MAE.
    """
    rows = []
    for name, of in members.items():
        for number, m in enumerate(of, start=1):
            row, y = np.isfinite(m.measured[measured]), m.measured[measured]
            seen = slice(0, len(m.train))
            rows.append({"trained on": NAMES[name], "network": number})
            for title, said in (("elements known", m.right), ("as published", m.as_published)):
                rows[-1][f"{title}: training"] = np.abs(said.drawn - m.target)[seen].mean()
                rows[-1][f"{title}: test"] = np.abs(said.test - y)[row].mean()
            rows[-1]["predicting the mean: training"] = np.abs(
                m.target[seen] - m.target[seen].mean()
            ).mean()
            rows[-1]["printed: test"] = printed.get(name, np.nan)
    return pd.DataFrame(rows)


def printed_table(
    rows: Mapping[str, tuple[str, Ensemble, str]], printed: Mapping[str, float]
) -> pd.DataFrame:
    """Table 3.5: for each row (key -> title, ensemble, prediction) and fidelity our ten networks.

    printed: "<key>.<fidelity>.<measure>" -> the printed number.
    """
    out = []
    for key, (title, ensemble, prediction) in rows.items():
        for name in ensemble.fidelities:
            out.append({"model": title, "trained on": NAMES[name], "networks": ensemble.members})
            for power, measure in ((1, "MAE"), (2, "MSE")):
                error = ensemble.error(prediction, name, power=power).mean(axis=1)
                out[-1] |= {
                    f"printed {measure}": printed.get(f"{key}.{name}.{measure.lower()}", np.nan),
                    measure: error.mean(),
                    f"std of {measure}": error.std(ddof=1) if len(error) > 1 else np.nan,
                    f"smallest {measure}": error.min(),
                    f"largest {measure}": error.max(),
                }
            split = by_class(ensemble.mean[prediction][name], ensemble.y)
            out[-1] |= {"zeros": split["zeros"], "nonzeros": split["nonzeros"]}
    return pd.DataFrame(out)


def calibration_table(ensembles: Iterable[Ensemble]) -> pd.DataFrame:
    """How the processes keep what they promise, all networks of a fidelity pooled."""
    rows = []
    for ensemble in ensembles:
        for name in ensemble.fidelities:
            for kind, title in (("exact", "learned"), ("sparse", "default, as in the study")):
                mean, std = ensemble.mean[kind][name].ravel(), ensemble.std[kind][name].ravel()
                y = np.tile(ensemble.y, ensemble.members)
                rows.append(
                    {
                        "network": ensemble.label,
                        "trained on": NAMES[name],
                        "noise": title,
                        "inside 95 %": scores.coverage(y, mean, std),
                        "inside 50 %": scores.coverage(y, mean, std, 0.5),
                        "mean std (eV)": std.mean(),
                        "RMSE (eV)": np.sqrt(np.mean((y - mean) ** 2)),
                        "CRPS (eV)": scores.crps(y, mean, std).mean(),
                        "NLL": scores.nll(y, mean, std).mean(),
                        "miscalibration area": scores.miscalibration_area(y, mean, std),
                    }
                )
    return pd.DataFrame(rows)


def contrast_table(contrasts: Mapping[tuple[str, ...], Contrast], heads: Sequence[str]):
    """One row per contrast: the parts of its key under `heads`, the difference and its interval."""
    rows = [
        (*key, c.difference, c.low, c.high, c.se_compositions, c.se_networks, c.verdict)
        for key, c in contrasts.items()
    ]
    columns = ["difference (eV)", "low", "high", "SE over compositions", "SE over networks"]
    return pd.DataFrame(rows, columns=[*heads, *columns, "verdict"])


def leak_table(
    data: GapGraphs, members: Mapping[str, Mapping[str, Sequence[Member]]]
) -> pd.DataFrame:
    """Test crystals that training has seen; members: protocol -> fidelity -> networks.

    *Seen* is a test crystal whose composition stands in the training sample of a network, averaged
    over networks, and the number of those whose label at this fidelity any sample could draw.
    """
    formula = data.table["formula"].to_numpy()
    rows = []
    for name in members[next(iter(members))]:
        could = set(formula[data.rows(name)])
        for protocol, of in members.items():
            row = {"trained on": NAMES[name], "protocol": protocol}
            row["labels"] = len(of[name][0].drawn)
            for measured in data.measured:
                tested = formula[data.rows(measured)]
                seen = [np.isin(tested, formula[m.drawn]).sum() for m in of[name]]
                row[f"{NAMES[measured]}: seen"] = np.mean(seen)
                row[f"{NAMES[measured]}: labelled at all"] = np.isin(tested, list(could)).sum()
            rows.append(row)
    return pd.DataFrame(rows)


def settings_table(variants: Mapping[str, Sequence[Member]], measured: str) -> pd.DataFrame:
    """Networks of one fidelity under other settings, a row per title of `variants`."""
    rows = []
    for title, of in variants.items():
        y = [m.measured[measured] for m in of]
        error = [np.nanmean(np.abs(m.right.test - gaps)) for m, gaps in zip(of, y, strict=True)]
        rows.append(
            {
                "settings": title,
                "networks": len(of),
                "epochs": np.mean([m.epochs for m in of]),
                "best epoch": np.mean([m.best_epoch for m in of]),
                "validation MAE (eV)": np.mean([m.validation_mae for m in of]),
                "MAE (eV)": np.mean(error),
                "CPU seconds each": float(f"{np.mean([m.network_cpu_seconds for m in of]):.2g}"),
            }
        )
    return pd.DataFrame(rows)


def looked_up(data: GapGraphs, fidelity: str, tested: np.ndarray) -> np.ndarray:
    """Computed gaps (n,) in eV of the most stable crystals with the compositions of `tested`.

    Stable by formation energy among the crystals that have this gap; NaN where there is none.
    """
    table = data.table.loc[np.isfinite(data.gap(fidelity)), ["formula", f"gap_{fidelity}"]]
    energy = data.table["formation_energy_per_atom"].reindex(table.index)
    order = energy.fillna(np.inf).sort_values(kind="stable").index
    gaps = table.loc[order].drop_duplicates("formula").set_index("formula")[f"gap_{fidelity}"]
    return data.table["formula"].iloc[tested].map(gaps).to_numpy(float)


def error_table(
    predictions: Mapping[tuple[str, ...], tuple[np.ndarray, np.ndarray]], heads: Sequence[str]
) -> pd.DataFrame:
    """One row per key (its parts under `heads`): errors of a prediction (n,) or (m, n) of y (n,).

    For m predictions the smallest and largest MAE stand beside the mean, and that of their mean.
    """
    rows = []
    for key, (prediction, y) in predictions.items():
        rows.append(dict(zip(heads, key, strict=True)) | by_class(prediction, y))
        if prediction.ndim == 2:
            alone = np.abs(prediction - y).mean(axis=1)
            rows[-1] |= {"smallest MAE": alone.min(), "largest MAE": alone.max()}
            rows[-1]["averaged: MAE"] = np.abs(prediction.mean(axis=0) - y).mean()
    return pd.DataFrame(rows)


def cost_table(
    networks: Mapping[str, Mapping[str, Sequence[Member]]], seconds: Mapping[str, Sequence[float]]
) -> pd.DataFrame:
    """CPU seconds to two digits: of all networks under a title, and the median of `seconds`."""
    rows = [
        (title, sum(m.network_cpu_seconds for of in members.values() for m in of))
        for title, members in networks.items()
    ]
    rows += [(f"{title}: median", float(np.median(values))) for title, values in seconds.items()]
    rows = [(title, float(f"{value:.2g}")) for title, value in rows]
    return pd.DataFrame(rows, columns=["what", "CPU seconds"])


def recalibrated(
    y: np.ndarray, mean: np.ndarray, std: np.ndarray, *, learns: np.ndarray
) -> dict[str, float]:
    """Scores (eV) on the rows outside the mask `learns` (n,), with what its rows taught.

    One factor for all std makes their mean squared z one; a conformal bound on |y - mean| / std
    holds 95 % of new rows.
    """
    error, rest = np.abs(mean - y), ~learns
    score = error / std
    factor = np.sqrt(np.mean(score[learns] ** 2))
    bound = conformal.bound(score[learns], 0.05)
    return {
        "MAE (eV)": error[rest].mean(),
        "inside 95 %": scores.coverage(y[rest], mean[rest], std[rest]),
        "factor": factor,
        "scaled: inside 95 %": scores.coverage(y[rest], mean[rest], factor * std[rest]),
        "conformal: inside 95 %": np.mean(score[rest] <= bound),
        "conformal: width (eV)": 2 * bound * std[rest].mean(),
    }
