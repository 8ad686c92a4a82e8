"""A fingerprint of the code behind a function: its module and all mfutils modules that it imports.

A stored result is valid for as long as the code that made it is unchanged. Imports are followed
in the syntax tree, not at run time, so nothing is imported to compute the fingerprint.
"""

import ast
import hashlib
import inspect
import sys
from functools import cache
from pathlib import Path

__all__ = ["code_hash"]

_PACKAGE = Path(__file__).resolve().parent


@cache
def _fingerprint(path: Path, _modified: int) -> tuple[str, frozenset[str]]:
    """(hash of the syntax tree, dotted names of the mfutils modules it imports)."""
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    ours = frozenset(name for name in names if name.split(".")[0] == _PACKAGE.name)
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), ours


def _file_of(name: str) -> Path | None:
    base = _PACKAGE.joinpath(*name.split(".")[1:])
    candidates = (base.with_suffix(".py"), base / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)


def code_hash(function) -> str:
    """Hex SHA-256 of what determines the function: comments and layout do not count.

    A function defined in a notebook or a script counts by its own source alone.
    """
    digest = hashlib.sha256(function.__qualname__.encode())
    source = getattr(sys.modules.get(function.__module__), "__file__", None)
    if source is None or function.__module__ == "__main__":
        digest.update(ast.dump(ast.parse(inspect.cleandoc(inspect.getsource(function)))).encode())
        return digest.hexdigest()
    queue, seen = [Path(source).resolve()], set()
    hashes = []
    while queue:
        path = queue.pop()
        if path in seen:
            continue
        seen.add(path)
        fingerprint, names = _fingerprint(path, path.stat().st_mtime_ns)
        hashes.append(fingerprint)
        queue += [found for name in sorted(names) if (found := _file_of(name))]
    for item in sorted(hashes):
        digest.update(item.encode())
    return digest.hexdigest()
