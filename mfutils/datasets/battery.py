"""Energy density of lithium liquid-metal batteries by cathode and current (Table 3.1).

One row is one measurement: the mole percentages of eight cathode elements, the current density
(mA/cm2), the energy density (Wh/kg) and the source. `read` checks a file of such rows line by
line; `load` returns the study's own table: as printed (64 rows) or the 63 that its models use.
"""

import csv
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from mfutils.datasets import registry
from mfutils.errors import DataError, InputError

__all__ = [
    "CURRENT",
    "ELEMENTS",
    "ENERGY",
    "PRINTED_CONTRADICTIONS",
    "Contradiction",
    "composition_label",
    "features",
    "fit_order",
    "load",
    "read",
]

ELEMENTS = ("se", "sb", "cu", "bi", "pb", "sn", "te", "zn")
CURRENT = "current_density_ma_cm2"
ENERGY = "energy_density_wh_kg"
_NUMBERS = (*ELEMENTS, CURRENT, ENERGY)
_COLUMNS = (*_NUMBERS, "source")
# Loadings are optional: only the first expert rule asks for them.
OPTIONAL = ("anode_loading_mg_cm2", "cathode_loading_mg_cm2")
# Percentages carry at most two decimals, so rounding moves a sum by less than this.
_SUM_TOLERANCE = 0.05


@dataclass(frozen=True)
class Contradiction:
    """Two energies from one source at one composition and current, and which of them to keep."""

    source: str
    composition: str
    current: float
    kept: float
    dropped: float
    reason: str


PRINTED_CONTRADICTIONS = (
    Contradiction(
        source="own",
        composition="Se50 Sb25 Cu25",
        current=191.0,
        kept=320.8,
        dropped=237.5,
        reason="the study prints both energies for one cell and current; its models use 320.8",
    ),
)

# The study fitted its models to the rows in this order; a composition narrows a source to that row.
_FIT_ORDER = (
    ("85", None),
    ("86", None),
    ("87", None),
    ("88", None),
    ("89", None),
    ("90", "Sb30 Pb70"),
    ("84", None),
    ("91", None),
    ("90", "Sn100"),
    ("92", None),
    ("93", None),
    ("90", "Sb33.3 Bi33.3 Sn33.4"),
    ("90", "Bi55.5 Pb44.5"),
    ("94", None),
    ("own", None),
)


def composition_label(row: Mapping[str, float] | pd.Series) -> str:
    """Short name of a composition, such as "Sb30 Pb70", from a mapping of element to percent."""
    return " ".join(f"{e.capitalize()}{row[e]:g}" for e in ELEMENTS if row[e] > 0)


def features(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The model's inputs and target: x (n, 9) = percent/100 and current/100, y (n,) = energy/100.

    These are the study's units: a slope of -0.069 in them is -0.069 Wh/kg per mA/cm2, and an
    intercept of 2.579 is 257.9 Wh/kg.
    """
    x = table[[*ELEMENTS, CURRENT]].to_numpy(float) / 100.0
    return x, table[ENERGY].to_numpy(float) / 100.0


def load(which: str = "used") -> pd.DataFrame:
    """Table 3.1: "printed" (64 rows, as printed) or "used" (63 rows, in the order of the fits).

    The index `row` counts the printed rows from 0. Columns: eight percentages, current density
    (mA/cm2), energy density (Wh/kg), source (reference number in the study, or "own") and
    composition. "used" drops the rejected half of every declared contradiction.
    """
    if which not in ("used", "printed"):
        raise InputError(f"which is {which!r}; use 'used' (63 rows) or 'printed' (64 rows)")
    table = read(registry.path("lmb_energy_density"))
    return table if which == "printed" else fit_order(table)


def fit_order(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the printed table that the study's models use, in the order of its fits.

    The order decides which random start each fold of the leave-one-out gets, so it matters for
    reproducing the printed errors and for nothing else.
    """
    rejected = [
        row
        for known in PRINTED_CONTRADICTIONS
        for row in _rows_of(table, known, energy=known.dropped)
    ]
    kept = table.drop(index=rejected)
    pieces = []
    for source, composition in _FIT_ORDER:
        chosen = kept["source"] == source
        if composition is not None:
            chosen &= kept["composition"] == composition
        pieces.append(kept[chosen])
    ordered = pd.concat(pieces)
    if len(ordered) != len(kept) or ordered.index.has_duplicates:
        raise InputError(
            f"the fit order covers {len(ordered)} of {len(kept)} rows; "
            "it is defined for the printed Table 3.1 only, use `read` for other tables"
        )
    return ordered


def _rows_of(table: pd.DataFrame, known: Contradiction, *, energy: float) -> list:
    same = (table["source"] == known.source) & (table["composition"] == known.composition)
    same &= (table[CURRENT] == known.current) & (table[ENERGY] == energy)
    return list(table.index[same])


def read(
    path: Path | str, *, declared: Iterable[Contradiction] = PRINTED_CONTRADICTIONS
) -> pd.DataFrame:
    """Read and check a CSV file of battery measurements; nothing is repaired or guessed.

    The columns are those of `load` without composition; anode_loading_mg_cm2 and
    cathode_loading_mg_cm2 may be added and may have empty cells. Two rows of one source with equal
    composition and current but different energies contradict each other unless they are in
    `declared`; rows of different sources may differ (they are different cells).

    Raises DataError, one line, naming file, row (counted from 0) and line, and the remedy.
    """
    path = Path(path)
    header, lines = _lines(path)
    known = (*_COLUMNS, *OPTIONAL)
    if missing := [c for c in _COLUMNS if c not in header]:
        raise DataError(
            f"{path}: line 1: column {', '.join(missing)} is missing; "
            f"the header must hold {', '.join(_COLUMNS)}"
        )
    if unknown := [c for c in header if c not in known]:
        raise DataError(
            f"{path}: line 1: column {unknown[0]!r} is unknown; "
            f"remove it (known: {', '.join(known)})"
        )
    if repeated := [c for c in header if header.count(c) > 1]:
        raise DataError(f"{path}: line 1: column {repeated[0]} occurs twice; remove one of them")
    rows = [
        _row(
            f"{path}: row {row} (line {line})",
            dict(zip(header, cells, strict=False)),
            cells,
            header,
        )
        for row, (line, cells) in enumerate(lines)
    ]
    table = pd.DataFrame(rows, columns=[*header, "composition"])
    table.index.name = "row"
    _check_contradictions(path, table, [line for line, _ in lines], tuple(declared))
    return table


def _lines(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Header and (line number, cells) of every line that is not blank."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as handle:
            reader = csv.reader(handle, strict=True)
            lines = [(reader.line_num, cells) for cells in reader if any(c.strip() for c in cells)]
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: is not CSV text in UTF-8 ({error}); save it as such") from error
    if not lines:
        raise DataError(f"{path}: file is empty; expected a header and one row per measurement")
    header = [c.strip() for c in lines[0][1]]
    if len(lines) == 1:
        raise DataError(f"{path}: file has a header but no rows; add one row per measurement")
    return header, lines[1:]


def _row(where: str, cells: dict, raw: list, header: list) -> dict:
    """One checked row; `where` opens every message."""
    if len(raw) != len(header):
        raise DataError(f"{where}: {len(raw)} cells, expected {len(header)}; complete the row")
    row = {name: _number(where, name, cells[name]) for name in _NUMBERS}
    for name in (c for c in OPTIONAL if c in cells):
        row[name] = _number(where, name, cells[name]) if cells[name].strip() else math.nan
        if row[name] <= 0:
            raise DataError(
                f"{where}: {name} is {row[name]:g}; give a positive loading or no value"
            )
    row["source"] = cells["source"].strip()
    if not row["source"]:
        raise DataError(f"{where}: source is missing; name the publication or 'own'")
    for element in ELEMENTS:
        if not 0 <= row[element] <= 100:
            raise DataError(
                f"{where}: {element} is {row[element]:g}; give a percentage in 0 to 100"
            )
    total = math.fsum(row[e] for e in ELEMENTS)
    if abs(total - 100) > _SUM_TOLERANCE:
        raise DataError(f"{where}: percentages sum to {total:g}, not 100; correct the composition")
    if row[CURRENT] <= 0:
        raise DataError(f"{where}: {CURRENT} is {row[CURRENT]:g}; give a current above 0")
    if row[ENERGY] < 0:
        raise DataError(f"{where}: {ENERGY} is {row[ENERGY]:g}; give an energy of at least 0")
    return row | {"composition": composition_label(row)}


def _number(where: str, name: str, text: str) -> float:
    if not text.strip():
        raise DataError(f"{where}: {name} is missing; fill it in or remove the row")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    # float() also accepts "nan", "inf" and "1_0", none of which is a measurement.
    if not math.isfinite(value) or "_" in text:
        raise DataError(f"{where}: {name} is {text.strip()!r}, not a number; give a plain decimal")
    return value


def _check_contradictions(
    path: Path, table: pd.DataFrame, lines: list[int], declared: tuple[Contradiction, ...]
) -> None:
    conditions = table.groupby(["source", *ELEMENTS, CURRENT], sort=False)
    for _, group in conditions:
        energies = set(group[ENERGY])
        for known in declared:
            if _rows_of(group, known, energy=known.kept):
                energies.discard(known.dropped)
        if len(energies) > 1:
            first, second = group.drop_duplicates(ENERGY).index[:2]
            row = group.loc[second]
            raise DataError(
                f"{path}: row {second} (line {lines[second]}): {row['composition']} at "
                f"{row[CURRENT]:g} mA/cm2 from source {row['source']} has {row[ENERGY]:g} Wh/kg, "
                f"but row {first} (line {lines[first]}) has {group[ENERGY][first]:g}; "
                "remove the wrong row or declare the contradiction"
            )
