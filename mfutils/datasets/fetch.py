"""Fetch the study's originals: `make data`, or `python -m mfutils.datasets.fetch`.

Every original of `data/sources.yaml` that the data directory lacks is downloaded with
progress, retries and resume, checked, and only then given its name. A file that is there
already is only checked, so the command also works without a network. Proxies set in the
environment are honoured.

A checksum published beside an original decides. Where none is published, the archive must
unpack without an error, and the SHA-256 of the first use is recorded in `checksums.yaml`
in the data directory; every later read must agree with it.
"""

import argparse
import gzip
import hashlib
import os
import sys
import time
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import requests
import yaml

from mfutils import files
from mfutils.datasets import originals, registry, transfer
from mfutils.errors import DataError

__all__ = ["fetch", "main"]

_BLOCK = 1 << 22


@dataclass(frozen=True)
class _Target:
    """Where one original lies and what is published about it."""

    url: str
    file: str
    sha256: str | None = None
    md5: str | None = None


class _WrongFile(Exception):
    """A complete download that is not the file that was asked for."""


def fetch(name: str, *, folder: Path | None = None, retries: int = 8, wait: float = 2.0) -> str:
    """Make sure that the original `name` is in `folder`, and say in one line how it is.

    `folder` defaults to the data directory. After a passing fault up to `retries` more
    attempts follow, the first `wait` seconds later and each pause twice as long as the one
    before (a minute at most); a wrong file is fetched afresh once. Raises DataError when the
    file cannot be had or is wrong.
    """
    folder = folder or registry.data_dir()
    entry = originals.sources()[name]
    present = originals.find(name, folder=folder)
    if present:
        return f"{name}: {present.name} is there, {_state_of(present, entry)}"
    _make_folder(folder)
    final, target = _download(name, entry, folder, retries, wait)
    return f"{name}: {final.name} downloaded, {_state_of(final, entry, md5=target.md5)}"


def _download(name: str, entry: dict, folder: Path, retries: int, wait: float):
    session = transfer.open_session()
    target, wrong = None, 0
    for attempt in range(retries + 1):
        try:
            target = target or _resolve(session, entry)
            part = folder / f"{target.file}.part"
            transfer.receive(session, target.url, part)
            _verify(part, target)
            transfer.settle(part, folder / target.file)
            return folder / target.file, target
        except (transfer.TryAgain, _WrongFile) as fault:
            wrong += isinstance(fault, _WrongFile)
            if wrong > 1:
                raise DataError(
                    f"{target.url}: twice not the expected file ({fault}); "
                    f"compare with {entry.get('cite', 'the source')} in a browser"
                ) from fault
            if attempt == retries:
                raise DataError(
                    f"{name}: gave up after {retries + 1} attempts ({fault}); check the network "
                    f"and run it again, it resumes; or put {entry['files'][0]} into {folder}"
                ) from fault
            pause = min(60.0, wait * 2**attempt)
            print(f"{name}: {fault}; next attempt in {pause:g} s", file=sys.stderr)
            time.sleep(pause)
    raise AssertionError("the loop returns or raises")


def _resolve(session: requests.Session, entry: dict) -> _Target:
    """Address and published checksums, from the entry or from the public listing it names."""
    if entry.get("url"):
        return _Target(entry["url"], entry["files"][0], sha256=entry.get("sha256"))
    with transfer.get(session, entry["listing"]) as response:
        try:
            by_name = {item["name"]: item for item in response.json()}
            found = next(by_name[file] for file in entry["files"] if file in by_name)
            md5 = found.get("computed_md5") or found.get("supplied_md5") or None
            return _Target(found["download_url"], found["name"], entry.get("sha256"), md5)
        except (ValueError, TypeError, KeyError, StopIteration) as error:
            raise DataError(
                f"{entry['listing']}: no file named {' or '.join(entry['files'])} is listed; "
                "look at the article in a browser and put the file into the data directory"
            ) from error


def _verify(part: Path, target: _Target) -> None:
    """Compare a complete download with what is published; a wrong one is deleted."""
    published = {"sha256": target.sha256, "md5": target.md5}
    problem = None
    for algorithm, expected in published.items():
        if expected:
            with open(part, "rb") as handle:
                found = hashlib.file_digest(handle, algorithm).hexdigest()
            if found != expected:
                problem = f"{algorithm} is {found[:16]}..., published is {expected[:16]}..."
    if not any(published.values()):
        problem = _unpacks(part, target.file)
    if problem:
        transfer.discard(part)
        raise _WrongFile(f"{target.file}: {problem}")


def _unpacks(part: Path, name: str) -> str | None:
    """None when an archive (by the suffix of `name`) passes its own checks, else the fault."""
    try:
        if name.endswith(".zip"):
            with zipfile.ZipFile(part) as archive:
                damaged = archive.testzip()
            return f"{damaged} inside the zip is damaged" if damaged else None
        if name.endswith(".gz"):
            with gzip.open(part) as stream:
                while stream.read(_BLOCK):
                    pass
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        return f"does not unpack ({error})"
    return None


def _state_of(path: Path, entry: dict, *, md5: str | None = None) -> str:
    """State of a file in words, recording its checksum when it is used for the first time."""
    found = files.sha256_of(path)
    known = originals.recorded(path.parent)
    first = known.get(path.name)
    if first and first != found:
        raise DataError(
            f"{path}: sha256 is {found[:16]}..., at first use it was {first[:16]}...; delete the "
            f"file and run this again, or remove its line from {originals.CHECKSUMS}"
        )
    record = "as at first use" if first else "recorded at first use"
    if not first and not _record(path, {**known, path.name: found}):
        record = "not recorded (the folder is read-only)"
    text = f"{path.stat().st_size / 1e6:.1f} MB, sha256 {found[:16]}..., {record}"
    if entry.get("sha256") == found:
        return f"{text}; equal to the published checksum"
    if entry.get("sha256"):
        return f"{text}; not the published file: another version or a part of it"
    return f"{text}; the published MD5 agrees" if md5 else f"{text}; no checksum is published"


def _record(path: Path, table: dict[str, str]) -> bool:
    # Root may write anywhere; a folder without write permission is still not ours to touch.
    if not path.parent.stat().st_mode & 0o222:
        return False
    try:
        files.write_text(path.parent / originals.CHECKSUMS, yaml.safe_dump(table))
    except OSError:
        return False
    return True


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        raise DataError(f"{folder}: cannot be written; set MFUTILS_DATA to a folder of your own")


def main(arguments: list[str] | None = None) -> int:
    """Command line: fetch or check all originals, or those named; 1 when any is missing."""
    parser = argparse.ArgumentParser(prog="python -m mfutils.datasets.fetch")
    parser.add_argument("names", nargs="*", help="originals to fetch (default: all)")
    parser.add_argument("--folder", type=Path, help="data directory (default: MFUTILS_DATA)")
    parser.add_argument("--retries", type=int, default=8, help="further attempts per file")
    options = parser.parse_args(arguments)
    known = originals.sources()
    if unknown := [name for name in options.names if name not in known]:
        parser.error(f"no original named {unknown[0]!r}; known: {', '.join(known)}")
    failed = 0
    for name in options.names or known:
        try:
            print(fetch(name, folder=options.folder, retries=options.retries))
        except DataError as error:
            failed += 1
            print(f"error: {error}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
