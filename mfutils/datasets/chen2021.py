"""The study's own data: gaps of Chen et al. 2021 on the structures of the 2019 snapshot.

The gap table lists 52,348 PBE, 6,030 HSE, 2,290 GLLB-SC and 472 SCAN gaps by Materials
Project id (Table 4.2). Its experimental gaps carry ids of a commercial structure database,
so experiment joins through `likely_mpid` of Kingsbury's table instead. Every label that
finds no structure is counted and listed. Serves sections 3.2 and 4.2.
"""

from collections.abc import Iterable

import pandas as pd

from mfutils.datasets import originals, snapshot, which
from mfutils.errors import DataError
from mfutils.plain_values import is_number

__all__ = ["labels", "read_materials"]

_BY_ICSD = ("ordered_exp", "disordered_exp")
_FIDELITIES = which.FIDELITIES["chen2021"]
_COMPUTED = _FIDELITIES[:-1]
_SKIP_COLUMNS = ["material_id", "fidelity", "reason"]


def read_materials() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Materials with structures and gaps, and the labels and crystals that were left out.

    The first table is that of `snapshot.read_snapshot` with gap_<fidelity> columns (eV, NaN where
    unknown); the second has material_id, fidelity ("structure" for a crystal) and reason.
    """
    frame, damaged = snapshot.read_snapshot()
    gaps, left_out = labels()
    by_structure = gaps[~gaps["fidelity"].isin(_BY_ICSD)]
    orphan = ~by_structure["material_id"].isin(frame["material_id"])
    wide = by_structure.set_index(["material_id", "fidelity"])["gap"].unstack()
    wide = wide.reindex(columns=list(_FIDELITIES)).add_prefix("gap_")
    frame = frame.join(wide, on="material_id")
    skips = [
        damaged.assign(fidelity="structure"),
        left_out,
        by_structure[orphan].assign(reason="no structure with this id in the snapshot"),
        gaps[gaps["fidelity"].isin(_BY_ICSD)].assign(
            reason="structure is in a commercial database"
        ),
    ]
    return frame, pd.concat([part[_SKIP_COLUMNS] for part in skips], ignore_index=True)


def labels() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every usable gap (material_id, fidelity, gap in eV), and the labels left out.

    Fidelities are those of `which.FIDELITIES`, and "ordered_exp" and "disordered_exp", whose ids
    belong to a commercial database. The second table has material_id, fidelity, reason.
    """
    kept, skips = [], []
    for fidelity, rows in _gap_table().items():
        _sort_out(rows, fidelity, kept, skips)
    _sort_out(_experiment(), "exp", kept, skips)
    return (
        pd.DataFrame(kept, columns=["material_id", "fidelity", "gap"]),
        pd.DataFrame(skips, columns=_SKIP_COLUMNS),
    )


def _gap_table() -> dict[str, list[tuple[str, float]]]:
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


def _experiment() -> list[tuple[str, float]]:
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
