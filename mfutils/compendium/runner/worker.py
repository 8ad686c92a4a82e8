"""Run one notebook with papermill in this process and report cell by cell.

Called by the runner as ``python -m mfutils.compendium.runner.worker job.json``; prints one JSON
line per event: ``{"cell": i, "of": n}`` while running, then ``{"ok": true, "loaded": [...]}``,
the library's modules that the kernel has loaded, or ``{"ok": false, "where": ..., "error": ...}``.
Being a process of its own, it can be killed, measured and limited without touching the runner.
"""

import ast
import json
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TextIO

__all__ = ["kill_run", "main"]

_pipe = None  # where events go when the runner listens
# What the kernel is asked at the end: a string, since the display cuts long lists
_LOADED = "' '.join(m for m in __import__('sys').modules if m.partition('.')[0] == 'mfutils')"


def _die_with_parent() -> None:
    """Stop soon after the runner is gone, so that no orphan keeps the cores busy."""
    parent = os.getppid()

    def watch():
        while os.getppid() == parent:
            time.sleep(0.5)
        kill_run(os.environ["MFUTILS_RUN"], spare=os.getpid())
        os.killpg(os.getpgid(0), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def kill_run(run: str, *, spare: int | None = None) -> None:
    """Kill every process of the run whose setting MFUTILS_RUN is `run`, but for the id `spare`.

    Kernels lead sessions of their own and may hang where no signal but this one reaches
    them, so neither process groups nor parents find them all; the setting is inherited.
    """
    import psutil  # only where something must die: the runner starts without it

    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid != spare and process.environ().get("MFUTILS_RUN") == run:
                process.kill()


def _private_stdout() -> TextIO:
    """The pipe to the runner, kept from the kernel, whose copy would hold it open."""
    pipe = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return pipe


def _tell(**event) -> None:
    print(json.dumps(event), flush=True, file=_pipe or sys.stdout)


def _engine(current: dict) -> type:
    """Papermill engine that announces every cell and leaves out time stamps.

    `current` is kept at the running cell: its id and its position in the notebook as
    the author knows it, that is without the cell that papermill injects. At the end it
    holds `loaded`, the names of the library's modules that the kernel has loaded.
    """
    from papermill.clientwrap import PapermillNotebookClient
    from papermill.engines import Engine

    class Client(PapermillNotebookClient):
        def papermill_execute_cells(self):
            super().papermill_execute_cells()
            asked = self.kc.execute("", silent=True, user_expressions={"loaded": _LOADED})
            reply = self.wait_for_reply(asked)["content"]["user_expressions"]["loaded"]
            current["loaded"] = ast.literal_eval(reply["data"]["text/plain"]).split()

    class Announcing(Engine):
        @classmethod
        def execute_managed_notebook(cls, nb_man, kernel_name, **_):
            total = len(nb_man.nb.cells)
            start = nb_man.cell_start

            def announced(cell, cell_index=None, **more):
                injected = any(
                    "injected-parameters" in c.metadata.get("tags", [])
                    for c in nb_man.nb.cells[: cell_index or 0]
                )
                current.update(position=(cell_index or 0) - injected, id=cell.get("id", "?"))
                _tell(cell=cell_index, of=total)
                return start(cell, cell_index, **more)

            nb_man.cell_start = announced
            return Client(
                nb_man, kernel_name=kernel_name, startup_timeout=60, timeout=None,
                record_timing=False,
            ).execute()  # fmt: skip

    return Announcing


def _without_times(path: Path) -> None:
    """Drop what papermill notes about time and place or draws by lot: reruns are identical."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    notebook["metadata"].pop("papermill", None)
    for cell in notebook["cells"]:
        cell["metadata"].pop("papermill", None)
        cell["metadata"].pop("execution", None)
        if "injected-parameters" in cell["metadata"].get("tags", []):
            cell["id"] = "injected-parameters"
    text = json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True)
    path.write_text(text + "\n", encoding="utf-8")


def main(job_file: str) -> int:
    """Execute the job described in `job_file`; exit code 0 when every cell ran."""
    global _pipe
    if os.getpgid(0) == os.getpid():
        _pipe = _private_stdout()
        _die_with_parent()
    job = json.loads(Path(job_file).read_text(encoding="utf-8"))
    import papermill
    from papermill.engines import papermill_engines

    current = {"position": 0, "id": "?"}
    papermill_engines.register("announcing", _engine(current))
    executed = Path(job["executed"])
    try:
        papermill.execute_notebook(
            job["notebook"],
            str(executed),
            parameters=job["parameters"],
            engine_name="announcing",
            kernel_name="python3",
            cwd=job["cwd"],
            progress_bar=False,
            autosave_cell_every=60,
        )
    except papermill.PapermillExecutionError as error:
        value = " ".join(str(error.evalue).split())
        where = f"cell {current['position']} ({current['id']})"
        _tell(ok=False, where=where, error=f"{error.ename}: {value}")
        return 1
    except Exception as error:
        _tell(ok=False, where="start", error=f"{type(error).__name__}: {error}".splitlines()[0])
        return 1
    _without_times(executed)
    _tell(ok=True, loaded=current["loaded"])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
