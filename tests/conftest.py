"""What several tests share: a small compendium in a temporary folder, and a browser."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mfutils import paths

PLOT = """\
import matplotlib.pyplot as plt
import pandas as pd
from mfutils.compendium import artifacts, plots
artifacts.begin("{stem}")
"""
WORK = """\
data = pd.DataFrame({"x": [0, 1, 2], "y": [0.0, scale, 4 * scale]})
fig, axes = plots.figure()
axes.plot(data.x, data.y)
artifacts.save_figure(fig, "fig_1", data=data, caption="a parabola")
artifacts.save_table(data, "table_1")
artifacts.record("last", data.y.iloc[-1])
"""


class Project:
    """A copy of `mfutils` with notebooks of its own, driven through the command line."""

    def __init__(self, root: Path):
        self.root = root
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(paths.ROOT / "mfutils", root / "mfutils", ignore=ignore)
        (root / "requirements.lock").write_text("# nothing\n")
        (root / "notebooks" / "profiles").mkdir(parents=True)
        (root / "data" / "published").mkdir(parents=True)
        (root / "data" / "registry.yaml").write_text("{}\n")
        shutil.copy(paths.DATA / "sources.yaml", root / "data")
        self.table: dict = {}

    def add(self, stem: str, *, cells=(WORK,), knobs="scale: float = 1.0  # height", **values):
        """Write a notebook and its section of the smoke profile."""
        header = {"cell_type": "markdown", "id": "head", "metadata": {}, "source": f"# {stem}"}
        sources = [(knobs, ["parameters"]), (PLOT.replace("{stem}", stem), [])]
        sources += [(cell, []) for cell in cells]
        code = [
            {
                "cell_type": "code",
                "id": f"cell-{i}",
                "metadata": {"tags": tags},
                "execution_count": None,
                "outputs": [],
                "source": source,
            }
            for i, (source, tags) in enumerate(sources)
        ]
        notebook = {
            "cells": [header, *code],
            "metadata": {
                "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
            },
            "nbformat": 4,
            "nbformat_minor": 5,
        }
        self.notebook(stem).write_text(json.dumps(notebook))
        self.profile(**{stem: values or {"scale": 1.0}})

    def notebook(self, stem: str) -> Path:
        return self.root / "notebooks" / f"{stem}.ipynb"

    def edit(self, stem: str, old: str, new: str) -> None:
        path = self.notebook(stem)
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def profile(self, **sections) -> None:
        self.table |= sections
        path = self.root / "notebooks" / "profiles" / "smoke.yaml"
        path.write_text(yaml.safe_dump(self.table))

    def folder(self, stem: str) -> Path:
        return self.root / "figures" / "smoke" / stem

    def files(self, stem: str) -> dict[str, bytes]:
        return {p.name: p.read_bytes() for p in sorted(self.folder(stem).iterdir())}

    def command(self, *arguments: str, module="mfutils.compendium.runner") -> list[str]:
        return [sys.executable, "-m", module, "--profile", "smoke", *arguments]

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"PYTHONPATH": str(self.root), "MFUTILS_DATA": str(self.root / "raw")}

    def call(
        self, *arguments: str, module="mfutils.compendium.runner"
    ) -> subprocess.CompletedProcess:
        return subprocess.run(
            self.command(*arguments, module=module),
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )


@pytest.fixture
def project(tmp_path) -> Project:
    return Project(tmp_path / "compendium")


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium; skips where there is none."""
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not binary or not driver:
        pytest.skip("needs chromium and chromedriver")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.add_argument("--window-size=1300,900")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    found.set_page_load_timeout(120)
    yield found
    found.quit()
