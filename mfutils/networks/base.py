"""What every crystal graph network has in common (section 2.3).

A model turns a batch of crystal graphs into one descriptor per crystal, d = D(graph), and reads
the standardised target off it with a linear layer, y = w d + b. It knows the graphs that it was
made for (cutoff, number of neighbours) and, when it learns from several sources at once, their
names: a learned vector per fidelity enters beside the crystal. Training, saving and the Gaussian
process on descriptors need no more than this interface.
"""

import contextlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from mfutils.crystals.graph_data import GraphBatch, GraphDataset
from mfutils.errors import InputError

__all__ = ["GraphModel", "seeded", "takes_compiled"]


class GraphModel(nn.Module):
    """Base of CGCNN and MEGNet.

    A subclass calls `super().__init__(config)` first, builds its layers inside
    `with seeded(config["seed"])`, and gives

    - `architecture`, its key in `architectures.ARCHITECTURES`;
    - `descriptor(batch, fidelity=None)`: (g, descriptor_size) of a GraphBatch of torch tensors
      with g graphs, before the output layer;
    - `output`, the layer from the descriptor to one number;
    - `descriptor_size`.

    config holds the keyword arguments of the constructor, plain values only, with at least
    cutoff (Angstrom), max_neighbors (int or None), fidelities (names, empty for a single source),
    seed and compiled.

    compiled chooses between two forms with the same result: True for compiled passes on graphs
    where equal atoms are kept once (`mfutils.crystals.quotient`), False for plain torch operations
    on every atom and edge, None for the first as far as it applies (CPU, and single precision for
    the passes). It is settled when the model is built, and travels with it.
    """

    architecture: str
    descriptor_size: int
    output: nn.Module

    def __init__(self, config: dict) -> None:
        super().__init__()
        config = dict(config)
        config["fidelities"] = tuple(str(name) for name in config["fidelities"])
        names = config["fidelities"]
        if len(set(names)) != len(names):
            raise InputError(f"fidelities {', '.join(names)} repeat; expected every name once")
        self.config = config

    @property
    def compiled(self) -> bool | None:
        """Which of the two forms computes: True compiled, False plain torch, None what fits."""
        return self.config["compiled"]

    @property
    def cutoff(self) -> float:
        """Radius in Angstrom of the graphs that this model reads."""
        return self.config["cutoff"]

    @property
    def max_neighbors(self) -> int | None:
        """Neighbours per atom of the graphs that this model reads; None for all."""
        return self.config["max_neighbors"]

    @property
    def fidelities(self) -> tuple[str, ...]:
        """Names of the fidelities, in the order of the embedding; empty without one."""
        return self.config["fidelities"]

    def descriptor(self, batch: GraphBatch, fidelity: torch.Tensor | None = None) -> torch.Tensor:
        """The vector per crystal before the output layer, (g, descriptor_size)."""
        raise NotImplementedError

    def forward(self, batch: GraphBatch, fidelity: torch.Tensor | None = None) -> torch.Tensor:
        """Standardised target (g,) of each graph; fidelity (g,) int64 are codes of `codes`."""
        return self.output(self.descriptor(batch, fidelity)).squeeze(-1)

    def codes(self, fidelity: npt.ArrayLike | None, n: int) -> np.ndarray | None:
        """Codes (n,) int64 of a fidelity name or of n names; None for a single-source model.

        Raises InputError for unknown names, a wrong count, or names where none are known.
        """
        names = self.fidelities
        if not names:
            if fidelity is None:
                return None
            raise InputError("fidelity is given, but the model knows none; leave it out")
        if fidelity is None:
            raise InputError(f"no fidelity given; expected a name per graph of {', '.join(names)}")
        given = np.atleast_1d(np.asarray(fidelity))
        if given.dtype.kind not in "UO" or given.ndim != 1 or len(given) not in (1, n):
            raise InputError(
                f"fidelity is {given.dtype} of shape {given.shape}; expected one name or {n} names"
            )
        code = {name: i for i, name in enumerate(names)}
        unknown = sorted({str(name) for name in given} - set(names))
        if unknown:
            raise InputError(f"unknown fidelity {unknown[0]!r}; the model knows {', '.join(names)}")
        out = np.array([code[str(name)] for name in given], dtype=np.int64)
        return np.broadcast_to(out, n).copy()

    def check_dataset(self, dataset: GraphDataset) -> None:
        """Raises InputError unless `dataset` holds graphs of the kind this model reads."""
        for name in ("cutoff", "max_neighbors"):
            mine, theirs = getattr(self, name), getattr(dataset, name)
            if mine != theirs:
                raise InputError(
                    f"the graphs have {name} {theirs}, the model was made for {mine}; build the "
                    f"graphs with {name}={mine}"
                )


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Run a block with torch's random numbers started from `seed`, and put the state back."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(seed))
        yield


def takes_compiled(compiled: bool | None, *tensors: torch.Tensor) -> bool:
    """Whether the compiled passes compute on `tensors`, for a choice as of `GraphModel.compiled`.

    They take single precision on the CPU. Raises InputError when they are demanded (True) of
    other tensors.
    """
    fits = all(t.dtype == torch.float32 and t.device.type == "cpu" for t in tensors)
    if compiled and not fits:
        kinds = ", ".join(sorted({f"{t.dtype} on {t.device.type}" for t in tensors}))
        raise InputError(
            f"compiled is True and the model computes with {kinds}; the compiled passes take "
            "torch.float32 on the CPU, so build the model with compiled=None"
        )
    return fits if compiled is None else compiled
