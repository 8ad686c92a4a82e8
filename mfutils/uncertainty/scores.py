"""Is an uncertainty worth anything? Scores of Gaussian predictions N(mean, std^2) (chapters 3, 8).

With z = (y - mean) / std the probability integral transform is u = Phi(z), uniform when the
predicted distributions are right. Scores per sample (nll, crps, pit) reward sharpness and honesty
at once; the others compare what was promised with what happened: the share of targets inside
central intervals (coverage, miscalibration_area), the distribution of u (expected calibration
error), the size of errors against the predicted size (ence), and the variance of z. All are called
as f(y, mean, std). `score_table` gives all of them with intervals from resampling, by group where
samples of a group hang together (atoms of one structure). Two ways to mend: a factor on the
standard deviations, or a monotone map of the PIT values (Kuleshov et al. 2018), both from data
that neither trained nor tests the model.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import erf, ndtr, ndtri
from sklearn.isotonic import IsotonicRegression

from mfutils.errors import InputError

__all__ = [
    "METRICS",
    "coverage",
    "crps",
    "crps_samples",
    "ence",
    "expected_calibration_error",
    "fit_scale",
    "miscalibration_area",
    "nll",
    "pit",
    "pit_histogram",
    "quantile_map",
    "score_table",
    "sharpness",
    "z_variance",
]


def nll(y: npt.ArrayLike, mean: npt.ArrayLike, std: npt.ArrayLike) -> np.ndarray:
    """Negative log likelihood (n,): log(2 pi std^2) / 2 + z^2 / 2."""
    y, mean, std = _checked(y, mean, std)
    return 0.5 * np.log(2 * np.pi * std**2) + 0.5 * ((y - mean) / std) ** 2


def crps(y: npt.ArrayLike, mean: npt.ArrayLike, std: npt.ArrayLike) -> np.ndarray:
    """Continuous ranked probability score (n,), in the unit of y, in closed form.

    std (z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi)): the integral over t of (F(t) - [t >= y])^2,
    which becomes the absolute error when std goes to 0.
    """
    y, mean, std = _checked(y, mean, std)
    z = (y - mean) / std
    density = np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
    return std * (z * erf(z / math.sqrt(2)) + 2 * density - 1 / math.sqrt(math.pi))


def pit(y: npt.ArrayLike, mean: npt.ArrayLike, std: npt.ArrayLike) -> np.ndarray:
    """Probability integral transform (n,): the predicted probability of a value below y."""
    y, mean, std = _checked(y, mean, std)
    return ndtr((y - mean) / std)


def coverage(
    y: npt.ArrayLike, mean: npt.ArrayLike, std: npt.ArrayLike, level: npt.ArrayLike = 0.95
) -> float | np.ndarray:
    """Share of targets inside the central intervals that promise `level`.

    level may be an array; the result has its shape. Raises InputError unless 0 < level < 1.
    """
    y, mean, std = _checked(y, mean, std)
    level = np.asarray(level, dtype=float)
    if not ((level > 0) & (level < 1)).all():
        raise InputError(f"level is {level!r}; expected probabilities between 0 and 1")
    half = ndtri(0.5 + 0.5 * level)
    share = (np.abs((y - mean) / std)[:, None] <= half.ravel()).mean(axis=0)
    return float(share[0]) if level.ndim == 0 else share.reshape(level.shape)


def miscalibration_area(y: npt.ArrayLike, mean: npt.ArrayLike, std: npt.ArrayLike) -> float:
    """Area between coverage and promise: the integral over p of |coverage(p) - p|, exact.

    0 when every interval holds what it promises; at most 1/2.
    """
    y, mean, std = _checked(y, mean, std)
    return _distance_to_uniform(erf(np.abs(y - mean) / (std * math.sqrt(2))))


def expected_calibration_error(y: npt.ArrayLike, mean: npt.ArrayLike, std: npt.ArrayLike) -> float:
    """Mean distance of the distribution of the PIT values from the uniform one, exact.

    The integral over u of |share of PIT values below u - u|. Unlike `miscalibration_area` it sees
    a bias, which shifts the PIT values to one side.
    """
    return _distance_to_uniform(pit(y, mean, std))


def ence(y: npt.ArrayLike, mean: npt.ArrayLike, std: npt.ArrayLike, *, bins: int = 10) -> float:
    """Expected normalised calibration error: is the error as large as predicted, at every size?

    Samples are sorted by std into `bins` groups of (nearly) equal size; the mean over groups of
    |RMSE - RMV| / RMV, with RMV the root of the mean of std^2.
    """
    y, mean, std = _checked(y, mean, std)
    if not (isinstance(bins, int | np.integer) and 1 <= bins <= len(y)):
        raise InputError(f"bins is {bins!r}; expected a whole number from 1 to {len(y)} samples")
    order = np.argsort(std, kind="stable")
    squared_error, variance = ((y - mean) ** 2)[order], (std**2)[order]
    parts = zip(np.array_split(squared_error, bins), np.array_split(variance, bins), strict=True)
    groups = np.sqrt([(error.mean(), promised.mean()) for error, promised in parts])
    return float(np.mean(np.abs(groups[:, 0] - groups[:, 1]) / groups[:, 1]))


def sharpness(y: npt.ArrayLike, mean: npt.ArrayLike, std: npt.ArrayLike) -> float:
    """Root of the mean predicted variance, in the unit of y."""
    return float(np.sqrt(np.mean(np.square(std))))


def z_variance(y: npt.ArrayLike, mean: npt.ArrayLike, std: npt.ArrayLike) -> float:
    """Mean of z^2; above 1 the model is too sure of itself."""
    y, mean, std = _checked(y, mean, std)
    return float(np.mean(((y - mean) / std) ** 2))


METRICS: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], float]] = {
    "MAE": lambda y, mean, std: float(np.mean(np.abs(y - mean))),
    "NLL": lambda y, mean, std: float(nll(y, mean, std).mean()),
    "CRPS": lambda y, mean, std: float(crps(y, mean, std).mean()),
    "ECE": expected_calibration_error,
    "miscalibration area": miscalibration_area,
    "ENCE": ence,
    "z variance": z_variance,
    "coverage 90": lambda y, mean, std: coverage(y, mean, std, 0.9),
    "sharpness": sharpness,
}


def crps_samples(y: npt.ArrayLike, samples: npt.ArrayLike) -> np.ndarray:
    """CRPS (n,) of the empirical distributions of samples (n, K) at y (n,), in the unit of y."""
    y, samples = np.asarray(y, dtype=float), np.asarray(samples, dtype=float)
    if samples.ndim != 2 or y.shape != samples.shape[:1] or not samples.size:
        raise InputError(f"y {y.shape} and samples {samples.shape}; expected (n,) and (n, K)")
    count = samples.shape[1]
    # sum over pairs |x_i - x_j| from the sorted samples, without the pairs
    ranks = 2 * np.arange(1, count + 1) - count - 1
    spread = np.sort(samples, axis=1) @ ranks / count**2
    return np.abs(samples - y[:, None]).mean(axis=1) - spread


def pit_histogram(
    y: npt.ArrayLike, mean: npt.ArrayLike, std: npt.ArrayLike, *, bins: int = 10
) -> pd.DataFrame:
    """DataFrame low, high, share, expected: share of PIT values in equal bins of (0, 1)."""
    if not (isinstance(bins, int | np.integer) and bins >= 1):
        raise InputError(f"bins is {bins!r}; expected a whole number from 1")
    counts, edges = np.histogram(pit(y, mean, std), bins=bins, range=(0, 1))
    share = counts / counts.sum()
    return pd.DataFrame(
        {"low": edges[:-1], "high": edges[1:], "share": share, "expected": 1 / bins}
    )


def score_table(
    y: npt.ArrayLike,
    mean: npt.ArrayLike,
    std: npt.ArrayLike,
    *,
    metrics: Sequence[str] | None = None,
    groups: npt.ArrayLike | None = None,
    resamples: int = 200,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """DataFrame metric, value, low, high: every metric with a percentile bootstrap interval.

    groups (n,) names what is resampled as a whole; by default every sample by itself. metrics are
    names of METRICS, by default all.
    """
    y, mean, std = _checked(y, mean, std)
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


def fit_scale(y: npt.ArrayLike, mean: npt.ArrayLike, std: npt.ArrayLike) -> float:
    """The factor on all standard deviations with the best likelihood: root of the mean of z^2."""
    return float(np.sqrt(z_variance(y, mean, std)))


def quantile_map(
    y: npt.ArrayLike, mean: npt.ArrayLike, std: npt.ArrayLike
) -> Callable[[npt.ArrayLike], np.ndarray]:
    """Monotone function from predicted to observed probabilities, fitted on PIT values.

    Call it with predicted probabilities in [0, 1]; a level p of the recalibrated distribution is
    where the function reaches p.
    """
    values = np.sort(pit(y, mean, std))
    observed = (np.arange(len(values)) + 0.5) / len(values)
    fit = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
    fit.fit(np.concatenate([[0.0], values, [1.0]]), np.concatenate([[0.0], observed, [1.0]]))
    return lambda p: fit.predict(np.atleast_1d(p))


def _distance_to_uniform(values: np.ndarray) -> float:
    """Integral over (0, 1) of |empirical distribution of `values` - uniform|."""
    steps = np.concatenate([[0.0], np.sort(values), [1.0]])
    height = np.arange(len(values) + 1) / len(values)
    low, high = steps[:-1] - height, steps[1:] - height
    # antiderivative of |u - h| is (u - h)|u - h| / 2
    return float(0.5 * np.sum(high * np.abs(high) - low * np.abs(low)))


def _checked(y: npt.ArrayLike, mean: npt.ArrayLike, std: npt.ArrayLike) -> list[np.ndarray]:
    """The three as float64 (n,); raises InputError with one line."""
    arrays = [np.asarray(value, dtype=float) for value in (y, mean, std)]
    shapes = [a.shape for a in arrays]
    if len(set(shapes)) != 1 or arrays[0].ndim != 1:
        raise InputError(
            f"y, mean and std have shapes {', '.join(map(str, shapes))}; expected (n,) for all"
        )
    if not len(arrays[0]):
        raise InputError("no samples: y, mean and std are empty")
    for name, values in zip(("y", "mean", "std"), arrays, strict=True):
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            raise InputError(f"{name} is NaN or infinite in row {bad[0]}; leave such rows out")
    if not (arrays[2] > 0).all():
        row = int(np.flatnonzero(arrays[2] <= 0)[0])
        raise InputError(f"std is {arrays[2][row]:g} in row {row}; expected values above 0")
    return arrays
