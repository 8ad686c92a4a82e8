"""Builder of the embedded forces: density-functional energies and forces of six elements.

    python -m mfutils.datasets.build.mlearn_forces

The source is the benchmark of Zuo et al. (2020) as it travels inside the package alignn. Its
list holds every test configuration twice under one id, so 1,730 entries are 1,566
configurations; here each stands once. Ten megabytes become one because fractional coordinates
are stored as whole numbers of 1e-6, as printed, and forces as whole numbers of 1e-4 eV/Angstrom,
well below the convergence of the calculations. Serves chapter 8.
"""

import argparse
import io
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mfutils import files, paths
from mfutils.crystals import neighbors
from mfutils.crystals.structure import Crystal, from_arrays
from mfutils.datasets.build import packages
from mfutils.errors import DataError

__all__ = ["FILE", "build", "tabulate", "to_parquet"]

FILE = "mlearn.parquet"
MEMBER = "alignn-2026.8.11/alignn/examples/sample_data_ff/mlearn_data/all/id_prop.json"

_VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
_OPEN_VOLUME = 1.25  # of the element's median volume per atom: above it the cell holds vacuum
_SAME_DISTANCE = 0.01  # relative spread of nearest distances in a lattice without thermal motion


def build(*, folder: Path | None = None) -> pd.DataFrame:
    """Every configuration once, from the pinned archive in `folder` (downloaded when missing)."""
    return tabulate(json.loads(packages.fetch_archive("alignn", folder=folder).read(MEMBER)))


def tabulate(records: list[dict]) -> pd.DataFrame:
    """One row per id: id, element, split, group, structure, energy (eV), forces, stress."""
    rows = {}
    for record in records:
        # a test id ends in a, and stands twice with the same content
        rows.setdefault(record["jid"], _row(record))
    table = pd.DataFrame(list(rows.values()))
    table["group"] = _groups(table)
    return table


def to_parquet(table: pd.DataFrame) -> bytes:
    """The rows as Parquet (zstd) with integer lists; equal tables, equal bytes."""
    structures = table["structure"]
    columns = {name: pa.array(table[name], pa.string()) for name in ("id", "element")}
    columns |= {
        name: pa.array(table[name], pa.string()).dictionary_encode() for name in ("split", "group")
    }
    columns |= {
        "energy": pa.array(table["energy"], pa.float64()),
        "lattice": pa.array([c.lattice.ravel() for c in structures], pa.list_(pa.float64())),
        "stress": pa.array(list(table["stress"]), pa.list_(pa.float32())),
        "coords_1e6": _integers((c.frac_coords for c in structures), 1e6),
        "forces_1e4": _integers(table["forces"], 1e4),
    }
    sink = io.BytesIO()
    pq.write_table(
        pa.table(columns),
        sink,
        compression="zstd",
        compression_level=19,
        row_group_size=len(table),
        use_dictionary=["split", "group"],
        column_encoding={
            "coords_1e6.list.element": "BYTE_STREAM_SPLIT",
            "forces_1e4.list.element": "BYTE_STREAM_SPLIT",
        },
    )
    return sink.getvalue()


def _integers(arrays: Iterable[np.ndarray], scale: float) -> pa.Array:
    rows = [np.rint(np.asarray(a).ravel() * scale).astype(np.int32) for a in arrays]
    return pa.array(rows, pa.list_(pa.int32()))


def _row(record: dict) -> dict:
    name, atoms = record["jid"], record["atoms"]
    element = set(atoms["elements"])
    forces = np.asarray(record["forces"], dtype=float)
    energy, per_atom = record["energy"], record["total_energy"]
    if len(element) != 1 or forces.shape != (len(atoms["elements"]), 3):
        raise DataError(f"{MEMBER}: {name} has {element} and forces {forces.shape}; expected one")
    # the source's total_energy is the energy per atom, and energy the total
    if not np.isclose(energy, per_atom * len(forces), rtol=1e-9) or not np.isfinite(forces).all():
        raise DataError(f"{MEMBER}: {name} has energy {energy} but {per_atom} per atom")
    symbol = element.pop()
    coords = np.mod(np.asarray(atoms["coords"], dtype=float), 1.0)
    numbers = np.full(len(forces), _NUMBERS[symbol])
    stress = np.asarray(record["stresses"], dtype=float)
    return {
        "id": name,
        "element": symbol,
        "split": "test" if name.endswith("a") else "train",
        "structure": from_arrays(atoms["lattice_mat"], coords, numbers, name=name),
        "energy": float(energy),
        "forces": forces,
        "stress": np.array([stress[place] for place in _VOIGT]),
    }


_NUMBERS = {"Li": 3, "Si": 14, "Ni": 28, "Cu": 29, "Ge": 32, "Mo": 42}


def _groups(table: pd.DataFrame) -> list[str]:
    """surface, vacancy, strained or dynamics: the source's own classes, read off the geometry."""
    volume = np.array([c.volume / len(c) for c in table["structure"]])
    size = table["structure"].map(len)
    usual = size.groupby(table["element"]).transform(lambda n: Counter(n).most_common(1)[0][0])
    median = pd.Series(volume).groupby(table["element"]).transform("median")
    groups = []
    for row, structure in enumerate(table["structure"]):
        if volume[row] > _OPEN_VOLUME * median[row]:
            groups.append("surface")
        elif size[row] == usual[row] - 1:
            groups.append("vacancy")
        else:
            groups.append("strained" if _spread(structure) < _SAME_DISTANCE else "dynamics")
    return groups


def _spread(structure: Crystal) -> float:
    """Relative standard deviation of the nearest-neighbour distances."""
    lists = neighbors.neighbor_lists(
        structure.lattice, structure.frac_coords, structure.numbers, cutoff=4.0, max_neighbors=1,
        grow=True,
    )  # fmt: skip
    nearest = lists[3]
    return float(nearest.std() / nearest.mean())


def main(arguments: list[str] | None = None) -> None:
    """Command line: build, write `data/mlearn.parquet`, print counts and checksum."""
    parser = argparse.ArgumentParser(prog="python -m mfutils.datasets.build.mlearn_forces")
    parser.add_argument("--archives", type=Path, help="folder of the package archive")
    parser.add_argument("--output", type=Path, default=paths.DATA / FILE)
    options = parser.parse_args(arguments)
    table = build(folder=options.archives)
    content = to_parquet(table)
    files.write_bytes(options.output, content)
    print(table.groupby(["element", "split", "group"]).size().unstack(fill_value=0))
    print(f"{options.output}: {len(content)} bytes, sha256 {files.sha256_of(options.output)}")


if __name__ == "__main__":
    main()
