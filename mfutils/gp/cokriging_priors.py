"""What co-kriging believes before it sees data, and where its optimiser begins (section 4.1).

With a handful of high-fidelity points the likelihood alone cannot tell a discrepancy from noise.
Weak priors on the logarithms of all parameters settle it: in units of the spread of the lowest
level they say what "a lower fidelity of the same quantity" means, and little more.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from mfutils.gp.joint_covariance import JointCovariance, Layout
from mfutils.gp.kernels import squared_distances
from mfutils.gp.likelihood import LogNormalPrior

__all__ = ["BOUNDS", "PRIORS", "fill", "starts", "weak_prior"]

# Weak priors (centre, width) of log parameters, rho excepted; y in units of the std of the lowest
# level, lengthscales in units of sqrt(d) standardised x. A lengthscale between a fifth and the
# whole of the range of x, deltas smaller than f: what "a lower fidelity of the same quantity" says.
PRIORS = {
    "scale": (0.5, 0.6),
    "delta_scale": (1.5, 1.0),
    "signal": (0.0, 1.5),
    "delta": (np.log(0.1), 2.0),
    "rho": (1.0, 1.0),
    "shift": (np.log(0.1), 2.0),
    "noise": (np.log(0.1), 2.0),
    "relative": (np.log(0.1), 1.0),
}
# A higher fidelity is expected at half the noise of the lowest, and not below this
QUIET, HIGHER_NOISE_WIDTH = 0.03, 1.0
# A level with fewer points than its law has parameters cannot show how close the levels are; its
# delta is then assumed as large and as rough as the response, not hoped to be small
FEW = 5
CAUTIOUS = {"delta_scale": (0.0, 0.5), "delta": (0.0, 0.7), "shift": (0.0, 0.7)}
BOUNDS = {
    "scale": np.log((1e-2, 1e2)),
    "delta_scale": np.log((1e-2, 1e2)),
    "signal": np.log((1e-4, 1e2)),
    "delta": np.log((1e-4, 1e2)),
    "rho": (-20.0, 20.0),
    "shift": np.log((1e-4, 1e2)),
    "noise": np.log((3e-5, 3.0)),
    "relative": np.log((1e-4, 3.0)),
}


class Base(Protocol):
    """What is asked of an earlier `cokriging.CoKriging`."""

    theta: np.ndarray
    layout: Layout

    def noise_in_units_of_y(self) -> float:
        """Noise std of the lowest level over the std of its y."""


def fill(
    covariance: JointCovariance,
    table: dict[str, tuple[float, float] | np.ndarray],
    offset: float | tuple[float, float],
) -> np.ndarray:
    """Rows (p, 2), from a table by kind of parameter; offset shifts log lengthscales."""
    lay = covariance.layout
    out = np.empty((lay.size, 2))
    for s in range(lay.components):
        out[lay.scale[s]] = np.add(table["delta_scale" if s else "scale"], offset)
        out[lay.signal[s]] = table["delta" if s else "signal"]
    out[lay.rho], out[lay.shift] = table["rho"], table["shift"]
    out[lay.noise], out[lay.relative] = table["noise"], table["relative"]
    return out


def weak_prior(
    covariance: JointCovariance, d: int, counts: Sequence[int], base: Base | None
) -> LogNormalPrior:
    """The weak prior of a joint model with `counts` points per level, in d dimensions.

    It is cautious about the delta of every level with few points, and takes a higher level to be
    somewhat less noisy than the lowest, whose noise `base` has measured.
    """
    lay, half = covariance.layout, 0.5 * np.log(d)
    table = fill(covariance, PRIORS, (half, 0.0))
    for s in range(1, lay.components):
        if counts[s] < FEW:
            table[lay.scale[s]] = np.add(CAUTIOUS["delta_scale"], (half, 0.0))
            table[lay.signal[s]] = CAUTIOUS["delta"]
            table[lay.shift.start + s - 1] = CAUTIOUS["shift"]
    if base is not None:
        lowest = base.noise_in_units_of_y()
        table[lay.noise][1:] = max(np.log(0.5 * lowest), np.log(QUIET)), HIGHER_NOISE_WIDTH
    return LogNormalPrior(*table.T)


def starts(
    covariance: JointCovariance, centre: np.ndarray, z: np.ndarray, base: Base | None
) -> list[np.ndarray]:
    """Where to begin: a common law of the levels, a rough delta, and what `base` knows."""
    lay = covariance.layout
    start = centre.copy()
    if base is not None:
        known = base.layout
        for s in range(min(known.components, lay.components)):
            start[lay.scale[s]] = base.theta[known.scale[s]]
            start[lay.signal[s]] = base.theta[known.signal[s]]
        count = min(known.levels, lay.levels)
        start[lay.noise] = base.theta[known.noise][count - 1]
        start[lay.noise.start : lay.noise.start + count] = base.theta[known.noise][:count]
        if known.components == lay.components > 1:
            start[lay.rho], start[lay.shift] = base.theta[known.rho], base.theta[known.shift]
            return [start]
    if lay.components == 1:
        quiet = start.copy()
        quiet[lay.noise] = np.log(1e-3)
        return [start] if base is not None else [start, quiet]
    law = start.copy()
    law[lay.rho] = _slopes(covariance, z)
    rough = start.copy()
    for part in lay.scale[1:]:
        law[part] += 1.0
        rough[part] -= 1.0
    return [start, law, rough]


def _slopes(covariance, z):
    """Regression slope of each level on the nearest points of the level below."""
    slopes = []
    for t in range(1, covariance.layout.levels):
        here, below = covariance.level == t, covariance.level == t - 1
        distance = squared_distances(covariance.x[here], covariance.x[below])
        partner = z[below][distance.argmin(axis=1)]
        spread = float(partner.var())
        product = np.mean((partner - partner.mean()) * (z[here] - z[here].mean()))
        slopes.append(product / spread if spread > 0 else 1.0)
    return slopes
