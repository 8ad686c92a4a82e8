"""One Gaussian process on the descriptors of a network: `gp.exact` against GPyTorch with Adam.

    python benchmarks/bench_gp_descriptor.py [--rounds N] [--iterations N]

The data are those of section 3.2: a CGCNN trained for a short while on 472 PBE gaps of embedded
crystals, its 128 descriptors, the same gaps as targets. The peer is the usual recipe: ExactGP,
scaled RBF, Adam at 0.1 for 300 iterations in float64, on the same standardised data. It starts
at a lengthscale of sqrt(128), where ours starts; GPyTorch's default of 0.69 is also run, once.
Before anything is timed, GPyTorch must find our log likelihood at our hyperparameters; after that
ours must have reached at least the peer's. Times are CPU times of one thread, in turns.
"""

import argparse
import json
import math
import warnings

import torch
from turns import entry, in_turns

from mfutils import paths
from mfutils.compendium import sweep
from mfutils.errors import InputError
from mfutils.gp import descriptor_gp
from mfutils.gp.inputs import Standardiser
from mfutils.study.s03_2 import members

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import gpytorch

# Relative difference allowed between the two sides' log likelihood at the same hyperparameters
SAME = 1e-6
# What two converged optimisers may differ by, in log likelihood
TOLERANCE = 1e-3


def network_job(epochs=60, samples=472):
    """The short training that makes the descriptors, as a job of `members.member`."""
    training = {"epochs": epochs, "patience": epochs, "milestones": (epochs // 2,)}
    return {
        "dataset": "open", "architecture": "cgcnn", "fidelity": "mp_pbe", "seed": 42,
        "samples": samples, "training": training,
    }  # fmt: skip


def descriptors(**size):
    """Descriptors (n, d) and gaps (n,) in eV of one network's own crystals."""
    folder = paths.CACHE / "bench_member"
    result = sweep.run(members.member, [network_job(**size)], workers=1, folder=folder)[0]
    return result.right.descriptor_drawn.astype(float), result.target


class PeerGP(gpytorch.models.ExactGP):
    """Zero mean and a scaled RBF on standardised data."""

    def __init__(self, x, y, lengthscale):
        super().__init__(x, y, gpytorch.likelihoods.GaussianLikelihood().double())
        self.mean_module = gpytorch.means.ZeroMean()
        self.covar_module = gpytorch.kernels.ScaleKernel(gpytorch.kernels.RBFKernel())
        self.double()
        if lengthscale is not None:
            self.covar_module.base_kernel.lengthscale = lengthscale
        self.train()

    def forward(self, x):
        return gpytorch.distributions.MultivariateNormal(self.mean_module(x), self.covar_module(x))

    def value(self):
        """Log likelihood of the training targets, as a tensor."""
        inputs, target = self.train_inputs[0], self.train_targets
        objective = gpytorch.mlls.ExactMarginalLogLikelihood(self.likelihood, self)
        return objective(self(inputs), target) * len(target)


def peer(x, y, iterations, lengthscale):
    """The peer's model after `iterations` steps of Adam."""
    model = PeerGP(x, y, lengthscale)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(iterations):
        optimiser.zero_grad()
        loss = -model.value() / len(y)
        loss.backward()
        optimiser.step()
    return model


def likelihood(model, scale):
    """Log likelihood of a peer in the units of y."""
    with torch.no_grad():
        return float(model.value()) - len(model.train_targets) * math.log(scale.y_std)


def check_same_function(fitted, inputs, targets, scale):
    """GPyTorch's log likelihood at our hyperparameters must be ours; returns the difference."""
    found, kernel = fitted.hyperparameters, PeerGP(inputs, targets, None)
    lengths = found["lengthscale"] / scale.x_std
    kernel.covar_module.base_kernel.lengthscale = float(lengths[0])
    kernel.covar_module.outputscale = (found["signal_std"] / scale.y_std) ** 2
    kernel.likelihood.noise = (found["noise_std"] / scale.y_std) ** 2
    value, ours = likelihood(kernel, scale), fitted.log_marginal_likelihood
    gap = abs(value - ours) / abs(ours)
    if not gap <= SAME:
        raise SystemExit(f"error: at our hyperparameters GPyTorch finds {value:.6f}, we {ours:.6f}")
    return gap


def measure(*, rounds=5, iterations=300, **size):
    """The entry of this file."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        x, y = descriptors(**size)
        if len(x) < 10:
            raise InputError(f"{len(x)} descriptors; expected at least 10")
        scale = Standardiser.of(x, y)
        inputs, targets = (torch.from_numpy(a) for a in (scale.x_forward(x), scale.y_forward(y)))
        start = math.sqrt(x.shape[1])
        fitted = descriptor_gp.fit_descriptor_gp(x, y)
        same = check_same_function(fitted, inputs, targets, scale)
        ours = fitted.log_marginal_likelihood
        gain, default = (
            ours - likelihood(peer(inputs, targets, iterations, length), scale)
            for length in (start, None)
        )
        if gain < -TOLERANCE:
            raise SystemExit(f"error: the peer's log likelihood is higher by {-gain:.2g}")
        times = in_turns(
            lambda: descriptor_gp.fit_descriptor_gp(x, y),
            lambda: peer(inputs, targets, iterations, start),
            rounds,
        )
    finally:
        torch.set_num_threads(before)
    equal_to = (
        f"log likelihood at the same hyperparameters to {same:.0e}; reached: ours higher by "
        f"{gain:.2g} on {len(x)} x {x.shape[1]} (by {default:.3g} where the peer starts at its "
        "default lengthscale)"
    )
    name = f"GPyTorch ExactGP, Adam, {iterations} iterations"
    return entry("gp_descriptor_vs_gpytorch", *times, name, equal_to)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--iterations", type=int, default=300)
    options = parser.parse_args()
    print(json.dumps(measure(rounds=options.rounds, iterations=options.iterations), indent=1))


if __name__ == "__main__":
    main()
