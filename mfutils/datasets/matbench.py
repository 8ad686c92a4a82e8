"""Matbench's elastic moduli, read from their public files (section on elastic moduli).

`matbench_log_gvrh.json.gz` and `matbench_log_kvrh.json.gz` hold 10,987 crystals each, with
log10 of the Voigt-Reuss-Hill shear or bulk modulus in GPa (Dunn et al. 2020). The format is a
table in pandas' "split" layout, {"index": [...], "columns": ["structure", "log10(G_VRH)"],
"data": [[structure, value], ...]}, each structure a pymatgen dictionary. The files are not
committed; they are read where they lie in the data directory. Structures are turned into plain
arrays without building site objects, and rows that cannot be used are listed with the reason.
"""

from pathlib import Path

import pandas as pd

from mfutils import files
from mfutils.crystals import structure
from mfutils.crystals.formulas import reduced_formula
from mfutils.datasets import originals, registry
from mfutils.errors import DataError, InputError
from mfutils.plain_values import brief, is_number

__all__ = ["COLUMNS", "find", "load", "read"]

# task -> column of the target
COLUMNS = {"log_gvrh": "log10(G_VRH)", "log_kvrh": "log10(K_VRH)"}


def find(task: str) -> Path | None:
    """File of a task (`log_gvrh` or `log_kvrh`) in the data directory, or None."""
    if task not in COLUMNS:
        raise InputError(f"no Matbench task {task!r} here; known: {', '.join(COLUMNS)}")
    names = (f"matbench_{task}.json.gz", f"matbench_{task}.json")
    present = (registry.data_dir() / name for name in names)
    return next((path for path in present if path.is_file()), None)


def load(task: str) -> tuple[pd.DataFrame, tuple[structure.Skip, ...]]:
    """`read` of the file of a task; DataError when the data directory has none."""
    path = find(task)
    if path is None:
        raise DataError(
            f"{registry.data_dir()}: no matbench_{task}.json.gz; put the public file there (set "
            "MFUTILS_DATA to another folder), or use the embedded crystals"
        )
    registry.note(path, sha256=files.sha256_of(path))
    return read(path, task)


def read(path: Path, task: str) -> tuple[pd.DataFrame, tuple[structure.Skip, ...]]:
    """(table, skips) of one file: material_id, formula, structure (Crystal), log_modulus.

    log_modulus is log10 of the modulus in GPa. skips lists rows without a usable crystal
    (disorder, unknown elements, a broken cell). Raises DataError for a file that is not in the
    format, for repeated ids and for a value that is not a number.
    """
    path = Path(path)
    content = originals.read_json(path)
    target = COLUMNS[task]
    _check_layout(path, content, ["structure", target])
    at = [content["columns"].index(name) for name in ("structure", target)]
    rows, skips, seen = [], [], set()
    for row, (name, entry) in enumerate(zip(content["index"], content["data"], strict=True)):
        if not isinstance(name, str):
            raise DataError(f"{path}: row {row} has id {brief(name)}; expected text")
        if name in seen:
            raise DataError(f"{path}: id {name!r} stands twice; expected unique ids")
        seen.add(name)
        value = entry[at[1]]
        if not is_number(value):
            raise DataError(
                f"{path}: row {row} ({name}) has {target} {brief(value)}; expected a finite number"
            )
        try:
            crystal = _crystal(entry[at[0]], name)
        except InputError as error:
            skips.append(structure.Skip(row, name, str(error)))
            continue
        rows.append((name, reduced_formula(crystal.numbers), crystal, float(value)))
    if not rows:
        raise DataError(f"{path}: none of {len(skips)} rows has a usable crystal")
    columns = ["material_id", "formula", "structure", "log_modulus"]
    return pd.DataFrame(rows, columns=columns), tuple(skips)


def _check_layout(path: Path, content: object, wanted: list[str]) -> None:
    """DataError unless `content` is a table in the split layout with the columns `wanted`."""
    table = content if isinstance(content, dict) else {}
    parts = [table.get(key) for key in ("index", "columns", "data")]
    if not all(isinstance(part, list) for part in parts):
        raise DataError(f"{path}: expected a table with index, columns and data")
    missing = [name for name in wanted if name not in content["columns"]]
    if missing:
        columns = ", ".join(map(brief, content["columns"]))
        raise DataError(f"{path}: no column {missing[0]!r}; the file has {columns}")
    if len(content["index"]) != len(content["data"]):
        raise DataError(
            f"{path}: {len(content['index'])} ids for {len(content['data'])} rows; get it again"
        )
    width = len(content["columns"])
    for row, entry in enumerate(content["data"]):
        if not isinstance(entry, list) or len(entry) != width:
            raise DataError(f"{path}: row {row} is not a list of {width} cells; get it again")


def _crystal(entry: object, name: str) -> structure.Crystal:
    """A checked Crystal from the dictionary of a pymatgen Structure."""
    try:
        lattice, sites = entry["lattice"]["matrix"], entry["sites"]
        positions = [site["abc"] for site in sites]
        species = [site["species"] for site in sites]
    except (KeyError, TypeError):
        raise InputError(f"{name}: no lattice or sites; expected a structure") from None
    numbers = []
    for at, kinds in enumerate(species):
        kind = kinds[0] if isinstance(kinds, list) and len(kinds) == 1 else None
        share = kind.get("occu", 1) if isinstance(kind, dict) else None
        if not is_number(share) or abs(share - 1) > 1e-6:
            raise InputError(
                f"{name}: partial occupancy at site {at}; expected one element with occupancy 1"
            )
        symbol = kind.get("element")
        if not isinstance(symbol, str) or symbol not in structure.ATOMIC_NUMBERS:
            raise InputError(f"{name}: unknown element {brief(symbol)} at site {at}")
        numbers.append(structure.ATOMIC_NUMBERS[symbol])
    return structure.from_arrays(lattice, positions, numbers, name=name)
