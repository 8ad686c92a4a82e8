"""A small compendium whose one notebook runs in a second or two, sweep included."""

import shutil

import yaml
from conftest import Project
from trials import STEM

from mfutils import paths

JOBS = """\
import time
from pathlib import Path

def slow(value, log):
    time.sleep(0.1)
    with open(log, "a", encoding="utf-8") as handle:
        handle.write(f"{value}\\n")
    return {"value": value * value}
"""
SWEEP = """\
from mfutils import jobs, paths
from mfutils.compendium import sweep
calls = [{"value": k, "log": str(paths.ROOT / "log")} for k in range(8)]
results = sweep.run(jobs.slow, calls, workers=1)
"""
SAVE = """\
table = pd.DataFrame({"square": [scale * r["value"] for r in results]})
artifacts.save_table(table, "table_1", caption="squares")
artifacts.record("last", table["square"].iloc[-1])
"""
MORE = 'artifacts.save_table(table.describe(), "table_2")\n'


def light(root, *cells) -> Project:
    """A compendium at `root` with the light notebook, or one that has `cells` instead."""
    project = Project(root)
    (root / "mfutils" / "jobs.py").write_text(JOBS)
    project.add(STEM, cells=cells or (SWEEP, SAVE, MORE))
    replace_header(project)
    return project


def replace_header(project) -> None:
    """Without a plotting library the kernel is ready in half the time."""
    text = project.notebook(STEM).read_text()
    for line in ("import matplotlib.pyplot as plt\\n", ", plots"):
        assert line in text
        text = text.replace(line, "")
    project.notebook(STEM).write_text(text)


def real(root, stem: str) -> Project:
    """A compendium at `root` with one notebook of this one, its data and its profile."""
    project = Project(root)
    shutil.copytree(paths.DATA, root / "data", dirs_exist_ok=True)
    shutil.copy(paths.NOTEBOOKS / f"{stem}.ipynb", project.notebook(stem))
    table = yaml.safe_load((paths.PROFILES / "smoke.yaml").read_text())
    project.profile(**{key: table[key] for key in ("common", stem) if key in table})
    return project


def results(project, stem=STEM) -> dict[str, bytes]:
    """Everything that a run publishes: artifacts, stamp and executed notebook."""
    executed = project.root / "build" / "smoke" / "executed" / f"{stem}.ipynb"
    return {**project.files(stem), "executed": executed.read_bytes()}
