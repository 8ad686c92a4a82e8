"""How noisy every subset of labels is, assessed by a model instead of known (section 5.2, 3).

A label is t = f T with a random factor f of its subset. For a crystal the model says
T ~ N(p, s^2), from predictions of crystals that it did not learn. With m = E f and
q = E (1 - f)^2, both of the subset, moments over its labels give

    E t p = m E p^2,        E (t - p)^2 = q E (p^2 + s^2) + (2 m - 1) E s^2,

so m and q follow without knowing the noise. A label is then expected to be wrong by
e^2 = q (p^2 + s^2), which orders and weighs labels, and the best linear correction is

    T' = p + k (t - m p),   k = m s^2 / (m^2 s^2 + v (p^2 + s^2)),   v = q - (1 - m)^2,

with variance s^2 (1 - k m). A certain prediction (small s) replaces a noisy label, an uncertain one
leaves it.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mfutils.errors import InputError
from mfutils.study.s04_2.partition import SUBSETS

__all__ = ["AssessedNoise", "assess_noise", "drop_steps", "fidelity_weights"]

_FLOOR = 0.05  # least mean factor: below it a label says nothing and dividing by it would blow up


@dataclass(frozen=True, eq=False)
class AssessedNoise:
    """Per subset (a dict by letter): factor m = E f and square q = E (1 - f)^2; D has 1 and 0."""

    factor: dict[str, float]
    square: dict[str, float]

    def square_error(
        self, prediction: npt.ArrayLike, std: npt.ArrayLike, subset: npt.ArrayLike
    ) -> np.ndarray:
        """Expected squared error of the labels (n,), eV^2, from predictions, stds and letters."""
        q = np.array([self.square[str(name)] for name in subset])
        return q * (np.square(prediction) + np.square(std))

    def correct(
        self,
        labels: npt.ArrayLike,
        prediction: npt.ArrayLike,
        std: npt.ArrayLike,
        subset: npt.ArrayLike,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Corrected labels (n,) in eV and their variance (n,); labels with q = 0 stay."""
        m = np.array([self.factor[str(name)] for name in subset])
        q = np.array([self.square[str(name)] for name in subset])
        p, s2 = np.maximum(prediction, 0.0), np.square(std)
        v = np.maximum(q - np.square(1 - m), 0.0)
        total = m**2 * s2 + v * (p**2 + s2)
        gain = np.divide(m * s2, total, out=np.zeros_like(total), where=total > 0)
        fixed = np.maximum(p + gain * (labels - m * p), 0.0)
        clean = q == 0
        return np.where(clean, labels, fixed), np.where(clean, 0.0, s2 * (1 - gain * m))


def assess_noise(
    labels: npt.ArrayLike,
    prediction: npt.ArrayLike,
    std: npt.ArrayLike,
    subset: npt.ArrayLike,
    *,
    use: npt.ArrayLike | None = None,
) -> AssessedNoise:
    """The AssessedNoise of labels (n,) with predictions and stds (n,) in eV and letters (n,).

    The predictions must not have learned the labels that they assess. use: mask (n,) of the
    labels that count, all by default. Raises InputError for arrays that do not match or a subset
    whose predictions are all zero.
    """
    labels, prediction, std = (np.asarray(v, dtype=float) for v in (labels, prediction, std))
    subset = np.asarray(subset).astype(str)
    if not labels.shape == prediction.shape == std.shape == subset.shape or labels.ndim != 1:
        raise InputError(
            f"labels {labels.shape}, predictions {prediction.shape}, stds {std.shape} and subsets "
            f"{subset.shape}: expected (n,) each"
        )
    if not np.isfinite([labels, prediction, std]).all() or (std < 0).any():
        raise InputError("labels, predictions or stds are not finite, or a std is negative")
    use = np.ones(len(labels), dtype=bool) if use is None else np.asarray(use, dtype=bool)
    factor, square = {"D": 1.0}, {"D": 0.0}
    for name in np.unique(subset):
        rows = (subset == name) & use
        if name == "D":
            continue
        t, p, s2 = labels[rows], np.maximum(prediction[rows], 0.0), np.square(std[rows])
        power = np.square(p).sum()
        if not power > 0:
            raise InputError(f"subset {name}: every prediction is 0, so its noise cannot be told")
        m = float(np.clip((t * p).sum() / power, _FLOOR, 1.0))
        excess = np.square(t - p).mean() - (2 * m - 1) * s2.mean()
        # A spread below that of a fixed factor m cannot be: noise is at least its bias
        factor[str(name)] = m
        square[str(name)] = float(max(excess / (p**2 + s2).mean(), (1 - m) ** 2))
    return AssessedNoise(factor, square)


def drop_steps(errors: dict[str, float]) -> tuple[str, ...]:
    """The order of training from errors by subset: all letters, then without the worst, and so on.

    errors: dict letter -> error of the model that this subset trained. {A: 2, B: 1, D: 1.5} gives
    ("ABD", "BD", "B"). Raises InputError for unknown letters or errors that are not finite.
    """
    unknown = sorted(set(errors) - set(SUBSETS))
    if unknown or not errors or not np.isfinite(list(errors.values())).all():
        raise InputError(
            f"errors of {', '.join(errors) or 'nothing'}: expected finite ones of subsets "
            f"{', '.join(SUBSETS)}"
        )
    order = sorted(errors, key=lambda name: (-errors[name], name))
    return tuple("".join(sorted(order[first:])) for first in range(len(order)))


def fidelity_weights(errors: dict[str, float], subset: npt.ArrayLike) -> np.ndarray:
    """Weights (n,) of the labels: inverse square of the error of their subset's model, at most 1.

    Raises InputError for a subset without an error, or an error that is not above 0.
    """
    for name in np.unique(subset):
        if not errors.get(str(name), 0) > 0:
            raise InputError(f"subset {name} has no error above 0 in {errors}: assess it first")
    best = min(errors.values())
    return np.array([(best / errors[str(name)]) ** 2 for name in subset])
