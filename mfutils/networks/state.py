"""The state of a network as plain arrays and back, so that jobs can hand it on and store it."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from mfutils.errors import InputError

__all__ = ["load_state", "state_arrays"]


def state_arrays(model: nn.Module) -> dict[str, np.ndarray]:
    """Copies of all weights and buffers of `model`, by their names."""
    return {name: value.cpu().numpy().copy() for name, value in model.state_dict().items()}


def load_state(model: nn.Module, arrays: Mapping[str, np.ndarray]) -> None:
    """Give `model` copies of the arrays that `state_arrays` made of an equal one.

    Raises InputError when a name or a shape does not fit.
    """
    try:
        tensors = {name: torch.from_numpy(np.array(value)) for name, value in arrays.items()}
        model.load_state_dict(tensors)
    except (TypeError, AttributeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(
            f"not the state of this {type(model).__name__} ({reason}); pass the arrays that "
            "`state_arrays` made of a network of the same settings"
        ) from error
