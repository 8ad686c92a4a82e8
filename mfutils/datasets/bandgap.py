"""Band gaps of real crystals at several fidelities, one row per material.

Two data sets share one form. `open` is committed with the code: 6,317 crystals with gaps
from three PBE protocols and from experiment. `chen2021` is the study's own: the Materials
Project snapshot of 2019-04-01 with the PBE, HSE, SCAN and GLLB-SC gaps of Chen et al. and two sets
of measured gaps, read from the public originals (`make data`). `exp_icsd`, the study's test, are
2,703 crystals of a commercial database; `exp_mp` are gaps joined to Materials Project crystals by
their likely id. Serves sections 3.2 and 4.2.
"""

import logging

import pandas as pd

from mfutils.datasets import chen2021, registry, tables
from mfutils.datasets.which import FIDELITIES, MEASURED, available, measured, resolve
from mfutils.errors import InputError

__all__ = [
    "FIDELITIES", "available", "computed", "fidelities", "labels", "load", "measured", "resolve",
    "skipped",
]  # fmt: skip

_LOG = logging.getLogger(__name__)
_REPORTED: set[str] = set()


def fidelities(name: str = "auto") -> tuple[str, ...]:
    """Names of the fidelities that are here, cheapest first; `gap_<name>` are the columns."""
    return (*computed(name), *reversed(measured(name)))


def computed(name: str = "auto") -> tuple[str, ...]:
    """Names of the computed fidelities of a data set, cheapest first."""
    name = resolve(name)
    return tuple(f for f in FIDELITIES[name] if f not in MEASURED[name])


def load(name: str = "auto", *, columns: list[str] | None = None) -> pd.DataFrame:
    """One row per material: material_id, formula, structure, gap_<fidelity> in eV, and more.

    `structure` holds objects of `mfutils.crystals.structure.Crystal`. A gap is NaN where a
    fidelity has none. Both data sets have formation_energy_per_atom (eV/atom); `open` adds what
    data/README.md lists, `chen2021` the fold to which the authors of exp_icsd dealt a crystal.
    `columns` limits what is read. Labels and crystals that had to be left out are counted in a
    warning in the log and listed by `skipped`. Raises DataError when a file is missing, changed or
    malformed.
    """
    if resolve(name) == "open":
        return tables.read(registry.path("open_bandgap"), columns=columns)
    frame, left_out = chen2021.read_materials()
    _report(left_out)
    missing = [c for c in columns or [] if c not in frame]
    if missing:
        raise InputError(
            f"chen2021 has no column {', '.join(missing)}; it has {', '.join(frame.columns)}"
        )
    return frame[columns] if columns is not None else frame


def labels(name: str = "auto") -> pd.DataFrame:
    """Every gap as a row: material_id, fidelity, gap (eV), also those without a structure.

    In chen2021 this is the full gap table; exp_icsd and exp_icsd_disordered, crystals with shared
    sites, carry ids of a commercial database.
    """
    if resolve(name) == "chen2021":
        return chen2021.labels()[0]
    frame = load("open", columns=["material_id", *(f"gap_{f}" for f in FIDELITIES["open"])])
    return _long(frame, FIDELITIES["open"])


def skipped(name: str = "auto") -> pd.DataFrame:
    """What `load` left out, one row each: material_id, fidelity, reason.

    The fidelity is "structure" where a crystal is at fault. Empty for `open`: its builder
    refuses anything that it cannot keep.
    """
    if resolve(name) == "chen2021":
        return chen2021.read_materials()[1]
    return pd.DataFrame({c: pd.Series(dtype=str) for c in ("material_id", "fidelity", "reason")})


def _report(left_out: pd.DataFrame) -> None:
    """Say once per process how much was left out, and why."""
    counts = left_out.groupby(["reason", "fidelity"], sort=False).size()
    listed = [
        f"{reason} ({', '.join(f'{n} {fidelity}' for (_, fidelity), n in part.items())})"
        for reason, part in counts.groupby(level="reason", sort=False)
    ]
    text = f"chen2021: left out {len(left_out)} entries: {'; '.join(listed)}"
    if len(left_out) and text not in _REPORTED:
        _REPORTED.add(text)
        _LOG.warning("%s; bandgap.skipped('chen2021') lists them", text)


def _long(frame: pd.DataFrame, names: tuple[str, ...]) -> pd.DataFrame:
    long = frame.melt("material_id", [f"gap_{f}" for f in names], "fidelity", "gap")
    long["fidelity"] = long["fidelity"].str.removeprefix("gap_")
    return long.dropna(subset="gap").reset_index(drop=True)
