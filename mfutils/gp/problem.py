"""The data of one two-fidelity problem: what a correction is fitted to (section 4.1)."""

from dataclasses import dataclass

import numpy as np

__all__ = ["TwoFidelityProblem"]


@dataclass(frozen=True)
class TwoFidelityProblem:
    """Data of one problem; x is (n,) or (n, d), y is (n,)."""

    x_high: np.ndarray
    y_high: np.ndarray
    x_low: np.ndarray
    y_low: np.ndarray
