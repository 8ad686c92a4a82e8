"""Readers of the public tables from which the embedded crystals are assembled.

Two families: tables of crystals by Materials Project id (structures, formation energy,
PBE gap, elastic tensor), and tables of values by chemical formula (AFLOW, OQMD and
experimental gaps, AFLOW moduli). Every reader takes a verified `packages.Archive` and
returns a DataFrame; a malformed row is an error that names the file and the row.
"""

import ast
import io
import json
import zipfile

import numpy as np
import pandas as pd

from mfutils.crystals import formulas
from mfutils.crystals.structure import ATOMIC_NUMBERS, Crystal, from_arrays
from mfutils.datasets.build.packages import Archive
from mfutils.errors import DataError

__all__ = [
    "COMPOSITION_TABLES",
    "CRYSTAL_TABLES",
    "read_composition_table",
    "read_crystals",
    "read_id_values",
]

# In order of preference when one id stands in several tables: the first has the
# longest decimals and a formation energy, the last has neither.
CRYSTAL_TABLES = ("flla_2015", "elastic_tensor", "dielectric_constant", "piezoelectric_tensor")

_BENCHMARK = "crabnet-2.0.8/crabnet/data/benchmark_data/{}/{}.csv"
COMPOSITION_TABLES = {
    "gap_aflow_pbe": [_BENCHMARK.format("aflow__Egap", s) for s in ("train", "val", "test")],
    "gap_oqmd_pbe": [_BENCHMARK.format("OQMD_Bandgap", s) for s in ("train", "val", "test")],
    "gap_exp": ["crabnet-2.0.8/crabnet/data/matbench/expt_gap.csv"],
    "bulk_modulus_aflow": [
        _BENCHMARK.format("aflow__ael_bulk_modulus_vrh", s) for s in ("train", "val", "test")
    ],
    "shear_modulus_aflow": [
        _BENCHMARK.format("aflow__ael_shear_modulus_vrh", s) for s in ("train", "val", "test")
    ],
}


def read_crystals(archive: Archive, table: str) -> pd.DataFrame:
    """Crystals of one matminer table, one row per material id.

    Columns: material_id, structure (a Crystal), source (the table), spacegroup_source (as
    the table states it, NaN where it does not), and what the table adds:
    formation_energy_2015 and e_above_hull (eV/atom), elastic_tensor (6, 6) with
    bulk_modulus and shear_modulus (Voigt-Reuss-Hill, GPa), dielectric_gap (PBE, eV).
    """
    member = f"matminer-0.4.0/matminer/datasets/{table}.csv"
    # The first line cites the source; a few cells hold '#', so it is skipped by position.
    raw = pd.read_csv(io.BytesIO(archive.read(member)), skiprows=1)
    repeated = raw["material_id"][raw["material_id"].duplicated()]
    if len(repeated):
        raise DataError(f"{member}: material id {repeated.iloc[0]} stands twice; expected once")
    from_dict = table == "flla_2015"
    column = "structure" if from_dict else "poscar"
    parse = _crystal_from_literal if from_dict else _crystal_from_poscar
    structures = []
    for row, text in enumerate(raw[column]):
        try:
            structures.append(parse(text))
        except (ValueError, SyntaxError, KeyError, IndexError, TypeError) as error:
            raise DataError(
                f"{member}: row {row} ({raw['material_id'][row]}) holds no readable crystal "
                f"({error}); expected a {'structure literal' if from_dict else 'POSCAR'}"
            ) from error
    out = pd.DataFrame({"material_id": raw["material_id"], "structure": structures})
    out["source"] = table
    out["spacegroup_source"] = raw.get("space_group", pd.Series(np.nan, index=raw.index))
    if from_dict:
        out["formation_energy_2015"] = _numbers(raw["formation_energy_per_atom"], member)
        out["e_above_hull"] = _numbers(raw["e_above_hull"], member)
    if table == "elastic_tensor":
        tensors = [np.array(ast.literal_eval(text), dtype=float) for text in raw["elastic_tensor"]]
        out["elastic_tensor"] = [_symmetric_tensor(t, member, i) for i, t in enumerate(tensors)]
        out["bulk_modulus"] = _numbers(raw["K_VRH"], member)
        out["shear_modulus"] = _numbers(raw["G_VRH"], member)
    if table == "dielectric_constant":
        out["dielectric_gap"] = _numbers(raw["band_gap"], member)
    return out


def read_id_values(archive: Archive, benchmark: str) -> pd.Series:
    """Values of one leaderboard benchmark by material id (train, val and test together)."""
    folder = "jarvis_leaderboard/benchmarks/AI/SinglePropertyPrediction"
    member = f"{folder}/{benchmark}.json.zip"
    with zipfile.ZipFile(io.BytesIO(archive.read(member))) as inner:
        parts = json.loads(inner.read(f"{benchmark}.json"))
    values: dict[str, str] = {}
    for part in ("train", "val", "test"):
        repeated = values.keys() & parts[part].keys()
        if repeated:
            raise DataError(f"{member}: material id {min(repeated)} stands in two parts")
        values.update(parts[part])
    series = pd.Series(values, name=benchmark)
    return _numbers(series, member)


def read_composition_table(archive: Archive, column: str) -> pd.Series:
    """Values of one table by composition key; several formulas of one key give the median."""
    keys, values = [], []
    for member in COMPOSITION_TABLES[column]:
        raw = pd.read_csv(io.BytesIO(archive.read(member)), keep_default_na=False)
        values.append(_numbers(raw["target"], member))
        for row, formula in enumerate(raw["formula"]):
            try:
                keys.append(formulas.composition_key(formula))
            except DataError as error:
                raise DataError(f"{member}: row {row}: {error}") from error
    table = pd.Series(np.concatenate(values), index=keys, name=column)
    return table.groupby(level=0).median()


def _numbers(series: pd.Series, member: str) -> pd.Series:
    values = pd.to_numeric(series, errors="coerce")
    bad = ~np.isfinite(values.to_numpy(dtype=float))
    if bad.any():
        where = int(np.flatnonzero(bad)[0])
        raise DataError(
            f"{member}: row {where} of {series.name} holds {series.iloc[where]!r}; "
            "expected a finite number"
        )
    return values.astype(float)


def _crystal_from_literal(text: str) -> Crystal:
    entry = ast.literal_eval(text)
    numbers, coords = [], []
    for site in entry["sites"]:
        if len(site["species"]) != 1 or site["species"][0]["occu"] != 1:
            raise ValueError(f"partly occupied site {site['species']}")
        numbers.append(ATOMIC_NUMBERS[site["species"][0]["element"]])
        coords.append(site["abc"])
    return from_arrays(entry["lattice"]["matrix"], coords, numbers)


def _crystal_from_poscar(text: str) -> Crystal:
    lines = text.split("\n")
    lattice = float(lines[1]) * np.array([line.split() for line in lines[2:5]], dtype=float)
    counts = [int(count) for count in lines[6].split()]
    numbers = np.repeat([ATOMIC_NUMBERS[symbol] for symbol in lines[5].split()], counts)
    if not lines[7].lower().startswith("d"):
        raise ValueError(f"coordinates are {lines[7]!r}, not direct")
    coords = [[float(x) for x in line.split()[:3]] for line in lines[8 : 8 + len(numbers)]]
    return from_arrays(lattice, coords, numbers)


def _symmetric_tensor(tensor: np.ndarray, member: str, row: int) -> np.ndarray:
    if tensor.shape != (6, 6) or not np.allclose(tensor, tensor.T, atol=1e-6):
        raise DataError(f"{member}: row {row}: elastic tensor is not a symmetric 6 x 6 matrix")
    return tensor
