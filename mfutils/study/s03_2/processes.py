"""The Gaussian processes on the descriptors of one network of section 3.2, as jobs of their own.

Apart from `members`, so that a change of a Gaussian process trains no network again. Two processes
stand side by side. `exact_process` is fitted by maximum likelihood on standardised descriptors, and
its std holds the noise that it learned. `thesis_process` is the study's: a sparse variational
process on raw descriptors, trained by Adam with early stopping, which predicts with a likelihood
that was never trained.
"""

import math
import time
from dataclasses import dataclass

import numpy as np
import torch

from mfutils.errors import InputError
from mfutils.gp.descriptor_gp import fit_descriptor_gp
from mfutils.gp.inputs import as_inputs, as_targets
from mfutils.networks.base import seeded

__all__ = ["DEFAULT_NOISE", "INDUCING", "Process", "exact_process", "thesis_process"]

INDUCING = 135  # inducing points of the study's process
# Noise variance (eV^2) of a fresh GPyTorch likelihood: softplus(0) and its lower bound
DEFAULT_NOISE = math.log(2) + 1e-4


@dataclass(frozen=True, kw_only=True, eq=False)
class Process:
    """The posterior at m test crystals: mean (m,), std (m,) with noise, std_noiseless (m,), in eV.

    noise_std is the noise in std, fitted_noise_std the one that training found; cpu_seconds is what
    the fit cost.
    """

    mean: np.ndarray
    std: np.ndarray
    std_noiseless: np.ndarray
    noise_std: float
    fitted_noise_std: float
    cpu_seconds: float


def exact_process(
    *,
    descriptor_drawn: np.ndarray,
    target_drawn: np.ndarray,
    descriptor_test: np.ndarray,
    seed: int = 0,
) -> Process:
    """The exact process, fitted to descriptor_drawn (n, d) and target_drawn (n,) in eV.

    It is asked at descriptor_test (m, d).
    """
    start = time.process_time()
    fitted = fit_descriptor_gp(descriptor_drawn, target_drawn, seed=seed)
    seconds = time.process_time() - start
    mean, std = fitted.predict(descriptor_test)
    noise = float(fitted.hyperparameters["noise_std"])
    return Process(
        mean=mean,
        std=std,
        std_noiseless=fitted.predict(descriptor_test, noiseless=True)[1],
        noise_std=noise,
        fitted_noise_std=noise,
        cpu_seconds=seconds,
    )


def thesis_process(
    *,
    descriptor_drawn: np.ndarray,
    target_drawn: np.ndarray,
    descriptor_test: np.ndarray,
    trained: int,
    seed: int = 0,
    inducing: int = INDUCING,
    epochs: int = 2000,
    patience: int = 50,
) -> Process:
    """The study's sparse process (section 3.2.2), with arguments as `exact_process`.

    The first `trained` rows train, in one batch, for at most `epochs` steps of Adam at a rate of
    0.1; the others stop it when their mean absolute error has not fallen for `patience` steps, and
    the best state counts. `inducing` inducing points start at training rows. Raises InputError
    unless rows are left to watch the training.
    """
    if not 2 <= trained < len(target_drawn):
        raise InputError(
            f"{trained} of {len(target_drawn)} rows train; expected at least 2, and some to "
            "validate"
        )
    x = torch.from_numpy(as_inputs(descriptor_drawn, "descriptor_drawn"))
    target = torch.from_numpy(as_targets(target_drawn, len(x)))
    start = time.process_time()
    with seeded(seed):
        rows = torch.randperm(trained)[: min(inducing, trained)]
        model, likelihood = _variational(x[rows].clone())
        _train(model, likelihood, x, target, trained, epochs, patience)
    seconds = time.process_time() - start
    model.eval()
    with torch.no_grad():
        asked = as_inputs(descriptor_test, "descriptor_test", columns=x.shape[1])
        posterior = model(torch.from_numpy(asked))
        variance = posterior.variance.clamp_min(0).numpy()
    return Process(
        mean=posterior.mean.numpy(),
        std=np.sqrt(variance + DEFAULT_NOISE),
        std_noiseless=np.sqrt(variance),
        noise_std=math.sqrt(DEFAULT_NOISE),
        fitted_noise_std=float(likelihood.noise.sqrt().item()),
        cpu_seconds=seconds,
    )


def _variational(points):
    """A variational process whose inducing points start at `points`, and its likelihood."""
    import gpytorch  # a second to import, which notebooks without it are spared

    class Sparse(gpytorch.models.ApproximateGP):
        def __init__(self):
            distribution = gpytorch.variational.CholeskyVariationalDistribution(len(points))
            super().__init__(
                gpytorch.variational.VariationalStrategy(
                    self, points, distribution, learn_inducing_locations=True
                )
            )
            self.mean_module = gpytorch.means.ConstantMean()
            self.covar_module = gpytorch.kernels.ScaleKernel(gpytorch.kernels.RBFKernel())

        def forward(self, x):
            return gpytorch.distributions.MultivariateNormal(
                self.mean_module(x), self.covar_module(x)
            )

    return Sparse().double(), gpytorch.likelihoods.GaussianLikelihood().double()


def _train(model, likelihood, x, target, trained, epochs, patience):
    import gpytorch

    bound = gpytorch.mlls.VariationalELBO(likelihood, model, num_data=trained)
    optimizer = torch.optim.Adam([*model.parameters(), *likelihood.parameters()], lr=0.1)
    best, best_epoch, kept = math.inf, 0, None
    for epoch in range(epochs):
        model.train()
        optimizer.zero_grad()
        loss = -bound(model(x[:trained]), target[:trained])
        loss.backward()
        optimizer.step()
        model.eval()
        with torch.no_grad():
            error = (model(x[trained:]).mean - target[trained:]).abs().mean().item()
        if error < best:
            best, best_epoch = error, epoch
            kept = {name: value.clone() for name, value in model.state_dict().items()}
        elif epoch - best_epoch >= patience:
            break
    model.load_state_dict(kept)
