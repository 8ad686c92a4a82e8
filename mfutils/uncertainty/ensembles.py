"""Where an uncertainty comes from: the law of total variance for ensembles.

Member m predicts a mean mu_m(x) and a noise variance v_m(x). Over members,

    Var(y | x) = E_m[v_m(x)] + Var_m[mu_m(x)]:

what remains with any amount of data (aleatoric) plus what the members disagree about
(epistemic). For vectors such as forces the variances are covariance matrices.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mfutils.errors import InputError

__all__ = ["Parts", "bootstrap_counts", "decompose", "vector_moments"]


@dataclass(frozen=True)
class Parts:
    """mean (n,), and the variances aleatoric, epistemic and total (n,) that belong to it."""

    mean: np.ndarray
    aleatoric: np.ndarray
    epistemic: np.ndarray

    @property
    def total(self) -> np.ndarray:
        """Sum of both variances."""
        return self.aleatoric + self.epistemic

    @property
    def std(self) -> np.ndarray:
        """Standard deviation of the prediction."""
        return np.sqrt(self.total)


def decompose(means: npt.ArrayLike, variances: npt.ArrayLike | None = None) -> Parts:
    """Parts of an ensemble; means and noise variances (m, n), no noise when left out.

    The variance over members divides by m - 1, so it is unbiased for independent members.
    Raises InputError for fewer than two members, other shapes or a negative variance.
    """
    means = np.asarray(means, dtype=float)
    variances = np.zeros_like(means) if variances is None else np.asarray(variances, dtype=float)
    if means.ndim != 2 or len(means) < 2 or variances.shape != means.shape:
        raise InputError(
            f"means and variances have shapes {means.shape} and {variances.shape}; expected "
            "(m, n) for both with at least 2 members"
        )
    if not (variances >= 0).all():
        raise InputError(f"a noise variance is {variances.min():g}; expected values from 0")
    return Parts(means.mean(0), variances.mean(0), means.var(0, ddof=1))


def vector_moments(
    samples: npt.ArrayLike, noise: npt.ArrayLike = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Mean (n, 3) and covariance (n, 3, 3) of vectors from K passes, samples (K, n, 3).

    noise is the variance of one component of the labels, a number or (n,); it is added to the
    diagonal. Needs K above 3, or the matrices have no inverse.
    """
    samples = np.asarray(samples, dtype=float)
    if samples.ndim != 3 or samples.shape[0] < 2:
        raise InputError(f"samples have shape {samples.shape}; expected (K, n, 3), K at least 2")
    mean = samples.mean(0)
    centred = samples - mean
    covariance = np.einsum("kna,knb->nab", centred, centred) / (len(samples) - 1)
    noise = np.broadcast_to(np.asarray(noise, dtype=float), (samples.shape[1],))
    if not (noise >= 0).all():
        raise InputError(f"noise variance is {noise.min():g}; expected values from 0")
    return mean, covariance + noise[:, None, None] * np.eye(samples.shape[2])


def bootstrap_counts(n: int, members: int, seed: int) -> np.ndarray:
    """How often each of n samples stands in each member's bootstrap sample, (members, n)."""
    if n < 1 or members < 1:
        raise InputError(f"{n} samples for {members} members; expected at least one of each")
    generator = np.random.default_rng(seed)
    return generator.multinomial(n, np.full(n, 1 / n), size=members).astype(float)
