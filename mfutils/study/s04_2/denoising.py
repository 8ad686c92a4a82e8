"""Correcting noisy labels with the predictions of a model trained on them (section 4.2.2).

The study replaces a label by the prediction P of the model before where the two are far apart,

    T_denoised = P if |P - T_noise| > gamma, else T_noise,     gamma = 0.35 eV      (eq 4.11).

That helps a label whose error exceeds the model's and harms every other one; the rule knows
neither error. `scaled_threshold` makes gamma a multiple of the model's own predicted std;
`rescale` divides by the expected noise factor and uses no model; `label_posterior` weighs
label and prediction by what is known of both. The strategies of training are in
`mfutils.study.s04_2.strategies`.
"""

import numpy as np
import numpy.typing as npt

from mfutils.errors import InputError
from mfutils.study.s04_2.label_noise import expected_factor

__all__ = ["THRESHOLD", "denoise", "oracle", "rescale", "scaled_threshold"]

THRESHOLD = 0.35  # eV, the study's


def denoise(
    noisy: npt.ArrayLike, prediction: npt.ArrayLike, threshold: npt.ArrayLike = THRESHOLD
) -> np.ndarray:
    """Eq 4.11 on labels (n,) and predictions (n,); threshold in the same unit, one or (n,).

    Raises InputError for a threshold that is not above zero, unequal lengths, or values that are
    not finite.
    """
    noisy, prediction = _pair(noisy, prediction)
    threshold = np.asarray(threshold, dtype=float)
    if not (np.isfinite(threshold) & (threshold > 0)).all():
        worst = threshold.flat[int(np.argmin(np.where(threshold > 0, threshold, -1)))]
        raise InputError(
            f"threshold is {worst:g}: expected a difference above 0, in the unit of the labels"
        )
    if threshold.ndim and threshold.shape != noisy.shape:
        raise InputError(f"{len(noisy)} labels but {threshold.shape} thresholds: one, or one each")
    return np.where(np.abs(prediction - noisy) > threshold, prediction, noisy)


def scaled_threshold(std: npt.ArrayLike, *, factor: float = 1.0, least: float = 1e-3) -> np.ndarray:
    """Thresholds (n,): `factor` times the predicted std (n,) >= 0, at least `least` eV."""
    std = np.asarray(std, dtype=float)
    if not (np.isfinite(std) & (std >= 0)).all():
        raise InputError("predicted std has negative or non-finite values: expected at least 0")
    if not factor > 0:
        raise InputError(f"factor is {factor!r}: expected a number above 0")
    return np.maximum(factor * std, least)


def rescale(noisy: npt.ArrayLike, theta: npt.ArrayLike, kind: str) -> np.ndarray:
    """Labels (n,) divided by the expected factor E f of their noise, theta one or (n,).

    Unbiased over many labels, but a label that became zero stays zero. Raises InputError where
    the expected factor is zero.
    """
    factor = np.asarray(expected_factor(theta, kind))
    if not (factor > 0).all():
        raise InputError("theta is 1: the expected factor is zero, and nothing is left to rescale")
    return np.asarray(noisy, dtype=float) / factor


def oracle(noisy: npt.ArrayLike, prediction: npt.ArrayLike, truth: npt.ArrayLike) -> np.ndarray:
    """The better of label and prediction for every row (n,): what no rule that picks can beat."""
    noisy, prediction = _pair(noisy, prediction)
    truth = np.asarray(truth, dtype=float)
    return np.where(np.abs(prediction - truth) < np.abs(noisy - truth), prediction, noisy)


def _pair(noisy, prediction):
    noisy, prediction = np.asarray(noisy, dtype=float), np.asarray(prediction, dtype=float)
    if noisy.ndim != 1 or noisy.shape != prediction.shape:
        raise InputError(
            f"labels of shape {noisy.shape} and predictions of shape {prediction.shape}: expected "
            "one prediction per label"
        )
    for name, values in (("labels", noisy), ("predictions", prediction)):
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            raise InputError(f"{name} have NaN or infinite values, the first in row {bad[0]}")
    return noisy, prediction
