"""What classical models are told about a crystal: composition, cell and first shell.

`six` are six simple features (section 9): mean atomic number, mean atomic mass, mean
electronegativity, space group number, density and volume per atom. `strong` is what a careful
user would give them: statistics of 9 element properties over the composition, the cell, the
space group, and the first shell of neighbours (how many, how far apart measured in radii, how
different in electronegativity). An atom's first shell are the neighbours within 1.25 times its
shortest distance.
"""

import warnings
from functools import lru_cache

import numpy as np
import pandas as pd

from mfutils.crystals import composition, graph_cache
from mfutils.crystals.structure import SYMBOLS

__all__ = ["SIX", "six", "strong"]

SIX = (
    "mean atomic number", "mean atomic mass", "mean electronegativity", "space group number",
    "density", "volume per atom",
)  # fmt: skip
_COLUMNS = ("number_mean", "mass_mean", "electronegativity_mean", "density", "volume_per_atom")
_SHELL = 1.25  # times the shortest distance of an atom
CUTOFF, NEIGHBORS = 8.0, 12  # Angstrom; the graphs of CGCNN


def six(table: pd.DataFrame) -> pd.DataFrame:
    """The six features (n, 6) of a table with columns structure and spacegroup.

    Units: u, Pauling, g/cm3 and cubic Angstrom. Elements without a tabulated electronegativity
    count with the mean over all elements.
    """
    described = composition.features(table["structure"])[list(_COLUMNS)]
    described.insert(3, "spacegroup", table["spacegroup"].to_numpy(float))
    return described.set_axis(SIX, axis=1)


def strong(table: pd.DataFrame) -> pd.DataFrame:
    """Composition, cell, symmetry and first shell: (n, 54), all finite."""
    described = composition.features(table["structure"])
    described["spacegroup"] = table["spacegroup"].to_numpy(float)
    described["log_volume"] = np.log(described["volume_per_atom"])
    graphs = graph_cache.load_or_build(
        table["structure"], ids=table["material_id"], cutoff=CUTOFF, max_neighbors=NEIGHBORS,
        short="grow", progress=False,
    )  # fmt: skip
    return pd.concat([described, _shells(graphs)], axis=1)


def _shells(graphs):
    """Statistics of the first shell per crystal, from a GraphDataset of n crystals."""
    counts = np.diff(graphs.edge_pointer)
    centre = np.repeat(np.arange(len(counts)), counts)
    first = np.repeat(graphs.atom_pointer[:-1], graphs.n_edges)
    distance = graphs.distance.astype(float)
    nearest = np.minimum.reduceat(distance, graphs.edge_pointer[:-1])
    inside = distance <= _SHELL * nearest[centre]
    a, b = graphs.numbers[centre], graphs.numbers[first + graphs.neighbor]
    radius, electronegativity = _elements()
    ratio = distance / (radius[a] + radius[b])
    polarity = np.abs(electronegativity[a] - electronegativity[b])
    crystal = np.repeat(np.arange(len(graphs)), graphs.n_atoms)
    shell = np.bincount(centre[inside], minlength=len(counts))
    farthest = np.maximum.reduceat(distance, graphs.edge_pointer[:-1])
    out = _statistics("coordination", shell.astype(float), crystal)
    out |= _statistics("bond_ratio", ratio[inside], crystal[centre[inside]])
    out |= _statistics("bond_polarity", polarity[inside], crystal[centre[inside]])
    out["nearest_mean"] = _mean(nearest, crystal)
    out["farthest_mean"] = _mean(farthest, crystal)
    return pd.DataFrame(out)


def _statistics(name, values, group):
    """Mean, standard deviation and range of values (k,) in groups 0 to n - 1 (k,)."""
    mean = _mean(values, group)
    spread = np.sqrt(_mean(np.square(values - mean[group]), group))
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(len(mean)))
    return {
        f"{name}_mean": mean,
        f"{name}_std": spread,
        f"{name}_min": np.minimum.reduceat(values[order], starts),
        f"{name}_max": np.maximum.reduceat(values[order], starts),
    }


def _mean(values, group):
    return np.bincount(group, weights=values) / np.bincount(group)


@lru_cache(maxsize=1)
def _elements():
    """Atomic radius (Angstrom) and electronegativity by atomic number, gaps at the mean."""
    from pymatgen.core import Element

    columns = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # gaps in the table are filled below
        for attribute in ("atomic_radius", "X"):
            raw = [getattr(Element(symbol), attribute, None) for symbol in SYMBOLS]
            values = np.array([np.nan, *(np.nan if v is None else float(v) for v in raw)])
            columns.append(np.where(np.isfinite(values), values, np.nanmean(values)))
    return tuple(columns)
