"""The crystal graph networks by the names that model files and jobs give them.

The classes are imported by statements: stored runs and figures follow imports to know which code
they rest on, and no fingerprint follows a string.
"""

from mfutils.errors import InputError
from mfutils.networks.base import GraphModel
from mfutils.networks.cgcnn import CGCNN
from mfutils.networks.megnet import MEGNet
from mfutils.networks.megnet_matgl import MatglMEGNet

__all__ = ["ARCHITECTURES", "build_model"]

ARCHITECTURES: dict[str, type[GraphModel]] = {
    model.architecture: model for model in (CGCNN, MEGNet, MatglMEGNet)
}


def build_model(architecture: str, **config) -> GraphModel:
    """A fresh model by the name of its architecture; raises InputError for an unknown one."""
    if architecture not in ARCHITECTURES:
        raise InputError(
            f"unknown architecture {architecture!r}; expected one of {', '.join(ARCHITECTURES)}"
        )
    return ARCHITECTURES[architecture](**config)
