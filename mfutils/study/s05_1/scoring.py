"""How forecasts of measured gaps are scored (section 5.2)."""

import numpy as np
import pandas as pd

from mfutils.uncertainty import scores
from mfutils.uncertainty.forecasts import Forecast, log_score

__all__ = ["gaussian", "score"]

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
