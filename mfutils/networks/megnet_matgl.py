"""matgl's MEGNet behind the interface of ours, and weights carried over in both directions.

matgl 4.1.2 (PyG) is the reference of section 2.3.1. Both sides have the same layers, so carrying
weights over is a renaming; only the atom embedding is ordered differently, there by a list of
elements, here by atomic number. matgl is imported when the first `MatglMEGNet` is built, which
costs about ten CPU seconds; everything else here reads tensors.
"""

import re
import warnings
from collections.abc import Mapping, Sequence
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

from mfutils.crystals.graph_data import GraphBatch
from mfutils.crystals.structure import ATOMIC_NUMBERS, SYMBOLS
from mfutils.errors import InputError
from mfutils.networks.base import GraphModel, seeded
from mfutils.networks.megnet import MEGNet

__all__ = ["ELEMENTS", "MatglMEGNet", "from_matgl"]

# matgl's default order: H to Pu without Po, At, Rn, Fr and Ra
ELEMENTS = tuple(s for z, s in enumerate(SYMBOLS, start=1) if z <= 94 and not 84 <= z <= 88)
_ATOMS, _CENTERS = "embedding.layer_node_embedding.weight", "bond_expansion.rbf.centers"
_NAMES = (
    (r"embedding\.layer_state_embedding\.weight", r"fidelity_embedding.weight"),
    (r"(edge|node|state)_encoder\.layers\.(\d+)\.(\w+)", r"\1_encoder.<\2>.\3"),
    (r"blocks\.(\d+)\.(edge|node|state)_func\.layers\.(\d+)\.(\w+)", r"blocks.\1.\2_dense.<\3>.\4"),
    (
        r"blocks\.(\d+)\.conv\.(edge|node|state)_func\.layers\.(\d+)\.(\w+)",
        r"blocks.\1.\2_update.<\3>.\4",
    ),
    (r"(edge|node)_s2s\.lstm\.(\w+_l0)", r"\1_set2set.\2"),
    (r"output_proj\.layers\.(\d+)\.(\w+)", r"output.<\1>.\2"),
)


class MatglMEGNet(GraphModel):
    """matgl's MEGNet of all elements, built from the keyword arguments of `MEGNet`.

    It computes every atom and every edge with plain torch operations, so `compiled` is False. It
    reads the same batches; where no graph of a batch has an edge, its set2set of edges answers
    with zeros, without what its LSTM would say.
    """

    architecture = "megnet_matgl"

    def __init__(self, **options: object) -> None:
        if options.get("compiled"):
            raise InputError("matgl has no compiled passes; expected compiled=False or None")
        config = MEGNet(**options | {"compiled": False}).config
        super().__init__(config)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its dependencies, at import
            from matgl.layers import BondExpansion
            from matgl.models import MEGNet as Reference
        with seeded(config["seed"]):
            self.network = Reference(
                element_types=SYMBOLS,
                cutoff=config["cutoff"],
                bond_expansion=BondExpansion(
                    rbf_type="Gaussian",
                    initial=0.0,
                    final=config["gauss_end"],
                    num_centers=config["gaussians"],
                    width=config["gauss_width"],
                ),
                activation_type=config["activation"],
                dim_edge_embedding=config["gaussians"],
                nblocks=config["blocks"],
                niters_set2set=config["set2set_steps"],
                dim_node_embedding=config["node_size"],
                dim_state_embedding=config["state_size"],
                ntypes_state=len(self.fidelities) or None,
                hidden_layer_sizes_input=config["dense"],
                hidden_layer_sizes_conv=config["update"],
                hidden_layer_sizes_output=config["head"],
            )
        self.descriptor_size = 5 * config["update"][-1]

    @classmethod
    def with_weights_of(cls, ours: MEGNet) -> "MatglMEGNet":
        """matgl's network with the sizes and the weights of one of ours.

        Raises InputError for a network that lacks the weights of some elements.
        """
        if not bool(ours.known[1:].all()):
            raise InputError("the network has weights for some elements only; expected all")
        model = cls(**ours.config | {"compiled": False})
        theirs, weights = model.network.state_dict(), ours.state_dict()
        renamed = {name: weights[_renamed(name)] for name in theirs.keys() - {_ATOMS, _CENTERS}}
        model.network.load_state_dict(
            theirs | renamed | {_ATOMS: ours.embedding.weight[1:].detach()}
        )
        return model.to(ours.embedding.weight)

    @property
    def output(self) -> nn.Module:
        """The layers from the descriptor to one number."""
        return self.network.output_proj

    def descriptor(self, batch: GraphBatch, fidelity: torch.Tensor | None = None) -> torch.Tensor:
        """Atoms, edges and state after the blocks, side by side: (g, descriptor_size)."""
        # An edge of length d may start anywhere: from the origin along x
        lengths = batch.distances.to(self.output.layers[0].weight.dtype)
        if self.fidelities and fidelity is None:
            raise InputError(
                f"this model knows the fidelities {', '.join(self.fidelities)}; give a code per "
                "graph"
            )
        if not self.fidelities:
            fidelity = lengths.new_zeros(len(batch.n_atoms), self.config["state_size"])
        graph = SimpleNamespace(
            node_type=batch.numbers - 1,
            pos=lengths.new_zeros(len(batch.numbers), 3),
            edge_index=batch.edge_index,
            pbc_offshift=nn.functional.pad(lengths[:, None], (0, 2)),
            batch=batch.graph_index,
            num_graphs=len(batch.n_atoms),
        )
        self.network(graph, fidelity)
        readout = self.network.feature_dict["readout"]
        self.network.feature_dict = {}  # it would keep the whole computation alive
        return readout


def from_matgl(
    state: Mapping[str, torch.Tensor], *, gauss_width: float, set2set_steps: int,
    elements: Sequence[str] = ELEMENTS, fidelities: Sequence[str] = (),
    compiled: bool | None = None,
) -> MEGNet:  # fmt: skip
    """A MEGNet of ours with the weights of `matgl.models.MEGNet(...).state_dict()`.

    The sizes of layers and the cutoff follow from the tensors. gauss_width and set2set_steps
    (matgl's niters_set2set) do not and must be given, like the `element_types` of the matgl model
    if they were not the default, and a name per entry of its state embedding (ntypes_state).
    Elements that matgl had no weights for are refused by the model. Raises InputError for what is
    no such state dict or has layers that are not there here.
    """
    state = dict(state)
    try:
        centers, atoms = state.pop(_CENTERS), state.pop(_ATOMS)
        config = _config(state, centers, atoms)
    except (KeyError, ValueError) as error:
        raise InputError(
            f"not the state dict of a matgl MEGNet (lacks {error}); expected "
            "matgl.models.MEGNet(...).state_dict()"
        ) from None
    cutoff = round(float(centers[-1]) - 1.0, 5)
    even = np.linspace(0, cutoff + 1, len(centers))
    if not np.allclose(centers.numpy(), even, atol=1e-5):
        raise InputError("the Gaussians' centres are not evenly spaced from 0 to cutoff + 1")
    entries = len(state.get("embedding.layer_state_embedding.weight", ()))
    if entries != len(fidelities):
        raise InputError(
            f"{len(fidelities)} fidelities for {entries} entries of the state embedding; "
            "expected a name each"
        )
    if len(elements) != len(atoms):
        raise InputError(
            f"{len(elements)} elements for {len(atoms)} rows of the atom embedding; expected "
            "the element_types of the matgl model"
        )
    model = MEGNet(
        cutoff=cutoff, gauss_width=gauss_width, set2set_steps=set2set_steps,
        fidelities=fidelities, compiled=compiled, **config,
    )  # fmt: skip
    _load(model, {_renamed(name): tensor for name, tensor in state.items()})
    rows = [ATOMIC_NUMBERS[symbol] for symbol in elements]
    with torch.no_grad():
        model.embedding.weight[rows] = atoms.to(model.embedding.weight.dtype)
        model.known[:] = False
        model.known[rows] = True
    return model


def _config(state, centers, atoms):
    """Layer sizes from the shapes of the tensors."""

    def outputs(prefix):
        pattern = re.compile(re.escape(prefix) + r"\.layers\.(\d+)\.bias")
        sizes = {int(m[1]): len(t) for name, t in state.items() if (m := pattern.fullmatch(name))}
        if not sizes:
            raise KeyError(prefix)
        return tuple(sizes[layer] for layer in sorted(sizes))

    blocks = {int(m[1]) for name in state if (m := re.match(r"blocks\.(\d+)\.conv", name))}
    return {
        "gaussians": len(centers),
        "node_size": atoms.shape[1],
        "state_size": state["state_encoder.layers.0.weight"].shape[1],
        "blocks": max(blocks) + 1,
        "dense": outputs("edge_encoder"),
        "update": outputs("blocks.0.conv.edge_func"),
        "head": outputs("output_proj")[:-1],
    }


def _renamed(name):
    """Our name of a tensor of matgl; every second of its layers is an activation."""
    for pattern, ours in _NAMES:
        if (match := re.fullmatch(pattern, name)) is not None:
            return re.sub(r"<(\d+)>", lambda m: str(int(m[1]) // 2), match.expand(ours))
    raise InputError(f"no place for {name} of the matgl model; expected a MEGNet of its defaults")


def _load(model, tensors):
    lacking = set(model.state_dict()) - set(tensors) - {"embedding.weight", "known"}
    if lacking:
        raise InputError(f"the matgl model has nothing for {min(lacking)}")
    try:
        model.load_state_dict(tensors, strict=False)
    except RuntimeError as error:
        raise InputError(f"shapes do not fit: {' '.join(str(error).split())[:200]}") from None
