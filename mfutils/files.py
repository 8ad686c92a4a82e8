"""Files written whole or not at all, and their checksums.

A reader never sees half a file: everything is written beside its target and moved
over it with one rename, which the file system makes atomic.
"""

import hashlib
import os
import uuid
from pathlib import Path

__all__ = ["sha256_of", "write_bytes", "write_text"]


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file's content."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` in one step, making the folder when it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own per write, so that two processes never share a partial file.
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        part.write_bytes(content)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """`write_bytes` for UTF-8 text with Unix line ends."""
    write_bytes(path, text.encode("utf-8"))
