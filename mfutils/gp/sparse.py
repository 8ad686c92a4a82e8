"""Sparse variational Gaussian process for many points (section 2.2), on GPyTorch.

Exact inference costs n^3. Titsias (2009) lets m inducing inputs Z stand for the data: with
Q = K_nz K_zz^-1 K_zn the bound log N(y | 0, Q + v I) - tr(K - Q) / (2 v) costs n m^2, is never
above the log marginal likelihood, and reaches it when Z is all of x. Hyperparameters and Z are
found by L-BFGS on the whole bound in float64: no step size, no minibatch noise, no epochs to pick.
"""

import math
import warnings

import numpy as np
import numpy.typing as npt
import torch
from sklearn.cluster import MiniBatchKMeans

from mfutils.errors import InputError
from mfutils.gp.inputs import Standardiser, as_inputs, as_targets

with warnings.catch_warnings():
    # GPyTorch 1.15 still compiles with torch.jit.script, which torch 2.13 calls deprecated
    warnings.simplefilter("ignore", DeprecationWarning)
    import gpytorch

__all__ = ["SparseGaussianProcess", "fit_sparse_gp"]

_KERNELS = {
    "rbf": gpytorch.kernels.RBFKernel,
    "matern32": lambda **options: gpytorch.kernels.MaternKernel(nu=1.5, **options),
    "matern52": lambda **options: gpytorch.kernels.MaternKernel(nu=2.5, **options),
}
# Lower bound of the noise variance in units of the variance of y
_NOISE_FLOOR = 1e-6
# Added to the inducing covariance, relative to the signal variance: rounding alone can make it
# indefinite once inducing inputs crowd together
_JITTER = 1e-8


class _Bound(torch.nn.Module):
    """The collapsed bound and its posterior over standardised x (n, d), y (n,)."""

    def __init__(self, x, y, kernel, ard, inducing):
        super().__init__()
        d = x.shape[1]
        radial = _KERNELS[kernel](ard_num_dims=d if ard else None)
        # GPyTorch's own start of 0.69 is far too short when d features differ at once
        radial.lengthscale = float(np.sqrt(d))
        self.kernel = gpytorch.kernels.ScaleKernel(radial)
        self.kernel.outputscale = 1.0
        self.likelihood = gpytorch.likelihoods.GaussianLikelihood(
            noise_constraint=gpytorch.constraints.GreaterThan(_NOISE_FLOOR)
        )
        self.likelihood.noise = 0.1
        self.inducing = torch.nn.Parameter(inducing)
        self.double()
        self.x, self.y = x, y

    def _factors(self):
        noise = self.likelihood.noise
        prior = self.kernel(self.inducing).to_dense()
        jitter = _JITTER * self.kernel.outputscale
        lower = torch.linalg.cholesky(prior + jitter * torch.eye(len(prior), dtype=prior.dtype))
        cross = self.kernel(self.inducing, self.x).to_dense()
        half = torch.linalg.solve_triangular(lower, cross, upper=False) / noise.sqrt()
        inner = torch.linalg.cholesky(torch.eye(len(half), dtype=half.dtype) + half @ half.T)
        target = (half @ self.y)[:, None] / noise.sqrt()
        return lower, half, inner, torch.linalg.solve_triangular(inner, target, upper=False)

    def forward(self) -> torch.Tensor:
        """The bound itself, a scalar."""
        _, half, inner, target = self._factors()
        noise, n = self.likelihood.noise.squeeze(), len(self.y)
        fit = self.y @ self.y / noise - target.square().sum()
        log_det = 2.0 * inner.diagonal().log().sum() + n * noise.log()
        # What the inducing inputs cannot explain of the prior variance
        lost = n * self.kernel.outputscale / noise - half.square().sum()
        return -0.5 * (n * math.log(2.0 * math.pi) + log_det + fit + lost)

    def posterior(
        self, x_new: torch.Tensor, factors: tuple[torch.Tensor, ...]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and variance of the latent function at x_new (k, d)."""
        lower, _, inner, target = factors
        cross = self.kernel(self.inducing, x_new).to_dense()
        first = torch.linalg.solve_triangular(lower, cross, upper=False)
        second = torch.linalg.solve_triangular(inner, first, upper=False)
        variance = self.kernel.outputscale + second.square().sum(0) - first.square().sum(0)
        return (second.T @ target)[:, 0], variance


class SparseGaussianProcess:
    """A fitted sparse Gaussian process; made by `fit_sparse_gp`.

    Attributes: `bound` (lower bound of the log marginal likelihood of y in its own units),
    `hyperparameters` (as `mfutils.gp.exact.GaussianProcess`), `inducing` (m, d) in the units of x,
    `converged` (False when the iterations ran out first).
    """

    def __init__(self, model: _Bound, scale: Standardiser, bound: float, *, converged: bool):
        self._model, self._scale = model, scale
        self.bound, self.converged = bound, converged
        with torch.no_grad():
            self._factors = model._factors()
        kernel = model.kernel
        length = kernel.base_kernel.lengthscale.detach().numpy().ravel()
        length = np.broadcast_to(length, scale.x_std.shape) * scale.x_std
        self.hyperparameters = {
            "mean": scale.y_mean,
            "noise_std": model.likelihood.noise.item() ** 0.5 * scale.y_std,
            "lengthscale": float(length[0]) if len(length) == 1 else length,
            "signal_std": kernel.outputscale.item() ** 0.5 * scale.y_std,
        }
        self.inducing = model.inducing.detach().numpy() * scale.x_std + scale.x_mean

    def predict(
        self, x_new: npt.ArrayLike, noiseless: bool = False, *, chunk: int = 4000
    ) -> tuple[np.ndarray, np.ndarray]:
        """Posterior mean and std at x_new (k, d); the std includes noise unless noiseless."""
        scale = self._scale
        x_new = scale.x_forward(as_inputs(x_new, "x_new", columns=len(scale.x_std)))
        means, variances = [], []
        with torch.no_grad():
            for part in torch.split(torch.from_numpy(x_new), chunk):
                mean, variance = self._model.posterior(part, self._factors)
                means.append(mean.numpy())
                variances.append(variance.numpy())
        variance = np.concatenate(variances)
        if not noiseless:
            variance = variance + self._model.likelihood.noise.item()
        return scale.y_back(np.concatenate(means)), scale.y_std * np.sqrt(np.maximum(variance, 0.0))


def fit_sparse_gp(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    inducing: int = 200,
    kernel: str = "rbf",
    ard: bool = False,
    seed: int = 0,
    iterations: int = 200,
) -> SparseGaussianProcess:
    """Fit a sparse Gaussian process to x (n, d), y (n,) with `inducing` inducing inputs.

    kernel: rbf, matern32 or matern52. seed: the k-means start of the inducing inputs.
    iterations: at most this many L-BFGS steps (each costs n m^2). Raises InputError as `fit_gp`.
    """
    if kernel not in _KERNELS:
        raise InputError(f"unknown kernel {kernel!r}: expected one of {', '.join(_KERNELS)}")
    if inducing < 1:
        raise InputError(f"inducing is {inducing}: expected at least 1")
    x = as_inputs(x, "x")
    y = as_targets(y, len(x))
    scale = Standardiser.of(x, y)
    inputs = scale.x_forward(x)
    distinct = np.unique(inputs, axis=0)
    if inducing < len(distinct):
        means = MiniBatchKMeans(inducing, random_state=seed, n_init=3, batch_size=2048)
        centres = np.unique(means.fit(inputs).cluster_centers_.astype(float), axis=0)
    else:
        centres = distinct
    model = _Bound(
        torch.from_numpy(inputs),
        torch.from_numpy(scale.y_forward(y)),
        kernel,
        ard,
        torch.from_numpy(centres),
    )
    optimiser = torch.optim.LBFGS(
        model.parameters(),
        max_iter=iterations,
        max_eval=2 * iterations,
        tolerance_grad=1e-5,
        tolerance_change=1e-9,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def closure():
        optimiser.zero_grad()
        loss = -model()
        loss.backward()
        return loss

    optimiser.step(closure)
    state = optimiser.state[next(iter(optimiser.state))]
    converged = state["n_iter"] < iterations and state["func_evals"] < 2 * iterations
    with torch.no_grad():
        bound = model().item() - len(y) * float(np.log(scale.y_std))
    return SparseGaussianProcess(model, scale, bound, converged=converged)
