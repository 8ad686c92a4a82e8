"""Labelled graphs: which crystal, at which fidelity, with which target.

One crystal can carry several labels, a PBE gap and a HSE gap, so labels are rows of their own that
point into a data set of graphs. Splits and subsets are then plain arrays of row numbers.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mfutils.errors import InputError

__all__ = ["Labels", "TargetScaler"]


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """n labels: index (n,) int64 into a GraphDataset, target (n,) float64 in its own unit.

    fidelity (n,) names and weight (n,) >= 0 of the loss are optional. Raises InputError on
    unequal lengths, NaN targets, negative weights or indices, or no rows at all.
    """

    index: np.ndarray
    target: np.ndarray
    fidelity: np.ndarray | None = None
    weight: np.ndarray | None = None

    def __post_init__(self):
        index, target = np.asarray(self.index), np.asarray(self.target, dtype=float)
        if index.ndim != 1 or (index.size and index.dtype.kind not in "iu"):
            raise InputError(f"index has type {index.dtype}; expected whole numbers, one per label")
        if target.shape != index.shape:
            raise InputError(
                f"{len(index)} graphs but targets of shape {target.shape}; expected one each"
            )
        if not len(index):
            raise InputError("no samples: expected at least one labelled graph")
        if index.min() < 0:
            raise InputError(f"index {index.min()} is negative; expected graph numbers from 0")
        _check_finite("target", target)
        object.__setattr__(self, "index", index.astype(np.int64))
        object.__setattr__(self, "target", target)
        if self.fidelity is not None:
            names = np.asarray(self.fidelity)
            names = np.full(len(index), names) if names.ndim == 0 else names
            if names.shape != index.shape:
                raise InputError(f"{len(index)} graphs but {len(names)} fidelities; one each")
            object.__setattr__(self, "fidelity", names.astype(str))
        if self.weight is not None:
            weight = np.asarray(self.weight, dtype=float)
            if weight.shape != index.shape:
                raise InputError(f"{len(index)} graphs but weights of shape {weight.shape}")
            _check_finite("weight", weight)
            if weight.min() < 0 or weight.sum() == 0:
                raise InputError("weights must be at least 0 and not all 0")
            object.__setattr__(self, "weight", weight)

    def __len__(self) -> int:
        return len(self.index)

    def take(self, rows: npt.ArrayLike) -> "Labels":
        """The samples of the given row numbers or mask."""
        return Labels(
            self.index[rows],
            self.target[rows],
            None if self.fidelity is None else self.fidelity[rows],
            None if self.weight is None else self.weight[rows],
        )

    def with_target(self, target: npt.ArrayLike) -> "Labels":
        """The same samples with other targets (n,), as after a correction of labels."""
        return replace(self, target=target)


@dataclass(frozen=True, slots=True)
class TargetScaler:
    """Standardised target z = (y - mean) / std, fitted on training targets only."""

    mean: float = 0.0
    std: float = 1.0

    @classmethod
    def fit(cls, target: npt.ArrayLike) -> "TargetScaler":
        """The scaler of targets (n,); raises InputError when they do not vary."""
        mean, std = (
            float(np.mean(target)),
            float(np.std(target, ddof=1)) if len(target) > 1 else 0.0,
        )
        if not std > 1e-12 * max(abs(mean), 1e-300):
            raise InputError(
                f"all {len(target)} training targets equal {mean:.6g}: there is nothing to learn"
            )
        return cls(mean, std)

    def forward(self, y: np.ndarray) -> np.ndarray:
        """Standardised values."""
        return (y - self.mean) / self.std

    def inverse(self, z: np.ndarray) -> np.ndarray:
        """Values in the unit of the target."""
        return self.mean + self.std * z


def _check_finite(name, values):
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise InputError(
            f"{name} has {len(bad)} NaN or infinite value(s), the first in row {bad[0]}: leave "
            "these rows out"
        )
