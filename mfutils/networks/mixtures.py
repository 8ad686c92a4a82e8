"""Atom features of sites that several elements share, so that CGCNN reads disordered crystals.

CGCNN knows an element by 92 bits (`mfutils.networks.atom_features`). A site with the share x_z of
element z is described by sum_z x_z bits(z). The first layer is linear, so where the shares add up
to 1 this is the mean of the elements' learned vectors, as in Chen et al. 2021 (Nature Computational
Science 1, 46). A vacancy adds nothing: a half-filled site has half the bits of its element and is
told from a full one. In the mean over the crystal a site counts as one atom however full it is.
"""

import copy

import numpy as np
import torch

from mfutils.crystals.occupancy_graphs import FIRST_CODE, OccupancyGraphs
from mfutils.crystals.structure import SYMBOLS
from mfutils.errors import InputError
from mfutils.networks.atom_features import atom_features
from mfutils.networks.base import GraphModel
from mfutils.networks.cgcnn import CGCNN

__all__ = ["mixture_features", "with_mixtures"]


def mixture_features(mixtures: np.ndarray) -> np.ndarray:
    """Features (m, 92) float32 of mixtures (m, 118), the shares of the elements.

    Raises InputError for an element beyond the published table, for shares outside of [0, 1] and
    for rows that add up to more than 1.
    """
    mixtures = np.asarray(mixtures, dtype=float)
    table = atom_features()
    if mixtures.ndim != 2 or mixtures.shape[1] != len(SYMBOLS):
        raise InputError(
            f"mixtures have shape {mixtures.shape}; expected (m, {len(SYMBOLS)}), a share per "
            "element"
        )
    good = (mixtures >= 0) & (mixtures <= 1)
    if not good.all() or (mixtures.sum(axis=1) > 1 + 1e-3).any():
        raise InputError(
            "a share lies outside of 0 to 1, or those of a mixture add up to more than 1; expected "
            "occupancies"
        )
    beyond = np.flatnonzero(mixtures[:, len(table) :].any(axis=0))
    if len(beyond):
        raise InputError(_no_features(len(table) + 1 + int(beyond[0]), len(table)))
    return (mixtures[:, : len(table)] @ table).astype(np.float32)


def with_mixtures(model: GraphModel, data: OccupancyGraphs) -> CGCNN:
    """A copy of a CGCNN that also reads the mixtures of `data`; its weights are those of `model`.

    What a mixture is belongs to the data and not to the weights: a saved model does not hold it, so
    call this again after loading. Raises InputError for a model of another architecture, for one
    that knows mixtures already, for graphs of another kind and for elements beyond the table.
    """
    if not isinstance(model, CGCNN):
        raise InputError(
            f"a {type(model).__name__} has no table of atom features; expected a CGCNN"
        )
    last = len(atom_features())
    if len(model.elements) != last:
        raise InputError("the model knows mixtures already; start from the one that was given them")
    model.check_dataset(data.graphs)
    numbers = data.graphs.numbers
    beyond = numbers[(numbers > last) & (numbers < FIRST_CODE)]
    if len(beyond):
        raise InputError(_no_features(int(beyond.min()), last))
    if len(numbers) and numbers.max() >= FIRST_CODE + len(data.mixtures):
        raise InputError(
            f"code {numbers.max()} in the graphs, but {len(data.mixtures)} mixtures; pass graphs "
            "and mixtures of one data set"
        )
    rows = mixture_features(data.mixtures)
    model = copy.deepcopy(model)
    if len(rows):
        gap = np.zeros((FIRST_CODE - 1 - last, rows.shape[1]), dtype=np.float32)
        more = torch.from_numpy(np.concatenate([gap, rows])).to(model.elements)
        model.elements = torch.cat([model.elements, more])
    return model


def _no_features(number, last):
    return (
        f"no atom features for atomic number {number}; the published table ends at {last}, so "
        "leave these crystals out"
    )
