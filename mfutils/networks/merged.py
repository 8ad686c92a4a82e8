"""A batch in which atoms and edges that no message can tell apart are kept once, as tensors."""

import dataclasses

import torch

from mfutils.crystals import neighbors
from mfutils.crystals.graph_data import GraphBatch
from mfutils.crystals.quotient import QuotientBatch, quotient

__all__ = ["merged"]


def merged(batch: GraphBatch, *, tolerance: float = neighbors.TIE) -> QuotientBatch:
    """The `quotient` of a batch of torch tensors on the CPU, as torch tensors.

    Lengths that differ by less than `tolerance` (Angstrom) can count as equal.
    """
    arrays = {f.name: getattr(batch, f.name).numpy() for f in dataclasses.fields(batch)}
    out = quotient(GraphBatch(**arrays), tolerance=tolerance)
    tensors = {f.name: torch.from_numpy(getattr(out, f.name)) for f in dataclasses.fields(out)}
    return dataclasses.replace(out, **tensors)
