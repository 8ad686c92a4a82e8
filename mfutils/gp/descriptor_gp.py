"""A Gaussian process on the descriptors of a trained network (section 3.2.2, Fig 3.7).

The network's last hidden layer d(graph) is the input of a Gaussian process, whose posterior gives
the prediction an uncertainty. Descriptors are correlated and of very different scale, so they are
standardised, and the noise is fitted with everything else: the posterior std at a new crystal is
then that of an observation. Exact up to `EXACT_POINTS`, with inducing points beyond.
"""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mfutils.errors import InputError
from mfutils.gp.exact import GaussianProcess, fit_gp

if TYPE_CHECKING:
    from mfutils.gp.sparse import SparseGaussianProcess

__all__ = ["EXACT_POINTS", "fit_descriptor_gp"]

EXACT_POINTS = 3000


def fit_descriptor_gp(
    descriptors: npt.ArrayLike,
    target: npt.ArrayLike,
    *,
    kernel: str = "rbf",
    inducing: int = 200,
    seed: int = 0,
) -> "GaussianProcess | SparseGaussianProcess":
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
