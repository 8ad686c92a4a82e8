"""The book of the real notebooks in a browser (its own file: test_book moves the folders)."""

import subprocess
import sys

import pytest
from test_book import WIDTH, sound

from mfutils import paths
from mfutils.compendium.book import build


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_whole_book_in_a_browser(browser, tmp_path):
    """The real notebooks as the smoke profile leaves them; running them is a no-op when fresh."""
    command = [
        sys.executable,
        "-m",
        "mfutils.compendium.runner",
        "run",
        "--profile",
        "smoke",
        "--jobs",
        "2",
    ]
    subprocess.run(command, check=True, cwd=paths.ROOT, capture_output=True)
    site = build.build("smoke", tmp_path / "book").parent
    stems = {p.stem for p in paths.NOTEBOOKS.glob("*.ipynb")}
    assert stems <= {p.stem for p in sound(site, browser)}
    browser.set_window_size(500, 900)
    for stem in stems:
        browser.get((site / f"notebooks/{stem}.html").as_uri())
        wide, window = browser.execute_script(WIDTH)
        assert wide <= window, stem
