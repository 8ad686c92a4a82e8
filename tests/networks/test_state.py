"""The state of a network as arrays: there and back, and one way of failing."""

import numpy as np
import pytest
import torch

from mfutils.errors import InputError
from mfutils.networks.cgcnn import CGCNN
from mfutils.networks.state import load_state, state_arrays

SMALL = {"features": 8, "convolutions": 1, "hidden": 8}


def test_there_and_back_without_shared_memory():
    first, second = (CGCNN(seed=seed, **SMALL) for seed in (1, 2))
    arrays = state_arrays(first)
    load_state(second, arrays)
    for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    before = {name: value.copy() for name, value in arrays.items()}
    with torch.no_grad():
        first.output.weight += 1
        second.output.weight += 2
    assert all(np.array_equal(arrays[name], value) for name, value in before.items())


@pytest.mark.parametrize(
    "arrays",
    [{}, {"no": np.zeros(2)}, None, {"output.weight": "text"}, state_arrays(CGCNN(hidden=16))],
)
def test_what_does_not_fit_is_one_clear_line(arrays):
    with pytest.raises(InputError, match=r"not the state of this CGCNN .*; pass the arrays that"):
        load_state(CGCNN(**SMALL), arrays)
