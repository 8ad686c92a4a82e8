"""The runner from the outside: what runs again, what is published, what a mistake says."""

import hashlib
import json
import os
import signal
import subprocess
import time

import pytest

STEM, OTHER = "03_1_topic", "02_1_other"
SLOW = "import time\nfor _ in range(40):\n    time.sleep(0.25)\n"


def _lines(result):
    return [line for line in result.stderr.splitlines() if line]


def test_run_publish_rerun_and_reasons(project):
    project.add(STEM)
    project.add(OTHER, cells=["from mfutils import noise_level\n", "artifacts.record('a', 1)"])
    module = project.root / "mfutils" / "noise_level.py"
    module.write_text("LEVEL = 1\n")

    first = project.call("run")
    assert first.returncode == 0, first.stdout + first.stderr
    files = project.files(STEM)
    assert set(files) == {
        "fig_1.png", "fig_1.svg", "fig_1.csv", "table_1.csv", "table_1.md", "values.json",
        "stamp.json",
    }  # fmt: skip
    stamp = json.loads(files["stamp.json"])
    assert stamp["artifacts"]["fig_1.png"] == hashlib.sha256(files["fig_1.png"]).hexdigest()
    assert stamp["provenance"]["notebook"] == STEM
    assert b"inputs_sha256" in files["fig_1.png"]
    assert b"inputs_sha256" in files["fig_1.svg"]

    again = project.call("run")
    assert "2 notebooks are up to date" in again.stdout

    project.edit(STEM, "# 03_1_topic", "# A better heading")
    assert "stale" not in project.call("status").stdout

    module.write_text("LEVEL = 2\n")
    status = project.call("status").stdout
    assert f"stale   {OTHER}" in status
    assert "mfutils.noise_level changed" in status
    assert f"fresh   {STEM}" in status

    forced = project.call("run", STEM, "--force")
    assert forced.returncode == 0
    assert project.files(STEM) == files, "an unchanged rerun must be byte-identical"

    project.profile(**{STEM: {"scale": 2.0}})
    assert "parameter scale: 1.0 -> 2.0" in project.call("status").stdout
    (project.folder(STEM) / "fig_1.png").unlink()
    assert "artifact fig_1.png missing" in project.call("status").stdout


def test_failure_is_kept_and_never_fresh(project):
    project.add(STEM)
    assert project.call("run").returncode == 0
    good = project.files(STEM)
    project.edit(STEM, "artifacts.save_table(data", "raise RuntimeError('bad luck')\\n(data")
    result = project.call("run")
    assert result.returncode == 1
    assert "FAILED in cell 3 (cell-2): RuntimeError: bad luck" in result.stdout
    assert (project.root / "build" / "failed" / "smoke" / f"{STEM}.ipynb").exists()
    assert project.files(STEM) == good
    assert "failed" in project.call("status").stdout
    project.edit(STEM, "raise RuntimeError('bad luck')\\n(data", "artifacts.save_table(data")
    assert "fresh" in project.call("status").stdout, "back to the code of the good run"


def test_a_module_that_the_stamp_does_not_know_fails_the_run(project):
    library = project.root / "mfutils"
    (library / "noise_level.py").write_text("LEVEL = 1\n")
    (library / "lazy.py").write_text("def level():\n    return __import__('mfutils.noise_level')\n")
    by_string = "from importlib import import_module\nimport_module('mfutils.noise_level')"
    project.add(STEM, cells=[by_string])
    project.add(OTHER, cells=["from mfutils import lazy\n", "lazy.level()"])
    result = project.call("run")
    assert result.returncode == 1
    said = (
        "FAILED in its imports: mfutils.noise_level took part, but no import statement leads to "
        "it, so the stamp would not notice a change; import it by a statement"
    )
    assert [said in line for line in result.stdout.splitlines()].count(True) == 2
    assert not (project.root / "figures").exists()
    assert (project.root / "build" / "failed" / "smoke" / f"{STEM}.ipynb").exists()
    project.add(STEM, cells=[f"from mfutils import noise_level\n{by_string}"])
    assert project.call("run", STEM).returncode == 0


def test_kill_leaves_nothing_half_written(project):
    project.add(STEM)
    assert project.call("run").returncode == 0
    undisturbed = project.files(STEM)
    slow = [SLOW, "artifacts.save_table(pd.DataFrame({'a': [1]}), 'table_2')"]
    project.add(OTHER, cells=slow)
    process = subprocess.Popen(
        project.command("run", "--force"),
        cwd=project.root,
        env=project.environment,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    running = project.root / "build" / "running"
    deadline = time.monotonic() + 60
    while not list(running.glob(f"smoke.{OTHER}.*/out/values.json")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not project.folder(OTHER).exists()
    project.add(OTHER, cells=slow[1:])
    assert project.call("run").returncode == 0
    assert project.files(STEM) == undisturbed
    assert "table_2.csv" in project.files(OTHER)
    assert not list(running.iterdir()), "leftovers of the killed run are cleared"


def test_two_runs_at_once_share_the_work(project):
    project.add(STEM, cells=["import time\ntime.sleep(2)", "artifacts.record('a', 1)"])
    both = [
        subprocess.Popen(
            project.command("run"),
            cwd=project.root,
            env=project.environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    outputs = [p.communicate(timeout=120)[0] for p in both]
    assert [p.returncode for p in both] == [0, 0]
    assert sum("figures, " in out for out in outputs) == 1, "one runs"
    assert sum("waiting for its result" in out for out in outputs) == 1, "the other waits"


def test_worker_killed_is_reported(project):
    project.add(STEM, cells=["import os, signal\nos.kill(os.getppid(), signal.SIGKILL)", SLOW])
    result = project.call("run")
    assert result.returncode == 1
    assert "the worker ended with code -9" in result.stdout


@pytest.mark.parametrize(
    ("knobs", "values", "message"),
    [
        ("scale: float = 1.0  # height", {"scale": "big"}, "must be float, found 'big'"),
        ("scale: float = 1.0  # height", {"scale": 1.0, "size": 2}, "unknown parameter 'size'"),
        ("n: int = 1  # count\nscale: float = 1.0  # h", {"n": 2}, "lacks scale"),
        ("n: int = 1  # count", {"n": True}, "must be int, found True"),
        ("n: int = 1  # count", {"n": 2.0}, "must be int, found 2.0"),
        ("n: list[int] = [1]  # counts", {"n": [1, "2"]}, "must be int, found '2'"),
        ("n: int = 1", {"n": 2}, "has no help comment"),
        ("n = 1  # count", {"n": 2}, "is not a declaration"),
        ("n: int = 2 * k  # count", {"n": 2}, "is not a literal"),
        ("n: complex = 1  # count", {"n": 2}, "type complex of n is not one of"),
    ],
)
def test_bad_parameters_stop_before_any_kernel(project, knobs, values, message):
    project.add(STEM, knobs=knobs, **values)
    result = project.call("run")
    assert result.returncode == 2
    (line,) = _lines(result)
    assert message in line
    assert STEM in line
    assert not (project.root / "build" / "running").exists()
    assert not (project.root / "figures").exists()


def test_bad_profile_notebook_and_stem(project):
    project.add(STEM)
    result = project.call("run", "--profile", "fast")
    (line,) = _lines(result)
    assert result.returncode == 2
    assert "unknown profile 'fast'; known profiles: smoke" in line
    (line,) = _lines(project.call("run", "09_9"))
    assert "no notebook '09_9'; known: 03_1_topic" in line
    project.profile(**{"03_2_gone": {}})
    (line,) = _lines(project.call("run"))
    assert "'03_2_gone' is not a notebook" in line


def test_stem_must_be_the_notebooks_own(project):
    project.add(STEM)
    project.edit(STEM, f'begin(\\"{STEM}\\")', 'begin(\\"03_2_stolen\\")')
    result = project.call("run")
    assert result.returncode == 1
    assert "pass its own stem" in result.stdout


def test_changed_data_file_is_refused_and_seen_as_stale(project):
    (project.root / "data" / "small.csv").write_text("a\n1\n")
    digest = hashlib.sha256(b"a\n1\n").hexdigest()
    (project.root / "data" / "registry.yaml").write_text(
        f"small: {{file: small.csv, sha256: {digest}, source: s, licence: l, description: d}}\n"
    )
    read = "from mfutils.datasets import registry\npd.read_csv(registry.path('small'))"
    project.add(STEM, cells=[read])
    assert project.call("run").returncode == 0
    (project.root / "data" / "small.csv").write_text("a\n2\n")
    assert "data/small.csv changed" in project.call("status").stdout
    result = project.call("run")
    assert result.returncode == 1
    assert "the registry expects" in result.stdout
    assert "failed" in project.call("status").stdout


def test_check_reads_what_was_recorded(project):
    project.add(STEM)
    printed = project.root / "data" / "published" / f"{STEM}.yaml"
    entry = "- {id: last, printed: '%s', where: here, class: exact}\n"
    printed.write_text("section: '3.1'\nvalues:\n" + entry % "4.00")
    missing = project.call(module="mfutils.compendium.published")
    assert missing.returncode == 1
    assert "has not run: make 03_1 PROFILE=smoke" in missing.stdout
    assert project.call("run").returncode == 0
    assert project.call(module="mfutils.compendium.published").returncode == 0
    rows = json.loads((project.root / "build" / "smoke" / "check.json").read_text())
    assert rows[0]["id"] == "last"
    assert rows[0]["ours"] == 4.0
    assert rows[0]["verdict"] == "reproduced"
    printed.write_text("section: '3.1'\nvalues:\n" + entry % "4.01")
    assert project.call(module="mfutils.compendium.published").returncode == 1
    assert "published values changed" in project.call("status").stdout
