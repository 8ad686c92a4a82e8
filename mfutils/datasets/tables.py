"""Tables of crystals on disk: Parquet with flat list columns, one row per material.

Lattice (9), atomic numbers (n) and fractional coordinates (3n) are lists of plain numbers,
which Parquet compresses well and reads in one buffer; in memory they become one column
`structure` of `mfutils.crystals.structure.Crystal`, whose arrays are views into that buffer. Both
data sets of sections 3.2 and 4.2 share this layout.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mfutils.crystals.structure import Crystal
from mfutils.errors import DataError

__all__ = ["STRUCTURE_COLUMNS", "read", "structure_arrays"]

STRUCTURE_COLUMNS = ("lattice", "numbers", "frac_coords")


def read(path: Path, *, columns: list[str] | None = None) -> pd.DataFrame:
    """The table at `path`: scalars as they are, structures as Crystal, other lists as arrays.

    `columns` limits what is read, where "structure" stands for the three list columns.
    Raises DataError when the file is no such table or a material id is repeated.
    """
    wanted = None
    if columns is not None:
        wanted = [name for name in columns if name != "structure"]
        wanted += STRUCTURE_COLUMNS if "structure" in columns else ()
    try:
        present = pq.read_schema(path).names
        missing = [name for name in wanted or ["material_id"] if name not in present]
        if missing:
            raise DataError(
                f"{path}: no column {', '.join(missing)}; the table has {', '.join(present)}"
            )
        table = pq.read_table(path, columns=wanted)
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: not readable as Parquet ({reason}); restore the file") from error
    out = {}
    for name in table.column_names:
        column = table.column(name)
        if pa.types.is_list(column.type):
            out[name] = _arrays(column)
        else:
            plain = pa.types.is_dictionary(column.type)
            out[name] = (column.cast(pa.string()) if plain else column).to_pandas()
    if all(name in out for name in STRUCTURE_COLUMNS):
        parts = zip(*(out.pop(name) for name in STRUCTURE_COLUMNS), strict=True)
        out["structure"] = [
            Crystal(lattice.reshape(3, 3), frac.reshape(-1, 3), numbers.astype(np.int64))
            for lattice, numbers, frac in parts
        ]
    frame = pd.DataFrame(out)
    if "material_id" in frame:
        _check_unique(frame["material_id"], path)
    return frame


def structure_arrays(structures: Iterable[Crystal]) -> dict[str, pa.Array]:
    """The three list columns of crystals, lengths in angstrom, as Arrow arrays."""
    structures = list(structures)
    return {
        "lattice": pa.array([c.lattice.ravel() for c in structures], pa.list_(pa.float64())),
        "numbers": pa.array([c.numbers.astype(np.int16) for c in structures], pa.list_(pa.int16())),
        "frac_coords": pa.array(
            [c.frac_coords.ravel() for c in structures], pa.list_(pa.float64())
        ),
    }


def _arrays(column: pa.ChunkedArray) -> list[np.ndarray | None]:
    """One array per row, each a view into one flat buffer for the whole column."""
    rows: list[np.ndarray | None] = []
    for lists in column.chunks:
        flat = lists.flatten().to_numpy(zero_copy_only=False)
        lengths = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
        known = lists.is_valid().to_numpy(zero_copy_only=False)
        ends = np.cumsum(lengths)
        rows += [
            flat[end - length : end] if valid else None
            for length, end, valid in zip(lengths, ends, known, strict=True)
        ]
    return rows


def _check_unique(ids: pd.Series, path: Path) -> None:
    repeated = ids[ids.duplicated()]
    if len(repeated):
        raise DataError(
            f"{path}: material id {repeated.iloc[0]} is repeated ({len(repeated)} such rows); "
            "expected one row per material"
        )
