"""The runs of section 4.2: which labels go through which strategy, pass by pass.

Pass 0 trains on the noisy labels. Before every later pass the labels of A, B and C are corrected
with the predictions of the pass before (`denoising`); D keeps the truth. These functions
make the jobs of `job.train_strategy`; `mfutils.compendium.sweep.run` trains and stores them.
"""

import numpy as np
import numpy.typing as npt

from mfutils.errors import InputError
from mfutils.study.s04_2.job import draw_labels
from mfutils.study.s04_2.label_noise import LEVELS, add_noise

__all__ = ["Case", "first_job", "label_errors", "next_job"]


class Case:
    """The labels of one draw: a size and a seed of a data set, a kind and a level of noise.

    Attributes: partition, true (n,) and noisy (n,) labels in eV, theta (n,), truth (m,) of the
    scored rows. Raises InputError for an unknown level, and as `partition.deal_subsets` does.
    """

    def __init__(
        self,
        *,
        dataset: str,
        size: int,
        seed: int,
        kind: str,
        level: str,
        scored: int | None = None,
        architecture: str = "cgcnn",
    ):
        if level not in LEVELS:
            raise InputError(f"noise level {level!r}: expected one of {', '.join(LEVELS)}")
        self.kind, self.level, self.seed = kind, level, seed
        self.shared = {"dataset": dataset, "size": size, "seed": seed, "scored": scored}
        self.shared["architecture"] = architecture
        draw = draw_labels(dataset, size, seed, scored=scored, architecture=architecture)
        self.partition, self.true, self.truth = draw.partition, draw.true, draw.truth
        self.dataset = draw.data.name
        self.theta = np.array([LEVELS[level][name] for name in self.partition.subset])
        # The same normal numbers at every level, so that levels differ by theta alone
        self.noisy = add_noise(self.true, self.theta, kind, seed=[seed, 2])


def first_job(case: Case, strategy: str, **options) -> dict:
    """The job of pass 0; options are those of `train_strategy` (network, training, member)."""
    return {**case.shared, "labels": case.noisy, "strategy": strategy, **options}


def next_job(
    case: Case,
    strategy: str,
    labels: np.ndarray,
    state: dict[str, np.ndarray] | None = None,
    **options,
) -> dict:
    """The job of a later pass on corrected labels (n,), from the weights `state` or fresh ones."""
    return {**first_job(case, strategy, **options), "labels": labels, "state": state}


def label_errors(case: Case, labels: npt.ArrayLike) -> dict[str, float]:
    """Mean absolute error of labels (n,) against the truth, in eV: a dict for A to D and "ABC".

    "ABC" is the mean over all labels that a correction may change.
    """
    error = np.abs(np.asarray(labels, dtype=float) - case.true)
    names = ["A", "B", "C", "D", "ABC"]
    return {name: float(error[case.partition.members(name)].mean()) for name in names}
