"""Elastic moduli ready to learn from: which crystals, which targets, which splits (section 9).

A modulus counts when it can be trusted: its stiffness tensor is symmetric and positive definite
(Born's condition for mechanical stability: every strain costs energy), the modulus is a positive
number, so that its logarithm exists, and the space group is known. What fails is listed with its
reason, never dropped in silence. Targets are log10 of the modulus in GPa. Splits are tenths of a
permutation: one tests, the next validates, the rest trains, so that ten folds test every crystal
once; `grouped` keeps the polymorphs of a composition on one side.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
import spglib

from mfutils.datasets import elastic, matbench, registry
from mfutils.errors import InputError

__all__ = [
    "CRYSTAL_SYSTEMS",
    "PARTS",
    "PROPERTIES",
    "ModuliSet",
    "Predictions",
    "crystal_system",
    "load_moduli",
    "screen",
    "smallest_stiffness",
    "split_rows",
]

# In the order of `split_rows`
PARTS = ("train", "validation", "test")
# property -> column of the embedded table, and the Matbench task
PROPERTIES = {"shear": ("shear_modulus", "log_gvrh"), "bulk": ("bulk_modulus", "log_kvrh")}
CRYSTAL_SYSTEMS = (
    "triclinic", "monoclinic", "orthorhombic", "tetragonal", "trigonal", "hexagonal", "cubic",
)  # fmt: skip
_LAST = (2, 15, 74, 142, 167, 194, 230)  # last space group of each crystal system
_SYMPREC = 0.1  # Angstrom, as for the embedded crystals


@dataclass(frozen=True, eq=False)
class ModuliSet:
    """table: material_id, formula, structure, spacegroup, system, log_modulus (log10 GPa).

    left_out: material_id, formula, reason of every row that does not count.
    """

    name: str
    property: str
    table: pd.DataFrame
    left_out: pd.DataFrame

    def __len__(self) -> int:
        return len(self.table)

    @property
    def target(self) -> np.ndarray:
        """log10 of the modulus in GPa, (n,)."""
        return self.table["log_modulus"].to_numpy(float)


@dataclass(frozen=True, eq=False, kw_only=True)
class Predictions:
    """What one trained model says of each of PARTS: row numbers and log10 GPa, (n,) by part.

    cpu_seconds is what the training took.
    """

    rows: dict[str, np.ndarray]
    predicted: dict[str, np.ndarray]
    cpu_seconds: float


def crystal_system(spacegroup: int) -> str:
    """Crystal system of a space group number; raises InputError outside 1 to 230."""
    if not 1 <= spacegroup <= 230:
        raise InputError(f"space group is {spacegroup}; expected a number from 1 to 230")
    return CRYSTAL_SYSTEMS[int(np.searchsorted(_LAST, spacegroup))]


def smallest_stiffness(tensor: np.ndarray) -> float:
    """Smallest eigenvalue (GPa) of a symmetric stiffness (6, 6); above 0 the crystal is stable.

    Positive definiteness does not depend on the factors of Voigt's notation. Raises InputError
    for another shape, values that are not finite, or an unsymmetric matrix.
    """
    tensor = np.asarray(tensor, dtype=float)
    if tensor.shape != (6, 6):
        raise InputError(f"stiffness has shape {tensor.shape}; expected (6, 6)")
    if not np.isfinite(tensor).all():
        raise InputError("stiffness holds values that are not finite; expected GPa")
    lopsided = float(np.abs(tensor - tensor.T).max())
    if lopsided > 1e-3 * np.abs(tensor).max():
        raise InputError(f"stiffness is not symmetric (C_ij and C_ji differ by {lopsided:.3g} GPa)")
    return float(np.linalg.eigvalsh(tensor)[0])


def screen(frame: pd.DataFrame, column: str) -> tuple[np.ndarray, pd.DataFrame]:
    """(mask of rows that count, table of the others) for the modulus `column` in GPa.

    frame has material_id, formula, spacegroup, `column` and, where known, elastic_tensor. The
    table lists material_id, formula and the first reason that applies.
    """
    tensors = frame["elastic_tensor"] if "elastic_tensor" in frame else [None] * len(frame)
    rows = zip(frame[column], frame["spacegroup"], tensors, strict=True)
    reasons = [_reason(column, *row) for row in rows]
    keep = np.array([reason == "" for reason in reasons], dtype=bool)
    left_out = frame.loc[~keep, ["material_id", "formula"]].reset_index(drop=True)
    return keep, left_out.assign(reason=[reason for reason in reasons if reason])


def _reason(column, modulus, spacegroup, tensor):
    """Why a row does not count, or an empty string."""
    if tensor is not None:
        try:
            smallest = smallest_stiffness(tensor)
        except InputError as error:
            return str(error)
        if not smallest > 0:
            return f"unstable: smallest stiffness eigenvalue {smallest:.3g} GPa"
    if not (np.isfinite(modulus) and modulus > 0):
        return f"{column} is {modulus:.4g} GPa: its logarithm does not exist"
    if not (np.isfinite(spacegroup) and 1 <= spacegroup <= 230):
        return "no space group"
    return ""


@registry.remembered(maxsize=4)
def load_moduli(dataset: str = "open", property: str = "shear") -> ModuliSet:
    """The ModuliSet of "open" (embedded crystals) or "matbench" (files in the data directory)."""
    if property not in PROPERTIES:
        raise InputError(f"no property {property!r}; expected {' or '.join(PROPERTIES)}")
    column, task = PROPERTIES[property]
    if dataset == "open":
        frame, skips = elastic.load("mp"), ()
    elif dataset == "matbench":
        frame, skips = matbench.load(task)
        frame = frame.assign(
            spacegroup=[_spacegroup(s) for s in frame["structure"]],
            **{column: 10.0 ** frame["log_modulus"]},
        )
    else:
        raise InputError(f"no moduli named {dataset!r}; expected open or matbench")
    keep, left_out = screen(frame, column)
    refused = [(skip.id, "", skip.reason) for skip in skips]
    left_out = pd.concat([left_out, pd.DataFrame(refused, columns=left_out.columns)])
    table = frame.loc[keep, ["material_id", "formula", "structure"]].reset_index(drop=True)
    groups = frame.loc[keep, "spacegroup"].to_numpy(int)
    table["spacegroup"] = groups
    table["system"] = [crystal_system(number) for number in groups]
    table["log_modulus"] = np.log10(frame.loc[keep, column].to_numpy(float))
    return ModuliSet(dataset, property, table, left_out.reset_index(drop=True))


def _spacegroup(crystal):
    """Number of the space group by spglib, NaN where it finds none."""
    cell = (crystal.lattice, crystal.frac_coords, crystal.numbers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # spglib announces how a later version will fail
        symmetry = spglib.get_symmetry_dataset(cell, symprec=_SYMPREC)
    return np.nan if symmetry is None else float(symmetry.number)


def split_rows(
    data: ModuliSet, fold: int, *, folds: int = 10, seed: int = 0, grouped: bool = False,
    train_size: int | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Row numbers (train, validation, test) of one of `folds` rotations of a permutation.

    grouped keeps rows of one formula together. train_size draws that many training rows (the
    first of the permutation). Raises InputError for a fold that does not exist or too large a
    train_size.
    """
    if folds < 3 or not 0 <= fold < folds:
        raise InputError(f"fold {fold} of {folds}; expected at least 3 folds, counted from 0")
    rng = np.random.default_rng(seed)
    if grouped:
        codes, names = pd.factorize(data.table["formula"])
        part = (rng.permutation(len(names)) % folds)[codes]
        order = rng.permutation(len(data))
    else:
        order = rng.permutation(len(data))
        part = np.empty(len(data), dtype=int)
        part[order] = np.arange(len(data)) % folds
    after = (fold + 1) % folds
    train = order[(part[order] != fold) & (part[order] != after)]
    if train_size is not None:
        if not 2 <= train_size <= len(train):
            raise InputError(f"train_size is {train_size}; this fold has {len(train)} to train on")
        train = train[:train_size]
    return np.sort(train), np.flatnonzero(part == after), np.flatnonzero(part == fold)
