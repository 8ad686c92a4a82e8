"""JupyterLab as `make lab` starts it: a notebook opened in a browser and run to its end."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request

import pytest

from mfutils import paths

NOTEBOOK = "02_1_correlation_and_vif.ipynb"
# Jupyter warns of its own extensions; what counts is the state of the cells
STATE = """return [...document.querySelectorAll('.jp-NotebookPanel .jp-CodeCell')]
  .map(c => c.querySelector('.jp-InputPrompt')).filter(p => p && p.offsetParent !== null)
  .map(p => p.textContent.trim())"""


@pytest.fixture
def lab(tmp_path):
    """Address of a JupyterLab on copies of the notebooks, without a password, on loopback."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    shutil.copy2(paths.NOTEBOOKS / NOTEBOOK, folder)
    settings = {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "HOME": "home"}
    environment = os.environ | {name: str(tmp_path / place) for name, place in settings.items()}
    environment.pop("MFUTILS_RUN", None)
    command = [sys.executable, "-m", "jupyterlab", f"--notebook-dir={folder}", "--no-browser"]
    command += ["--ip=127.0.0.1", "--port=0", "--IdentityProvider.token=", "--allow-root"]
    log = open(tmp_path / "lab.log", "w+", encoding="utf-8")  # noqa: SIM115 (closed below)
    server = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=tmp_path)
    try:
        address = None
        for _ in range(240):
            text = (tmp_path / "lab.log").read_text(encoding="utf-8")
            if found := re.search(r"http://127\.0\.0\.1:\d+/lab", text):
                address = found[0]
                break
            assert server.poll() is None, text
            time.sleep(0.5)
        assert address, "JupyterLab did not start"
        yield address
    finally:
        server.terminate()
        server.wait(timeout=30)
        log.close()


@pytest.mark.slow
def test_a_notebook_runs_in_a_browser(lab, browser, tmp_path):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    with urllib.request.urlopen(lab.replace("/lab", "/api/kernelspecs")) as answer:
        kernels = json.load(answer)
    assert kernels["default"] == "python3"

    browser.get(f"{lab}/tree/{NOTEBOOK}")
    wait = WebDriverWait(browser, 120)
    wait.until(lambda b: len(b.execute_script(STATE)) > 3)
    wait.until(lambda b: "Idle" in b.page_source)
    browser.find_element(By.CSS_SELECTOR, ".jp-NotebookPanel .jp-Cell").click()
    menu = wait.until(
        lambda b: next(
            m for m in b.find_elements(By.CSS_SELECTOR, ".lm-MenuBar-item") if m.text == "Run"
        )
    )
    menu.click()
    entry = wait.until(
        lambda b: next(
            e
            for e in b.find_elements(By.CSS_SELECTOR, ".lm-Menu-item")
            if "Run All Cells" in e.text
        )
    )
    entry.click()
    WebDriverWait(browser, 300).until(
        lambda b: all(re.fullmatch(r"\[\d+\]:", p) for p in b.execute_script(STATE))
    )
    assert "Traceback" not in browser.find_element(By.CSS_SELECTOR, ".jp-NotebookPanel").text
