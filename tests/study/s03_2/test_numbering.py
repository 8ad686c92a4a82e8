"""The study's element numbering: which vector an element is read with, and what that changes."""

import numpy as np
import pytest
import torch

from mfutils.crystals.graph_data import build_dataset
from mfutils.crystals.structure import ATOMIC_NUMBERS, Crystal
from mfutils.networks.megnet import MEGNet
from mfutils.study.s03_2.numbering import as_queried, vectors_read

SMALL = {"blocks": 1, "dense": (8,), "update": (8, 8), "head": (8,), "gaussians": 10}


def numbers(*symbols):
    return np.array([ATOMIC_NUMBERS[s] for s in symbols])


def test_elements_shift_from_the_first_one_that_is_missing():
    # H, He, Li, Be are places 0 to 3; the sample has H, Li, Be, O at these places
    read = vectors_read(numbers("O", "H", "Li", "Be", "O"))
    h, he, li, be, o = numbers("H", "He", "Li", "Be", "O")
    assert (read[h], read[he], read[li], read[be]) == (h, li, be, o)
    # everything after the sample's elements was never trained, and no two share a vector
    assert read[o] not in {h, li, be, o}
    assert len(read) == 89
    assert len(set(read.values())) == 89


def test_a_sample_of_all_elements_shifts_nothing():
    every = np.array(sorted(vectors_read(numbers("H"))))
    assert all(a == b for a, b in vectors_read(every).items())


def test_the_copy_reads_other_vectors_and_the_model_stays():
    model = MEGNet(seed=3, **SMALL).eval()
    before = model.embedding.weight.detach().clone()
    wrong = as_queried(model, numbers("H", "Li", "O"))
    li, o = numbers("Li", "O")
    np.testing.assert_array_equal(wrong.embedding.weight[li].detach(), before[o])
    assert torch.equal(model.embedding.weight, before)
    # a crystal of lithium is now what the model says of one of oxygen
    crystals = [
        Crystal(np.eye(3) * 3.2, np.array([[0, 0, 0], [0.5, 0.5, 0.5]]), np.array([z, z]))
        for z in (li, o)
    ]
    graphs = build_dataset(crystals, cutoff=5.0, max_neighbors=None, progress=False)
    batch = graphs.batch([0, 1]).to_torch()
    with torch.no_grad():
        assert wrong(batch)[0].item() == pytest.approx(model(batch)[1].item(), abs=1e-6)
