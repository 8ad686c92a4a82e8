"""A Gaussian over the weights of the last layer alone (section 5.2).

A network reads y off its descriptor d by y = w d + b. Keeping d and giving the weights a prior
N(0, prior^2) leaves a linear model with Gaussian noise, whose posterior N(m, S) is known:

    S = (X'X / noise^2 + I / prior^2)^-1,    m = S X'y / noise^2,
    Var(y | d) = noise^2 + d' S d.

Among all Gaussians q(w) this one has the largest evidence lower bound, so "full" variational
inference ends here without a gradient step; "mean-field" keeps m and the diagonal of S^-1 only.
prior and noise maximise the evidence (MacKay 1992), by its singular values, in one variable.
"""

import numpy as np
from scipy.optimize import minimize_scalar

from mfutils.errors import InputError
from mfutils.gp.inputs import Standardiser, as_inputs, as_targets

__all__ = ["LastLayer", "fit_last_layer"]

COVARIANCES = ("full", "mean-field")


class LastLayer:
    """A fitted head; `predict(x_new)` gives mean and std of an observation, each (k,).

    Attributes: prior and noise (std, in units of the standardised target) and log_evidence (of y
    in its own units).
    """

    def __init__(self, scale, basis, values, coefficient, prior, noise, log_evidence, covariance):
        self._scale, self._basis, self._values = scale, basis, values
        self._coefficient, self.covariance = coefficient, covariance
        self.prior, self.noise, self.log_evidence = prior, noise, log_evidence

    def predict(self, x_new, *, noiseless=False):
        """Mean and std (k,) at x_new (k, d), in the units of y."""
        scale = self._scale
        z = scale.x_forward(as_inputs(x_new, "x_new", columns=self._basis.shape[1]))
        precision = self._values**2 / self.noise**2 + 1 / self.prior**2
        if self.covariance == "full":
            along = z @ self._basis.T
            # directions that no training sample has keep their prior
            rest = np.maximum((z**2).sum(axis=1) - (along**2).sum(axis=1), 0)
            variance = (along**2 / precision).sum(axis=1) + rest * self.prior**2
        else:
            diagonal = ((self._basis * self._values[:, None]) ** 2).sum(axis=0)
            variance = z**2 @ (1 / (diagonal / self.noise**2 + 1 / self.prior**2))
        variance = variance + (0.0 if noiseless else self.noise**2)
        mean = z @ self._coefficient
        return scale.y_mean + scale.y_std * mean, scale.y_std * np.sqrt(variance)


def fit_last_layer(x, y, *, covariance="full"):
    """LastLayer for descriptors x (n, d) and targets y (n,), both standardised inside.

    covariance: full or mean-field. Raises InputError for other names and as `fit_gp` does for
    arrays that cannot be used.
    """
    if covariance not in COVARIANCES:
        raise InputError(f"covariance is {covariance!r}; expected one of {', '.join(COVARIANCES)}")
    x = as_inputs(x, "x")
    y = as_targets(y, len(x))
    scale = Standardiser(x, y)
    left, values, basis = np.linalg.svd(scale.x_forward(x), full_matrices=False)
    keep = values > 1e-10 * values[0]
    left, values, basis = left[:, keep], values[keep], basis[keep]
    z = scale.y_forward(y)
    seen = (left.T @ z) ** 2
    unseen = max(float(z @ z - seen.sum()), 0.0)
    n = len(z)

    def profiled(log_ratio):
        """-log evidence at prior^2 / noise^2 = exp(log_ratio), with the best noise; and it."""
        growth = 1 + np.exp(log_ratio) * values**2
        variance = max((np.sum(seen / growth) + unseen) / n, 1e-12)
        return 0.5 * (np.log(growth).sum() + n * (np.log(2 * np.pi * variance) + 1)), variance

    grid = np.linspace(-18.0, 6.0, 49)
    start = grid[int(np.argmin([profiled(g)[0] for g in grid]))]
    best = minimize_scalar(
        lambda g: profiled(g)[0], bounds=(start - 0.5, start + 0.5), method="bounded"
    )
    loss, variance = profiled(best.x)
    ratio = float(np.exp(best.x))
    shrunk = ratio * values / (1 + ratio * values**2)
    coefficient = basis.T @ (shrunk * (left.T @ z))
    evidence = -float(loss) - n * float(np.log(scale.y_std))
    noise = float(np.sqrt(variance))
    return LastLayer(
        scale, basis, values, coefficient, noise * ratio**0.5, noise, evidence, covariance
    )
