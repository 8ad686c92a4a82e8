"""The data registry: verified on every load, clear about what is wrong."""

import hashlib

import pytest

from mfutils.datasets import registry
from mfutils.errors import DataError, InputError


def _write(folder, sha, **more):
    fields = {"file": "x.csv", "sha256": sha, "source": "s", "licence": "l", "description": "d"}
    text = ", ".join(f"{k}: {v}" for k, v in (fields | more).items())
    (folder / "registry.yaml").write_text(f"x: {{{text}}}\n")
    return folder / "registry.yaml"


def test_verified_on_every_call(tmp_path, monkeypatch):
    log = tmp_path / "log"
    monkeypatch.setenv(registry.ACCESS_LOG, str(log))
    (tmp_path / "x.csv").write_bytes(b"1\n")
    table = _write(tmp_path, hashlib.sha256(b"1\n").hexdigest())
    monkeypatch.setattr(registry.paths, "DATA", tmp_path)
    assert registry.path("x", registry=table) == tmp_path / "x.csv"
    assert log.read_text().startswith("data/x.csv\t")
    (tmp_path / "x.csv").write_bytes(b"2\n")
    with pytest.raises(DataError, match=r"x\.csv: sha256 is .* registry expects"):
        registry.path("x", registry=table)
    (tmp_path / "x.csv").unlink()
    with pytest.raises(DataError, match="file is missing"):
        registry.path("x", registry=table)
    with pytest.raises(InputError, match="known names: x"):
        registry.path("y", registry=table)


@pytest.mark.parametrize(
    ("text", "message"),
    [("x: {file: a}", "lacks sha256"), ("- 1", "expected a mapping"), ("{", "cannot be read")],
)
def test_malformed_registry(tmp_path, text, message):
    (tmp_path / "registry.yaml").write_text(text)
    with pytest.raises(DataError, match=message):
        registry.entries(tmp_path / "registry.yaml")


def test_every_committed_file_is_right():
    for name in registry.entries():
        assert registry.path(name).is_file()
