"""The element numbering of the study's MEGNet, as its authors published it (section 3.2).

matgl's MEGNet keeps one learned vector per element and finds it by the place of the element in a
list. The study's scripts train with the list of the elements of the 472 sampled crystals and
predict with matgl's default list of 89 (repository GNN_uncertainty, commit 1fb4d07aec,
`get_descriptor_megnet`). From the first element on that the sample lacks, mostly helium, every
element is then read with the vector of another one. `as_queried` is a trained network under that
second list, so that the printed rows of Table 3.5 can be told from the network itself.
"""

import copy

import numpy as np
import torch

from mfutils.crystals.structure import ATOMIC_NUMBERS
from mfutils.networks.megnet import MEGNet
from mfutils.networks.megnet_matgl import ELEMENTS

__all__ = ["as_queried", "vectors_read"]


def vectors_read(sample: np.ndarray) -> dict[int, int]:
    """For each element of matgl's default list: the element whose vector it is read with.

    sample: atomic numbers of the elements in the training sample. Places beyond the sample's
    elements were never trained; they stand for elements that the sample lacks, one each.
    """
    sample = np.unique(sample)
    queried = np.array([ATOMIC_NUMBERS[symbol] for symbol in ELEMENTS])
    stored = np.concatenate([sample, np.setdiff1d(queried, sample)])
    return dict(zip(queried.tolist(), stored.tolist(), strict=False))


def as_queried(model: MEGNet, sample: np.ndarray) -> MEGNet:
    """A copy of `model`, trained on the elements `sample`, that reads matgl's default list."""
    out = copy.deepcopy(model)
    read = vectors_read(sample)
    with torch.no_grad():
        out.embedding.weight[list(read)] = model.embedding.weight[list(read.values())]
    return out
