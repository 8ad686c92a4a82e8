"""Many small Gaussian processes at once (section 4.1 fits thousands): two parameters each.

With K = s^2 A, A = R(lengthscale) + g I, the amplitude has a closed form, s^2 = y^T A^-1 y / n.
What is left of the log likelihood depends on the lengthscale and the noise ratio g alone:
L = -n/2 (log 2 pi s^2 + 1) - 1/2 log|A|. Its gradient needs one Cholesky factor and one inverse,
and the squared distances are shared by all evaluations (by all problems, when they share x).
Two parameters converge in about a dozen evaluations of L-BFGS.
"""

from itertools import product

import numpy as np
from scipy.linalg import lapack
from scipy.optimize import minimize

from mfutils.errors import InputError
from mfutils.gp import NOISE_BOUNDS, SIGNAL_BOUNDS, GaussianProcess, _Covariance, fit_gp
from mfutils.kernels import make_kernel
from mfutils.likelihood import LOG_2PI
from mfutils.scaling import Standardiser, as_inputs, as_targets

__all__ = ["fit_gp_batch"]

# Log bounds of (lengthscale relative to sqrt(d), noise ratio g = noise variance / s^2)
BOUNDS = np.log([[1e-3, 1e3], [1e-10, 1e4]])
STARTS = [np.log(pair) for pair in product((1.0, 0.3, 0.1, 3.0), (1e-2, 0.25))]
# Starts are compared on at most this many evenly spread points of a problem
RANKING_POINTS = 100


class _Profile:
    """The profiled log likelihood of one problem as a function of (log lengthscale, log g)."""

    def __init__(self, kernel, z):
        self.kernel, self.z, self.n = kernel, z, len(z)

    def _factor(self, theta):
        ratio = np.exp(theta[1])
        matrix = self.kernel.matrix(theta[:1])
        matrix.flat[:: self.n + 1] += ratio
        # The transpose of a symmetric C-ordered matrix is the Fortran order LAPACK wants
        lower, info = lapack.dpotrf(matrix.T, lower=1, clean=1, overwrite_a=1)
        return (lower if info == 0 else None), ratio

    def _value(self, lower):
        beta = lapack.dpotrs(lower, self.z, lower=1)[0]
        signal = float(self.z @ beta) / self.n
        log_det = 2.0 * np.log(lower.diagonal()).sum()
        return -0.5 * (self.n * (LOG_2PI + np.log(signal) + 1.0) + log_det), signal, beta

    def score(self, theta):
        """Log likelihood alone, -inf where the matrix is not positive definite."""
        lower, _ = self._factor(theta)
        return -np.inf if lower is None else self._value(lower)[0]

    def objective(self, theta):
        """Negative log likelihood and its gradient."""
        lower, ratio = self._factor(theta)
        if lower is None:
            return 1e25, np.zeros(2)
        value, signal, beta = self._value(lower)
        inverse = lapack.dpotri(lower, lower=1, overwrite_c=1)[0]
        # The slope matrix is symmetric with a zero diagonal and the upper triangle of `inverse`
        # is zero, so twice the sum over that triangle is the sum over the whole matrix.
        slope = self.kernel._slope * self.kernel._r2
        by_length = beta @ slope @ beta / signal - 2.0 * np.vdot(slope, inverse.T)
        trace = beta @ beta / signal - inverse.trace()
        return -value, np.array([by_length, -0.5 * ratio * trace])

    def signal(self, theta):
        """The closed-form amplitude variance s^2."""
        return self._value(self._factor(theta)[0])[1]


def _thinned(kernel_name, x, z):
    """The same profile on an even subset, to compare starts cheaply."""
    step = -(-len(z) // RANKING_POINTS)
    return _Profile(make_kernel(kernel_name, x[::step]), z[::step])


def _fit_one(kernel, kernel_name, x, z, seed):
    """Best (log lengthscale, log g) of one standardised problem."""
    offset = np.array([0.5 * np.log(x.shape[1]), 0.0])
    profile, rough = _Profile(kernel, z), _thinned(kernel_name, x, z)
    starts = sorted((s + offset for s in STARTS), key=rough.score, reverse=True)
    second = next(s for s in starts if s[0] != starts[0][0])
    bounds = BOUNDS + offset[:, None]
    best = None
    for start in (starts[0], second):
        result = minimize(
            profile.objective,
            start,
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"ftol": 1e-11, "gtol": 1e-5, "maxiter": 200},
        )
        if best is None or result.fun < best.fun:
            best = result
    return best.x, profile.signal(best.x)


def fit_gp_batch(x, y, *, kernel="rbf", seed=0):
    """Fit one isotropic Gaussian process per problem: b problems, each (n, d) inputs, (n,) targets.

    x: sequence of b arrays (n_i, d), or one (n, d) array shared by all; y: sequence of b arrays.
    kernel: rbf, matern32 or matern52. Returns a list of GaussianProcess, the same model as
    `fit_gp(x_i, y_i)`; problems whose optimum is degenerate or at a bound are handed to `fit_gp`.
    Raises InputError as `fit_gp` does, naming the problem.
    """
    if kernel == "linear":
        raise InputError("kernel 'linear' is not batched: use fit_gp, which is as fast")
    y = list(y)
    shared = len(y) > 0 and np.ndim(x) == 2 and np.ndim(y[0]) == 1 and len(x) == len(y[0])
    inputs = [x] * len(y) if shared else list(x)
    if len(inputs) != len(y):
        raise InputError(f"x has {len(inputs)} problems but y has {len(y)}: expected as many")
    models, base = [], None
    for index, (xi, yi) in enumerate(zip(inputs, y, strict=True)):
        try:
            xi = as_inputs(xi, "x")
            scale = Standardiser(xi, as_targets(yi, len(xi)))
        except InputError as error:
            raise InputError(f"problem {index}: {error}") from None
        xs, z = scale.x_forward(xi), scale.y_forward(np.asarray(yi, dtype=float).ravel())
        if base is None or not shared:
            base = make_kernel(kernel, xs)
        theta, signal = _fit_one(base, kernel, xs, z, seed)
        full = np.array([theta[0], 0.5 * np.log(signal), 0.5 * (np.log(signal) + theta[1])])
        noise = np.exp(full[2])
        usual = SIGNAL_BOUNDS[0] < np.exp(full[1]) < SIGNAL_BOUNDS[1]
        model = None
        if usual and NOISE_BOUNDS[0] < noise < NOISE_BOUNDS[1]:
            model = GaussianProcess(_Covariance(xs, kernel, False, None), full, z, scale)
        if model is None or model._diagnose():
            model = fit_gp(xi, yi, kernel=kernel, seed=seed)
        models.append(model)
    return models
