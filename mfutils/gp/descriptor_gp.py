"""A Gaussian process on the descriptors of a trained network (section 3.2.2, Fig 3.7).

The network's last hidden layer d(graph) is the input of a Gaussian process, whose posterior gives
the prediction an uncertainty. Descriptors are correlated and of very different scale, so they are
standardised, and the noise is fitted with everything else: the posterior std at a new crystal is
then that of an observation. Exact up to `EXACT_POINTS`, with inducing points beyond.
"""

import time

import numpy as np

from mfutils.errors import InputError
from mfutils.gp.exact import fit_gp

__all__ = ["EXACT_POINTS", "fit_descriptor_gp", "process"]

EXACT_POINTS = 3000


def fit_descriptor_gp(descriptors, target, *, kernel="rbf", inducing=200, seed=0):
    """A fitted process of descriptors (n, d) and targets (n,), by maximum likelihood.

    Returns a `mfutils.gp.exact.GaussianProcess`, and beyond EXACT_POINTS rows a
    `mfutils.gp.sparse.SparseGaussianProcess` with `inducing` points; both predict mean and std.
    Raises InputError when every descriptor is constant (a network that learned nothing) and as
    `fit_gp` does.
    """
    descriptors = np.asarray(descriptors, dtype=float)
    if descriptors.ndim != 2:
        raise InputError(f"descriptors have shape {descriptors.shape}; expected (n, d)")
    if np.isfinite(descriptors).all() and not (np.ptp(descriptors, axis=0) > 0).any():
        raise InputError(
            f"all {len(descriptors)} descriptors are equal: the network sees no difference "
            "between these crystals; train it longer or on targets that vary"
        )
    if len(descriptors) <= EXACT_POINTS:
        return fit_gp(descriptors, target, kernel=kernel, seed=seed)
    from mfutils.gp.sparse import fit_sparse_gp  # GPyTorch takes a second to import

    return fit_sparse_gp(descriptors, target, kernel=kernel, inducing=inducing, seed=seed)


def process(*, descriptor_drawn, target_drawn, descriptor_test, seed=0):
    """The process of one network as a job for `sweep.run`: plain arrays in and out.

    Fitted to descriptor_drawn (n, d) and target_drawn (n,), asked at descriptor_test (m, d).
    Returns a dict: gp_mean, gp_std and gp_std_noiseless (m,) in the unit of the target, the fitted
    noise_std, and gp_cpu_seconds, what the fit cost.
    """
    start = time.process_time()
    fitted = fit_descriptor_gp(descriptor_drawn, target_drawn, seed=seed)
    seconds = time.process_time() - start
    mean, std = fitted.predict(descriptor_test)
    return {
        "gp_mean": mean,
        "gp_std": std,
        "gp_std_noiseless": fitted.predict(descriptor_test, noiseless=True)[1],
        "gp_noise_std": fitted.hyperparameters["noise_std"],
        "gp_cpu_seconds": seconds,
    }
