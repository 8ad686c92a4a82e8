"""Builder of the embedded `open` data set: real crystals with several band-gap fidelities.

    python -m mfutils.datasets.build.open_crystals      (or: make data-open)

Crystals come by Materials Project id. A label known only by composition (AFLOW, OQMD,
experiment) goes to the polymorph of that composition with the lowest formation energy,
because that is the phase a measurement most likely saw. The output is one Parquet file
with flat list columns; a rerun with the locked versions gives the same bytes.
"""

import argparse
import io
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import spglib

from mfutils import files, paths
from mfutils.crystals import formulas
from mfutils.crystals.structure import Crystal
from mfutils.datasets import tables
from mfutils.datasets.build import open_sources, packages
from mfutils.errors import DataError

__all__ = ["FILE", "assemble", "build", "to_parquet"]

FILE = "open_bandgap.parquet"
SYMPREC = 0.1  # angstrom; loose enough for coordinates that are printed with six decimals

_ENERGY, _GAP = "megnet_e_form", "megnet_gappbe"
_DECIMALS = 8  # of lattice and coordinates; no source prints more
_UPPER = np.triu_indices(6)  # an elastic tensor is stored as its upper triangle, row by row
_SCALARS = [
    "e_above_hull",
    "formation_energy_per_atom",
    "gap_mp_pbe",
    "gap_aflow_pbe",
    "gap_oqmd_pbe",
    "gap_exp",
    "dielectric_gap",
    "bulk_modulus",
    "shear_modulus",
    "bulk_modulus_aflow",
    "shear_modulus_aflow",
]


def build(*, folder: Path | None = None) -> pd.DataFrame:
    """The data set from the pinned archives in `folder` (downloaded there when missing)."""
    matminer = packages.fetch_archive("matminer", folder=folder)
    crystals = [open_sources.read_crystals(matminer, t) for t in open_sources.CRYSTAL_TABLES]
    jarvis = packages.fetch_archive("jarvis_leaderboard", folder=folder)
    by_id = {name: open_sources.read_id_values(jarvis, name) for name in (_ENERGY, _GAP)}
    crabnet = packages.fetch_archive("crabnet", folder=folder)
    by_composition = {
        column: open_sources.read_composition_table(crabnet, column)
        for column in open_sources.COMPOSITION_TABLES
    }
    return assemble(crystals, by_id, by_composition)


def assemble(
    crystals: list[pd.DataFrame],
    by_id: dict[str, pd.Series],
    by_composition: dict[str, pd.Series],
) -> pd.DataFrame:
    """Join the source tables into one row per material, ordered by the number of its id.

    `crystals` are tables of `open_sources.read_crystals` in order of preference: the
    structure of an id is taken from the first that holds it, other columns from whichever
    has them. `by_id` and `by_composition` map columns to values by id or composition key.
    """
    # `first` takes the first known value of each column, so a crystal comes from the table
    # of highest preference and, say, its moduli from whichever table has them.
    table = pd.concat(crystals).groupby("material_id", sort=False).first()
    table = table.loc[sorted(table.index, key=_id_number)]

    energy = by_id[_ENERGY].reindex(table.index)
    table["formation_energy_per_atom"] = energy.fillna(table["formation_energy_2015"])
    table["gap_mp_pbe"] = by_id[_GAP].reindex(table.index)

    table["formula"] = [formulas.reduced_formula(s.numbers) for s in table["structure"]]
    keys = pd.Series([formulas.composition_key(f) for f in table["formula"]])
    table["lowest_polymorph"] = _lowest(keys, table["formation_energy_per_atom"])
    for column, values in by_composition.items():
        value = keys.map(values).to_numpy(dtype=float)
        table[column] = np.where(table["lowest_polymorph"], value, np.nan)

    table["nsites"] = table["structure"].map(len)
    table["spacegroup"] = [_spacegroup(s, name) for name, s in table["structure"].items()]
    return table.reset_index()


def to_parquet(table: pd.DataFrame) -> bytes:
    """The data set as Parquet (zstd) with flat list columns; equal tables, equal bytes."""
    columns = {
        "material_id": pa.array(table["material_id"], pa.string()),
        "formula": pa.array(table["formula"], pa.string()),
        "nsites": pa.array(table["nsites"], pa.int16()),
        "spacegroup": pa.array(table["spacegroup"], pa.int16()),
        "source": pa.array(table["source"], pa.string()).dictionary_encode(),
        "lowest_polymorph": pa.array(table["lowest_polymorph"], pa.bool_()),
    }
    for name in _SCALARS:
        columns[name] = pa.array(table[name].astype(float).round(6), pa.float64(), from_pandas=True)
    tensors = [_upper_triangle(tensor) for tensor in table["elastic_tensor"]]
    columns["elastic_tensor"] = pa.array(tensors, pa.list_(pa.float64()))
    columns |= tables.structure_arrays(_rounded(crystal) for crystal in table["structure"])
    sink = io.BytesIO()
    pq.write_table(
        pa.table(columns),
        sink,
        compression="zstd",
        compression_level=19,
        row_group_size=len(table),
        # A dictionary beats byte-stream splitting here: crystal coordinates repeat.
        use_dictionary=True,
    )
    return sink.getvalue()


def summary(table: pd.DataFrame) -> str:
    """Counts per column, and how often our space group equals the source's own."""
    elements = len({int(z) for structure in table["structure"] for z in structure.numbers})
    lines = [
        f"{len(table)} crystals, {elements} elements, {table['nsites'].mean():.2f} atoms on average"
    ]
    lines += [f"{name:26s} {int(table[name].notna().sum()):6d}" for name in _SCALARS]
    known = table["spacegroup_source"].notna()
    same = table["spacegroup"][known] == table["spacegroup_source"][known]
    lines.append(f"space group equals the source's own for {same.sum()} of {known.sum()}")
    return "\n".join(lines)


def _id_number(material_id: str) -> int:
    number = material_id.rpartition("-")[2]
    if not number.isdigit():
        raise DataError(f"material id {material_id!r} does not end in a number; expected mp-123")
    return int(number)


def _lowest(keys: pd.Series, energy: pd.Series) -> np.ndarray:
    """True for the row of lowest energy of each key; without an energy a row loses to any."""
    ranked = pd.DataFrame({"key": keys, "energy": energy.to_numpy()}).sort_values(
        "energy", kind="stable", na_position="last"
    )
    lowest = ~ranked["key"].duplicated()
    return lowest.sort_index().to_numpy()


def _spacegroup(structure: Crystal, name: str) -> int:
    cell = (structure.lattice, structure.frac_coords, structure.numbers)
    with warnings.catch_warnings():
        # spglib announces that a failure will raise instead of returning None.
        warnings.simplefilter("ignore", DeprecationWarning)
        symmetry = spglib.get_symmetry_dataset(cell, symprec=SYMPREC)
    if symmetry is None:
        raise DataError(f"{name}: no space group found at symprec {SYMPREC}; check its structure")
    return int(symmetry.number)


def _upper_triangle(tensor: np.ndarray | None) -> np.ndarray | None:
    return np.round(tensor[_UPPER], 6) + 0.0 if isinstance(tensor, np.ndarray) else None


def _rounded(structure: Crystal) -> Crystal:
    # Adding zero turns -0.0 into 0.0, which compresses better and reads better.
    lattice, frac_coords = (
        np.round(values, _DECIMALS) + 0.0 for values in (structure.lattice, structure.frac_coords)
    )
    return Crystal(lattice, frac_coords, structure.numbers)


def main(arguments: list[str] | None = None) -> None:
    """Command line: build, write `data/open_bandgap.parquet`, print counts and checksum."""
    parser = argparse.ArgumentParser(prog="python -m mfutils.datasets.build.open_crystals")
    parser.add_argument("--archives", type=Path, help="folder of the package archives")
    parser.add_argument("--output", type=Path, default=paths.DATA / FILE)
    options = parser.parse_args(arguments)
    table = build(folder=options.archives)
    content = to_parquet(table)
    files.write_bytes(options.output, content)
    print(summary(table))
    print(f"{options.output}: {len(content)} bytes, sha256 {files.sha256_of(options.output)}")


if __name__ == "__main__":
    main()
