"""The data of one two-fidelity problem: what a correction is fitted to (section 4.1)."""

from typing import NamedTuple

import numpy as np

__all__ = ["TwoFidelityProblem"]


class TwoFidelityProblem(NamedTuple):
    """Data of one problem; x is (n,) or (n, d), y is (n,). Test values are noise-free."""

    x_high: np.ndarray
    y_high: np.ndarray
    x_low: np.ndarray
    y_low: np.ndarray
    x_test: np.ndarray | None = None
    y_test: np.ndarray | None = None
    parameters: tuple | None = None
