"""Elastic moduli of real crystals: a second property with two sources.

1,181 crystals carry the full stiffness tensor of de Jong et al. (2015) and its
Voigt-Reuss-Hill averages; 1,603 carry AFLOW's moduli, given by composition. With C the
tensor in Voigt notation and S its inverse, the averages are
K = (K_V + K_R)/2, K_V = (C11 + C22 + C33 + 2 (C12 + C13 + C23))/9,
K_R = 1/(S11 + S22 + S33 + 2 (S12 + S13 + S23)), and likewise for shear.
Serves the sections on elastic moduli.
"""

import numpy as np
import pandas as pd

from mfutils.datasets import registry, tables
from mfutils.errors import InputError

__all__ = ["load", "voigt_reuss_hill"]

_UPPER = np.triu_indices(6)


def load(which: str = "mp") -> pd.DataFrame:
    """Crystals with moduli: material_id, formula, structure, spacegroup and moduli in GPa.

    `which` is "mp" (1,181 rows with elastic_tensor (6, 6), in GPa), "aflow" (1,603 rows with
    AFLOW moduli) or "both" (every row with either). Columns bulk_modulus, shear_modulus,
    bulk_modulus_aflow and shear_modulus_aflow are NaN, and elastic_tensor is None, where a
    source has no value.
    """
    keep = {"mp": ("bulk_modulus",), "aflow": ("bulk_modulus_aflow",)}
    keep["both"] = keep["mp"] + keep["aflow"]
    if which not in keep:
        raise InputError(f"no moduli named {which!r}; expected {', '.join(keep)}")
    moduli = ["bulk_modulus", "shear_modulus", "bulk_modulus_aflow", "shear_modulus_aflow"]
    columns = ["material_id", "formula", "spacegroup", "e_above_hull", *moduli]
    path = registry.path("open_bandgap")
    frame = tables.read(path, columns=[*columns, "elastic_tensor", "structure"])
    frame = frame[frame[list(keep[which])].notna().any(axis=1)].reset_index(drop=True)
    frame["elastic_tensor"] = [_full(triangle) for triangle in frame["elastic_tensor"]]
    return frame


def voigt_reuss_hill(tensor: np.ndarray) -> tuple[float, float]:
    """Bulk and shear modulus (GPa) of one stiffness tensor (6, 6) in GPa, Voigt notation."""
    stiffness = np.asarray(tensor, dtype=float)
    if stiffness.shape != (6, 6) or np.linalg.matrix_rank(stiffness) < 6:
        raise InputError(
            f"stiffness of shape {stiffness.shape} has no inverse; expected a regular 6 x 6 matrix"
        )
    compliance = np.linalg.inv(stiffness)
    diagonal, off, shear = _sums(stiffness)
    bulk_voigt = (diagonal + 2 * off) / 9
    shear_voigt = (diagonal - off + 3 * shear) / 15
    diagonal, off, shear = _sums(compliance)
    bulk_reuss = 1 / (diagonal + 2 * off)
    shear_reuss = 15 / (4 * diagonal - 4 * off + 3 * shear)
    return float(bulk_voigt + bulk_reuss) / 2, float(shear_voigt + shear_reuss) / 2


def _sums(m: np.ndarray) -> tuple[float, float, float]:
    """Sums of 11, 22, 33, of 12, 13, 23, and of 44, 55, 66."""
    return m[0, 0] + m[1, 1] + m[2, 2], m[0, 1] + m[0, 2] + m[1, 2], m[3, 3] + m[4, 4] + m[5, 5]


def _full(triangle: np.ndarray | None) -> np.ndarray | None:
    if triangle is None:
        return None
    tensor = np.zeros((6, 6))
    tensor[_UPPER] = triangle
    return tensor + np.triu(tensor, 1).T
