"""The registry of data files: nothing is read before its checksum is right.

`data/registry.yaml` lists every committed file with its SHA-256, source and licence.
`path` verifies the file on every call and notes the access, so that the runner knows
which data a notebook depends on. Large originals live outside git, in `data_dir`;
their loaders call `note`. Every chapter reads its data through this module.
"""

import os
from pathlib import Path

from mfutils import files, paths
from mfutils.errors import DataError, InputError
from mfutils.plain_values import brief, read_yaml

__all__ = [
    "ACCESS_LOG",
    "data_dir",
    "entries",
    "locate",
    "note",
    "path",
]

ACCESS_LOG = "MFUTILS_ACCESS_LOG"

_FIELDS = ("file", "sha256", "source", "licence", "description")


def data_dir() -> Path:
    """Folder of the large original files: the setting MFUTILS_DATA, else `data/raw`."""
    return Path(os.environ.get("MFUTILS_DATA") or paths.RAW).expanduser()


def entries(registry: Path | None = None) -> dict[str, dict]:
    """Name -> {file, sha256, source, licence, description} of every committed file.

    Raises DataError when the registry is missing, unreadable or incomplete.
    """
    registry = registry or paths.DATA / "registry.yaml"
    table = read_yaml(registry, remedy=f"restore it with `git checkout {registry.name}`")
    if not isinstance(table, dict):
        raise DataError(f"{registry}: expected a mapping of names to entries; restore it from git")
    for name, entry in table.items():
        fields = entry if isinstance(entry, dict) else {}
        missing = [f for f in _FIELDS if not isinstance(fields.get(f), str) or not fields[f]]
        if missing:
            lacking = ", ".join(missing)
            raise DataError(f"{registry}: entry {brief(name)} lacks {lacking} as text; add them")
    return table


def path(name: str, *, registry: Path | None = None) -> Path:
    """Verified path of the registered file `name`.

    Raises InputError for an unknown name, DataError when the file is missing or its
    checksum differs from the registry.
    """
    table = entries(registry)
    if name not in table:
        raise InputError(f"no data file named {name!r}; known names: {', '.join(sorted(table))}")
    entry = table[name]
    target = (registry.parent if registry else paths.DATA) / entry["file"]
    if not target.is_file():
        raise DataError(f"{target}: file is missing; restore it with `git checkout {target.name}`")
    found = files.sha256_of(target)
    if found != entry["sha256"]:
        raise DataError(
            f"{target}: sha256 is {found[:16]}..., the registry expects {entry['sha256'][:16]}...; "
            "restore the file from git, or update data/registry.yaml if the change is meant"
        )
    note(target, sha256=found)
    return target


def note(file: Path, *, sha256: str | None = None) -> None:
    """Tell the runner that this process reads `file` (below `data/` or `data_dir`).

    Outside the runner (no setting MFUTILS_ACCESS_LOG) nothing happens.
    """
    log = os.environ.get(ACCESS_LOG)
    if not log:
        return
    file = Path(file).resolve()
    for label, base in (("data", paths.DATA), ("data_dir", data_dir().resolve())):
        if file.is_relative_to(base):
            line = f"{label}/{file.relative_to(base)}\t{sha256 or files.sha256_of(file)}\n"
            # One short append is atomic, so worker processes may share the log.
            with open(log, "a", encoding="utf-8") as handle:
                handle.write(line)
            return


def locate(label: str) -> Path:
    """Path of a file named in the access log, such as ``data/x.csv`` or ``data_dir/y.gz``."""
    base, _, rest = label.partition("/")
    return (paths.DATA if base == "data" else data_dir()) / rest
