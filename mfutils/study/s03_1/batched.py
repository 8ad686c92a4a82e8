"""Adam and early stopping for many independent models that train side by side (section 3.1).

Parameters are one tensor (p, m): a column per member. All members start together, so Adam's bias
corrections are common; everything else (moments, best error, patience) is kept per member, and a
member that has finished is dropped from the tensors, which then shrink.
"""

import math

import numpy as np
import torch

from mfutils.errors import InputError

__all__ = ["Adam", "Patience", "as_held_out"]


class Adam:
    """Kingma and Ba's optimiser on parameters (p, m), step for step that of torch.optim."""

    def __init__(
        self,
        parameters: torch.Tensor,
        *,
        learning_rate: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
    ) -> None:
        self.first = torch.zeros_like(parameters)
        self.second = torch.zeros_like(parameters)
        self.learning_rate, self.betas, self.epsilon = learning_rate, betas, epsilon
        self.steps = 0

    def step(self, parameters: torch.Tensor, gradient: torch.Tensor) -> None:
        """Update `parameters` in place; both tensors are (p, m)."""
        self.steps += 1
        slow, fast = self.betas
        self.first.lerp_(gradient, 1 - slow)
        self.second.mul_(fast).addcmul_(gradient, gradient, value=1 - fast)
        scale = self.learning_rate / (1 - slow**self.steps)
        root = self.second.sqrt().div_(math.sqrt(1 - fast**self.steps)).add_(self.epsilon)
        parameters.addcdiv_(self.first, root, value=-scale)

    def keep(self, members: torch.Tensor) -> None:
        """Forget all members but these (a boolean tensor over the columns)."""
        self.first, self.second = self.first[:, members], self.second[:, members]


class Patience:
    """Stops a member once its watched error has not improved `patience` times in a row."""

    def __init__(self, size: int, patience: int) -> None:
        if patience < 1:
            raise InputError(f"patience is {patience}; it must be at least 1")
        self.patience = patience
        self.best = torch.full((size,), math.inf)
        self.failures = torch.zeros(size, dtype=torch.int32)

    def update(self, error: torch.Tensor) -> torch.Tensor:
        """Note the errors (m,) of one epoch; returns which members stop now (m,), boolean."""
        improved = error < self.best
        self.best = torch.where(improved, error, self.best)
        self.failures.add_(1).masked_fill_(improved, 0)
        return self.failures >= self.patience

    def keep(self, members: torch.Tensor) -> None:
        """Forget all members but these."""
        self.best, self.failures = self.best[members], self.failures[members]


def as_held_out(
    held_out: np.ndarray | torch.Tensor | None, members: int, rows: int, *, watched: bool
) -> torch.Tensor:
    """Checked boolean mask (m, n) of the rows that each member must not train on.

    Raises InputError when the shape is wrong, a member has no row left to train on, or
    (watched=True) no row to watch.
    """
    if held_out is None:
        held_out = torch.zeros(members, rows, dtype=torch.bool)
    mask = torch.as_tensor(held_out)
    if mask.dtype != torch.bool or mask.shape != (members, rows):
        raise InputError(
            f"held_out must be a boolean mask ({members}, {rows}): members by rows, "
            f"got {mask.dtype} {tuple(mask.shape)}"
        )
    if mask.all(dim=1).any():
        raise InputError("a member holds out every row; leave it at least one to train on")
    if watched and not mask.any(dim=1).all():
        raise InputError("a member holds out no row; early stopping needs one to watch")
    return mask
