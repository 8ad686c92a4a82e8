"""Command line of the runner: ``python -m mfutils.compendium.runner {run,status}``."""

import argparse
import json
import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

from mfutils import files, paths
from mfutils.compendium import stems
from mfutils.compendium.runner import publish, staleness
from mfutils.errors import InputError

__all__ = ["main"]


def _stems(wanted: list[str]) -> list[str]:
    """Stems of the wanted notebooks (full stem or its number, as in 03_1); all if none."""
    known = sorted(p.stem for p in paths.NOTEBOOKS.glob("*.ipynb"))
    if not wanted:
        return known
    chosen = set()
    for name in wanted:
        matches = {stem for stem in known if name in (stem, stems.number(stem))}
        if not matches:
            raise InputError(f"no notebook {name!r}; known: {', '.join(known) or 'none'}")
        chosen |= matches
    return sorted(chosen)


class _Report:
    """One line per notebook; on a terminal also a live line with the running cells."""

    def __init__(self, total: int):
        self.total, self.done = total, 0
        self.running: dict[str, str] = {}
        self.live = sys.stdout.isatty()
        self.lock = threading.Lock()

    def line(self, text: str) -> None:
        with self.lock:
            print(("\r\033[K" if self.live else "") + text, flush=True)
            self._bar()

    def cell(self, stem: str, cell: int, of: int) -> None:
        with self.lock:
            width = 16
            filled = width * (cell + 1) // max(of, 1)
            bar = "#" * filled + "." * (width - filled)
            self.running[stem] = f"{stems.number(stem)} [{bar}] {cell + 1}/{of}"
            self._bar()

    def finish(self, stem: str, text: str) -> None:
        with self.lock:
            self.running.pop(stem, None)
            self.done += 1
            count = f"[{self.done}/{self.total}]"
        self.line(f"{count} {stem:<36} {text}")

    def _bar(self) -> None:
        if self.live:
            text = "  ".join(self.running.values())
            print("\r\033[K" + text, end="" if text else "\r", flush=True)


def _run_one(stem: str, options, report: _Report, processes: int):
    """Bring one notebook up to date; returns its Outcome, or None when it was fresh."""

    def waiting():
        report.line(f"{stem}: another run of it is under way; waiting for its result")

    with publish.locked(stem, options.profile, waiting):
        # Looked at under the lock: another process may just have finished it.
        inputs = staleness.inputs_of(stem, options.profile)
        state = staleness.state(stem, options.profile, inputs)
        if state.fresh and not options.force:
            report.finish(stem, "fresh")
            return None
        outcome = publish.run_notebook(
            stem,
            options.profile,
            inputs,
            processes=processes,
            progress=lambda cell, of: report.cell(stem, cell, of),
        )
    if outcome.ok:
        made = f"{outcome.figures} figures, {outcome.tables} tables"
        report.finish(stem, f"done   {outcome.seconds:7.1f} s {outcome.mib:6.0f} MiB  {made}")
    else:
        kept = f"; executed copy: {outcome.kept}" if outcome.kept else ""
        report.finish(stem, f"FAILED in {outcome.where}: {outcome.error}{kept}")
    return outcome


def run(options: argparse.Namespace) -> int:
    """Run what is not fresh; exit code 1 when a notebook failed."""
    chosen = _stems(options.notebooks)
    for stem in chosen:
        # Every mistake in notebooks and profiles shows before the first kernel starts.
        staleness.inputs_of(stem, options.profile)
    publish.time_limit()
    jobs = max(1, min(options.jobs, len(chosen)))
    processes = max(1, (os.cpu_count() or 1) // jobs)
    report = _Report(len(chosen))
    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(_run_one, s, options, report, processes) for s in chosen]
        try:
            outcomes = [f.result() for f in futures]
        except BaseException:
            for future in futures:
                future.cancel()
            publish.stop_all()
            raise
    ran = [o for o in outcomes if o is not None]
    if not ran:
        print(f"{len(chosen)} notebooks are up to date (profile {options.profile}).")
        return 0
    _summary(ran, options.profile)
    return 1 if any(not o.ok for o in ran) else 0


def _summary(ran: list[publish.Outcome], profile: str) -> None:
    print(f"\n{'notebook':<38} {'wall s':>8} {'CPU s':>8} {'MiB':>6}  result")
    for o in ran:
        result = "done" if o.ok else "FAILED"
        print(f"{o.stem:<38} {o.seconds:8.1f} {o.cpu_seconds:8.1f} {o.mib:6.0f}  {result}")
    costs = paths.BUILD / profile / "costs.json"
    known = staleness.read_json(costs) or {}
    known |= {o.stem: asdict(o) for o in ran if o.ok}
    try:
        files.write_text(costs, json.dumps(known, indent=1, sort_keys=True) + "\n")
    except OSError as error:
        print(f"warning: {error}; the costs of this run are not kept", file=sys.stderr)
    print(f"figures and tables: figures/{profile}/")


def status(options: argparse.Namespace) -> int:
    """Print fresh, stale, failed or never for every notebook, and why."""
    for stem in _stems(options.notebooks):
        inputs = staleness.inputs_of(stem, options.profile)
        state = staleness.state(stem, options.profile, inputs)
        print(f"{state.status:<7} {stem:<38} {'; '.join(state.reasons)}".rstrip())
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Entry point; exit code 0 on success, 1 on a failed notebook, 2 on bad input."""
    parser = argparse.ArgumentParser(prog="python -m mfutils.compendium.runner")
    parser.add_argument("verb", choices=["run", "status"])
    parser.add_argument("notebooks", nargs="*", help="stems or numbers such as 03_1; default all")
    parser.add_argument("--profile", default="quick")
    parser.add_argument("--jobs", type=int, default=1, help="notebooks at a time")
    parser.add_argument("--force", action="store_true", help="run fresh notebooks too")
    options = parser.parse_args(arguments)
    try:
        return {"run": run, "status": status}[options.verb](options)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error}; finished notebooks are kept, no other is", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted; finished notebooks are kept", file=sys.stderr)
        return 130


if __name__ == "__main__":
    # A batch system asks by SIGTERM, a user by Ctrl-C: both end kernels and clear up.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
