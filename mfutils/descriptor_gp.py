"""A Gaussian process on the descriptors of a trained network (section 3.2.2, Fig 3.7).

The network's last hidden layer d(graph) is the input of a Gaussian process, whose posterior gives
the prediction an uncertainty. Descriptors are correlated and of very different scale, so they are
standardised, and the noise is fitted with everything else: the posterior std at a new crystal is
then that of an observation. Exact up to `EXACT_POINTS`.
"""

import numpy as np

from mfutils.errors import InputError
from mfutils.gp import fit_gp

__all__ = ["EXACT_POINTS", "fit_descriptor_gp"]

EXACT_POINTS = 3000


def fit_descriptor_gp(descriptors, target, *, kernel="rbf", seed=0):
    """The GaussianProcess of descriptors (n, d) and targets (n,), by maximum likelihood.

    Raises InputError when every descriptor is constant (a network that learned nothing), when
    values are NaN, and beyond EXACT_POINTS rows, where the exact solution takes too long.
    """
    descriptors = np.asarray(descriptors, dtype=float)
    if descriptors.ndim != 2:
        raise InputError(f"descriptors have shape {descriptors.shape}; expected (n, d)")
    if len(descriptors) > EXACT_POINTS:
        raise InputError(
            f"{len(descriptors)} descriptors; an exact Gaussian process takes at most "
            f"{EXACT_POINTS}, so fit it on a subset"
        )
    if np.isfinite(descriptors).all() and not (np.ptp(descriptors, axis=0) > 0).any():
        raise InputError(
            f"all {len(descriptors)} descriptors are equal: the network sees no difference "
            "between these crystals; train it longer or on targets that vary"
        )
    return fit_gp(descriptors, target, kernel=kernel, seed=seed)
