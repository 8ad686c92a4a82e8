"""Notebook parameters and profiles, checked before a kernel starts.

A notebook has exactly one cell tagged ``parameters`` whose lines read
``name: type = literal  # help``. A profile (`notebooks/profiles/<name>.yaml`) gives
every parameter of every notebook: a top-level key per stem, and `common` for knobs
that several notebooks share. Unknown, missing and mistyped parameters are errors.
"""

import ast
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from mfutils import paths
from mfutils.errors import InputError
from mfutils.plain_values import brief, is_number, read_yaml

__all__ = ["Parameter", "code_cells", "declared", "profile_table", "read_notebook", "resolve"]

_SCALARS = {"int": int, "float": float, "str": str, "bool": bool}
_TYPES = (*_SCALARS, "list[int]", "list[float]", "list[str]")


@dataclass(frozen=True)
class Parameter:
    """One line of the parameters cell."""

    name: str
    type: str
    default: object
    help: str


def read_notebook(path: Path) -> dict:
    """The notebook's JSON; raises InputError when it is not a notebook."""
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        wrong = [row for row, cell in enumerate(notebook["cells"]) if not _is_cell(cell)]
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such notebook; `make help` lists the targets") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: not a Jupyter notebook ({error}); restore it") from error
    if wrong:
        raise InputError(f"{path}: cell {wrong[0]} is not a cell of a notebook; restore it")
    return notebook


def _is_cell(cell) -> bool:
    """True for a dict with type, metadata (its tags a list) and source, text or lines of it."""
    if not isinstance(cell, dict) or not isinstance(cell.get("metadata"), dict):
        return False
    source = cell.get("source")
    lines = [source] if isinstance(source, str) else source
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        return False
    # JSON can spell halves of characters, which no file and no parser takes
    whole = not re.search("[\ud800-\udfff]", "".join(lines))
    tags = cell["metadata"].get("tags", [])
    return whole and isinstance(cell.get("cell_type"), str) and isinstance(tags, list)


def code_cells(notebook: dict) -> list[dict]:
    """Code cells in order, each with its source as one string.

    The cell tagged ``hosted`` is left out: it installs the library where there is none, and
    can change no result where the runner works.
    """
    return [
        cell | {"source": "".join(cell["source"])}
        for cell in notebook["cells"]
        if cell["cell_type"] == "code" and "hosted" not in cell["metadata"].get("tags", [])
    ]


def declared(notebook: dict, stem: str) -> list[Parameter]:
    """Parameters that the notebook declares, in order.

    Raises InputError unless exactly one cell is tagged ``parameters`` and every line
    of it is an annotated literal followed by a help comment.
    """
    tagged = [c for c in code_cells(notebook) if "parameters" in c["metadata"].get("tags", [])]
    if len(tagged) != 1:
        raise InputError(
            f"{stem}: expected one cell tagged 'parameters', found {len(tagged)}; tag exactly one"
        )
    source = tagged[0]["source"]
    # The parser's lines: str.splitlines knows more line ends than Python
    lines = re.split("\r\n|\r|\n", source)
    try:
        body = ast.parse(source).body
        return [_declaration(node, lines[node.lineno - 1], stem) for node in body]
    except SyntaxError as error:
        raise InputError(f"{stem}: parameters cell line {error.lineno}: {error.msg}") from error
    except (RecursionError, MemoryError) as error:
        raise InputError(f"{stem}: parameters cell is nested too deeply; write literals") from error


def _declaration(node: ast.stmt, line: str, stem: str) -> Parameter:
    rule = "write `name: type = literal  # help`"
    where = f"{stem}: parameters cell line {node.lineno}"
    if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
        raise InputError(f"{where} is not a declaration; {rule}")
    name, kind = node.target.id, ast.unparse(node.annotation)
    if kind not in _TYPES:
        raise InputError(f"{where}: type {kind} of {name} is not one of {', '.join(_TYPES)}")
    try:
        default = ast.literal_eval(node.value)
    except (ValueError, TypeError, SyntaxError) as error:
        raise InputError(f"{where}: default of {name} is not a literal; {rule}") from error
    _, mark, help = line.partition("#")
    if not mark or not help.strip():
        raise InputError(f"{where}: {name} has no help comment; {rule}")
    return Parameter(name, kind, _typed(name, kind, default, where), help.strip())


def _typed(name: str, kind: str, value, where: str):
    """`value` as `kind`; an int is accepted for a float, nothing else is converted.

    Numbers are finite: NaN differs from itself, so a notebook with one would never be fresh.
    """
    if kind.startswith("list["):
        if isinstance(value, list):
            return [_typed(name, kind[5:-1], item, where) for item in value]
    elif kind == "float" and is_number(value):
        return float(value)
    elif kind != "float" and type(value) is _SCALARS[kind] and _fits(value):
        return value
    raise InputError(f"{where}: parameter {name} must be {kind}, found {brief(value)}; correct it")


def _fits(value) -> bool:
    return not isinstance(value, int) or abs(value) <= sys.maxsize


def profile_table(profile: str) -> dict[str, dict]:
    """Content of a profile: stem -> {parameter: value}, with the key ``common``.

    Raises InputError for an unknown profile or a malformed file.
    """
    path = paths.PROFILES / f"{profile}.yaml"
    known = sorted(p.stem for p in paths.PROFILES.glob("*.yaml"))
    if profile not in known:
        raise InputError(f"unknown profile {profile!r}; known profiles: {', '.join(known)}")
    table = read_yaml(path, remedy="correct the file") or {}
    if not isinstance(table, dict) or not all(isinstance(v or {}, dict) for v in table.values()):
        raise InputError(f"{path}: expected one mapping of parameters per notebook stem")
    stems = {p.stem for p in paths.NOTEBOOKS.glob("*.ipynb")}
    for key in table:
        if key != "common" and key not in stems:
            raise InputError(f"{path}: {brief(key)} is not a notebook; remove it or rename it")
    return {key: value or {} for key, value in table.items()}


def resolve(stem: str, notebook: dict, profile: str) -> dict:
    """Values of all parameters of a notebook in a profile, checked by type."""
    table = profile_table(profile)
    own, common = table.get(stem, {}), table.get("common", {})
    parameters = {p.name: p for p in declared(notebook, stem)}
    given = {k: v for k, v in common.items() if k in parameters} | own
    where = f"{paths.PROFILES.name}/{profile}.yaml: {stem}"
    for name in given:
        if name not in parameters:
            known = ", ".join(parameters) or "none"
            raise InputError(
                f"{where} has unknown parameter {brief(name)}; the notebook has: {known}"
            )
    if missing := [name for name in parameters if name not in given]:
        raise InputError(f"{where} lacks {', '.join(missing)}; give every parameter a value")
    return {
        name: _typed(name, p.type, given[name], where) for name, p in sorted(parameters.items())
    }
