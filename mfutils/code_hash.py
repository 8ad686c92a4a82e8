"""A fingerprint of the code behind a function or a notebook: its modules, transitively.

A stored result is valid for as long as the code that made it is unchanged. Imports are
followed in the syntax tree, not at run time, so nothing is imported to compute the
fingerprint; comments and layout do not count. The runner (staleness) and the caches
(sweeps, graphs) share this one definition of "the same code".
"""

import ast
import hashlib
import inspect
import sys
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

from mfutils.errors import InputError

__all__ = ["code_hash", "fingerprint", "imported_modules", "modules_behind"]

_PACKAGE = Path(__file__).resolve().parent


def _imported(tree: ast.AST) -> frozenset[str]:
    """Dotted names below mfutils that a syntax tree imports, modules or not."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(name for name in names if name.split(".")[0] == _PACKAGE.name)


@cache
def _parsed(path: Path, _modified: int) -> tuple[str, frozenset[str]]:
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), _imported(tree)


def _read(path: Path) -> tuple[str, frozenset[str]]:
    return _parsed(path, path.stat().st_mtime_ns)


def fingerprint(path: Path) -> str:
    """Hex SHA-256 of the syntax tree of one Python file."""
    return _read(path)[0]


def _file_of(name: str) -> Path | None:
    base = _PACKAGE.joinpath(*name.split(".")[1:])
    candidates = (base.with_suffix(".py"), base / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)


def _closure(names: Iterable[str]) -> dict[str, Path]:
    """Module name -> file of these modules and of all that they import."""
    behind, queue = {}, set(names)
    while queue:
        name = queue.pop()
        if name in behind or (file := _file_of(name)) is None:
            continue
        behind[name] = file
        # A package's own __init__ runs whenever one of its modules is imported.
        queue |= _read(file)[1] | ({name.rpartition(".")[0]} - {""})
    return dict(sorted(behind.items()))


def imported_modules(source: str, where: str) -> dict[str, Path]:
    """Module name -> file of all mfutils modules behind notebook code, transitively.

    Raises InputError when the code does not parse; IPython's % and ! lines are passed over.
    """
    lines = [("pass" if line.lstrip()[:1] in ("%", "!") else line) for line in source.splitlines()]
    try:
        tree = ast.parse("\n".join(lines))
    except SyntaxError as error:
        raise InputError(f"{where} line {error.lineno}: {error.msg}; correct the code") from error
    return _closure(_imported(tree))


def modules_behind(function: Callable) -> dict[str, Path]:
    """Module name -> file of the function's module and of all mfutils modules that it imports.

    Empty for a function defined in a notebook or a script.
    """
    name = function.__module__
    source = getattr(sys.modules.get(name), "__file__", None)
    if source is None or name == "__main__":
        return {}
    own = Path(source).resolve()
    names = _read(own)[1]
    if name.split(".")[0] == _PACKAGE.name:
        names |= {name}  # with the packages that it stands in
    return {name: own} | _closure(names)


def code_hash(function: Callable) -> str:
    """Hex SHA-256 of what determines the function: its name and `modules_behind` it.

    A function defined in a notebook or a script counts by its own source alone.
    """
    digest = hashlib.sha256(function.__qualname__.encode())
    behind = modules_behind(function)
    for item in sorted(fingerprint(path) for path in behind.values()):
        digest.update(item.encode())
    if not behind:
        digest.update(ast.dump(ast.parse(inspect.cleandoc(inspect.getsource(function)))).encode())
    return digest.hexdigest()
