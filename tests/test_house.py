"""The house of the library: which room may import which, and nothing by string or upward."""

import ast
from pathlib import Path

import pytest

from mfutils import paths

LIBRARY = paths.ROOT / "mfutils"
# room -> rooms that it may import from, beside itself; the first row is the root
TABLE = {
    "": set(),
    "crystals": {""},
    "gp": {""},
    "networks": {"", "crystals"},
    "uncertainty": {"", "crystals"},
    "forces": {"", "crystals", "uncertainty"},
    "screening": {"", "crystals", "gp"},
    "datasets": {"", "crystals"},
    "forecast": {"", "crystals", "networks", "uncertainty", "datasets"},
    "compendium": {"", "datasets"},
    "study": {
        "", "crystals", "gp", "networks", "uncertainty", "forces", "screening", "datasets",
        "forecast",
    },
}  # fmt: skip
MODULES = sorted(LIBRARY.rglob("*.py"))
CORE = ("", "crystals", "gp", "networks", "uncertainty")


def room_of(file: Path, library: Path = LIBRARY) -> str:
    """Name of the room that a module stands in; "" for the root."""
    parts = file.relative_to(library).parts
    return parts[0] if len(parts) > 1 else ""


def imports(source: str) -> list[tuple[int, str]]:
    """(line, dotted name) of every import statement, relative ones as they are written."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            lines += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            lines += [(node.lineno, f"{module}.{alias.name}") for alias in node.names]
    return lines


def breaches(room: str, source: str, library: Path = LIBRARY) -> list[str]:
    """What a module of `room` does that the house does not allow, a line each."""
    allowed, out = TABLE[room] | {room}, []
    for line, name in imports(source):
        if name.startswith("."):
            out.append(f"line {line}: relative import {name}")
        if name.split(".")[0] == "mfutils":
            part = name.split(".")[1]
            theirs = part if (library / part / "__init__.py").is_file() else ""
            if theirs not in allowed:
                out.append(f"line {line}: {room or 'the root'} imports {name}")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in ("__import__", "import_module", "importlib.import_module"):
                out.append(f"line {node.lineno}: import by string, {called}")
    return out


# Figures of one section are drawn in its room of study, in the style of the compendium
DRAWS = {"exhibits.py": ("mfutils.compendium.plots", "mfutils.compendium.diagrams")}
# dask_cluster finds a job's function by its name: the caller's fingerprint of it comes along
BY_NAME = {"compendium/dask_cluster.py"}


@pytest.mark.parametrize("file", MODULES, ids=lambda f: str(f.relative_to(LIBRARY)))
def test_every_import_is_in_the_table(file):
    lines = breaches(room_of(file), file.read_text(encoding="utf-8"))
    if file.relative_to(LIBRARY).as_posix() in BY_NAME:
        lines = [line for line in lines if "by string" not in line]
    drawn = DRAWS.get(file.name, ()) if room_of(file) == "study" else ()
    lines = [line for line in lines if not any(f"imports {name}" in line for name in drawn)]
    assert not lines, "\n".join(lines)


def test_rooms_are_those_of_the_table_and_their_init_is_empty():
    rooms = {p.parent.relative_to(LIBRARY) for p in LIBRARY.rglob("__init__.py")}
    assert {r.parts[0] for r in rooms if r.parts} <= set(TABLE)
    for file in LIBRARY.rglob("__init__.py"):
        if file.parent != LIBRARY:
            assert file.read_text() == "", f"{file}: a fingerprint would carry what stands here"


@pytest.mark.parametrize(
    ("room", "source", "says"),
    [
        ("gp", "from mfutils.networks.cgcnn import CGCNN", "gp imports mfutils.networks.cgcnn"),
        ("", "from mfutils.crystals import cif", "the root imports mfutils.crystals.cif"),
        ("networks", "import mfutils.study.s03_2.members", "networks imports"),
        ("study", "def f():\n    from mfutils.compendium import sweep", "line 2: study imports"),
        ("gp", "import importlib\nimportlib.import_module('mfutils.gp.exact')", "by string"),
        ("gp", "from . import exact", "relative import"),
    ],
)
def test_a_breach_is_seen(room, source, says):
    assert says in "\n".join(breaches(room, source))


@pytest.mark.parametrize("room", ["datasets", "study"])
def test_a_loader_that_remembers_notes_its_files_again(room):
    for file in (LIBRARY / room).rglob("*.py"):
        names = {name for _, name in imports(file.read_text(encoding="utf-8"))}
        hiding = names & {"functools", "functools.cache", "functools.lru_cache"}
        if file != LIBRARY / "datasets" / "registry.py":
            assert not hiding, f"{file}: data read under {hiding} misses in stamps; use remembered"


def test_tests_stand_in_the_rooms_of_what_they_test():
    tests = paths.ROOT / "tests"
    own = {"faults", "notebooks", "benchmarks"}
    for folder in (p for p in tests.rglob("*") if p.is_dir() and any(p.glob("test_*.py"))):
        part = folder.relative_to(tests)
        assert part.parts[0] in own or (LIBRARY / part).is_dir(), f"tests/{part} mirrors no room"


# What belongs to the experiment of one section: data sets, fidelities, protocols, sample sizes
EXPERIMENTS = (
    "battery", "campaign", "chen2021", "denois", "elastic", "gllb", "hse", "icsd", "kingsbury",
    "matbench", "mlearn", "onion", "oqmd", "pbe",
)  # fmt: skip
SIZES = {472, 654, 2703}


def words(source: str) -> list[tuple[int, str]]:
    """(line, word) of the names, strings and numbers of a module that speak of an experiment."""
    tree, said = ast.parse(source), []
    documents = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        text = ""
        if isinstance(node, ast.Name):
            text = node.id
        elif isinstance(node, ast.arg):
            text = node.arg
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            text = node.name
        elif isinstance(node, ast.Constant) and id(node) not in documents:
            text = node.value if isinstance(node.value, str) else ""
            said += [(node.lineno, str(node.value))] if node.value in SIZES else []
        parts = text.lower().replace("-", "_").replace(" ", "_").split("_")
        said += [(node.lineno, w) for w in EXPERIMENTS if any(p.startswith(w) for p in parts)]
    return said


@pytest.mark.parametrize(
    "file", [f for f in MODULES if room_of(f) in CORE], ids=lambda f: str(f.relative_to(LIBRARY))
)
def test_the_core_has_no_word_of_an_experiment(file):
    found = words(file.read_text(encoding="utf-8"))
    if file.name == "thesis_corrections.py":
        # The printed recipe is this module's subject, the seed of its folds included
        found = [(line, word) for line, word in found if word != "654"]
    assert not found


def test_a_word_of_an_experiment_is_seen():
    source = '"""Onion."""\nSEEDS = 472\ndef train_onion(gap_pbe): return "icsd 5"\n'
    assert sorted(words(source)) == [(2, "472"), (3, "icsd"), (3, "onion"), (3, "pbe")]
