"""Which notebooks an edit of the library makes stale: those that it can change, and no other."""

import shutil

import pytest

from mfutils import code_hash, paths
from mfutils.compendium import stems
from mfutils.compendium.runner import staleness

STEMS = sorted(p.stem for p in paths.NOTEBOOKS.glob("*.ipynb"))
NETWORKS = "02_3 03_2 03_2b 04_2 05_1 05_2 05_3 05_4 06_2 07_7 08_6 09_1"


def inputs():
    return {stem: staleness.inputs_of(stem, "smoke") for stem in STEMS}


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """A copy of the library that stands in for it, and what every notebook rests on in it."""
    package = tmp_path_factory.mktemp("copy") / "mfutils"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(paths.ROOT / "mfutils", package, ignore=ignore)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(code_hash, "_PACKAGE", package)
        yield package, inputs()


@pytest.mark.parametrize(
    ("module", "numbers"),
    [
        ("networks/cgcnn.py", NETWORKS),
        ("networks/megnet_kernels.py", NETWORKS),
        ("screening/markov.py", "07_8"),
        ("study/s05_3/campaign.py", "05_3"),
        ("compendium/runner/publish.py", ""),
    ],
)
def test_an_edit_touches_these_notebooks_only(copied, module, numbers):
    package, before = copied
    file = package / module
    text = file.read_text()
    try:
        file.write_text(text + "\n# a comment\n")
        assert inputs() == before
        file.write_text(text + "\nEDITED = True\n")
        after = inputs()
    finally:
        file.write_text(text)
    name = f"mfutils.{module.removesuffix('.py').replace('/', '.')}"
    touched = {stem for stem in STEMS if after[stem] != before[stem]}
    assert sorted(map(stems.number, touched)) == numbers.split()
    for stem in touched:
        assert staleness._changes(before[stem], after[stem]) == [f"{name} changed"]
