"""Jobs in processes that have loaded nothing of the library before, two at a time.

``python job_process.py FOLDER JOB ...``, started in the root of a compendium: writes
FOLDER/<job>.json with the library's modules that the process loaded and the modules behind the
function's fingerprint, or with the error. Jobs read their data from FOLDER/data. What other
projects provide is loaded once, and every job starts as a copy of that state, so a job costs its
own work only.
"""

import gc
import importlib
import json
import os
import sys
import traceback
from pathlib import Path

from job_examples import EXAMPLES

HEAVY = (
    "torch", "pandas", "sklearn.ensemble", "scipy.stats", "xgboost", "pyarrow.parquet", "numba",
)  # fmt: skip


def outcome(job, folder):
    """What one job loaded beside what its fingerprint knows."""
    try:
        module, _, name = job.rpartition(".")
        function = getattr(importlib.import_module(module), name)
        if paths := sys.modules.get("mfutils.paths"):
            paths.DATA, paths.CACHE = folder / "data", folder / "cache"
        function(**EXAMPLES.get(job, dict)())
    except Exception:
        return {"error": traceback.format_exc()}
    loaded = sorted(name for name in sys.modules if name.partition(".")[0] == "mfutils")
    from mfutils.code_hash import modules_behind

    return {"loaded": loaded, "behind": sorted(modules_behind(function))}


def main(folder, *jobs):
    sys.path.insert(0, os.getcwd())
    for name in HEAVY:
        importlib.import_module(name)
    assert not any(name.partition(".")[0] == "mfutils" for name in sys.modules)
    gc.freeze()
    folder, running = Path(folder), 0
    for job in jobs:
        if running == 2:
            os.wait()
            running -= 1
        if os.fork():
            running += 1
            continue
        (folder / f"{job}.json").write_text(json.dumps(outcome(job, folder)))
        os._exit(0)
    while running:
        os.wait()
        running -= 1


if __name__ == "__main__":
    main(*sys.argv[1:])
