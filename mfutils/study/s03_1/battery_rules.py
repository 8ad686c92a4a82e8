"""Expert rules that say which measurements of a battery table to distrust (section 3.1.2).

1. Anode and cathode loading must match, or active material stays unused.
2. Energy density must fall when the current density rises, for polarisation grows.
3. Energy density must not fall when active elements replace inactive ones.

Each rule returns a DataFrame of the rows that it flags, one line per row (rule 1) or per pair of
rows (rules 2 and 3), with a `reason` in words. A rule compares rows of one source only: between
laboratories cells differ in more than the quantity that the rule is about.
"""

from collections.abc import Hashable, Sequence
from itertools import permutations

import numpy as np
import pandas as pd

from mfutils.datasets.battery import CURRENT, ELEMENTS, ENERGY
from mfutils.errors import InputError

__all__ = [
    "ACTIVE",
    "active_content_lowers_energy",
    "capacity_mah_per_g",
    "current_raises_energy",
    "loading_mismatch",
]

# The active elements that the study names for its third rule
ACTIVE = ("sb", "bi", "te")
# Lithium atoms per atom in the richest phase that each element forms with lithium
_LITHIUM = {"se": 2, "sb": 3, "cu": 0, "bi": 3, "pb": 4.4, "sn": 4.4, "te": 2, "zn": 1}
_MOLAR_MASS = {  # g/mol
    "se": 78.971,
    "sb": 121.760,
    "cu": 63.546,
    "bi": 208.980,
    "pb": 207.2,
    "sn": 118.710,
    "te": 127.60,
    "zn": 65.38,
}
_LITHIUM_MOLAR_MASS = 6.94
# Faraday's constant in mAh/mol
_FARADAY = 96485.332 / 3.6
_LOADINGS = ("anode_loading_mg_cm2", "cathode_loading_mg_cm2")
_ROW_COLUMNS = ["row", "source", "composition", "verdict", "reason"]
_PAIR_COLUMNS = [
    "row",
    "other_row",
    "source",
    "composition",
    "other_composition",
    CURRENT,
    f"other_{CURRENT}",
    ENERGY,
    f"other_{ENERGY}",
    "reason",
]


def capacity_mah_per_g(table: pd.DataFrame) -> pd.Series:
    """Theoretical cathode capacity (mAh/g) from mole percentages and the richest lithium phases."""
    share = table[list(ELEMENTS)].to_numpy(float)
    lithium = share @ [_LITHIUM[e] for e in ELEMENTS]
    mass = share @ [_MOLAR_MASS[e] for e in ELEMENTS]
    return pd.Series(_FARADAY * lithium / mass, index=table.index)


def loading_mismatch(
    table: pd.DataFrame, *, limits: tuple[float, float] = (1.0, 1.5)
) -> pd.DataFrame:
    """Rule 1: rows whose anode and cathode capacities do not match, or that cannot be judged.

    Needs the columns anode_loading_mg_cm2 (lithium) and cathode_loading_mg_cm2. The ratio of
    lithium capacity to cathode capacity must lie within `limits`: below, cathode stays unused,
    above, lithium does. The study names no limits, so these are ours. A row without both loadings
    comes back with verdict "cannot be judged", the others with "violates". An empty result means
    that every row was judged and passed.
    """
    _require(table)
    low, high = limits
    if not 0 < low < high:
        raise InputError(f"limits are {limits}; give (low, high) with 0 < low < high")
    given = [c for c in _LOADINGS if c in table]
    if len(given) < 2:
        absent = " and ".join(c for c in _LOADINGS if c not in table)
        why = f"cannot be judged: the table has no {absent}; add the loadings to apply this rule"
        return _rows([(row, "cannot be judged", why) for row in table.index], table)
    anode, cathode = (table[c].astype(float) for c in _LOADINGS)
    lithium = anode * _FARADAY / _LITHIUM_MOLAR_MASS
    alloy = cathode * capacity_mah_per_g(table)
    flagged = []
    for row in table.index:
        if not (np.isfinite(anode[row]) and np.isfinite(cathode[row])):
            why = "cannot be judged: a loading is missing; fill it in to apply this rule"
            flagged.append((row, "cannot be judged", why))
        elif alloy[row] == 0:
            flagged.append((row, "violates", "the cathode stores no lithium"))
        elif not low <= (ratio := lithium[row] / alloy[row]) <= high:
            unused = "cathode material" if ratio < low else "lithium"
            why = (
                f"lithium can supply {ratio:.2f} times what the cathode can store, "
                f"outside {low:g} to {high:g}: {unused} stays unused"
            )
            flagged.append((row, "violates", why))
    return _rows(flagged, table)


def current_raises_energy(table: pd.DataFrame) -> pd.DataFrame:
    """Rule 2: pairs of one source and composition where more current goes with more energy.

    All pairs are compared, not only neighbours. `row` has the lower current.
    """
    _require(table)
    pairs = []
    for _, group in table.groupby(["source", *ELEMENTS], sort=False):
        for low, high in permutations(group.index, 2):
            a, b = group.loc[low], group.loc[high]
            if a[CURRENT] < b[CURRENT] and a[ENERGY] < b[ENERGY]:
                why = (
                    f"current rises from {a[CURRENT]:g} to {b[CURRENT]:g} mA/cm2, "
                    f"yet energy rises from {a[ENERGY]:g} to {b[ENERGY]:g} Wh/kg"
                )
                pairs.append(_pair(low, a, high, b, why))
    return pd.DataFrame(pairs, columns=_PAIR_COLUMNS)


def active_content_lowers_energy(
    table: pd.DataFrame, *, active: Sequence[str] = ACTIVE
) -> pd.DataFrame:
    """Rule 3: pairs of one source and current where active elements gain and energy falls.

    "All else equal" means: no active element loses, no other one gains, and the active total
    rises. `active` names the active elements. `row` has less of them.
    """
    _require(table)
    if not set(active) <= set(ELEMENTS) or not active:
        raise InputError(f"active elements {tuple(active)} must be some of {', '.join(ELEMENTS)}")
    active = list(active)
    passive = [e for e in ELEMENTS if e not in active]
    pairs = []
    for _, group in table.groupby(["source", CURRENT], sort=False):
        for less, more in permutations(group.index, 2):
            a, b = group.loc[less], group.loc[more]
            gained = (b[active] >= a[active]).all() and b[active].sum() > a[active].sum()
            if gained and (b[passive] <= a[passive]).all() and b[ENERGY] < a[ENERGY]:
                rising = [e for e in active if b[e] > a[e]]
                change = ", ".join(f"{e.capitalize()} {a[e]:g} to {b[e]:g} %" for e in rising)
                why = (
                    f"active content rises ({change}) at {a[CURRENT]:g} mA/cm2, "
                    f"yet energy falls from {a[ENERGY]:g} to {b[ENERGY]:g} Wh/kg"
                )
                pairs.append(_pair(less, a, more, b, why))
    return pd.DataFrame(pairs, columns=_PAIR_COLUMNS)


def _require(table: pd.DataFrame) -> None:
    needed = [*ELEMENTS, CURRENT, ENERGY, "source", "composition"]
    if absent := [c for c in needed if c not in table]:
        raise InputError(
            f"the table lacks {', '.join(absent)}; read it with mfutils.datasets.battery.read"
        )
    if table.index.has_duplicates:
        raise InputError("the table's index repeats; give every row a number of its own")


def _rows(flagged: list[tuple[Hashable, str, str]], table: pd.DataFrame) -> pd.DataFrame:
    lines = [
        (row, table.at[row, "source"], table.at[row, "composition"], verdict, why)
        for row, verdict, why in flagged
    ]
    return pd.DataFrame(lines, columns=_ROW_COLUMNS)


def _pair(first: Hashable, a: pd.Series, second: Hashable, b: pd.Series, why: str) -> tuple:
    both = [(a[name], b[name]) for name in ("composition", CURRENT, ENERGY)]
    return (first, second, a["source"], *(value for pair in both for value in pair), why)
