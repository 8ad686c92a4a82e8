"""Install the library from this clone where it is missing, as on Colab or Binder.

The first cell of every notebook runs this file; where the library is installed it does nothing.
It uses the standard library alone, since nothing else is there yet.
"""

import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

CLONE = Path(__file__).resolve().parents[1]

if not any(package.name == "mfutils" for package in distributions()):
    if not (CLONE / "mfutils" / "paths.py").is_file():
        raise SystemExit(f"no library in {CLONE}: clone the repository, open the notebook in it")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--editable", str(CLONE)]
    subprocess.run(install, check=True)
    sys.path.insert(0, str(CLONE))
