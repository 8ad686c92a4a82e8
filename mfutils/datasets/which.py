"""Which band-gap data set is used: the embedded crystals or the study's own.

Kept apart from the loaders, and free of pandas, because the runner asks it before any
notebook starts.
"""

import os

from mfutils.datasets import originals
from mfutils.errors import InputError

__all__ = [
    "FIDELITIES", "ICSD_ORIGINALS", "MEASURED", "ORIGINALS", "available", "icsd_available",
    "measured", "missing", "resolve",
]  # fmt: skip

# Fidelities of each data set, cheapest first
FIDELITIES = {
    "open": ("mp_pbe", "aflow_pbe", "oqmd_pbe", "exp"),
    "chen2021": ("pbe", "gllb-sc", "scan", "hse", "exp_mp", "exp_icsd"),
}
# Which of them are measured. In chen2021, exp_icsd is the study's own test: measured gaps of
# crystals of a commercial database. exp_mp are measured gaps joined to Materials Project crystals.
MEASURED = {"open": ("exp",), "chen2021": ("exp_mp", "exp_icsd")}
# The originals that chen2021 is read from
ORIGINALS = ("mp_2019_snapshot", "chen2021_gaps", "expt_gap_kingsbury")
# The originals of exp_icsd; without them chen2021 has exp_mp only
ICSD_ORIGINALS = tuple(f"icsd_ordered_{fold}" for fold in range(5))


def measured(name: str = "auto") -> tuple[str, ...]:
    """Names of the measured fidelities that are here, the study's own test first."""
    sets = MEASURED[resolve(name)]
    return tuple(s for s in reversed(sets) if s != "exp_icsd" or icsd_available())


def missing() -> list[str]:
    """Names of chen2021's originals that are not on this machine."""
    return [name for name in ORIGINALS if originals.find(name) is None]


def available(name: str) -> bool:
    """True when every file of the data set `name` is on this machine."""
    return _known(name) == "open" or not missing()


def icsd_available() -> bool:
    """True when the five originals of exp_icsd are on this machine."""
    return all(originals.find(name) is not None for name in ICSD_ORIGINALS)


def resolve(name: str = "auto") -> str:
    """Name of the data set to use: "open" or "chen2021".

    "auto" follows the setting DATASET; when that is not set either, it means chen2021 where
    its files are present and open elsewhere. Raises InputError for an unknown name.
    """
    if name == "auto":
        name = os.environ.get("DATASET") or "auto"
    if name == "auto":
        return "chen2021" if available("chen2021") else "open"
    return _known(name)


def _known(name: str) -> str:
    if name not in FIDELITIES:
        raise InputError(
            f"no data set named {name!r}; known: auto, {', '.join(FIDELITIES)} (setting DATASET)"
        )
    return name
