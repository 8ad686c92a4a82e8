"""What must run again, and why: content hashes instead of file times.

A run is determined by the code cells of its notebook, its parameters, the mfutils
modules that it imports (transitively), the lock file, the published values that it
prints and the data files that it read. Prose is not among them. The stamp of the last
good run, `stamp.json` beside the artifacts, keeps these hashes; `state` compares.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from mfutils import files, paths
from mfutils.code_hash import fingerprint, imported_modules
from mfutils.compendium.runner import parameters
from mfutils.datasets import registry, which

__all__ = ["State", "digest", "inputs_of", "read_json", "state", "unknown_modules"]


@dataclass(frozen=True)
class State:
    """`status` is fresh, stale, failed or never; `reasons` says why in words."""

    status: str
    reasons: list[str] = field(default_factory=list)

    @property
    def fresh(self) -> bool:
        return self.status == "fresh"


def digest(text: str) -> str:
    """Hex SHA-256 of a text."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def inputs_of(stem: str, profile: str) -> dict:
    """Hashes of everything that determines a run, but for the data that it reads.

    Raises InputError when the notebook or the profile is malformed.
    """
    notebook = parameters.read_notebook(paths.NOTEBOOKS / f"{stem}.ipynb")
    values = parameters.resolve(stem, notebook, profile)
    if values.get("dataset") == "auto":
        values["dataset"] = which.resolve()
    code = "\n\n".join(cell["source"] for cell in parameters.code_cells(notebook))
    behind = imported_modules(code, stem)
    modules = {name: fingerprint(file) for name, file in behind.items()}
    if "mfutils.compendium.plots" in modules:
        style = behind["mfutils.compendium.plots"].with_name("style.mplstyle")
        modules["mfutils/compendium/style.mplstyle"] = files.sha256_of(style)
    printed = paths.PUBLISHED / f"{stem}.yaml"
    return {
        "code": digest(code),
        "lock": files.sha256_of(paths.ROOT / "requirements.lock"),
        "modules": modules,
        "parameters": values,
        "published": files.sha256_of(printed) if printed.exists() else "",
    }


def unknown_modules(inputs: dict, loaded: Iterable[str]) -> list[str]:
    """Modules of the library that a run loaded although no import statement leads to them."""
    return sorted(set(loaded) - inputs["modules"].keys())


def state(stem: str, profile: str, inputs: dict) -> State:
    """Compare `inputs` with the stamp and the record of the last failure."""
    folder = paths.FIGURES / profile / stem
    failure = paths.BUILD / "failed" / profile / f"{stem}.json"
    if (record := read_json(failure)) and record.get("inputs") == inputs:
        return State("failed", [f"{record.get('where')}: {record.get('error')}"])
    stamp = read_json(folder / "stamp.json")
    if stamp is None:
        broken = (folder / "stamp.json").exists()
        return State("stale", ["stamp unreadable"]) if broken else State("never", ["not run yet"])
    try:
        reasons = _changes(stamp["inputs"], inputs) + registry.changed(stamp["data"])
        reasons += _damage(folder, stamp["artifacts"])
    except (KeyError, TypeError, AttributeError, ValueError, OSError):
        return State("stale", ["stamp unreadable"])
    return State("stale", reasons) if reasons else State("fresh")


def _changes(old: dict, new: dict) -> list[str]:
    reasons = []
    if old["code"] != new["code"]:
        reasons.append("code cells changed")
    for name in sorted(old["parameters"].keys() | new["parameters"].keys()):
        before, after = old["parameters"].get(name), new["parameters"].get(name)
        if before != after:
            reasons.append(f"parameter {name}: {before} -> {after}")
    for name in sorted(old["modules"].keys() | new["modules"].keys()):
        if old["modules"].get(name) != new["modules"].get(name):
            reasons.append(f"{name} changed")
    if old["lock"] != new["lock"]:
        reasons.append("requirements.lock changed")
    if old["published"] != new["published"]:
        reasons.append("published values changed")
    return reasons


def _damage(folder: Path, artifacts: dict[str, str]) -> list[str]:
    """Artifacts that are gone or altered since the run."""
    reasons = []
    for name, recorded in artifacts.items():
        file = folder / name
        if not file.is_file():
            reasons.append(f"artifact {name} missing")
        elif files.sha256_of(file) != recorded:
            reasons.append(f"artifact {name} altered")
    return reasons


def read_json(path: Path) -> dict | None:
    """The JSON object in a file, or None when there is none that can be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
