"""Assemble the sources of the book and hand them to Sphinx."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

from mfutils import paths
from mfutils.compendium import published
from mfutils.compendium.book import full_scale, pages, printed
from mfutils.errors import DataError, InputError

__all__ = ["CHAPTERS", "build", "collect"]

CHAPTERS = {
    1: "Why several fidelities",
    2: "Methods",
    3: "How faithful is a source",
    4: "Learning from unfaithful data",
    5: "The outlook, built",
    6: "Principles",
    7: "Screening",
    8: "Uncertainty one can trust",
    9: "Elastic moduli",
}
# Documents of the repository that are pages of the book too, and files that they link to
_DOCUMENTS = (
    "REPRODUCING.md", "CONTRIBUTING.md", "CHANGELOG.md", "README.zh-CN.md", "data/README.md",
    "benchmarks/README.md",
)  # fmt: skip
_FILES = (
    "CITATION.cff", "LICENSE", "data/registry.yaml", "benchmarks/results.json",
    "benchmarks/scaling.png", "benchmarks/scaling.csv",
)  # fmt: skip


def _saved(folder: Path) -> dict:
    path = folder / "values.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))["artifacts"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise DataError(
            f"{path} cannot be read ({type(error).__name__}); run the notebook again"
        ) from None


def collect(profile: str, source: Path) -> list[str]:
    """Write every page of the book as Markdown or notebook; return the stems.

    Raises InputError when a notebook has no executed copy in this profile.
    """
    stems = sorted(p.stem for p in paths.NOTEBOOKS.glob("*.ipynb"))
    executed = paths.BUILD / profile / "executed"
    if missing := [s for s in stems if not (executed / f"{s}.ipynb").exists()]:
        raise InputError(
            f"{len(missing)} of {len(stems)} notebooks have not run in the profile {profile} "
            f"(first: {missing[0]}); run: make figures PROFILE={profile}"
        )
    if source.exists():
        shutil.rmtree(source)
    full = [] if profile == "full" else full_scale.write_pages(stems, source / "full")
    for stem in stems:
        figures = paths.FIGURES / profile / stem
        pages.write_page(
            executed / f"{stem}.ipynb",
            figures,
            source / "notebooks",
            saved=_saved(figures),
            full=stem in full,
        )
    beside = printed.printed_page(
        published.check(profile), profile=profile, full=published.check("full", full)
    )
    (source / "printed.md").write_text(beside, encoding="utf-8")
    for name in (*_DOCUMENTS, *_FILES):
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(paths.ROOT / name, target)
    chinese = source / "README.zh-CN.md"
    home = chinese.read_text(encoding="utf-8").replace("](README.md)", "](index.md)")
    chinese.write_text(home, encoding="utf-8")
    _write_index(stems, source, ["full/index"] if full else [])
    return stems


def _write_index(stems, source, full):
    """README as the first page, the pictures that it shows, and the table of contents."""
    text = (paths.ROOT / "README.md").read_text(encoding="utf-8")
    for picture in set(re.findall(r"\]\((figures/[^)]+)\)", text)):
        target = source / picture
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(paths.ROOT / picture, target)
    for label, stem in re.findall(r"\[([^\]]+)\]\(notebooks/(\w+)\.ipynb\)", text):
        if stem not in stems:  # a book of some notebooks has no page for the others
            text = text.replace(f"[{label}](notebooks/{stem}.ipynb)", label)
    parts = [text]
    for chapter, title in CHAPTERS.items():
        inside = [f"notebooks/{s}" for s in stems if int(s[:2]) == chapter]
        if inside:
            parts.append(_toctree(f"{chapter} {title}", inside))
    documents = [name.removesuffix(".md") for name in _DOCUMENTS]
    parts.append(_toctree("About", ["printed", *full, *documents]))
    (source / "index.md").write_text("\n".join(parts), encoding="utf-8")


def _toctree(caption, entries):
    listed = "\n".join(entries)
    return f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{listed}\n```\n"


def build(profile: str, target: Path | None = None) -> Path:
    """Render the book of one profile to HTML; returns its first page.

    Executes nothing. Any warning of Sphinx (a link that leads nowhere, a picture without
    file) stops the build with DataError.
    """
    target = target or paths.BUILD / "book"
    stems = collect(profile, target / "source")
    # Pages of notebooks that are gone must not stay
    shutil.rmtree(target / "html", ignore_errors=True)
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-q", "-j", "2"]
    command += ["-c", str(Path(__file__).parent), "-d", str(target / "doctrees")]
    done = subprocess.run(
        [*command, str(target / "source"), str(target / "html")],
        capture_output=True, text=True, check=False, cwd=paths.ROOT,
    )  # fmt: skip
    if done.returncode:
        raise DataError(f"the book cannot be built:\n{done.stderr.strip()[-3000:]}")
    print(f"{len(stems)} notebooks: {target / 'html' / 'index.html'}")
    return target / "html" / "index.html"
