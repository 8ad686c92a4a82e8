"""Downloads against a server on the loopback that misbehaves in every way we know."""

import gzip
import hashlib
import json
import random
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml

from mfutils import paths
from mfutils.datasets import fetch, originals
from mfutils.errors import DataError

PAYLOAD = gzip.compress(json.dumps({"noise": random.Random(1).random()}).encode(), mtime=0)
BODY = gzip.compress(bytes(random.Random(2).randbytes(400_000)), mtime=0)
HTML = b"<html>Please sign in</html>"


class Server(ThreadingHTTPServer):
    """Serves `body`; each request first takes one behaviour from `script`, "good" when empty."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.body, self.etag, self.script, self.requests = BODY, '"v1"', [], []
        self.listing = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        server = self.server
        server.requests.append((self.path, dict(self.headers)))
        act = server.script.pop(0) if server.script else "good"
        if self.path.endswith("/listing"):
            return self.answer(200, json.dumps(server.listing).encode())
        if isinstance(act, int):
            return self.answer(act, b"")
        if act == "wrong":
            return self.answer(200, HTML)
        if act == "unsized":
            return self.cut(server.body, len(server.body) // 2, sized=False)
        if act == "drop":
            return self.cut(server.body[self.wanted() or 0 :], 150_000, sized=True)
        if act == "changed":
            server.body, server.etag = server.body[::-1], '"v2"'
        start = self.wanted()
        if act == "shifted" and start:
            return self.part(start - 7)
        if act == "ignore-range" or start is None:
            return self.answer(200, server.body)
        return self.part(start)

    def wanted(self):
        """First byte asked for, or None where the whole file is due."""
        span = self.headers.get("Range")
        if span is None or self.headers.get("If-Range", self.server.etag) != self.server.etag:
            return None
        return int(span.removeprefix("bytes=").rstrip("-"))

    def part(self, start):
        body = self.server.body
        if start >= len(body):
            return self.answer(416, b"")
        span = f"bytes {start}-{len(body) - 1}/{len(body)}"
        return self.answer(206, body[start:], {"Content-Range": span})

    def answer(self, status, body, headers=None):
        self.send_response(status)
        for name, value in {"ETag": self.server.etag, **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def cut(self, body, size, *, sized):
        """Send only `size` bytes and close, with or without having announced them all."""
        status = 206 if self.wanted() else 200
        self.send_response(status)
        self.send_header("ETag", self.server.etag)
        if status == 206:
            whole = len(self.server.body)
            self.send_header("Content-Range", f"bytes {self.wanted()}-{whole - 1}/{whole}")
        if sized:
            self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body[:size])
        self.close_connection = True


@pytest.fixture
def server(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def source(server, tmp_path, monkeypatch):
    """Register one original served by `server`; call with fields to change."""
    monkeypatch.setattr(paths, "DATA", tmp_path / "data")
    (tmp_path / "data").mkdir()

    def register(**fields):
        entry = {"files": ["gaps.gz", "other.gz"], "url": f"{server.url}/files/1", "sha256": None}
        entry = {k: v for k, v in (entry | fields).items() if v is not False}
        (tmp_path / "data" / "sources.yaml").write_text(yaml.safe_dump({"gaps": entry}))
        return tmp_path / "raw"

    return register


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def get(folder, **options):
    return fetch.fetch("gaps", folder=folder, wait=0.001, **options)


def leftovers(folder):
    return sorted(p.name for p in folder.iterdir() if ".part" in p.name)


def test_good_download_with_published_checksum(source, server):
    folder = source(sha256=sha256(BODY))
    assert "equal to the published checksum" in get(folder)
    assert (folder / "gaps.gz").read_bytes() == BODY
    assert originals.recorded(folder) == {"gaps.gz": sha256(BODY)}
    assert leftovers(folder) == []
    assert server.requests[0][1]["Accept-Encoding"] == "identity"


def test_drops_are_resumed_without_fetching_twice(source, server):
    folder = source(sha256=sha256(BODY))
    server.script = ["drop", "drop"]
    get(folder)
    assert (folder / "gaps.gz").read_bytes() == BODY
    ranges = [headers.get("Range") for _, headers in server.requests]
    assert ranges == [None, "bytes=150000-", "bytes=300000-"]
    assert server.requests[1][1]["If-Range"] == '"v1"'


def test_resumes_in_a_later_process(source, server):
    folder = source(sha256=sha256(BODY))
    server.script = ["drop"]
    with pytest.raises(DataError, match=r"gave up after 1 attempts .*150000 bytes.*it resumes"):
        get(folder, retries=0)
    assert not (folder / "gaps.gz").exists()
    assert leftovers(folder) == ["gaps.gz.part", "gaps.gz.part.json"]
    get(folder)
    assert (folder / "gaps.gz").read_bytes() == BODY
    assert server.requests[-1][1]["Range"] == "bytes=150000-"
    assert leftovers(folder) == []


def test_server_that_ignores_ranges(source, server):
    folder = source(sha256=sha256(BODY))
    server.script = ["drop", "ignore-range"]
    get(folder)
    assert (folder / "gaps.gz").read_bytes() == BODY


def test_server_that_answers_with_another_range(source, server):
    folder = source(sha256=sha256(BODY))
    server.script = ["drop", "shifted"]
    get(folder)
    assert (folder / "gaps.gz").read_bytes() == BODY


def test_file_that_changes_between_attempts_is_not_spliced(source, server):
    folder = source(sha256=sha256(BODY[::-1]), files=["gaps.bin"])
    server.script = ["drop", "changed"]
    get(folder)
    assert (folder / "gaps.bin").read_bytes() == BODY[::-1]


def test_part_longer_than_the_file(source, server):
    folder = source(sha256=sha256(BODY))
    folder.mkdir()
    (folder / "gaps.gz.part").write_bytes(BODY + b"tail")
    state = {"url": f"{server.url}/files/1", "validator": '"v1"'}
    (folder / "gaps.gz.part.json").write_text(json.dumps(state))
    get(folder)
    assert (folder / "gaps.gz").read_bytes() == BODY


def test_part_from_another_address_is_dropped(source, server):
    folder = source(sha256=sha256(BODY))
    folder.mkdir()
    (folder / "gaps.gz.part").write_bytes(b"x" * 1000)
    (folder / "gaps.gz.part.json").write_text(json.dumps({"url": "other", "validator": ""}))
    get(folder)
    assert server.requests[0][1].get("Range") is None
    assert (folder / "gaps.gz").read_bytes() == BODY


@pytest.mark.parametrize("status", [503, 429, 202])
def test_passing_statuses_are_tried_again(source, server, status, capsys):
    folder = source(sha256=sha256(BODY))
    server.script = [status, status]
    get(folder)
    assert capsys.readouterr().err.count(f"answered {status}") == 2


def test_final_status_is_an_error_at_once(source, server):
    folder = source()
    server.script = [404]
    with pytest.raises(DataError, match=r"answered 404 .*by hand"):
        get(folder)
    assert len(server.requests) == 1


def test_wrong_file_against_a_published_checksum(source, server):
    folder = source(sha256=sha256(BODY))
    server.script = ["wrong"] * 5
    with pytest.raises(DataError, match=r"twice not the expected file .*SHA256 hash"):
        get(folder)
    assert len(server.requests) == 2
    assert list(folder.iterdir()) == []


def test_one_wrong_answer_is_forgiven(source, server):
    folder = source(sha256=sha256(BODY))
    server.script = ["wrong"]
    get(folder)
    assert (folder / "gaps.gz").read_bytes() == BODY


def test_wrong_file_without_a_published_checksum(source, server):
    folder = source()
    server.script = ["wrong"] * 2
    with pytest.raises(DataError, match=r"does not unpack"):
        get(folder)
    assert not (folder / "gaps.gz").exists()


def test_silent_truncation_without_length_or_checksum(source, server):
    folder = source()
    server.script = ["unsized"]
    get(folder)
    assert (folder / "gaps.gz").read_bytes() == BODY


def test_first_use_is_recorded_and_binding(source, server, monkeypatch):
    folder = source()
    assert "recorded at first use; no checksum is published" in get(folder)
    assert "as at first use" in get(folder)
    assert len(server.requests) == 1  # the second call needs no network
    (folder / "gaps.gz").write_bytes(BODY + b"x")
    with pytest.raises(DataError, match=r"at first use it was"):
        get(folder)
    monkeypatch.setenv("MFUTILS_DATA", str(folder))
    with pytest.raises(DataError, match=r"at first use it was .*make data"):
        originals.require("gaps")


def test_offline_with_files_there_under_another_name(source, server):
    folder = source(sha256=sha256(b"published"))
    folder.mkdir()
    (folder / "other.gz").write_bytes(PAYLOAD)
    assert "not the published file" in get(folder)
    assert server.requests == []


def test_read_only_folder_is_left_alone(source):
    folder = source()
    folder.mkdir()
    (folder / "gaps.gz").write_bytes(PAYLOAD)
    folder.chmod(0o555)
    try:
        assert "not recorded" in get(folder)
        assert [p.name for p in folder.iterdir()] == ["gaps.gz"]
    finally:
        folder.chmod(0o755)


def test_listing_gives_address_and_md5(source, server):
    folder = source(url=False, listing=f"{server.url}/listing")
    md5 = hashlib.md5(BODY).hexdigest()
    server.listing = [
        {"name": "readme.txt", "download_url": "nowhere", "computed_md5": "0"},
        {"name": "other.gz", "download_url": f"{server.url}/files/2", "computed_md5": md5},
    ]
    assert "published MD5 agrees" in get(folder)
    assert (folder / "other.gz").read_bytes() == BODY
    assert [path for path, _ in server.requests] == ["/listing", "/files/2"]


def test_listing_with_wrong_md5_or_without_the_file(source, server):
    folder = source(url=False, listing=f"{server.url}/listing")
    server.listing = [{"name": "gaps.gz", "download_url": f"{server.url}/f", "computed_md5": "00"}]
    with pytest.raises(DataError, match=r"MD5 hash"):
        get(folder)
    server.listing = [{"name": "elsewhere.gz"}]
    with pytest.raises(DataError, match=r"no file named gaps.gz or other.gz"):
        get(folder)


def test_nobody_listens(source):
    folder = source(url="http://127.0.0.1:9/gaps.gz")
    with pytest.raises(DataError, match=r"gave up after 2 attempts .*refused"):
        get(folder, retries=1)


def test_proxy_of_the_environment_is_used(source, server, monkeypatch):
    folder = source(url="http://data.invalid/gaps.gz", sha256=sha256(BODY))
    monkeypatch.setenv("HTTP_PROXY", server.url)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    get(folder)
    assert server.requests[0][0] == "http://data.invalid/gaps.gz"


def test_command_line(source, server, capsys):
    folder = source(sha256=sha256(BODY))
    assert fetch.main(["--folder", str(folder)]) == 0
    assert "gaps.gz downloaded" in capsys.readouterr().out
    (folder / "gaps.gz").unlink()
    server.script = [403]
    assert fetch.main(["gaps", "--folder", str(folder)]) == 1
    assert capsys.readouterr().err.startswith("error: ")
    with pytest.raises(SystemExit):
        fetch.main(["unknown"])


def test_sources_of_the_compendium_are_complete():
    for name, entry in originals.sources().items():
        assert entry["licence"], name
        assert entry["cite"], name
        address = entry.get("url") or entry["listing"]
        assert address.startswith("https://")
