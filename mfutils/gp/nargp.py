"""A nonlinear autoregressive level (NARGP, Perdikaris et al. 2017), the rung above co-kriging.

f_h(x) = g(x, f_l(x)): the high fidelity is any smooth function of place and low fidelity, not only
rho f_l + delta. g is a Gaussian process with covariance r(x, x') r(f, f') + r(x, x') on top of the
plain line rho f_l, so that it falls back to co-kriging where the data show no curvature. The low
level is a smoothed posterior, known with an error: predictions average over it by quadrature.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mfutils.errors import InputError
from mfutils.gp.cokriging import CoKriging, checked_levels, fit_cokriging
from mfutils.gp.hyperparameter_average import MixturePosterior, hyperparameter_draws
from mfutils.gp.inputs import Standardiser, as_inputs
from mfutils.gp.kernels import Constant, Linear, Noisy, Scaled, Stationary
from mfutils.gp.likelihood import LogNormalPrior, local_maxima

__all__ = ["Nargp", "fit_nargp"]

# Nodes of the Gauss-Hermite average over the low-fidelity posterior
NODES = 7
_X, _F = slice(None, -1), slice(-1, None)
# Prior (centre, width) and bounds of the log parameters, in the order of the sum below;
# lengthscales in x are relative to sqrt(d)
_PRIOR = np.array(
    [
        (1.5, 1.0),  # product: lengthscale in x
        (0.5, 0.5),  # lengthscale in f
        (-1.0, 1.5),  # signal
        (1.5, 1.0),  # delta: lengthscale in x
        (-2.3, 1.5),  # signal
        (0.0, 1.0),  # line: signal
        (-2.3, 2.0),  # noise
    ]
)
_LENGTHS_X, _LENGTH_F = [0, 3], 1
_BOUNDS = np.log([(1e-2, 1e2)] * 2 + [(1e-4, 1e2), (1e-2, 1e2)] + [(1e-4, 1e2)] * 2 + [(1e-4, 3.0)])


def _covariance(inputs: np.ndarray) -> Noisy:
    """s1^2 R(x) R(f) + s2^2 R'(x) + s3^2 (1 + f f') + noise; the last column of inputs is f."""
    product = Stationary(inputs, "rbf", columns=_X) * Stationary(inputs, "rbf", columns=_F)
    delta = Stationary(inputs, "rbf", columns=_X)
    line = Constant(len(inputs)) + Linear(inputs, columns=_F)
    return Noisy(Scaled(product) + Scaled(delta) + Scaled(line))


@dataclass(frozen=True)
class Nargp:
    """A fitted nonlinear autoregressive model of two fidelities; made by `fit_nargp`."""

    low: CoKriging
    posterior: MixturePosterior
    noise_variance: float  # at the mode, of standardised y
    scale: Standardiser

    def predict(
        self, x_new: npt.ArrayLike, *, noiseless: bool = True
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean and std (m,) of the high fidelity at x_new (m, d); the std as in CoKriging."""
        scale = self.scale
        f, f_std = self.low.predict(x_new)
        x_new = scale.x_forward(as_inputs(x_new, "x_new", columns=len(scale.x_std)))
        nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
        weights = weights / weights.sum()
        levels = scale.y_forward(f + np.multiply.outer(nodes, f_std))
        stacked = np.column_stack([np.tile(x_new, (NODES, 1)), levels.ravel()])
        mean, variance = self.posterior.predict(stacked)
        mean, variance = mean.reshape(NODES, -1), variance.reshape(NODES, -1)
        total = weights @ mean
        spread = weights @ (variance + np.square(mean - total))
        if not noiseless:
            spread = spread + self.noise_variance
        return scale.y_back(total), scale.y_std * np.sqrt(spread)


def fit_nargp(
    inputs: Sequence[npt.ArrayLike],
    targets: Sequence[npt.ArrayLike],
    *,
    low: CoKriging | None = None,
    draws: int = 32,
) -> Nargp:
    """Fit two levels: inputs [(n_l, d), (n_h, d)], targets [(n_l,), (n_h,)], lowest first.

    low: a fitted CoKriging of the low level to build on. draws as in `fit_cokriging`, whose
    InputErrors apply.
    """
    xs, ys = checked_levels(inputs, targets)
    if len(xs) != 2:
        raise InputError(f"{len(xs)} fidelity levels: NARGP takes two, lowest first")
    (x_low, x), (y_low, y) = xs, ys
    if low is None:
        low = fit_cokriging([x_low], [y_low], draws=draws)
    # Levels are centred here: g's constant part takes up what the mean does
    scale = replace(low.scale, y_mean=float(y_low.mean()))
    f = low.predict(x)[0]
    covariance = _covariance(np.column_stack([scale.x_forward(x), scale.y_forward(f)]))
    offset = np.zeros((covariance.n_parameters, 1))
    offset[_LENGTHS_X] = 0.5 * np.log(x.shape[1])
    centre, width = _PRIOR[:, 0] + offset[:, 0], _PRIOR[:, 1]
    prior = LogNormalPrior(centre, width)
    bounds = _BOUNDS + offset
    flat = centre.copy()
    flat[_LENGTH_F] += 1.5
    z = scale.y_forward(y)
    modes = local_maxima(covariance, z, [centre, flat], bounds, prior=prior)
    sample = hyperparameter_draws(covariance, z, modes, prior, bounds, draws=draws)
    noise = covariance.noise(sample.mode)
    return Nargp(low, MixturePosterior(covariance, z, sample), noise, scale)
