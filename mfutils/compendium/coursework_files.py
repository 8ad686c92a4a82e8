"""Both versions of every notebook and one assignment sheet per chapter, as files.

    python -m mfutils.compendium.coursework_files

writes `build/coursework/{student,instructor}/<stem>.ipynb` and
`build/coursework/sheets/chapter_<n>.md`. The folder is replaced as a whole, so that nothing
of an earlier state stays.
"""

import shutil
import sys
from pathlib import Path

import nbformat
import yaml

from mfutils import paths
from mfutils.compendium import coursework
from mfutils.errors import DataError, InputError

__all__ = ["sheet", "write"]

_KEYS = {"goals", "prerequisites", "minutes"}


def _chapters(path: Path) -> dict:
    """Goals, prerequisites and minutes of every chapter."""
    try:
        chapters = yaml.safe_load(path.read_text(encoding="utf-8"))
        known = all(set(entry) == _KEYS for entry in chapters.values())
    except (OSError, ValueError, yaml.YAMLError, AttributeError, TypeError) as error:
        raise DataError(f"{path} cannot be read ({type(error).__name__}); restore it") from None
    if not known:
        raise DataError(f"{path}: a chapter lacks one of {', '.join(sorted(_KEYS))}; add it")
    return chapters


def sheet(chapter: int, about: dict, tasks: dict[str, list[dict]]) -> str:
    """Markdown of one assignment sheet; tasks maps each stem to its exercises."""
    total = sum(task["points"] for own in tasks.values() for task in own)
    lines = [f"# Chapter {chapter}: assignment\n", "## Goals\n"]
    lines += [f"- {goal}" for goal in about["goals"]]
    lines += [f"\n**Before you start.** {about['prerequisites']}"]
    lines += [
        f"\n**Time.** About {about['minutes']} minutes with the reading. **Points.** {total}.\n"
    ]
    lines += ["## Exercises and marks\n", "| exercise | notebook | points |", "|---|---|---|"]
    for stem, own in tasks.items():
        lines += [f"| {task['name']} | `{stem}` | {task['points']} |" for task in own]
    lines += [
        "\nFull points for an answer that passes its check. Half for the right way with a slip "
        "in arithmetic. One point may be added for a sentence that says what the answer means "
        "for the section.\n",
        "Run the notebook from the top. It stops kindly at the first open answer.",
    ]
    return "\n".join(lines) + "\n"


def write(target: Path | None = None) -> dict[str, int]:
    """Write all files below `target`; returns the number of exercises per stem.

    Raises InputError when a notebook's exercise is malformed; the old folder then stays.
    """
    target = target or paths.BUILD / "coursework"
    fresh = target.with_name(f"{target.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    for name in ("student", "instructor", "sheets"):
        (fresh / name).mkdir(parents=True)
    tasks: dict[int, dict] = {}
    for path in sorted(paths.NOTEBOOKS.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        try:
            own = coursework.exercises(notebook)
            nbformat.write(coursework.student(notebook), fresh / "student" / path.name)
            nbformat.write(coursework.instructor(notebook), fresh / "instructor" / path.name)
        except InputError as error:
            raise InputError(f"{path.name}: {error}") from None
        if own:
            tasks.setdefault(int(path.stem[:2]), {})[path.stem] = own
    about = _chapters(paths.DATA / "coursework.yaml")
    for chapter, inside in tasks.items():
        text = sheet(chapter, about[chapter], inside)
        (fresh / "sheets" / f"chapter_{chapter}.md").write_text(text, encoding="utf-8")
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)
    return {stem: len(own) for inside in tasks.values() for stem, own in inside.items()}


if __name__ == "__main__":
    try:
        counts = write()
    except InputError as error:
        sys.exit(f"error: {error}")
    print(
        f"{sum(counts.values())} exercises in {len(counts)} notebooks: {paths.BUILD / 'coursework'}"
    )
