"""The Gaussian process on the descriptors of one network of section 3.2, as a job of its own.

Apart from `members`, so that a change of the Gaussian process trains no network again.
"""

import time

import numpy as np

from mfutils.gp.descriptor_gp import fit_descriptor_gp

__all__ = ["fit_process"]


def fit_process(
    *,
    descriptor_drawn: np.ndarray,
    target_drawn: np.ndarray,
    descriptor_test: np.ndarray,
    seed: int = 0,
) -> dict:
    """The process of one network: plain arrays in and out.

    Fitted to descriptor_drawn (n, d) and target_drawn (n,), asked at descriptor_test (m, d).
    Returns a dict: gp_mean, gp_std and gp_std_noiseless (m,) in the unit of the target, the fitted
    gp_noise_std, and gp_cpu_seconds, what the fit cost.
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
