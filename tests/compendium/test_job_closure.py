"""What a sweep computes is found again by its fingerprint: no code that took part is unknown to it.

One small job of every function given to `sweep.run` runs in a process of its own; the modules of
the library that the process has loaded must be among those behind the function.
"""

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from job_examples import EXAMPLES

from mfutils import files, paths
from mfutils.compendium.runner import parameters
from mfutils.datasets import registry

STEMS = sorted(p.stem for p in paths.NOTEBOOKS.glob("*.ipynb"))


def given_to_sweeps(source):
    """Dotted names of the functions that a notebook gives to `sweep.run`, through its own too."""
    tree = ast.parse(source)
    known, inside = {}, {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            known |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
        if isinstance(node, ast.FunctionDef):
            inside |= {id(part): node for part in ast.walk(node)}
    given, takers = set(), [("sweep.run", 0)]
    for taker, place in takers:
        calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call)]
        for call in (c for c in calls if ast.unparse(c.func) == taker):
            first, _, rest = ast.unparse(call.args[place]).partition(".")
            if first in known:
                given.add(".".join(filter(None, [known[first], rest])))
                continue
            own = inside[id(call)]
            passed_on = own.name, [a.arg for a in own.args.args].index(first)
            if passed_on not in takers:
                takers.append(passed_on)
    return given


def code_of(stem):
    notebook = parameters.read_notebook(paths.NOTEBOOKS / f"{stem}.ipynb")
    lines = "\n".join(c["source"] for c in parameters.code_cells(notebook)).splitlines()
    return "\n".join("" if line.lstrip()[:1] in ("%", "!") else line for line in lines)


def test_every_function_of_a_sweep_has_an_example():
    given = set().union(*(given_to_sweeps(code_of(stem)) for stem in STEMS))
    assert given == set(EXAMPLES)


def test_a_function_is_found_however_it_is_given():
    source = (
        "from mfutils.study import a\nfrom mfutils.study.b import f as g, h\n"
        "sweep.run(a.job, [])\nsweep.run(g, jobs)\n"
        "def runs(jobs, function):\n    return sweep.run(function, jobs)\n"
        "def more(function):\n    return runs([], function)\n"
        "more(h)\nruns([], a.other)\n"
    )
    here = "mfutils.study"
    assert given_to_sweeps(source) == {f"{here}.{n}" for n in ("a.job", "a.other", "b.f", "b.h")}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A folder whose data hold 240 of the embedded crystals."""
    folder = tmp_path_factory.mktemp("small")
    data = folder / "data"
    data.mkdir()
    for name in ("registry.yaml", "sources.yaml", "mlearn.parquet"):
        shutil.copy(paths.DATA / name, data)
    whole = registry.path("open_bandgap")
    table = pq.read_table(whole)
    table = table.filter(pc.less(table["nsites"], 9))
    measured, modulus = (pc.is_valid(table[name]) for name in ("gap_exp", "bulk_modulus"))
    kinds = (pc.and_(measured, modulus), pc.and_(pc.invert(measured), modulus), pc.invert(modulus))
    rows = [row for kind in kinds for row in pc.indices_nonzero(kind).to_pylist()[:80]]
    pq.write_table(table.take(rows), data / whole.name)
    text = (data / "registry.yaml").read_text()
    old, new = files.sha256_of(whole), files.sha256_of(data / whole.name)
    (data / "registry.yaml").write_text(text.replace(old, new))
    return folder


def run_jobs(root, folder, jobs):
    """job -> what its process said."""
    single = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    here = Path(__file__).resolve().parent
    command = [sys.executable, here / "job_process.py", folder, *jobs]
    done = subprocess.run(
        command, cwd=root, env=os.environ | single, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return {job: json.loads((folder / f"{job}.json").read_text()) for job in jobs}


def unknown(said):
    """Modules that took part and are not behind the function."""
    assert "error" not in said, said["error"]
    return sorted(set(said["loaded"]) - set(said["behind"]))


@pytest.fixture(scope="module")
def outcomes(small):
    return run_jobs(paths.ROOT, small, list(EXAMPLES))


@pytest.mark.timeout(1800)  # a minute or two of work, all in the first of these tests
@pytest.mark.parametrize("job", EXAMPLES)
def test_every_module_that_takes_part_is_in_the_fingerprint(job, outcomes):
    assert unknown(outcomes[job]) == []


LAZY = {
    "by_string": "from importlib import import_module\n\n"
    "def job():\n    import_module('mfutils.{hidden}')\n",
    "by_format": "def job():\n    __import__('.'.join(['mfutils', '{hidden}']))\n",
    "by_statement": "def job():\n    from mfutils import {hidden}\n",
}


def test_a_module_imported_by_string_is_seen(tmp_path):
    library = tmp_path / "mfutils"
    library.mkdir()
    for name in ("__init__.py", "code_hash.py", "errors.py"):
        shutil.copy(paths.ROOT / "mfutils" / name, library)
    (library / "hidden.py").write_text("ONE = 1\n")
    for name, source in LAZY.items():
        (library / f"{name}.py").write_text(source.format(hidden="hidden"))
    said = run_jobs(tmp_path, tmp_path, [f"mfutils.{name}.job" for name in LAZY])
    assert unknown(said["mfutils.by_string.job"]) == ["mfutils.hidden"]
    assert unknown(said["mfutils.by_format.job"]) == ["mfutils.hidden"]
    assert unknown(said["mfutils.by_statement.job"]) == []
