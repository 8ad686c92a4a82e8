"""The Materials Project snapshot of 2019-04-01: read once as a stream, kept as a table.

The original is one JSON list of 133,420 crystals with their CIF text, gigabytes when
unpacked. It is decoded entry by entry, each CIF becomes three arrays, and the result is a
Parquet file in `build/cache`, named by the content of the original and of the code that
read it. Memory stays far below the size of the original. Serves sections 3.2 and 4.2.
"""

import hashlib
import json
import logging
import os
import uuid
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TextIO

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from mfutils import files, paths
from mfutils.code_hash import code_hash, fingerprint
from mfutils.crystals import cif, formulas
from mfutils.datasets import originals, tables
from mfutils.errors import DataError, InputError
from mfutils.plain_values import brief, is_number

__all__ = ["entries", "read_snapshot"]

_CHUNK = 1 << 20  # characters read at a time
_LARGEST = 1 << 27  # characters of one entry; a longer one is a damaged file
_BATCH = 2048  # crystals per Parquet row group
_LOG = logging.getLogger(__name__)


def read_snapshot() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Crystals of the snapshot, and what had to be left out.

    The first table has material_id, formula, nsites, formation_energy_per_atom (eV/atom),
    snapshot_pbe (eV) and structure, one row per material, ordered as the original; the
    second has material_id and reason. Raises DataError when the original is damaged.
    """
    source, sha256 = originals.require("mp_2019_snapshot")
    code = [fingerprint(Path(module)) for module in (__file__, formulas.__file__)]
    parts = [sha256, code_hash(cif.read_cif), *code]
    key = hashlib.sha256(" ".join(parts).encode()).hexdigest()[:20]
    crystals_file = paths.CACHE / f"snapshot-{key}.parquet"
    skips_file = paths.CACHE / f"snapshot-{key}-left-out.json"
    if crystals_file.is_file() and skips_file.is_file():
        try:
            return tables.read(crystals_file), _read_skips(skips_file)
        except DataError as error:
            _LOG.warning("cache is damaged and will be rebuilt: %s", error)
    skips = _build(source, crystals_file)
    files.write_text(skips_file, json.dumps(skips))
    return tables.read(crystals_file), _read_skips(skips_file)


def entries(path: Path) -> Iterator[dict]:
    """The objects of a JSON list, one at a time, from a plain, gzipped or zipped file.

    Holds one entry and one megabyte of text in memory. Raises DataError with the number of
    the entry when the text ends early or is no list of objects.
    """
    decode = json.JSONDecoder().raw_decode
    count = 0
    with originals.open_text(path) as stream:
        text = _more(stream, path, count).lstrip()
        if not text.startswith("["):
            raise DataError(f"{path}: starts with {text[:20]!r}; expected a JSON list of crystals")
        at = 1
        while True:
            while at < len(text) and text[at] in " \t\r\n,":
                at += 1
            if at < len(text) and text[at] == "]":
                return
            try:
                entry, at = decode(text, at)
            except json.JSONDecodeError:
                if len(text) - at > _LARGEST:
                    raise DataError(
                        f"{path}: entry {count} is not valid JSON; download the file again"
                    ) from None
                text, at = text[at:] + _more(stream, path, count), 0
                continue
            except (ValueError, RecursionError) as error:  # numbers or nesting beyond any limit
                raise DataError(
                    f"{path}: entry {count} is not readable ({error}); download the file again"
                ) from None
            if not isinstance(entry, dict):
                raise DataError(f"{path}: entry {count} is {brief(entry)}; expected an object")
            yield entry
            count += 1
            if at > _CHUNK:
                text, at = text[at:], 0


def _more(stream: TextIO, path: Path, count: int) -> str:
    try:
        text = stream.read(_CHUNK)
    except originals.UNREADABLE as error:
        raise DataError(
            f"{path}: damaged after entry {count} ({error}); download the file again"
        ) from error
    if not text:
        raise DataError(f"{path}: ends inside entry {count}; download the file again")
    return text


def _build(source: Path, target: Path) -> list[list[str]]:
    """Write the crystals of `source` to `target`; return [id, reason] of those left out."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    skips: list[list[str]] = []
    seen: set[str] = set()
    stream = iter(tqdm(entries(source), desc="reading crystals", unit="", disable=None))
    try:
        with pq.ParquetWriter(part, _SCHEMA, compression="zstd") as writer:
            while batch := list(islice(stream, _BATCH)):
                rows = [row for entry in batch if (row := _row(entry, seen, skips))]
                if rows:
                    writer.write_table(_table(rows))
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
    _LOG.info("%s: %d crystals, %d left out", source.name, len(seen), len(skips))
    return skips


def _row(entry: dict, seen: set[str], skips: list[list[str]]) -> dict | None:
    name = str(entry.get("material_id"))
    if not isinstance(entry.get("material_id"), str):
        skips.append([name, "no material id"])
        return None
    if name in seen:
        skips.append([name, "id repeated; the first entry is kept"])
        return None
    try:
        structure = cif.read_cif(entry.get("structure"), name=name)
    except InputError as error:
        skips.append([name, str(error).removeprefix(f"{name}: ")])
        return None
    seen.add(name)
    return {
        "material_id": name,
        "formula": formulas.reduced_formula(structure.numbers),
        "nsites": len(structure),
        "formation_energy_per_atom": _number(entry.get("formation_energy_per_atom")),
        "snapshot_pbe": _number(entry.get("band_gap")),
        "structure": structure,
    }


def _number(value: object) -> float | None:
    """`value` when it is a finite number; anything else is unknown, as in the original."""
    return float(value) if is_number(value) else None


_SCHEMA = pa.schema(
    [
        ("material_id", pa.string()),
        ("formula", pa.string()),
        ("nsites", pa.int16()),
        ("formation_energy_per_atom", pa.float64()),
        ("snapshot_pbe", pa.float64()),
        ("lattice", pa.list_(pa.float64())),
        ("numbers", pa.list_(pa.int16())),
        ("frac_coords", pa.list_(pa.float64())),
    ]
)


def _table(rows: list[dict]) -> pa.Table:
    columns = {
        field.name: pa.array([row[field.name] for row in rows], field.type)
        for field in _SCHEMA
        if field.name not in tables.STRUCTURE_COLUMNS
    }
    columns |= tables.structure_arrays(row["structure"] for row in rows)
    return pa.table(columns, schema=_SCHEMA)


def _read_skips(path: Path) -> pd.DataFrame:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return pd.DataFrame(rows, columns=["material_id", "reason"], dtype=str)
    except ValueError as error:
        raise DataError(f"{path}: not a list of skips ({error})") from error
