"""Printed values of the study and the verdict beside each of ours.

`data/published/<stem>.yaml` lists what a section prints: id, value as a string (its
digits say how exact it is), unit, place, class and reason. The classes are

- ``exact``: our value, rounded to the printed digits, equals the printed one;
- ``spread``: the printed value lies inside the range of our repeated runs, or inside an interval
  for a repetition of ours where one value needs all runs;
- ``trend``: only an ordering or a sign is claimed, and it holds in our data;
- ``not-reproducible``: the reason is stated, and `expect` bounds our own value.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from mfutils import files, paths
from mfutils.compendium import stems
from mfutils.errors import DataError, InputError
from mfutils.plain_values import brief, is_number, read_yaml

__all__ = ["CLASSES", "Printed", "check", "compare", "load", "read_values", "shown"]

CLASSES = ("exact", "spread", "trend", "not-reproducible")
# Powers of ten that floating-point numbers reach, and digits enough to round any of them
_LARGEST = 308
_EXACTLY = Context(prec=1000)
_KEYS = {"id", "printed", "unit", "where", "class", "rtol", "reason", "expect", "dataset"}


@dataclass(frozen=True)
class Printed:
    """One printed value; `dataset` limits it to runs on that data set."""

    id: str
    printed: str
    where: str
    kind: str
    unit: str = ""
    rtol: float | None = None
    reason: str = ""
    expect: tuple[float, float] | None = None
    dataset: str | None = None


def load(stem: str, folder: Path | None = None) -> list[Printed]:
    """Printed values of one notebook; empty when it has no file.

    Raises DataError naming the file and the entry that is malformed.
    """
    path = (folder or paths.PUBLISHED) / f"{stem}.yaml"
    if not path.exists():
        return []
    content = read_yaml(path, remedy="correct the file")
    if not isinstance(content, dict) or not isinstance(content.get("values"), list):
        raise DataError(f"{path}: expected the keys section and values (a list); add them")
    entries = [_entry(path, row, item) for row, item in enumerate(content["values"])]
    ids = [p.id for p in entries]
    for repeated in {i for i in ids if ids.count(i) > 1}:
        raise DataError(f"{path}: id {repeated!r} occurs twice; give each value an id of its own")
    return entries


def _entry(path: Path, row: int, item) -> Printed:
    where = f"{path}: value {row}"
    if not isinstance(item, dict):
        raise DataError(f"{where} is not a mapping; give id, printed, where and class")
    if unknown := [brief(key) for key in item if key not in _KEYS]:
        allowed = ", ".join(sorted(_KEYS))
        raise DataError(f"{where} has unknown keys {', '.join(unknown)}; allowed: {allowed}")
    for key in ("id", "printed", "where", "class"):
        if not isinstance(item.get(key), str) or not item[key].strip():
            raise DataError(f"{where} needs {key} as a non-empty, quoted string")
    for key in ("unit", "reason", "dataset"):
        if not isinstance(item.get(key, ""), str):
            raise DataError(f"{where} has {key} {brief(item[key])}; write it as a quoted string")
    kind, rtol, expect = item["class"], item.get("rtol"), item.get("expect")
    if kind not in CLASSES:
        raise DataError(f"{where} has class {brief(kind)}; use one of {', '.join(CLASSES)}")
    if (kind == "not-reproducible" or rtol is not None) and not item.get("reason"):
        raise DataError(f"{where} ({item['id']}) needs a reason: {kind} with rtol={rtol}")
    if rtol is not None and (kind != "exact" or not is_number(rtol) or not 0 < rtol < 0.1):
        raise DataError(f"{where} has rtol {brief(rtol)}; only class exact takes one, in (0, 0.1)")
    if rtol is not None and not _number(item["printed"]):
        raise DataError(f"{where} has an rtol; it needs a printed number other than 0")
    if expect is not None:
        good = isinstance(expect, list) and len(expect) == 2 and all(map(is_number, expect))
        if not good or expect[0] > expect[1]:
            raise DataError(f"{where} has expect {brief(expect)}; give two numbers [low, high]")
        expect = (float(expect[0]), float(expect[1]))
    return Printed(
        id=item["id"],
        printed=item["printed"].strip(),
        where=item["where"],
        kind=kind,
        unit=item.get("unit", ""),
        rtol=rtol,
        reason=item.get("reason", ""),
        expect=expect,
        dataset=item.get("dataset"),
    )


def compare(value: Printed, ours: Any, *, dataset: str | None = None) -> dict:
    """One row {id, printed, ours, class, verdict, ok, unit, where, reason}.

    `ours` is a number, a string, a list or a dict with ``interval`` and ``n`` (class spread), or a
    dict with ``holds`` (class trend); None means that no value was recorded.
    """
    row = {"id": value.id, "printed": value.printed, "ours": ours, "class": value.kind}
    if value.dataset and dataset != value.dataset:
        verdict, ok = f"not run (needs the {value.dataset} data)", True
    elif ours is None:
        verdict, ok = "MISS: no value recorded", False
    else:
        verdict, ok = _RULES[value.kind](value, ours)
    return row | {
        "verdict": verdict,
        "ok": ok,
        "unit": value.unit,
        "where": value.where,
        "reason": value.reason,
    }


def _exact(value: Printed, ours) -> tuple[str, bool]:
    if isinstance(ours, str):
        ok = ours.replace(" ", "") == value.printed.replace(" ", "")
        return ("reproduced", True) if ok else ("MISS: differs", False)
    if not is_number(ours):
        return f"MISS: expected a number, got {type(ours).__name__}", False
    printed = _number(value.printed)
    if printed is None:
        return f"MISS: printed value {brief(value.printed)} is not a number", False
    if value.rtol is not None:
        deviation = abs(ours - float(printed)) / abs(float(printed))
        ok = deviation <= value.rtol
        text = f"within {100 * value.rtol:g} % (off by {100 * deviation:.2g} %)"
        return (f"reproduced {text}", True) if ok else (f"MISS: not {text}", False)
    digits = Decimal(1).scaleb(printed.as_tuple().exponent)
    # A printed tie such as 0.0745 may have been rounded either way.
    half = Decimal(repr(float(ours)))
    rounded = half.quantize(digits, ROUND_HALF_UP, _EXACTLY)
    ok = rounded == printed or abs(half - printed) <= digits / 2
    return ("reproduced", True) if ok else ("MISS: differs at the printed digits", False)


def _spread(value: Printed, ours) -> tuple[str, bool]:
    if isinstance(ours, dict):
        ends, n, word = ours.get("interval"), ours.get("n"), "interval"
    else:
        ends, n, word = ours, len(ours) if isinstance(ours, list) else 0, "range"
    if not isinstance(ends, list) or len(ends) < 2 or not all(map(is_number, ends)):
        return "MISS: class spread needs two numbers or more, or a dict with interval and n", False
    if (printed := _number(value.printed)) is None:
        return f"MISS: printed value {brief(value.printed)} is not a number", False
    low, high = min(ends), max(ends)
    inside = low <= float(printed) <= high
    text = f"our {word} [{low:.4g}, {high:.4g}] over n={n}"
    return (f"inside {text}", True) if inside else (f"MISS: outside {text}", False)


def _trend(_value: Printed, ours) -> tuple[str, bool]:
    if not isinstance(ours, dict) or not isinstance(ours.get("holds"), bool):
        return "MISS: class trend needs a dict with holds: true or false", False
    notes = [f"p = {ours['probability']:.3g}"] if is_number(ours.get("probability")) else []
    notes += [f"n = {ours['n']}"] if is_number(ours.get("n")) else []
    text = f" ({', '.join(notes)})" if notes else ""
    return ("holds" + text, True) if ours["holds"] else ("MISS: does not hold" + text, False)


def _not_reproducible(value: Printed, ours) -> tuple[str, bool]:
    if value.expect is None:
        return "not reproducible", True
    if isinstance(ours, dict):
        ours = ours.get("effect")
    elif isinstance(ours, list) and ours and all(map(is_number, ours)):
        ours = sum(ours) / len(ours)
    if not is_number(ours):
        return "MISS: expected a number to set against `expect`", False
    low, high = value.expect
    if low <= ours <= high:
        return "not reproducible", True
    return f"MISS: our own value left [{low:g}, {high:g}]", False


_RULES = {
    "exact": _exact,
    "spread": _spread,
    "trend": _trend,
    "not-reproducible": _not_reproducible,
}


def _number(printed: str) -> Decimal | None:
    """A printed value as a number of floating-point size, or None when it is none."""
    try:
        number = Decimal(printed)
    except InvalidOperation:
        return None
    if not number.is_finite() or not -_LARGEST < number.as_tuple().exponent < _LARGEST:
        return None
    return number if number.adjusted() < _LARGEST else None


def check(profile: str, stems: list[str] | None = None) -> list[dict]:
    """Rows of every printed value against `figures/<profile>/<stem>/values.json`."""
    if stems is None:
        stems = sorted(p.stem for p in paths.PUBLISHED.glob("*.yaml"))
    rows = []
    for stem in stems:
        values, dataset = read_values(paths.FIGURES / profile / stem)
        for printed in load(stem):
            row = compare(printed, values.get(printed.id), dataset=dataset)
            rows.append({"notebook": stem} | row)
    return rows


def read_values(folder: Path) -> tuple[dict, str | None]:
    """Recorded values of a notebook and the data set that it ran on."""
    path = folder / "values.json"
    if not path.exists():
        return {}, None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        values, dataset = content["values"], content["dataset"]
        if not isinstance(values, dict) or not isinstance(dataset, str | None):
            raise ValueError("expected values by id and the name of a data set")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{path}: not a values file ({error}); run the notebook again") from error
    return values, dataset


def shown(ours: Any) -> str:
    """Our value as short text for a table cell."""
    if isinstance(ours, dict) and "holds" not in ours and is_number(ours.get("effect")):
        return f"{ours['effect']:.5g}"
    if isinstance(ours, dict):
        return "holds" if ours.get("holds") else "does not hold"
    if isinstance(ours, list) and ours and all(map(is_number, ours)):
        return f"{sum(ours) / len(ours):.5g} (mean of {len(ours)})"
    return f"{ours:.6g}" if is_number(ours) else str(ours)


def main(arguments: list[str] | None = None) -> int:
    """Print id | printed | ours | class | verdict; exit code 1 on a miss."""
    parser = argparse.ArgumentParser(prog="python -m mfutils.compendium.published")
    parser.add_argument("--profile", default="quick")
    options = parser.parse_args(arguments)
    try:
        if not (paths.PROFILES / f"{options.profile}.yaml").exists():
            known = ", ".join(sorted(p.stem for p in paths.PROFILES.glob("*.yaml")))
            raise InputError(f"unknown profile {options.profile!r}; known profiles: {known}")
        rows = check(options.profile)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    target = paths.BUILD / options.profile / "check.json"
    try:
        files.write_text(target, json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    except OSError as error:
        print(f"error: {target} cannot be written ({error.strerror}); free it", file=sys.stderr)
        return 2
    cells = [
        [r["id"], r["printed"], shown(r["ours"]), r["class"], r["verdict"]]
        for r in sorted(rows, key=lambda r: r["notebook"])
    ]
    heads = ["id", "printed", "ours", "class", "verdict"]
    widths = [max(len(str(c[i])) for c in [heads, *cells]) for i in range(len(heads))]
    for line in [heads, *cells]:
        print(" | ".join(str(c).ljust(w) for c, w in zip(line, widths, strict=True)).rstrip())
    missed = [r for r in rows if not r["ok"]]
    print(f"\n{len(rows) - len(missed)} of {len(rows)} agree with their class.")
    if missed:
        unrun = {r["notebook"] for r in missed if r["ours"] is None}
        for stem in sorted(s for s in unrun if not (paths.FIGURES / options.profile / s).exists()):
            print(f"{stem} has not run: make {stems.number(stem)} PROFILE={options.profile}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
