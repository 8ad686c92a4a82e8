"""What the models of one draw say of its labels, with only D known to be clean (section 5.2, 3).

A small network learns from A, one from B and one from C, with as many labels each; none has seen D,
so D judges them. The reference of a label is the mean of the onion's prediction and of the small
networks', each first scaled to D and none asked about its own subset; its std is their spread,
scaled to fit the labels of D that were kept for stopping.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mfutils.study.s04_2.passes import Case
from mfutils.study.s05_3.assessed_noise import AssessedNoise, assess_noise

__all__ = ["Assessment", "assess_labels"]

_LEAST = 0.01  # eV; predictions are cut here, so that a ratio of them means something


@dataclass(frozen=True, eq=False)
class Assessment:
    """The reference prediction (n,) and std (n,) in eV of the labels, and floor, its mean squared
    error on the kept labels of D; noise of the subsets; expected (n,), the root of the expected
    squared error of every label; error: mean absolute error on D of the model of each subset."""

    prediction: np.ndarray
    std: np.ndarray
    floor: float
    noise: AssessedNoise
    expected: np.ndarray
    error: dict[str, float]


def assess_labels(case: Case, onion: np.ndarray, single: Mapping[str, np.ndarray]) -> Assessment:
    """The assessment of a case from predictions (n,) for its labels.

    onion: of the network that the onion trained. single: letter of a subset -> those of the
    network that it trained alone.
    """
    part, true = case.partition, case.true
    clean, kept = part.members("D"), part.members("D", validates=True)
    scaled = []
    for letter, prediction in single.items():
        p = np.maximum(prediction, _LEAST)
        p = p * (p * true)[clean].sum() / np.square(p[clean]).sum()
        scaled.append(np.where(part.subset == letter, np.nan, p))
    onion = np.maximum(onion, _LEAST)
    p = 0.5 * onion + 0.5 * np.nanmean(scaled, axis=0)
    spread = np.nanstd([*scaled, onion], axis=0, ddof=1)
    floor = np.square(p - true)[kept].mean()
    std = spread * (floor / np.square(spread)[kept].mean()) ** 0.5
    noise = assess_noise(case.noisy, p, std, part.subset)
    return Assessment(
        prediction=p,
        std=std,
        floor=float(floor),
        noise=noise,
        expected=noise.square_error(p, std, part.subset) ** 0.5,
        error={k: float(np.abs(single[k] - true)[clean].mean()) for k in single},
    )
