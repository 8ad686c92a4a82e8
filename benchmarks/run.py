"""Run every `bench_*.py` and keep the ratios: results.json and the table in README.md.

Each script compares one part of `mfutils` with a peer in the same process, checks equal
numerics before it times anything, and prints one JSON object, or a list of them, with
the keys name, ours_s, peer_s, ratio, peer and equal_to. Seconds are CPU time of the process
on one thread. Ratios carry over to other machines; seconds do not.

    python benchmarks/run.py [NAME ...]     only the scripts bench_NAME.py
"""

import json
import subprocess
import sys
from pathlib import Path

from readme import fill

FOLDER = Path(__file__).resolve().parent
KEYS = ("name", "ours_s", "peer_s", "ratio", "peer", "equal_to")


def measure(script: Path) -> list[dict]:
    """Entries that one script prints; exits with its message when it fails."""
    print(f"{script.stem} ...", flush=True)
    done = subprocess.run([sys.executable, script], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"error: {script.name} ended with code {done.returncode}")
    found = json.loads(done.stdout)
    entries = found if isinstance(found, list) else [found]
    for entry in entries:
        if missing := [key for key in KEYS if key not in entry]:
            raise SystemExit(f"error: {script.name} prints no {', '.join(missing)}")
        print(f"  {entry['name']}: {entry['ratio']:.3g} times as fast as {entry['peer']}")
    return entries


def table(entries: list[dict]) -> str:
    """Markdown table of the entries."""
    lines = ["| benchmark | ours (s) | peer (s) | ratio | peer | equal to |", "|---|" + "---|" * 5]
    lines += [
        f"| `{e['name']}` | {e['ours_s']:.3g} | {e['peer_s']:.3g} | **{e['ratio']:.3g}** "
        f"| {e['peer']} | {e['equal_to']} |"
        for e in entries
    ]
    return "\n".join(lines) + "\n"


def main(wanted: list[str]) -> None:
    """Measure the wanted scripts (all without arguments) and merge them into the results."""
    scripts = sorted(FOLDER.glob("bench_*.py"))
    chosen = [s for s in scripts if not wanted or s.stem.removeprefix("bench_") in wanted]
    if not chosen:
        known = ", ".join(s.stem.removeprefix("bench_") for s in scripts)
        raise SystemExit(f"error: no benchmark {' '.join(wanted)}; known: {known}")
    results = FOLDER / "results.json"
    for script in chosen:
        found = measure(script)
        known = json.loads(results.read_text(encoding="utf-8")) if results.exists() else []
        merged = {e["name"]: e for e in known} | {e["name"]: e for e in found}
        entries = sorted(merged.values(), key=lambda e: e["name"])
        results.write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
        fill("results", table(entries))


if __name__ == "__main__":
    main(sys.argv[1:])
