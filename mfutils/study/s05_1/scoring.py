"""How forecasts of measured gaps are scored (section 5.2)."""

import numpy as np
import pandas as pd

from mfutils.uncertainty import forecast_intervals, scores
from mfutils.uncertainty.forecasts import Forecast, log_score, pit_error

__all__ = ["gaussian", "judged", "score", "summary"]

# eV: width of the bins of the log score, the largest gap, and the least std of a distribution
_BIN, _TOP, _LEAST = 0.1, 12.0, 0.01


def gaussian(forecast: Forecast) -> tuple[np.ndarray, np.ndarray]:
    """Mean and std (n,) of a forecast in eV, the std not below a hundredth of an eV."""
    mean, std = forecast.moments()
    return mean, np.maximum(std, _LEAST)


def score(forecast: Forecast, y: np.ndarray, *, alpha: float) -> pd.DataFrame:
    """error, crps, log, nll (of `gaussian`), inside and width of the interval; a row per gap of y.

    The interval (eV) is the one that the forecast believes in with probability 1 - alpha.
    """
    low, high = forecast.interval(alpha)
    columns = {
        "error": np.abs(forecast.median() - y),
        "crps": forecast.crps(y),
        "log": log_score(forecast, y, width=_BIN, top=_TOP),
        "nll": scores.nll(y, *gaussian(forecast)),
        "inside": (low <= y) & (y <= high),
        "width": high - low,
    }
    return pd.DataFrame(columns)


def judged(
    forecast: Forecast, y: np.ndarray, part: tuple[np.ndarray, np.ndarray, np.ndarray], *,
    alpha: float, seed: int,
) -> pd.DataFrame:  # fmt: skip
    """`score` of the test rows, as the forecast is and after split conformal calibration.

    part: row numbers (train, calibration, test) of y (n,) in eV. kind says which of the two a row
    is, row the record, ece the calibration error of all of them; between ranks whether an interval
    between two ranks of the calibrated forecast would have held the gap.
    """
    _, calibrating, test = part
    raw, known = forecast.take(test), forecast.take(calibrating)
    calibrated = forecast_intervals.conformalise(known, y[calibrating], raw, seed=seed)
    low, high = forecast_intervals.conformal_interval(known, y[calibrating], raw, alpha)
    plain, mended = (score(one, y[test], alpha=alpha) for one in (raw, calibrated))
    mended["between ranks"] = mended["inside"]
    mended["inside"] = (low <= y[test]) & (y[test] <= high)
    mended["width"] = high - low
    return pd.concat(
        [
            table.assign(kind=kind, row=test, ece=pit_error(one, y[test]))
            for kind, table, one in (
                ("as it is", plain, raw),
                ("calibrated", mended, calibrated),
            )
        ]
    )


def summary(table: pd.DataFrame, y: np.ndarray) -> dict[str, float]:
    """Means of the rows of `judged`, in eV, and coverage of gaps of 0 and above."""
    zero = y[table["row"]] == 0
    return {
        "MAE (eV)": table["error"].mean(),
        "CRPS (eV)": table["crps"].mean(),
        "coverage": table["inside"].mean(),
        "of zeros": table["inside"][zero].mean(),
        "of others": table["inside"][~zero].mean(),
        "width (eV)": table["width"].mean(),
    }
