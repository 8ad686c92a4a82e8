"""A Gaussian over the weights of the last layer alone (section 5.2).

A network reads y off its descriptor d by y = w d + b. Keeping d and giving the weights a prior
N(0, prior^2) leaves a linear model with Gaussian noise, whose posterior N(m, S) is known:

    S = (X'X / noise^2 + I / prior^2)^-1,    m = S X'y / noise^2,
    Var(y | d) = noise^2 + d' S d.

Among all Gaussians q(w) this one has the largest evidence lower bound, so "full" variational
inference ends here without a gradient step; "mean-field" keeps m and the diagonal of S^-1 only.
prior and noise maximise the evidence (MacKay 1992), by its singular values, in one variable.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from mfutils.errors import InputError
from mfutils.gp.inputs import Standardiser, as_inputs, as_targets

__all__ = ["LastLayer", "fit_last_layer"]

COVARIANCES = ("full", "mean-field")


@dataclass(frozen=True)
class LastLayer:
    """A fitted head; `predict(x_new)` gives mean and std of an observation, each (k,).

    prior and noise are std in units of the standardised target, log_evidence is of y in its own
    units; basis (r, d), values (r,) are the singular ones of the inputs, coefficient (d,) the mean
    of the weights.
    """

    scale: Standardiser
    basis: np.ndarray
    values: np.ndarray
    coefficient: np.ndarray
    prior: float
    noise: float
    log_evidence: float
    covariance: str

    def predict(
        self, x_new: npt.ArrayLike, *, noiseless: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean and std (k,) at x_new (k, d), in the units of y."""
        scale = self.scale
        z = scale.x_forward(as_inputs(x_new, "x_new", columns=self.basis.shape[1]))
        precision = self.values**2 / self.noise**2 + 1 / self.prior**2
        if self.covariance == "full":
            along = z @ self.basis.T
            # directions that no training sample has keep their prior
            rest = np.maximum((z**2).sum(axis=1) - (along**2).sum(axis=1), 0)
            variance = (along**2 / precision).sum(axis=1) + rest * self.prior**2
        else:
            diagonal = ((self.basis * self.values[:, None]) ** 2).sum(axis=0)
            variance = z**2 @ (1 / (diagonal / self.noise**2 + 1 / self.prior**2))
        variance = variance + (0.0 if noiseless else self.noise**2)
        mean = z @ self.coefficient
        return scale.y_back(mean), scale.y_std * np.sqrt(variance)


def fit_last_layer(x: npt.ArrayLike, y: npt.ArrayLike, *, covariance: str = "full") -> LastLayer:
    """LastLayer for descriptors x (n, d) and targets y (n,), both standardised inside.

    covariance: full or mean-field. Raises InputError for other names and as `fit_gp` does for
    arrays that cannot be used.
    """
    if covariance not in COVARIANCES:
        raise InputError(f"covariance is {covariance!r}; expected one of {', '.join(COVARIANCES)}")
    x = as_inputs(x, "x")
    y = as_targets(y, len(x))
    scale = Standardiser.of(x, y)
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
