"""A nonlinear autoregressive level (NARGP, Perdikaris et al. 2017), the rung above co-kriging.

f_h(x) = g(x, f_l(x)): the high fidelity is any smooth function of place and low fidelity, not only
rho f_l + delta. g is a Gaussian process with covariance r(x, x') r(f, f') + r(x, x') on top of the
plain line rho f_l, so that it falls back to co-kriging where the data show no curvature. The low
level is a smoothed posterior, known with an error: predictions average over it by quadrature.
"""

import numpy as np

from mfutils.errors import InputError
from mfutils.gp.cokriging import checked_levels, fit_cokriging
from mfutils.gp.hyperparameter_average import MixturePosterior, hyperparameter_draws
from mfutils.gp.kernels import make_kernel
from mfutils.gp.likelihood import LogNormalPrior, local_maxima

__all__ = ["Nargp", "fit_nargp"]

# Nodes of the Gauss-Hermite average over the low-fidelity posterior
NODES = 7
# Prior (centre, width) and bounds of: lengthscales in x of the product and of delta (relative to
# sqrt(d)), lengthscale in f, signal of the product, of delta, of the line, and the noise
_PRIOR = np.array(
    [(1.5, 1.0), (1.5, 1.0), (0.5, 0.5), (-1.0, 1.5), (-2.3, 1.5), (0.0, 1.0), (-2.3, 2.0)]
)
_BOUNDS = np.log([(1e-2, 1e2)] * 3 + [(1e-4, 1e2)] * 3 + [(1e-4, 3.0)])
_N = len(_PRIOR)


class _Covariance:
    """s1^2 R(x) R(f) + s2^2 R'(x) + s3^2 (1 + f f') + noise on inputs whose last column is f."""

    def __init__(self, inputs):
        x, f = np.ascontiguousarray(inputs[:, :-1]), np.ascontiguousarray(inputs[:, -1:])
        self.place, self.level = make_kernel("rbf", x), make_kernel("rbf", f)
        self.delta = make_kernel("rbf", x)
        self.line = 1.0 + f * f.T
        self.f = f

    def matrix(self, theta):
        self._theta, self._var = theta, np.exp(2.0 * theta[3:])
        self._place, self._level = self.place.matrix(theta[:1]), self.level.matrix(theta[2:3])
        self._delta = self.delta.matrix(theta[1:2])
        out = self._var[0] * self._place * self._level
        out += self._var[1] * self._delta + self._var[2] * self.line
        out.flat[:: len(out) + 1] += self._var[3]
        return out

    def contract(self, weight):
        out = np.empty(_N)
        product = self._var[0] * weight
        out[0:1] = self.place.contract(product * self._level)
        out[1:2] = self._var[1] * self.delta.contract(weight)
        out[2:3] = self.level.contract(product * self._place)
        out[3] = 2.0 * np.vdot(product, self._place * self._level)
        out[4] = 2.0 * self._var[1] * np.vdot(weight, self._delta)
        out[5] = 2.0 * self._var[2] * np.vdot(weight, self.line)
        out[6] = 2.0 * self._var[3] * np.trace(weight)
        return out

    def cross(self, theta, inputs, _target=0):
        x, f = inputs[:, :-1], inputs[:, -1:]
        signal = np.exp(2.0 * theta[3:])
        out = self.place.cross(theta[:1], x) * self.level.cross(theta[2:3], f)
        return (
            signal[0] * out
            + signal[1] * self.delta.cross(theta[1:2], x)
            + signal[2] * (1.0 + f * self.f.T)
        )

    def diagonal(self, theta, inputs, _target=0):
        signal = np.exp(2.0 * theta[3:])
        return signal[0] + signal[1] + signal[2] * (1.0 + np.square(inputs[:, -1]))


class Nargp:
    """A fitted nonlinear autoregressive model of two fidelities; made by `fit_nargp`."""

    def __init__(self, low, posterior, theta, scale):
        self._low, self._posterior, self._theta, self._scale = low, posterior, theta, scale

    def predict(self, x_new, *, noiseless=True):
        """Mean and std (m,) of the high fidelity at x_new (m, d); the std as in CoKriging."""
        x_mean, x_std, y_mean, y_std = self._scale
        f, f_std = self._low.predict(x_new)
        x_new = (np.asarray(x_new, dtype=float).reshape(len(f), -1) - x_mean) / x_std
        nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
        weights = weights / weights.sum()
        levels = (f + np.multiply.outer(nodes, f_std) - y_mean) / y_std
        stacked = np.column_stack([np.tile(x_new, (NODES, 1)), levels.ravel()])
        mean, variance = self._posterior.predict(stacked)
        mean, variance = mean.reshape(NODES, -1), variance.reshape(NODES, -1)
        total = weights @ mean
        spread = weights @ (variance + np.square(mean - total))
        if not noiseless:
            spread = spread + np.exp(2.0 * self._theta[-1])
        return y_mean + y_std * total, y_std * np.sqrt(spread)


def _two_levels(inputs, targets):
    xs, ys = checked_levels(list(inputs), list(targets))
    if len(xs) != 2:
        raise InputError(f"{len(xs)} fidelity levels: NARGP takes two, lowest first")
    return xs, ys


def fit_nargp(inputs, targets, *, low=None, draws=32):
    """Fit two levels: inputs [(n_l, d), (n_h, d)], targets [(n_l,), (n_h,)], lowest first.

    low: a fitted CoKriging of the low level to build on. draws as in `fit_cokriging`, whose
    InputErrors apply.
    """
    (x_low, x), (y_low, y) = _two_levels(inputs, targets)
    if low is None:
        low = fit_cokriging([x_low], [y_low], draws=draws)
    x_mean, x_std, _, _ = low._scale
    # Levels are centred here: g's constant part takes up what the mean does
    y_mean, y_std = float(y_low.mean()), float(y_low.std())
    f = low.predict(x)[0]
    covariance = _Covariance(np.column_stack([(x - x_mean) / x_std, (f - y_mean) / y_std]))
    offset = np.zeros((_N, 1))
    offset[:2] = 0.5 * np.log(x.shape[1])
    centre, width = _PRIOR[:, 0] + offset[:, 0], _PRIOR[:, 1]
    prior = LogNormalPrior(centre, width)
    z = (y - y_mean) / y_std
    bounds = _BOUNDS + offset
    flat = centre.copy()
    flat[2] += 1.5
    modes = local_maxima(covariance, z, [centre, flat], bounds, prior=prior)
    scale = (x_mean, x_std, y_mean, y_std)
    sample = hyperparameter_draws(covariance, z, modes, prior, bounds, draws=draws)
    return Nargp(low, MixturePosterior(covariance, z, sample), sample.mode, scale)
