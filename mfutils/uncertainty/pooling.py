"""One prediction from many: weighting the members of an ensemble by their uncertainty (3.2.3).

Member j predicts mean_ij with uncertainty u_ij at sample i. The study weights by

    w_ij = (1 / u_ij) / S_i,   S_i = sum_j 1 / u_ij,   y_i = sum_j w_ij mean_ij   (eqs 3.3-3.5);

`inverse-variance` takes 1 / u^2 instead, which is best when errors are independent and of the
promised size, `mean` and `median` ignore the uncertainties. Members that saw similar data err
together, and some promise too much. Two rules learn that from a calibration set: `covariance`
estimates the second moments S of the errors in units of the predicted std, shrinks them, and takes
at each sample the weights w of least expected squared error w' Sigma_i w, Sigma_i = D_i S D_i and
D_i = diag(u_i); `stacking` takes the fixed weights that were best there. None of these weights is
negative: members that err alike would get large weights of both signs, which do not carry over.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls
from sklearn.covariance import ledoit_wolf

from mfutils.errors import InputError

__all__ = ["RULES", "Calibration", "fuse", "weights"]

RULES = ("inverse-std", "inverse-variance", "mean", "median", "covariance", "stacking")
_LEARNED = ("covariance", "stacking")
_SPREADS = ("mixture", "independent")


@dataclass(frozen=True, eq=False)
class Calibration:
    """Samples with known targets, seen by no member: target (c,), mean and std (m, c)."""

    target: np.ndarray
    mean: np.ndarray
    std: np.ndarray

    def __post_init__(self):
        mean, std = _checked(self.mean, self.std, "calibration ")
        target = np.asarray(self.target, dtype=float)
        if target.shape != mean.shape[1:]:
            raise InputError(
                f"calibration targets have shape {target.shape}; expected ({mean.shape[1]},), one "
                "per column of mean"
            )
        if not np.isfinite(target).all():
            raise InputError("calibration targets contain NaN or infinity; leave these rows out")
        if len(target) < 2:
            raise InputError(f"{len(target)} calibration sample: expected at least 2")
        for name, value in (("target", target), ("mean", mean), ("std", std)):
            object.__setattr__(self, name, value)


def fuse(
    mean: npt.ArrayLike,
    std: npt.ArrayLike,
    rule: str = "inverse-std",
    *,
    calibration: Calibration | None = None,
    spread: str = "mixture",
) -> tuple[np.ndarray, np.ndarray]:
    """Fused (mean, std), each (n,), of m members: mean and std (m, n), std above 0.

    rule is one of RULES; `covariance` and `stacking` need a Calibration of the same members.
    The std of the result is, with spread="mixture", that of the mixture of the members' Gaussians
    under their weights (sum w (u^2 + mean^2) - fused^2: their own variance and their
    disagreement), which does not take members for independent; "independent" gives
    sqrt(sum w^2 u^2), for inverse-variance the usual 1 / sqrt(sum 1 / u^2). `covariance` has its
    own, sqrt(w' Sigma w), and `stacking` scales the mixture's to the calibration errors.
    Raises InputError for fewer than two members, std of 0 or NaN, or unequal shapes.
    """
    mean, std = _checked(mean, std)
    if spread not in _SPREADS:
        raise InputError(f"spread is {spread!r}; expected one of {', '.join(_SPREADS)}")
    share = weights(mean, std, rule, calibration=calibration)
    fused = np.median(mean, axis=0) if rule == "median" else (share * mean).sum(axis=0)
    if rule == "covariance":
        scaled = share * std
        return fused, np.sqrt(np.einsum("in,ij,jn->n", scaled, _moments(calibration), scaled))
    if spread == "independent":
        return fused, np.sqrt((share**2 * std**2).sum(axis=0))
    fused_std = _mixture_std(mean, std, share, fused)
    if rule == "stacking":
        before = (share[:, :1] * calibration.mean).sum(axis=0)
        fixed = np.broadcast_to(share[:, :1], calibration.mean.shape)
        z = (calibration.target - before) / _mixture_std(
            calibration.mean, calibration.std, fixed, before
        )
        fused_std = fused_std * np.sqrt(np.mean(z**2))
    return fused, fused_std


def weights(
    mean: npt.ArrayLike,
    std: npt.ArrayLike,
    rule: str = "inverse-std",
    *,
    calibration: Calibration | None = None,
) -> np.ndarray:
    """The weights (m, n) of `fuse`, of sum 1 over the members; equal ones for the median."""
    mean, std = _checked(mean, std)
    if rule not in RULES:
        raise InputError(f"rule is {rule!r}; expected one of {', '.join(RULES)}")
    if rule in _LEARNED:
        if not isinstance(calibration, Calibration):
            raise InputError(
                f"rule {rule!r} learns from samples with known targets; give "
                "calibration=Calibration(target, mean, std)"
            )
        if len(calibration.mean) != len(mean):
            raise InputError(
                f"calibration has {len(calibration.mean)} members, the ensemble {len(mean)}; "
                "expected the same members"
            )
    if rule == "covariance":
        return _least_squares(std, _moments(calibration))
    if rule == "stacking":
        return np.repeat(_stacked(calibration)[:, None], mean.shape[1], axis=1)
    power = {"inverse-std": 1, "inverse-variance": 2}.get(rule, 0)
    # relative to the smallest std, so that no power overflows
    raw = (std.min(axis=0) / std) ** power
    return raw / raw.sum(axis=0)


def _moments(calibration: Calibration) -> np.ndarray:
    """Second moments (m, m) of the errors in units of the predicted std.

    They are shrunk towards a multiple of one (Ledoit and Wolf 2004).
    """
    z = ((calibration.mean - calibration.target) / calibration.std).T
    if not z.any():
        raise InputError("all calibration errors are 0: there is no covariance to learn")
    return ledoit_wolf(z, assume_centered=True)[0]


def _least_squares(std: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """Weights (m, n) >= 0 of sum 1 that minimise w' D S D w, D = diag(std) of each sample."""
    factor = np.linalg.cholesky(moments / np.trace(moments)).T
    inverse = std.min(axis=0) / std
    # v = D w: |factor v|^2 is to be least where sum v / u is 1
    raw = np.column_stack([_on_simplex(factor, row) for row in inverse.T]) * inverse
    return raw / raw.sum(axis=0)


def _stacked(calibration: Calibration) -> np.ndarray:
    """Weights (m,) >= 0 of sum 1 with the least squared error on the calibration set."""
    residual = (calibration.mean - calibration.target).T
    # with sum 1 the residual of the combination is this matrix times the weights
    raw = _on_simplex(residual / (np.linalg.norm(residual) or 1.0), np.ones(residual.shape[1]))
    return raw / raw.sum()


def _on_simplex(matrix: np.ndarray, total: np.ndarray) -> np.ndarray:
    """v >= 0 along which |matrix v|^2 is least for total . v = 1.

    |matrix v|^2 + (total . v - 1)^2 is least along the same direction, whatever the length of v,
    because the first term grows as the square of that length.
    """
    return nnls(np.vstack([matrix, total]), np.append(np.zeros(len(matrix)), 1.0))[0]


def _mixture_std(mean, std, share, centre):
    """Root mean square distance of the weighted mixture from `centre`."""
    return np.sqrt((share * (std**2 + (mean - centre) ** 2)).sum(axis=0))


def _checked(mean, std, where=""):
    mean, std = np.asarray(mean, dtype=float), np.asarray(std, dtype=float)
    if mean.ndim != 2 or mean.shape != std.shape:
        raise InputError(
            f"{where}mean has shape {mean.shape} and std {std.shape}; expected (members, samples) "
            "for both"
        )
    if len(mean) < 2:
        raise InputError(
            f"{where}ensemble has {len(mean)} member(s): there is nothing to fuse; expected at "
            "least 2"
        )
    if not mean.shape[1]:
        raise InputError(f"{where}ensemble has no samples")
    for name, values in (("mean", mean), ("std", std)):
        bad = np.argwhere(~np.isfinite(values))
        if len(bad):
            raise InputError(
                f"{where}{name} of member {bad[0][0]} is NaN or infinite at sample {bad[0][1]}; "
                "leave that member or sample out"
            )
    bad = np.argwhere(std <= 0)
    if len(bad):
        member, sample = bad[0]
        raise InputError(
            f"{where}std of member {member} is {std[member, sample]:g} at sample {sample}; "
            "expected values above 0"
        )
    return mean, std
