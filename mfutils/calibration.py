"""Is an uncertainty worth anything? Scores of Gaussian predictions N(mean, std^2) (chapters 3, 8).

With z = (y - mean) / std the probability integral transform is u = Phi(z), uniform when the
predicted distributions are right. Scores per sample (nll, crps, pit) reward sharpness and honesty
at once; the others compare what was promised with what happened: the share of targets inside
central intervals (coverage, miscalibration_area), the distribution of u (expected calibration
error), and the size of errors against the predicted size (ence). `conformal` turns any scores
into intervals with a guaranteed coverage. All but the last are called as f(y, mean, std).
"""

import math

import numpy as np
from scipy.special import erf, ndtr, ndtri

from mfutils.errors import InputError

__all__ = [
    "conformal",
    "coverage",
    "crps",
    "ence",
    "expected_calibration_error",
    "miscalibration_area",
    "nll",
    "pit",
]


def nll(y, mean, std):
    """Negative log likelihood (n,): log(2 pi std^2) / 2 + z^2 / 2."""
    y, mean, std = _checked(y, mean, std)
    return 0.5 * np.log(2 * np.pi * std**2) + 0.5 * ((y - mean) / std) ** 2


def crps(y, mean, std):
    """Continuous ranked probability score (n,), in the unit of y, in closed form.

    std (z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi)): the integral over t of (F(t) - [t >= y])^2,
    which becomes the absolute error when std goes to 0.
    """
    y, mean, std = _checked(y, mean, std)
    z = (y - mean) / std
    density = np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
    return std * (z * erf(z / math.sqrt(2)) + 2 * density - 1 / math.sqrt(math.pi))


def pit(y, mean, std):
    """Probability integral transform (n,): the predicted probability of a value below y."""
    y, mean, std = _checked(y, mean, std)
    return ndtr((y - mean) / std)


def coverage(y, mean, std, level=0.95):
    """Share of targets inside the central intervals that promise `level`.

    level may be an array; the result has its shape. Raises InputError unless 0 < level < 1.
    """
    y, mean, std = _checked(y, mean, std)
    level = np.asarray(level, dtype=float)
    if not ((level > 0) & (level < 1)).all():
        raise InputError(f"level is {level!r}; expected probabilities between 0 and 1")
    half = ndtri(0.5 + 0.5 * level)
    found = (np.abs((y - mean) / std)[:, None] <= half.ravel()).mean(axis=0)
    return float(found[0]) if level.ndim == 0 else found.reshape(level.shape)


def miscalibration_area(y, mean, std):
    """Area between coverage and promise: the integral over p of |coverage(p) - p|, exact.

    0 when every interval holds what it promises; at most 1/2.
    """
    y, mean, std = _checked(y, mean, std)
    return _distance_to_uniform(erf(np.abs(y - mean) / (std * math.sqrt(2))))


def expected_calibration_error(y, mean, std):
    """Mean distance of the distribution of the PIT values from the uniform one, exact.

    The integral over u of |share of PIT values below u - u|. Unlike `miscalibration_area` it sees
    a bias, which shifts the PIT values to one side.
    """
    return _distance_to_uniform(pit(y, mean, std))


def ence(y, mean, std, *, bins=10):
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


def conformal(scores, alpha):
    """The score that a new sample exceeds with probability at most alpha (split conformal).

    scores (n,) are those of a calibration set that the model has not seen, such as
    |y - mean| / std; the bound is their ceil((n + 1)(1 - alpha))-th smallest, so the interval
    mean +- bound * std covers with probability of at least 1 - alpha whatever the distribution.
    Raises InputError when alpha is not in (0, 1) or there are too few scores for it.
    """
    scores = np.asarray(scores, dtype=float)
    if scores.ndim != 1 or not len(scores):
        raise InputError(f"scores have shape {scores.shape}; expected one score per sample")
    if not np.isfinite(scores).all():
        raise InputError("scores contain NaN or infinity; leave these samples out")
    if not 0 < alpha < 1:
        raise InputError(f"alpha is {alpha!r}; expected a probability between 0 and 1")
    # the small number keeps rounding of (n + 1)(1 - alpha) from asking for one rank more
    rank = math.ceil((len(scores) + 1) * (1 - alpha) - 1e-9)
    if rank > len(scores):
        needed = math.ceil((1 - alpha) / alpha - 1e-9)
        raise InputError(
            f"{len(scores)} calibration scores are too few for alpha = {alpha:g}: at least "
            f"{needed} are needed"
        )
    return float(np.partition(scores, rank - 1)[rank - 1])


def _distance_to_uniform(values):
    """Integral over (0, 1) of |empirical distribution of `values` - uniform|."""
    steps = np.concatenate([[0.0], np.sort(values), [1.0]])
    height = np.arange(len(values) + 1) / len(values)
    low, high = steps[:-1] - height, steps[1:] - height
    # antiderivative of |u - h| is (u - h)|u - h| / 2
    return float(0.5 * np.sum(high * np.abs(high) - low * np.abs(low)))


def _checked(y, mean, std):
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
