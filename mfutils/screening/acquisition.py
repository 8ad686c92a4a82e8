"""Which candidate to compute next, and which to trust: scores of N(mean, std^2) (section 7.2).

A surrogate gives every candidate a mean and a standard deviation. Acquisition functions turn the
pair into one number: confidence bounds and expected improvement look for the best value,
classification entropy and information for the boundary of a class, window probability and the
moments of a margin rank what is handed on. All are closed forms of the normal distribution.
Arguments mean and std are (n,) or broadcast against each other; std 0 means "known".
"""

import numpy as np
import numpy.typing as npt
from scipy.special import erfcx, ndtr, xlogy

from mfutils.errors import InputError

__all__ = [
    "boundary_information",
    "classification_entropy",
    "expected_improvement",
    "log_expected_improvement",
    "lower_confidence_bound",
    "mutual_information",
    "probability_below",
    "utility_moments",
    "window_probability",
]

_ROOT_2PI = np.sqrt(2 * np.pi)
# Below this z the tail of the improvement needs its asymptotic series
_FAR = -50.0


def lower_confidence_bound(
    mean: npt.ArrayLike, std: npt.ArrayLike, *, w1: float = 1.0, w2: float = 1.0
) -> np.ndarray | float:
    """w1 mean - w2 std: the smallest is chosen. Along equal scores w2 / w1 units of mean buy
    one unit of std. Raises InputError when a weight is negative or both are zero."""
    mean, std = _checked(mean, std)
    if not (np.isfinite([w1, w2]).all() and min(w1, w2) >= 0 and w1 + w2 > 0):
        raise InputError(f"weights w1={w1}, w2={w2}: expected two numbers >= 0, one of them > 0")
    return w1 * mean - w2 * std


def expected_improvement(
    mean: npt.ArrayLike, std: npt.ArrayLike, best: npt.ArrayLike, *, maximise: bool = False
) -> np.ndarray | float:
    """E[max(best - y, 0)], or E[max(y - best, 0)] with maximise, in the unit of y."""
    gain, std = _gain(mean, std, best, maximise)
    return np.maximum(_hinge(gain, std), 0.0)


def log_expected_improvement(
    mean: npt.ArrayLike, std: npt.ArrayLike, best: npt.ArrayLike, *, maximise: bool = False
) -> np.ndarray | float:
    """Natural logarithm of the expected improvement, finite where the value itself underflows.

    With EI = 0 everywhere an argmax is arbitrary; its logarithm still ranks. -inf for a known
    candidate (std 0) without improvement.
    """
    gain, std = _gain(mean, std, best, maximise)
    known = std == 0
    scale = np.where(known, 1.0, std)
    z = gain / scale
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        near = np.log(_density(z) + z * ndtr(z))
        left = np.minimum(z, -1.0)
        tail = 1.0 + left * _ROOT_2PI / 2 * erfcx(-left / np.sqrt(2))
        middle = -0.5 * left**2 - np.log(_ROOT_2PI) + np.log(tail)
        square = left**-2.0
        far = (
            -0.5 * left**2
            - np.log(_ROOT_2PI)
            + np.log(square)
            + np.log1p(-3 * square + 15 * square**2)
        )
        value = np.where(z > -1.0, near, np.where(z > _FAR, middle, far)) + np.log(scale)
        return np.where(known, np.log(np.maximum(gain, 0.0)), value)


def probability_below(
    mean: npt.ArrayLike, std: npt.ArrayLike, threshold: npt.ArrayLike
) -> np.ndarray | float:
    """P(y <= threshold); a step for std 0."""
    mean, std = _checked(mean, std)
    return ndtr(_z(_number(threshold, "threshold") - mean, std))


def classification_entropy(probability: npt.ArrayLike) -> np.ndarray | float:
    """-p log p - (1 - p) log(1 - p) in nats: 0 when the class is certain, log 2 at p = 1/2."""
    p = np.asarray(probability, dtype=float)
    if not ((p >= 0) & (p <= 1)).all():
        raise InputError("probability outside [0, 1] or NaN: expected the probability of a class")
    return -xlogy(p, p) - xlogy(1 - p, 1 - p)


def mutual_information(std: npt.ArrayLike, noise: npt.ArrayLike) -> np.ndarray | float:
    """I(y; f) = log(1 + std^2 / noise^2) / 2 in nats: what one noisy look tells about f.

    std: of the noiseless prediction; noise: std of the observation noise, > 0.
    """
    _, std = _checked(0.0, std)
    noise = np.asarray(noise, dtype=float)
    if not (np.isfinite(noise).all() and (noise > 0).all()):
        raise InputError(
            "noise must be a positive standard deviation: without noise one look tells an "
            "infinite amount, use classification_entropy instead"
        )
    return 0.5 * np.log1p(np.square(std / noise))


def boundary_information(
    mean: npt.ArrayLike, std: npt.ArrayLike, noise: npt.ArrayLike, threshold: npt.ArrayLike,
    delta: float,
) -> np.ndarray | float:  # fmt: skip
    """Mutual information where |mean - threshold| <= delta, elsewhere minus the distance.

    So the largest value is the most telling candidate near the boundary, or, when none is near,
    the nearest one.
    """
    mean, std = _checked(mean, std)
    if not (np.isfinite(delta) and delta >= 0):
        raise InputError(f"delta is {delta}: expected a half width >= 0 in the unit of y")
    distance = np.abs(mean - _number(threshold, "threshold"))
    return np.where(distance <= delta, mutual_information(std, noise), -distance)


def window_probability(
    mean: npt.ArrayLike, std: npt.ArrayLike, low: float, high: float
) -> np.ndarray | float:
    """P(low <= y <= high); low and high may be infinite. Accurate in both tails."""
    mean, std = _checked(mean, std)
    low, high = _window(low, high)
    a, b = _z(low - mean, std, closed=-1), _z(high - mean, std)
    # Differences of small numbers: take the tail on whose side the window lies
    flip = a > 0
    return np.where(flip, ndtr(-a) - ndtr(-b), ndtr(b) - ndtr(a))


def utility_moments(
    mean: npt.ArrayLike, std: npt.ArrayLike, low: float, high: float = np.inf
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and std of u(y) = min(max(y - low, 0), high - low), each (n,), in the unit of y.

    The margin above a lower limit: nothing below it, no more reward above `high`.
    """
    mean, std = _checked(mean, std)
    low, high = _window(low, high)
    if not np.isfinite(low):
        raise InputError("low is infinite: the margin above it has no value; give a number")
    known = std == 0
    scale = np.where(known, 1.0, std)
    a, b = (low - mean) / scale, (high - mean) / scale
    # Moments of w = clip(Z, a, b) - c around the clipped centre c, where nothing cancels
    c = np.clip(0.0, a, b)
    inner = ndtr(b) - ndtr(a)
    below, above = ndtr(a), ndtr(-b)
    with np.errstate(invalid="ignore"):
        top = np.where(above > 0, b - c, 0.0)  # 0 * inf at an open end
        edge = np.where(np.isfinite(b), b * _density(b), 0.0)
    first = (a - c) * below + top * above + _density(a) - _density(b) - c * inner
    second = (a - c) ** 2 * below + top**2 * above
    second = second + (1 + c**2) * inner + a * _density(a) - edge
    second = second - 2 * c * (_density(a) - _density(b))
    # Rounding must not leave the range of u
    value = np.clip(scale * (first + (c - a)), 0.0, high - low)
    spread = scale * np.sqrt(np.maximum(second - first**2, 0.0))
    exact = np.clip(mean, low, high) - low
    return np.where(known, exact, value), np.where(known, 0.0, spread)


def _hinge(gain, std):
    """E[max(gain + std Z, 0)]."""
    z = _z(gain, std)
    return np.where(std == 0, gain, gain * ndtr(z) + std * _density(z))


def _gain(mean, std, best, maximise):
    mean, std = _checked(mean, std)
    best = _number(best, "best")
    return (mean - best if maximise else best - mean), std


def _density(z):
    return np.exp(-0.5 * np.square(z)) / _ROOT_2PI


def _z(difference, std, closed=1):
    """difference / std; where std is 0 the limit, with a difference of 0 counted as inside."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        z = difference / std
    step = np.where(difference == 0, closed, np.sign(difference)) * np.inf
    return np.where(std == 0, step, z)


def _number(value, name):
    value = np.asarray(value, dtype=float)
    if not np.isfinite(value).all():
        raise InputError(f"{name} is {value}: expected a finite number in the unit of y")
    return value


def _window(low, high):
    low, high = float(low), float(high)
    if not low < high:
        raise InputError(f"window [{low:g}, {high:g}] is empty: expected low < high")
    return low, high


def _checked(mean, std):
    mean, std = np.asarray(mean, dtype=float), np.asarray(std, dtype=float)
    try:
        mean, std = np.broadcast_arrays(mean, std)
    except ValueError:
        raise InputError(
            f"mean has shape {mean.shape} but std {std.shape}: expected one std per mean"
        ) from None
    if not np.isfinite(mean).all() or not np.isfinite(std).all() or (std < 0).any():
        raise InputError("mean or std is not finite, or std is negative: check the surrogate")
    return mean, std
