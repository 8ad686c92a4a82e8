"""Archives from elsewhere: members that point outside write nothing there, damage is named.

Archives are read in memory, member by member, by a name that the code asks for.
"""

import gzip
import hashlib
import io
import json
import random
import tarfile
import zipfile
from collections import Counter

import pytest
from trials import damages, keep, one_line, trials

from mfutils.datasets import fetch, originals
from mfutils.datasets.build import packages
from mfutils.errors import DataError

OUTSIDE = ("../evil", "../../evil", "/tmp/mfutils-evil", "a/../../../evil", "..\\evil", "ok/..")


def tar_of(members):
    """A gzipped tar file of (name, kind, target or content)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, kind, content in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            if kind == tarfile.REGTYPE:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
            else:
                info.linkname = content
                archive.addfile(info)
    return buffer.getvalue()


def zip_of(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def everything_below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def open_archive(path, content):
    path.write_bytes(content)
    return packages.Archive(path, hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize("suffix", [".tar.gz", "-py3-none-any.whl"])
def test_members_outside_are_only_ever_bytes(tmp_path, suffix):
    inner = tmp_path / "deep" / "down" / "here"
    inner.mkdir(parents=True)
    path = inner / f"package{suffix}"
    outcomes = Counter()
    for name in OUTSIDE:
        if suffix == ".tar.gz":
            members = [
                (name, tarfile.REGTYPE, b"evil"),
                ("link", tarfile.SYMTYPE, name),
                ("link/inside", tarfile.REGTYPE, b"evil"),
                ("hard", tarfile.LNKTYPE, "../../../etc/hostname"),
                ("device", tarfile.CHRTYPE, ""),
            ]
            content = tar_of(members)
        else:
            content = zip_of([(name, b"evil"), ("fine", b"good")])
        archive = open_archive(path, content)
        assert archive.read(name) == b"evil", "a name is only a key"
        for special in ("link", "hard", "device") if suffix == ".tar.gz" else ("gone",):
            with pytest.raises(DataError, match="no member") as caught:
                archive.read(special)
            one_line(str(caught.value))
            outcomes["link or device refused in one line"] += 1
        outcomes["read in memory, nothing written"] += 1
    assert everything_below(tmp_path) == [
        "deep",
        "deep/down",
        "deep/down/here",
        f"deep/down/here/{path.name}",
    ]
    keep(f"members that point outside, package{suffix}", f"archives-{suffix[1:4]}", outcomes)


def test_zipped_originals_that_point_outside(tmp_path):
    inner = tmp_path / "deep"
    inner.mkdir()
    path = inner / "gaps.json.zip"
    for name in OUTSIDE[:5]:
        path.write_bytes(zip_of([(name, json.dumps({"a": 1}).encode())]))
        with originals.open_text(path) as stream:
            assert json.load(stream) == {"a": 1}
    assert everything_below(tmp_path) == ["deep", "deep/gaps.json.zip"]
    keep("zipped originals whose member points outside", "archives-originals",
         Counter({"read in memory, nothing written": 5}))  # fmt: skip


def test_a_listing_cannot_choose_the_name_of_a_file(monkeypatch):
    """The server's listing is believed only where it has a file that the sources name."""

    class Response:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def json(self):
            return [{"name": name, "download_url": "http://127.0.0.1/"} for name in OUTSIDE]

    monkeypatch.setattr(fetch, "_get", lambda *_: Response())
    entry = {"files": ["gaps.json.gz"], "listing": "http://127.0.0.1/listing"}
    with pytest.raises(DataError, match="no file named gaps") as caught:
        fetch._resolve(entry)
    one_line(str(caught.value))


def test_damaged_archives_are_refused(tmp_path):
    """A package archive is checked whole; a damaged original never passes its unpacking test."""
    rng = random.Random(3)
    whole = tar_of([("table.csv", tarfile.REGTYPE, rng.randbytes(5000))])
    path, checksum = tmp_path / "package.tar.gz", hashlib.sha256(whole).hexdigest()
    outcomes = Counter()
    for content in damages(whole, rng, trials(40, 1000)):
        path.write_bytes(content)
        with pytest.raises(DataError, match="sha256 is") as caught:
            packages.Archive(path, checksum)
        one_line(str(caught.value))
        outcomes["one-line error"] += 1
    keep("package archives with flipped, cut and added bytes", "archives-damaged", outcomes)

    outcomes = Counter()
    text = json.dumps({"gaps": [rng.random() for _ in range(500)]}).encode()
    kinds = {
        "gaps.json.gz": gzip.compress(text, mtime=0),
        "gaps.zip": zip_of([("gaps.json", text)]),
    }
    for name, whole in kinds.items():
        part = tmp_path / f"{name}.part"
        for content in damages(whole, rng, trials(40, 1000)):
            part.write_bytes(content)
            problem = fetch._unpacks(part, name)
            outcomes["refused" if problem else content_of(part, name, text)] += 1
    assert "another content" not in outcomes
    keep("downloaded .gz and .zip originals with damaged bytes", "archives-unpack", outcomes)


def content_of(part, name, text):
    """Some bytes of a container (dates, comments) do not touch the content."""
    with originals.open_text(part) as stream:
        return "same content" if stream.read().encode() == text else "another content"
