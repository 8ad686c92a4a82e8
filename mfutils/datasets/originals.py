"""The study's large original files: where they are, and whether they are what they were.

`data/sources.yaml` lists each original with the file names it goes by, its address and its
checksum. Files are looked up in the data directory (`registry.data_dir`) and never changed.
Where an original publishes no checksum, `make data` records the one of the first use in
`checksums.yaml` beside the files, and every later read must agree with it.
"""

import gzip
import io
import json
import zipfile
import zlib
from pathlib import Path
from typing import Any, TextIO

from mfutils import files, paths
from mfutils.datasets import registry
from mfutils.errors import DataError, InputError
from mfutils.plain_values import brief, read_yaml

__all__ = [
    "CHECKSUMS",
    "UNREADABLE",
    "find",
    "open_text",
    "read_json",
    "recorded",
    "require",
    "sources",
    "verified_sha256",
]

CHECKSUMS = "checksums.yaml"
# What reading a damaged file raises, compressed or not
UNREADABLE = (OSError, EOFError, zlib.error, zipfile.BadZipFile, UnicodeDecodeError)


def sources(path: Path | None = None) -> dict[str, dict]:
    """Name -> {files, url or listing, sha256, licence, description, cite} of every original."""
    path = path or paths.DATA / "sources.yaml"
    table = read_yaml(path, remedy="restore it from git")
    for name, entry in table.items() if isinstance(table, dict) else [("the file", None)]:
        entry = entry if isinstance(entry, dict) else {}
        names = entry.get("files")
        if not isinstance(names, list) or not names or not all(map(_is_text, names)):
            raise DataError(f"{path}: {brief(name)} has no list of files; restore it from git")
        if not (_is_text(entry.get("url")) or _is_text(entry.get("listing"))):
            raise DataError(
                f"{path}: {brief(name)} has neither url nor listing; restore it from git"
            )
    return table


def find(name: str, *, folder: Path | None = None) -> Path | None:
    """File of the original `name` in the data directory, by the best of its names, or None."""
    table = sources()
    if name not in table:
        raise InputError(f"no original named {name!r}; known: {', '.join(table)}")
    folder = folder or registry.data_dir()
    present = (folder / file for file in table[name]["files"])
    return next((path for path in present if path.is_file()), None)


def require(name: str) -> tuple[Path, str]:
    """Path and SHA-256 of the original `name`; DataError when it is missing or has changed.

    The access is noted for the runner, so a figure is stale when the original changes.
    """
    path = find(name)
    if path is None:
        expected = ", ".join(sources()[name]["files"])
        raise DataError(
            f"{registry.data_dir()}: no file of {name} (looked for {expected}); "
            "run `make data`, or set MFUTILS_DATA to the folder that holds it"
        )
    sha256 = verified_sha256(path)
    registry.note(path, sha256=sha256)
    return path, sha256


def verified_sha256(path: Path) -> str:
    """SHA-256 of an original; DataError when it is not the one recorded at first use, if any."""
    sha256 = files.sha256_of(path)
    first = recorded(path.parent).get(path.name)
    if first and first != sha256:
        raise DataError(
            f"{path}: sha256 is {sha256[:16]}..., at first use it was {first[:16]}...; delete the "
            f"file and run `make data`, or remove its line from {CHECKSUMS} if the change is meant"
        )
    return sha256


def recorded(folder: Path) -> dict[str, str]:
    """File name -> SHA-256 as recorded in the data directory `folder`; empty when none is."""
    path = folder / CHECKSUMS
    if not path.exists():
        return {}
    table = read_yaml(path, remedy="delete it and run `make data`")
    if not isinstance(table, dict) or not all(map(_is_text, [*table, *table.values()])):
        raise DataError(f"{path}: expected file names with checksums; delete it, run `make data`")
    return table


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def open_text(path: Path) -> TextIO:
    """UTF-8 text of a plain, gzipped or zipped file, told apart by content, not by name.

    A zip file must hold exactly one file. Raises DataError when it does not, or when the
    file cannot be opened.
    """
    try:
        with open(path, "rb") as probe:
            magic = probe.read(4)
        if magic[:2] == b"\x1f\x8b":
            return gzip.open(path, "rt", encoding="utf-8")
        if magic == b"PK\x03\x04":
            archive = zipfile.ZipFile(path)
            names = [n for n in archive.namelist() if not n.endswith("/")]
            names = [n for n in names if not n.startswith("__MACOSX/")]
            if len(names) != 1:
                raise DataError(f"{path}: zip holds {len(names)} files; expected one JSON file")
            return io.TextIOWrapper(archive.open(names[0]), encoding="utf-8")
        return open(path, encoding="utf-8")
    except (*UNREADABLE, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{path}: cannot be opened ({error}); download it again") from error


def read_json(path: Path, **options) -> Any:
    """Content of a JSON file, plain, gzipped or zipped; DataError when it cannot be read."""
    try:
        with open_text(path) as stream:
            return json.load(stream, **options)
    except DataError:
        raise
    except (*UNREADABLE, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{path}: not readable as JSON or cut short ({reason}); download it again"
        ) from error
