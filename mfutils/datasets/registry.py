"""The registry of data files: nothing is read before its checksum is right.

`data/registry.yaml` lists every committed file with its SHA-256, source and licence.
`path` verifies the file on every call and notes the access, so that the runner knows
which data a notebook depends on and a sweep which data stand behind a stored result. Large
originals live outside git, in `data_dir`; their loaders call `note`. A loader that keeps what
it read is `remembered`: it notes its files at every call. Every chapter reads its data through
this module.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, lru_cache, wraps
from pathlib import Path

from mfutils import files, paths
from mfutils.errors import DataError, InputError
from mfutils.plain_values import brief, read_yaml

__all__ = [
    "ACCESS_LOG",
    "changed",
    "data_dir",
    "entries",
    "locate",
    "note",
    "path",
    "recording",
    "remembered",
    "replay",
]

ACCESS_LOG = "MFUTILS_ACCESS_LOG"

_FIELDS = ("file", "sha256", "source", "licence", "description")
_recordings: list[dict[str, str]] = []


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
    actual = files.sha256_of(target)
    if actual != entry["sha256"]:
        raise DataError(
            f"{target}: sha256 is {actual[:16]}..., the registry expects "
            f"{entry['sha256'][:16]}...; restore the file from git, or update data/registry.yaml "
            "if the change is meant"
        )
    note(target, sha256=actual)
    return target


def note(file: Path, *, sha256: str) -> None:
    """Say that this process reads `file`, whose content has this hash.

    Whoever is `recording` keeps it, and so does the runner (setting MFUTILS_ACCESS_LOG). Files
    outside of `data/` and `data_dir` are not noted.
    """
    file = Path(file).resolve()
    for label, base in (("data", paths.DATA), ("data_dir", data_dir().resolve())):
        if file.is_relative_to(base):
            return replay({f"{label}/{file.relative_to(base)}": sha256})


def replay(accesses: dict[str, str]) -> None:
    """Note files again, label -> SHA-256: what they held is used without reading them."""
    for record in _recordings:
        record.update(accesses)
    if log := os.environ.get(ACCESS_LOG):
        # One short append is atomic, so worker processes may share the log.
        with open(log, "a", encoding="utf-8") as handle:
            handle.write("".join(f"{label}\t{sha256}\n" for label, sha256 in accesses.items()))


@contextmanager
def recording() -> Iterator[dict[str, str]]:
    """A dict that receives label -> SHA-256 of every data file noted inside the block."""
    accesses: dict[str, str] = {}
    _recordings.append(accesses)
    try:
        yield accesses
    finally:
        # by identity: two recordings may hold the same
        _recordings[:] = [record for record in _recordings if record is not accesses]


def remembered(*, maxsize: int) -> Callable[[Callable], Callable]:
    """A decorator like `functools.lru_cache`, for loaders: every call notes the files anew."""

    def decorate(loader: Callable) -> Callable:
        @lru_cache(maxsize=maxsize)
        def first(*args, **options):
            with recording() as accesses:
                return loader(*args, **options), accesses

        @wraps(loader)
        def load(*args, **options):
            content, accesses = first(*args, **options)
            replay(accesses)
            return content

        load.cache_clear = first.cache_clear
        return load

    return decorate


def locate(label: str) -> Path:
    """Path of a file named in the access log, such as ``data/x.csv`` or ``data_dir/y.gz``."""
    base, _, rest = label.partition("/")
    return (paths.DATA if base == "data" else data_dir()) / rest


def changed(accesses: dict[str, str]) -> list[str]:
    """What is no longer as it was read, a line per file: ``data/x.csv missing`` or ``changed``.

    What was computed elsewhere stays valid where the large originals are absent.
    """
    lines = []
    for label, sha256 in accesses.items():
        file = locate(label)
        if not file.is_file():
            lines += [f"{label} missing"] * (not label.startswith("data_dir/"))
        elif _sha256(file, file.stat().st_mtime_ns) != sha256:
            lines.append(f"{label} changed")
    return lines


@cache
def _sha256(file: Path, _modified: int) -> str:
    return files.sha256_of(file)
