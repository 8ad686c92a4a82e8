"""The study's own data: gaps of Chen et al. 2021 on the structures of the 2019 snapshot.

The gap table lists 52,348 PBE, 6,030 HSE, 2,290 GLLB-SC and 472 SCAN gaps by Materials
Project id (Table 4.2). Experiment comes in two sets. `exp_icsd` are the measured gaps of the same
table, the study's own test; their ids are those of a commercial structure database, and their
crystals stand below those of the snapshot where `mfutils.datasets.icsd_gaps` finds its originals.
`exp_mp` are measured gaps that Kingsbury's table joins to snapshot crystals by `likely_mpid`. Every
label that finds no structure is counted and listed. Serves sections 3.2 and 4.2.
"""

from collections.abc import Iterable

import pandas as pd

from mfutils.datasets import icsd_gaps, originals, snapshot, which
from mfutils.errors import DataError
from mfutils.plain_values import is_number

__all__ = ["labels", "read_materials"]

# Names of the experimental gaps in the table, and ours
_BY_ICSD = {"ordered_exp": "exp_icsd", "disordered_exp": "exp_icsd_disordered"}
_FIDELITIES = which.FIDELITIES["chen2021"]
_COMPUTED = tuple(f for f in _FIDELITIES if f not in which.MEASURED["chen2021"])
_SKIP_COLUMNS = ["material_id", "fidelity", "reason"]


def read_materials() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Materials with structures and gaps, and the labels and crystals that were left out.

    The first table is that of `snapshot.read_snapshot` with gap_<fidelity> columns (eV, NaN where
    unknown), and below it the crystals of exp_icsd with their fold, where they are on this machine;
    the second has material_id, fidelity ("structure" for a crystal) and reason.
    """
    frame, damaged = snapshot.read_snapshot()
    damaged = damaged.assign(fidelity="structure")
    gaps, left_out = labels()
    fidelities = list(_FIDELITIES)
    missing = "structure is in a commercial database"
    if which.icsd_available():
        crystals, refused = icsd_gaps.ordered()
        _compare(crystals, gaps)
        frame = pd.concat([frame, crystals.drop(columns="gap")], ignore_index=True)
        damaged = pd.concat([damaged, refused.assign(fidelity="structure")])
        missing = "disordered: some sites are shared by several elements"
    else:
        fidelities.remove("exp_icsd")
    found = gaps["material_id"].isin(frame["material_id"]) & gaps["fidelity"].isin(fidelities)
    wide = gaps[found].set_index(["material_id", "fidelity"])["gap"].unstack()
    wide = wide.reindex(columns=fidelities).add_prefix("gap_")
    frame = frame.join(wide, on="material_id")
    by_icsd = gaps["fidelity"].isin(set(_BY_ICSD.values()) - set(fidelities))
    skips = [
        damaged,
        left_out,
        gaps[~found & ~by_icsd].assign(reason="no structure with this id"),
        gaps[~found & by_icsd].assign(reason=missing),
    ]
    return frame, pd.concat([part[_SKIP_COLUMNS] for part in skips], ignore_index=True)


def _compare(crystals: pd.DataFrame, gaps: pd.DataFrame) -> None:
    """DataError unless the crystals of exp_icsd carry the gaps of the table."""
    table = gaps[gaps["fidelity"] == "exp_icsd"].set_index("material_id")["gap"]
    apart = crystals["gap"] != crystals["material_id"].map(table)
    if apart.any():
        first = crystals[apart].iloc[0]
        listed = table.get(first["material_id"], "no gap")
        raise DataError(
            f"{first['material_id']}: the file of the crystal says {first['gap']} eV, the gap "
            f"table {listed}; expected the same, so delete both originals and run `make data`"
        )


def labels() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every usable gap (material_id, fidelity, gap in eV), and the labels left out.

    Fidelities are those of `which.FIDELITIES`, and "exp_icsd_disordered" of crystals with shared
    sites; the ids of exp_icsd and exp_icsd_disordered belong to a commercial database. The second
    table has material_id, fidelity, reason.
    """
    kept, skips = [], []
    for fidelity, rows in _gap_table().items():
        _sort_out(rows, _BY_ICSD.get(fidelity, fidelity), kept, skips)
    _sort_out(_experiment(), "exp_mp", kept, skips)
    return (
        pd.DataFrame(kept, columns=["material_id", "fidelity", "gap"]),
        pd.DataFrame(skips, columns=_SKIP_COLUMNS),
    )


def _gap_table() -> dict[str, list[tuple]]:
    """Fidelity -> (id, gap) of each entry, as the file has them: nothing is checked yet."""
    path, _ = originals.require("chen2021_gaps")
    # Pairs, not a dict: a dict would silently keep the last of two rows with one id.
    table = originals.read_json(path, object_pairs_hook=list)
    wanted = (*_COMPUTED, *_BY_ICSD)
    gaps = dict(table) if _is_object(table) else {}
    absent = [name for name in wanted if not _is_object(gaps.get(name))]
    if absent:
        raise DataError(
            f"{path}: no gaps for {', '.join(absent)}; expected an object of fidelities, each "
            "with gaps by id"
        )
    return {name: gaps[name] for name in wanted}


def _is_object(value: object) -> bool:
    """True for what `object_pairs_hook=list` makes of a JSON object."""
    return isinstance(value, list) and all(isinstance(item, tuple) for item in value)


def _experiment() -> list[tuple]:
    """(id, gap) of each entry, as the file has them: nothing is checked yet."""
    path, _ = originals.require("expt_gap_kingsbury")
    table = originals.read_json(path)
    try:
        at = [table["columns"].index(name) for name in ("likely_mpid", "expt_gap")]
        return [(row[at[0]], row[at[1]]) for row in table["data"]]
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise DataError(
            f"{path}: not in the split layout ({error!r}); expected columns likely_mpid, expt_gap"
        ) from error


def _sort_out(rows: Iterable[tuple], fidelity: str, kept: list, skips: list) -> None:
    """Append usable (id, fidelity, gap) to `kept` and (id, fidelity, reason) to `skips`."""
    seen = set()
    for name, value in rows:
        if not isinstance(name, str) or not name:
            reason = "no material id"
        elif name in seen:
            reason = "id repeated; the first value is kept"
        elif not is_number(value):
            reason = "gap is not a finite number"
        elif value < 0:
            reason = "gap is negative"
        else:
            seen.add(name)
            kept.append((name, fidelity, float(value)))
            continue
        skips.append((name if isinstance(name, str) else None, fidelity, reason))
