"""One file over HTTP, continued where a broken connection left it.

The bytes go into a partial file; beside it stands which address they came from and the
server's validator (ETag) of that version. The next attempt asks for the rest of the same
version only, so a file that changed on the server is never spliced. Used by `download`.
"""

import json
from pathlib import Path

import requests
import urllib3
from tqdm import tqdm

from mfutils import files
from mfutils.errors import DataError

__all__ = ["TryAgain", "discard", "get", "open_session", "receive", "settle"]

_CHUNK = 1 << 18
_TIMEOUT = (15, 60)  # seconds to connect, and between two packets
_PASSING = {202, 408, 425, 429, 500, 502, 503, 504}  # statuses that are worth another try


class TryAgain(Exception):
    """A passing fault of the connection or the server; a further attempt may succeed."""


def open_session() -> requests.Session:
    """Session that honours the proxies of the environment and takes files as they are."""
    session = requests.Session()
    session.headers["Accept-Encoding"] = "identity"  # a .gz file must not be unpacked on the way
    return session


def get(session: requests.Session, url: str, headers: dict | None = None) -> requests.Response:
    """Open a stream; TryAgain on a passing fault, DataError on a final one."""
    try:
        response = session.get(url, headers=headers, stream=True, timeout=_TIMEOUT)
    except (requests.exceptions.InvalidURL, requests.exceptions.MissingSchema) as error:
        raise DataError(f"{url}: not an address; correct data/sources.yaml") from error
    except requests.RequestException as error:
        raise TryAgain(_brief(error)) from error
    if response.status_code in (200, 206, 416):
        return response
    response.close()
    if response.status_code in _PASSING:
        raise TryAgain(f"the server answered {response.status_code}")
    raise DataError(
        f"{url}: the server answered {response.status_code} {response.reason}; check the address "
        "in data/sources.yaml, or download the file by hand into the data directory"
    )


def receive(session: requests.Session, url: str, part: Path) -> None:
    """Continue the partial file `part` until it holds all of `url`, with a progress bar.

    Raises TryAgain when the connection breaks or the answer does not fit; what is sound of
    the part is kept for the next attempt.
    """
    have, validator = _resume_point(part, url)
    headers = {}
    if have:
        # If-Range: should the file have changed, the server sends all of the new one.
        headers = {"Range": f"bytes={have}-", **({"If-Range": validator} if validator else {})}
    with get(session, url, headers) as response:
        if response.status_code == 416:
            discard(part)
            raise TryAgain("the partial file does not fit the one on the server; starting over")
        total = _length(response)
        if response.status_code == 206:
            start, total = _content_range(response)
            if start != have:
                discard(part)
                raise TryAgain(f"asked for bytes from {have}, got them from {start}")
        else:
            have = 0  # the whole file: a first request, or a server that ignores ranges
        files.write_text(_state(part), json.dumps({"url": url, "validator": _validator(response)}))
        received = _store(response, part, have, total)
    if total is not None and received != total:
        if received > total:
            discard(part)
        raise TryAgain(f"got {received} of {total} bytes")


def settle(part: Path, final: Path) -> None:
    """Give a complete partial file its name, in one step."""
    part.replace(final)
    _state(part).unlink(missing_ok=True)


def discard(part: Path) -> None:
    """Forget a partial file."""
    part.unlink(missing_ok=True)
    _state(part).unlink(missing_ok=True)


def _store(response: requests.Response, part: Path, have: int, total: int | None) -> int:
    received = have
    name = part.name.removesuffix(".part")
    bar = tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=name, disable=None)
    try:
        with open(part, "ab" if have else "wb") as sink, bar:
            for chunk in response.raw.stream(_CHUNK, decode_content=False):
                sink.write(chunk)
                received += len(chunk)
                bar.update(len(chunk))
    except (urllib3.exceptions.HTTPError, ConnectionError, TimeoutError) as error:
        raise TryAgain(f"connection lost after {received} bytes ({_brief(error)})") from error
    except OSError as error:
        raise DataError(f"{part}: cannot be written ({error.strerror}); free some space") from error
    return received


def _resume_point(part: Path, url: str) -> tuple[int, str]:
    """Bytes of the partial file that may be kept, and the server's validator of that file."""
    try:
        state = json.loads(_state(part).read_text(encoding="utf-8"))
        if state["url"] == url:
            return part.stat().st_size, state["validator"]
    except (OSError, ValueError, KeyError, TypeError):
        pass  # nothing to resume from
    discard(part)
    return 0, ""


def _validator(response: requests.Response) -> str:
    value = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
    return "" if value.startswith("W/") else value  # a weak one does not promise equal bytes


def _content_range(response: requests.Response) -> tuple[int, int | None]:
    """(first byte, size of the whole file) of a partial answer; -1 when it is not stated."""
    span, _, total = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
    start = span.partition("-")[0]
    return int(start) if start.isdigit() else -1, int(total) if total.isdigit() else None


def _length(response: requests.Response) -> int | None:
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdigit() else None


def _state(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _brief(error: BaseException) -> str:
    """First line of the innermost message of an exception."""
    while error.args and isinstance(error.args[0], BaseException):
        error = error.args[0]
    if error.__cause__ is not None:
        error = error.__cause__
    reason = getattr(error, "reason", None) or error
    return (str(reason).splitlines() or [type(error).__name__])[0][:160]
