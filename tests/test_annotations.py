"""Public functions of the library's core and its readers say what they take and what they give."""

import ast

import pytest

from mfutils import paths

LIBRARY = paths.ROOT / "mfutils"
ROOMS = ("", "crystals", "gp", "networks", "uncertainty", "datasets")


def modules(room):
    """Files of a room, those of its sub-packages among them; "" is the root."""
    return sorted((LIBRARY / room).rglob("*.py") if room else LIBRARY.glob("*.py"))


def public(tree):
    """(function, is a method) of all that a module offers: names in __all__ and their methods."""
    offered = set()
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            offered = set(ast.literal_eval(node.value))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name in offered:
            yield node, False
        if isinstance(node, ast.ClassDef) and node.name in offered:
            for part in node.body:
                if isinstance(part, ast.FunctionDef) and (
                    part.name in ("__init__", "__call__") or not part.name.startswith("_")
                ):
                    yield part, True


def bare(source):
    """What lacks an annotation in a module, a line each; compiled functions need none."""
    missing = []
    for function, method in public(ast.parse(source)):
        marks = [ast.unparse(mark) for mark in function.decorator_list]
        if any(mark.split("(")[0] in ("compiled", "_fast") for mark in marks):
            continue
        taken = function.args
        given = [*taken.posonlyargs, *taken.args, *taken.kwonlyargs]
        given += [part for part in (taken.vararg, taken.kwarg) if part]
        if method and "staticmethod" not in marks:
            given = given[1:]
        lacking = [part.arg for part in given if part.annotation is None]
        if function.returns is None and function.name != "__init__":
            lacking.append("return")
        if lacking:
            missing.append(f"line {function.lineno}: {function.name}: {', '.join(lacking)}")
    return missing


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room or "root")
def test_public_functions_are_annotated(room):
    missing = [
        f"{file.relative_to(LIBRARY)} {line}"
        for file in modules(room)
        for line in bare(file.read_text(encoding="utf-8"))
    ]
    assert not missing, f"{len(missing)} without annotation:\n" + "\n".join(missing)


def test_what_lacks_an_annotation_is_seen():
    source = """
__all__ = ["f", "A", "loop"]
def f(x: int, *rest, y=1) -> int: ...
def g(x): ...
@compiled
def loop(x): ...
class A:
    def __init__(self, x): ...
    def go(self, x: int): ...
    def _own(self, x): ...
    @staticmethod
    def make(x: int) -> int: ...
"""
    assert bare(source) == [
        "line 3: f: y, rest",
        "line 8: __init__: x",
        "line 9: go: return",
    ]
