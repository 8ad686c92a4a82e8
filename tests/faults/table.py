"""Write the measured counts into README.md: ``python tests/faults/table.py``, after a long run.

A fault that the long mode has not counted shows the counts of the short mode, and says so.
"""

import json
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
COUNTS = FOLDER.parents[1] / "build" / "faults"
BEGIN, END = "<!-- counts -->", "<!-- end of counts -->"


def rows():
    """One line per fault: fault | trials | outcomes with counts."""
    found = {}
    for mode in ("short", "long"):
        for path in sorted((COUNTS / mode).glob("*.json")):
            found[path.stem] = mode, json.loads(path.read_text())
    for name in sorted(found):
        mode, row = found[name]
        outcomes = "; ".join(f"{what}: {n:,}" for what, n in row["outcomes"].items())
        short = " (short mode)" if mode == "short" else ""
        yield f"| {row['fault']}{short} | {row['trials']:,} | {outcomes} |"


def main():
    readme = FOLDER / "README.md"
    before, _, rest = readme.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    head = ["| fault | trials | outcome |", "|---|---|---|"]
    table = "\n".join([BEGIN, "", *head, *rows(), "", END])
    readme.write_text(before + table + after)


if __name__ == "__main__":
    main()
