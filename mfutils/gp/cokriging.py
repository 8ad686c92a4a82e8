"""Co-kriging after Kennedy and O'Hagan (2000), fitted jointly over all fidelities (section 4.1).

y_t = f_t(x) + noise_t with f_t = rho_t f_{t-1} + delta_t. All levels are one Gaussian vector, so
the low fidelity is smoothed, scaled and corrected in one step and every uncertainty is carried
along; inputs may be nested or not, in any dimension, at two levels or more. Hyperparameters are
maximum-likelihood values under weak priors; what the data leave open about them (two
high-fidelity points say little about rho) enters the predicted std through
`hyperparameter_average`.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mfutils.errors import InputError
from mfutils.gp.cokriging_priors import BOUNDS, fill, starts, weak_prior
from mfutils.gp.hyperparameter_average import MixturePosterior, hyperparameter_draws
from mfutils.gp.inputs import Standardiser, as_inputs, as_targets, check_replicates
from mfutils.gp.joint_covariance import JointCovariance
from mfutils.gp.likelihood import LogNormalPrior, local_maxima, rank_starts

__all__ = ["CoKriging", "checked_levels", "fit_cokriging"]

# Levels share a zero only while their mean is not this many times their spread
LARGEST_TREND = 100.0
# Noise std, in units of the std of y, that stands for "none"
NUGGET = 1e-4
# Beyond this many points only the two most likely starts are followed
MANY = 150


class CoKriging:
    """A fitted multi-fidelity Gaussian process; made by `fit_cokriging`.

    Attributes: `log_evidence` (of all y in their own units, hyperparameters averaged out),
    `hyperparameters` (at the mode, in the units of x and y: per component lengthscale and
    signal_std; rho; per level noise_std and relative_noise); `theta` and `layout`, the raw mode;
    `scale`, the units in which it holds: x by all levels, y by the lowest.
    """

    def __init__(
        self,
        covariance: JointCovariance,
        z: np.ndarray,
        modes: Sequence[np.ndarray],
        prior: LogNormalPrior,
        bounds: np.ndarray,
        scale: Standardiser,
        draws: int,
    ):
        self._covariance, self.scale = covariance, scale
        sample = hyperparameter_draws(covariance, z, modes, prior, bounds, draws=draws)
        self.theta, self.layout = sample.mode, covariance.layout
        self._posterior = MixturePosterior(covariance, z, sample)
        self.log_evidence = sample.log_evidence - len(z) * float(np.log(scale.y_std))
        self.levels = self.layout.levels

    def noise_in_units_of_y(self) -> float:
        """Noise std of the lowest level over the std of its y, at the mode."""
        return float(np.exp(self.theta[self.layout.noise][0]))

    @property
    def hyperparameters(self) -> dict[str, list]:
        """Values at the posterior mode, in the units of x and y."""
        x_std, y_std = self.scale.x_std, self.scale.y_std
        lay, theta = self.layout, self.theta
        floor, relative = self._covariance.noise(theta)
        return {
            "lengthscale": [np.exp(theta[part]) * x_std for part in lay.scale],
            "signal_std": [float(np.exp(theta[at])) * y_std for at in lay.signal],
            "rho": theta[lay.rho].tolist(),
            "noise_std": (np.sqrt(floor) * y_std).tolist(),
            "relative_noise": np.sqrt(relative).tolist(),
        }

    def predict(
        self, x_new: npt.ArrayLike, *, level: int | None = None, noiseless: bool = True
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean and std (m,) at x_new (m, d) of one fidelity, by default the highest.

        level: 0 is the lowest fidelity. noiseless: the std of the response itself; False adds the
        noise that a new observation at that level would carry.
        """
        scale = self.scale
        level = self.levels - 1 if level is None else level
        if level not in range(self.levels):
            raise InputError(f"level is {level}: this model has levels 0 to {self.levels - 1}")
        x_new = scale.x_forward(as_inputs(x_new, "x_new", columns=len(scale.x_std)))
        mean, variance = self._posterior.predict(x_new, level)
        if not noiseless:
            floor, relative = self._covariance.noise(self.theta)
            size = mean + scale.y_mean / scale.y_std
            variance = variance + floor[level] + relative[level] * np.square(size)
        return scale.y_back(mean), scale.y_std * np.sqrt(variance)

    def prior_covariance(
        self, x: npt.ArrayLike, level: npt.ArrayLike
    ) -> tuple[np.ndarray, np.ndarray]:
        """Covariance (n, n) of the noise-free values at x (n, d) before any data, in units of y^2.

        level (n,): 0 for the lowest; all levels must occur. Also returns the noise variance (n,)
        of a measurement at each point. Hyperparameters are those of the mode.
        """
        scale, level = self.scale, np.asarray(level)
        if level.min() < 0 or level.max() != self.levels - 1:
            raise InputError(
                f"levels reach {level.max()}: expected 0 to {self.levels - 1}, all used"
            )
        x = scale.x_forward(as_inputs(x, "x", columns=len(scale.x_std)))
        joint = self._covariance.at(x, level)
        matrix, noise = joint.matrix(self.theta), joint.noise(self.theta)[0][level]
        matrix[np.diag_indices_from(matrix)] -= noise
        return scale.y_std**2 * matrix, scale.y_std**2 * noise


def checked_levels(
    inputs: Sequence[npt.ArrayLike], targets: Sequence[npt.ArrayLike]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Levels as float64 (n_t, d) and (n_t,), or an InputError that names the level."""
    if len(inputs) != len(targets) or not len(inputs):
        raise InputError(
            f"{len(inputs)} levels of x and {len(targets)} of y: expected one of each per fidelity"
        )
    xs, ys = [], []
    for t, (x, y) in enumerate(zip(inputs, targets, strict=True)):
        try:
            xs.append(as_inputs(x, "x", columns=xs[0].shape[1] if xs else None))
            ys.append(as_targets(y, len(xs[-1])))
        except InputError as error:
            raise InputError(f"fidelity level {t}: {error}") from None
    for t in range(1, len(xs)):
        apart = (xs[t].min(axis=0) > xs[t - 1].max(axis=0)) | (
            xs[t].max(axis=0) < xs[t - 1].min(axis=0)
        )
        if apart.any():
            raise InputError(
                f"fidelity levels {t - 1} and {t} do not overlap in feature "
                f"{int(np.flatnonzero(apart)[0])}: a correction needs both in the same region"
            )
    return xs, ys


def _noise_per_level(noise, levels):
    """Known noise std of each level (levels,), NaN where it is to be learned."""
    values = np.asarray([np.nan if item is None else item for item in np.atleast_1d(noise)], float)
    if len(values) not in (1, levels) or (values < 0).any():
        raise InputError(
            f"noise is {noise}: expected one std >= 0, or one (or None) for each of {levels} levels"
        )
    return np.broadcast_to(values, (levels,))


def fit_cokriging(
    inputs: Sequence[npt.ArrayLike],
    targets: Sequence[npt.ArrayLike],
    *,
    kernel: str = "rbf",
    ard: bool = False,
    noise: float | Sequence[float | None] | None = None,
    pooled: bool = False,
    magnitude: Sequence[npt.ArrayLike] | None = None,
    base: CoKriging | None = None,
    draws: int = 32,
) -> CoKriging:
    """Fit co-kriging to fidelity levels ordered from lowest to highest.

    inputs: list of (n_t, d); targets: list of (n_t,); one level alone is an ordinary Gaussian
    process. noise: known noise std, one or per level (0 for deterministic codes); None learns
    it, for all levels or for one. pooled: one function for all levels, noise alone differs.
    magnitude: per level an (n_t,) array of |f|, for noise variance a + b f^2. base: an earlier
    CoKriging of the same data (or of the lowest level) to start from. draws: hyperparameter draws
    behind the std (0: none).
    Raises InputError on fewer than two points in a level, NaN, mismatched lengths, a lowest
    level of zero variance, levels that do not overlap, or equal x with different y at noise 0.
    """
    xs, ys = checked_levels(inputs, targets)
    x, y = np.concatenate(xs), np.concatenate(ys)
    scale = Standardiser.of(x, ys[0], name="y of the lowest fidelity")
    # rho scales the mean too, unless the mean dwarfs the signal
    trend = abs(scale.y_mean) / scale.y_std
    if trend > LARGEST_TREND:
        trend = 0.0
    else:
        scale = replace(scale, y_mean=0.0)
    level = np.repeat(np.arange(len(xs)), [len(part) for part in xs])
    size = None
    if magnitude is not None:
        if len(magnitude) != len(xs):
            raise InputError(f"{len(magnitude)} levels of magnitude: expected {len(xs)}, as of x")
        parts = zip(magnitude, xs, strict=True)
        size = np.concatenate([as_targets(m, len(x), name="magnitude") for m, x in parts])
        size = size / scale.y_std
    covariance = JointCovariance(
        scale.x_forward(x),
        level,
        kernel=kernel,
        ard=ard,
        pooled=pooled,
        magnitude=size,
        trend=np.hypot(1.0, trend),
    )
    d = x.shape[1]
    known = _noise_per_level(noise, len(xs))
    for t in np.flatnonzero(known == 0):
        check_replicates(xs[t], ys[t], name=f"fidelity level {t}: x")
    if base is None and len(xs) > 1:
        lowest = None if np.isnan(known[0]) else known[0]
        base = fit_cokriging(xs[:1], ys[:1], kernel=kernel, ard=ard, noise=lowest, draws=0)
    prior = weak_prior(covariance, d, [len(part) for part in xs], base)
    bounds = fill(covariance, BOUNDS, 0.5 * np.log(d))
    given = np.arange(covariance.layout.size)[covariance.layout.noise][~np.isnan(known)]
    fixed = np.maximum(known[~np.isnan(known)] / scale.y_std, NUGGET)
    bounds[given] = np.log(fixed)[:, None]
    z = scale.y_forward(y)
    begin = [np.clip(start, *bounds.T) for start in starts(covariance, prior.centre, z, base)]
    # A wrong basin is the larger risk when data are few, and following one then costs little
    keep = 3 if len(z) <= MANY else 2
    begin = rank_starts(covariance, z, begin, prior=prior, keep=keep, spread=False)
    modes = local_maxima(covariance, z, begin, bounds, prior=prior)
    return CoKriging(covariance, z, modes, prior, bounds, scale, draws)
