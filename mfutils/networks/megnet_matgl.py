"""Weights of a matgl MEGNet in ours: the names of its state dict, and what it leaves out.

matgl 4.1.2 (PyG) is the reference of section 2.3.1. Both sides have the same layers, so loading is
a renaming; only the atom embedding is ordered differently, there by a list of elements, here by
atomic number. This module reads tensors and never imports matgl.
"""

import re

import numpy as np
import torch

from mfutils.crystals.structure import ATOMIC_NUMBERS, SYMBOLS
from mfutils.errors import InputError
from mfutils.networks.megnet import MEGNet

__all__ = ["ELEMENTS", "from_matgl"]

# matgl's default order: H to Pu without Po, At, Rn, Fr and Ra
ELEMENTS = tuple(s for z, s in enumerate(SYMBOLS, start=1) if z <= 94 and not 84 <= z <= 88)
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


def from_matgl(state, *, gauss_width, set2set_steps, elements=ELEMENTS, fidelities=()):
    """A MEGNet with the weights of `matgl.models.MEGNet(...).state_dict()`.

    The sizes of layers and the cutoff follow from the tensors. gauss_width and set2set_steps
    (matgl's niters_set2set) do not and must be given, like the `element_types` of the matgl model
    if they were not the default, and a name per entry of its state embedding (ntypes_state).
    Elements that matgl had no weights for are refused by the model. Raises InputError for what is
    no such state dict or has layers that are not there here.
    """
    state = dict(state)
    try:
        centers = state.pop("bond_expansion.rbf.centers")
        atoms = state.pop("embedding.layer_node_embedding.weight")
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
    found = state.get("embedding.layer_state_embedding.weight", torch.empty(0, 0))
    if len(found) != len(fidelities):
        raise InputError(
            f"{len(fidelities)} fidelities for {len(found)} entries of the state embedding; "
            "expected a name each"
        )
    if len(elements) != len(atoms):
        raise InputError(
            f"{len(elements)} elements for {len(atoms)} rows of the atom embedding; expected "
            "the element_types of the matgl model"
        )
    model = MEGNet(
        cutoff=cutoff, gauss_width=gauss_width, set2set_steps=set2set_steps,
        fidelities=fidelities, **config,
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
        found = {int(m[1]): len(t) for name, t in state.items() if (m := pattern.fullmatch(name))}
        if not found:
            raise KeyError(prefix)
        return tuple(found[layer] for layer in sorted(found))

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
