"""Every notebook: form, profiles, and a complete run of the smoke profile."""

import json
import re
import subprocess
import sys
from itertools import takewhile

import pytest

from mfutils import paths
from mfutils.compendium import stems
from mfutils.compendium.runner import parameters, staleness

STEMS = sorted(p.stem for p in paths.NOTEBOOKS.glob("*.ipynb"))
PROFILES = sorted(p.stem for p in paths.PROFILES.glob("*.yaml"))


def _notebook(stem):
    return parameters.read_notebook(paths.NOTEBOOKS / f"{stem}.ipynb")


def test_there_are_notebooks_and_profiles():
    assert STEMS
    assert PROFILES == ["full", "quick", "smoke"]


@pytest.mark.parametrize("stem", STEMS)
def test_form(stem):
    assert stems.is_stem(stem)
    notebook = _notebook(stem)
    first = notebook["cells"][0]
    opening = "".join(first["source"])
    assert first["cell_type"] == "markdown"
    for word in ("Question", "Section", "Inputs", "Outputs", "Time"):
        assert word in opening, f"the opening cell says nothing under {word!r}"
    own = list(takewhile(lambda cell: cell["id"] != "exercises", notebook["cells"]))
    closing = "".join("".join(c["source"]) for c in own[-4:])
    assert "verdicts()" in closing, "ends with the printed values beside ours"
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    code = parameters.code_cells(notebook)
    assert f'artifacts.begin("{stem}"' in "\n".join(c["source"] for c in code)
    for cell in code:
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
    assert not re.search(r"\bif (quick|smoke|full)\b|profile ==", json.dumps(code))


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("stem", STEMS)
def test_profiles_give_every_parameter(stem, profile):
    assert staleness.inputs_of(stem, profile)["parameters"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_smoke_profile_runs():
    run = [
        sys.executable,
        "-m",
        "mfutils.compendium.runner",
        "run",
        "--profile",
        "smoke",
        "--jobs",
        "2",
    ]
    result = subprocess.run(run, capture_output=True, text=True, cwd=paths.ROOT, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    for stem in STEMS:
        folder = paths.FIGURES / "smoke" / stem
        written = {p.name for p in folder.iterdir()}
        assert {"stamp.json", "values.json"} <= written
        assert any(name.endswith((".png", ".md")) for name in written), "no figure, no table"
        for picture in (name for name in written if name.endswith(".png")):
            base = picture.removesuffix(".png")
            assert {f"{base}.svg", f"{base}.csv"} <= written


def test_runner_starts_without_the_heavy_libraries():
    heavy = "{'torch', 'pandas', 'numpy', 'matgl', 'papermill', 'matplotlib'}"
    code = (
        f"import sys; import mfutils.compendium.runner.__main__; print({heavy} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
