"""All scores of a set of predictions at once, with intervals, and how to mend them (section 8.6).

Beside the scores of `mfutils.calibration`: CRPS of samples, E|X - y| - E|X - X'| / 2; variance of
z = (y - mean) / std, 1 when errors are as large as promised; sharpness, the root mean variance.
Intervals come from resampling, by group where samples of a group hang together (atoms of one
structure). Mending: a factor on the standard deviations, or a monotone map of the PIT values
(Kuleshov et al. 2018), both from data that neither trained nor tests the model.
"""

import numpy as np
import pandas as pd
from sklearn.isotonic import IsotonicRegression

from mfutils import calibration
from mfutils.errors import InputError

__all__ = [
    "METRICS",
    "crps_samples",
    "fit_scale",
    "pit_histogram",
    "quantile_map",
    "score_table",
    "sharpness",
    "z_variance",
]


def sharpness(y, mean, std):
    """Root of the mean predicted variance, in the unit of y."""
    return float(np.sqrt(np.mean(np.square(std))))


def z_variance(y, mean, std):
    """Mean of z^2; above 1 the model is too sure of itself."""
    # nll checks the arrays, and z^2 follows from it
    calibration.nll(y, mean, std)
    return float(np.mean(((np.asarray(y) - mean) / std) ** 2))


METRICS = {
    "MAE": lambda y, mean, std: float(np.mean(np.abs(y - mean))),
    "NLL": lambda y, mean, std: float(calibration.nll(y, mean, std).mean()),
    "CRPS": lambda y, mean, std: float(calibration.crps(y, mean, std).mean()),
    "ECE": calibration.expected_calibration_error,
    "miscalibration area": calibration.miscalibration_area,
    "ENCE": calibration.ence,
    "z variance": z_variance,
    "coverage 90": lambda y, mean, std: calibration.coverage(y, mean, std, 0.9),
    "sharpness": sharpness,
}


def crps_samples(y, samples):
    """CRPS (n,) of the empirical distribution of samples (K, n) at y (n,), in the unit of y."""
    y, samples = np.asarray(y, dtype=float), np.asarray(samples, dtype=float)
    if samples.ndim != 2 or y.shape != samples.shape[1:] or not len(samples):
        raise InputError(f"y {y.shape} and samples {samples.shape}; expected (n,) and (K, n)")
    count = len(samples)
    # sum over pairs |x_i - x_j| from the sorted samples, without the pairs
    ranks = 2 * np.arange(1, count + 1) - count - 1
    spread = ranks @ np.sort(samples, axis=0) / count**2
    return np.abs(samples - y).mean(0) - spread


def pit_histogram(y, mean, std, *, bins=10):
    """DataFrame low, high, share, expected: share of PIT values in equal bins of (0, 1)."""
    if not (isinstance(bins, int | np.integer) and bins >= 1):
        raise InputError(f"bins is {bins!r}; expected a whole number from 1")
    counts, edges = np.histogram(calibration.pit(y, mean, std), bins=bins, range=(0, 1))
    share = counts / counts.sum()
    return pd.DataFrame(
        {"low": edges[:-1], "high": edges[1:], "share": share, "expected": 1 / bins}
    )


def score_table(y, mean, std, *, metrics=None, groups=None, resamples=200, level=0.95, seed=0):
    """DataFrame metric, value, low, high: every metric with a percentile bootstrap interval.

    groups (n,) names what is resampled as a whole; by default every sample by itself. metrics are
    names of METRICS, by default all.
    """
    calibration.nll(y, mean, std)  # refuses bad arrays
    y, mean, std = (np.asarray(a, dtype=float) for a in (y, mean, std))
    names = list(METRICS) if metrics is None else list(metrics)
    unknown = [n for n in names if n not in METRICS]
    if unknown:
        raise InputError(f"no metric named {unknown[0]!r}; known: {', '.join(METRICS)}")
    members = np.arange(len(y)) if groups is None else np.unique(groups, return_inverse=True)[1]
    if members.shape != y.shape:
        raise InputError(f"groups have shape {members.shape}; expected {y.shape}")
    order = np.argsort(members, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(members[order])) + 1)
    generator = np.random.default_rng(seed)
    drawn = []
    for _ in range(resamples):
        pick = generator.integers(len(parts), size=len(parts))
        rows = np.concatenate([parts[p] for p in pick])
        drawn.append([METRICS[n](y[rows], mean[rows], std[rows]) for n in names])
    tail = 50 * (1 - level)
    low, high = np.percentile(drawn, [tail, 100 - tail], axis=0)
    values = [METRICS[n](y, mean, std) for n in names]
    return pd.DataFrame({"metric": names, "value": values, "low": low, "high": high})


def fit_scale(y, mean, std):
    """The factor on all standard deviations with the best likelihood: root of the mean of z^2."""
    return float(np.sqrt(z_variance(y, mean, std)))


def quantile_map(y, mean, std):
    """Monotone function from predicted to observed probabilities, fitted on PIT values.

    Call it with predicted probabilities in [0, 1]; a level p of the recalibrated distribution is
    where the function reaches p.
    """
    values = np.sort(calibration.pit(y, mean, std))
    observed = (np.arange(len(values)) + 0.5) / len(values)
    fit = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
    fit.fit(np.concatenate([[0.0], values, [1.0]]), np.concatenate([[0.0], observed, [1.0]]))
    return lambda p: fit.predict(np.atleast_1d(p))
