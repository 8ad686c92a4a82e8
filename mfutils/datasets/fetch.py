"""Fetch the study's originals: `make data`, or `python -m mfutils.datasets.fetch`.

Every original of `data/sources.yaml` that the data directory lacks is downloaded by pooch, with
progress and retries, and gets its name once it is right: a published checksum decides, and where
none is published an archive must unpack. The SHA-256 of the first use is recorded in
`checksums.yaml` beside the files; every later read must agree with it. Files that are there are
only checked, so the command also works without a network. Proxies of the environment are honoured.

pooch starts every download afresh, so the downloader that it calls is ours and resumes: beside
the partial file stands which address it came from and the server's validator (ETag) of that
version, and the next attempt asks for the rest of the same version only.
"""

import argparse
import gzip
import json
import sys
import time
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import pooch
import requests
import urllib3
import yaml
from tqdm import tqdm

from mfutils import files
from mfutils.datasets import originals, registry
from mfutils.errors import DataError

__all__ = ["fetch", "main"]

_BLOCK = 1 << 18
_TIMEOUT = (15, 60)  # seconds to connect, and between two packets
_PASSING = {202, 408, 425, 429, 500, 502, 503, 504}  # statuses that are worth another try


class _TryAgain(Exception):
    """A passing fault of the connection or the server; a further attempt may succeed."""


class _WrongFile(Exception):
    """A complete download that is not the file that was asked for."""


@dataclass(frozen=True)
class _Target:
    """Where one original lies, and its published checksum in pooch's form, "md5:..."."""

    url: str
    file: str
    checksum: str | None = None


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
    target, wrong = None, 0
    for attempt in range(retries + 1):
        try:
            target = target or _resolve(entry)
            _download(target, folder)
            state = _state_of(folder / target.file, entry, checked=target.checksum)
            return f"{name}: {target.file} downloaded, {state}"
        except (_TryAgain, _WrongFile) as fault:
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


def _resolve(entry: dict) -> _Target:
    """Address and published checksum, from the entry or from the public listing it names."""
    sha256 = f"sha256:{entry['sha256']}" if entry.get("sha256") else None
    if entry.get("url"):
        return _Target(entry["url"], entry["files"][0], sha256)
    with _get(entry["listing"]) as response:
        try:
            by_name = {item["name"]: item for item in response.json()}
            listed = next(by_name[file] for file in entry["files"] if file in by_name)
            md5 = listed.get("computed_md5") or listed.get("supplied_md5")
            checksum = sha256 or (f"md5:{md5}" if md5 else None)
            return _Target(listed["download_url"], listed["name"], checksum)
        except (ValueError, TypeError, KeyError, StopIteration) as error:
            raise DataError(
                f"{entry['listing']}: no file named {' or '.join(entry['files'])} is listed; "
                "look at the article in a browser and put the file into the data directory"
            ) from error


def _download(target: _Target, folder: Path) -> None:
    """One attempt at a file; it gets its name from pooch once its checksum is right."""
    part = folder / f"{target.file}.part"

    def resume(url: str, whole: str, _: pooch.Pooch | None) -> None:
        _receive(url, part)
        problem = None if target.checksum else _unpacks(part, target.file)
        part.replace(whole)
        _discard(part)
        if problem:
            raise _WrongFile(problem)

    pooch.get_logger().setLevel("WARNING")  # what happens is said by `fetch`
    try:
        pooch.retrieve(target.url, target.checksum, target.file, folder, downloader=resume)
    except DataError:
        raise
    except ValueError as error:
        raise _WrongFile(str(error)) from error
    except OSError as error:
        reason = error.strerror or error
        raise DataError(
            f"{folder}: cannot be written ({reason}); free some space, or set MFUTILS_DATA to a "
            "folder of your own"
        ) from error


def _receive(url: str, part: Path) -> None:
    """Continue the partial file `part` until it holds all of `url`, with a progress bar.

    Raises _TryAgain when the connection breaks or the answer does not fit; what is sound of
    the part is kept for the next attempt.
    """
    have, validator = _resume_point(part, url)
    headers = {"Range": f"bytes={have}-"} if have else {}
    if have and validator:
        headers["If-Range"] = validator  # should the file have changed, all of the new one comes
    with _get(url, headers) as response:
        span = response.headers.get("Content-Range", "")
        if response.status_code == 416 or (span and not span.startswith(f"bytes {have}-")):
            _discard(part)
            raise _TryAgain("the partial file does not fit the one on the server; starting over")
        if response.status_code == 200:
            have = 0  # the whole file: a first request, or a server that ignores ranges
        length = response.headers.get("Content-Length", "")
        total = have + int(length) if length.isdigit() else None
        # A weak validator does not promise equal bytes
        version = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
        state = {"url": url, "validator": "" if version.startswith("W/") else version}
        progress = {"desc": part.stem, "unit": "B", "unit_scale": True, "disable": None}
        try:
            with (
                open(part, "ab" if have else "wb") as sink,
                tqdm(total=total, initial=have, **progress) as bar,
            ):
                files.write_text(_state_file(part), json.dumps(state))
                for block in response.raw.stream(_BLOCK, decode_content=False):
                    sink.write(block)
                    bar.update(len(block))
        except (urllib3.exceptions.HTTPError, ConnectionError, TimeoutError) as error:
            size = part.stat().st_size
            raise _TryAgain(f"connection lost after {size} bytes ({_brief(error)})") from error


def _get(url: str, headers: dict[str, str] | None = None) -> requests.Response:
    """Open a stream; _TryAgain on a passing fault, DataError on a final one."""
    # A .gz file must not be unpacked on the way
    headers = {"Accept-Encoding": "identity", **(headers or {})}
    try:
        response = requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT)
    except (requests.exceptions.InvalidURL, requests.exceptions.MissingSchema) as error:
        raise DataError(f"{url}: not an address; correct data/sources.yaml") from error
    except requests.RequestException as error:
        raise _TryAgain(_brief(error)) from error
    if response.status_code in (200, 206, 416):
        return response
    response.close()
    if response.status_code in _PASSING:
        raise _TryAgain(f"the server answered {response.status_code}")
    raise DataError(
        f"{url}: the server answered {response.status_code} {response.reason}; check the address "
        "in data/sources.yaml, or download the file by hand into the data directory"
    )


def _resume_point(part: Path, url: str) -> tuple[int, str]:
    """Bytes of the partial file that may be kept, and the server's validator of that file."""
    try:
        state = json.loads(_state_file(part).read_text(encoding="utf-8"))
        if state["url"] == url:
            return part.stat().st_size, state["validator"]
    except (OSError, ValueError, KeyError, TypeError):
        pass  # nothing to resume from
    return 0, ""


def _state_file(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _state_file(part).unlink(missing_ok=True)


def _brief(error: BaseException) -> str:
    """First line of the innermost message of an exception."""
    while error.args and isinstance(error.args[0], BaseException):
        error = error.args[0]
    reason = getattr(error, "reason", None) or error.__cause__ or error
    return (str(reason).splitlines() or [type(error).__name__])[0][:160]


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
        return f"{name} does not unpack ({error})"
    return None


def _state_of(path: Path, entry: dict, *, checked: str | None = None) -> str:
    """State of a file in words, recording its checksum when it is used for the first time."""
    sha256 = originals.verified_sha256(path)
    known = originals.recorded(path.parent)
    if path.name in known:
        record = "as at first use"
    elif _record(path, {**known, path.name: sha256}):
        record = "recorded at first use"
    else:
        record = "not recorded (the folder is read-only)"
    text = f"{path.stat().st_size / 1e6:.1f} MB, sha256 {sha256[:16]}..., {record}"
    if entry.get("sha256") == sha256:
        return f"{text}; equal to the published checksum"
    if entry.get("sha256"):
        return f"{text}; not the published file: another version or a part of it"
    return f"{text}; {'the published MD5 agrees' if checked else 'no checksum is published'}"


def _record(path: Path, table: dict[str, str]) -> bool:
    # Root may write anywhere; a folder without write permission is still not ours to touch.
    if not path.parent.stat().st_mode & 0o222:
        return False
    try:
        files.write_text(path.parent / originals.CHECKSUMS, yaml.safe_dump(table))
    except OSError:
        return False
    return True


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
