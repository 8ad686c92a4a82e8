"""Crystal to neighbour graph: the input of CGCNN and MEGNet (section 2.3).

Nodes are the atoms of one cell. An edge leads from a centre i to every image of an atom j
within the cutoff, and carries the distance |(f_j + s - f_i) A| and the integer cell shift s.
MEGNet keeps all of them (`max_neighbors=None`), CGCNN the 12 nearest within 8 Angstrom. Edges
of a centre stand together, nearest first; `mfutils.crystals.neighbors` says how ties are ordered.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from mfutils.crystals import cif, neighbors
from mfutils.crystals import structure as structures
from mfutils.errors import InputError

__all__ = [
    "SHORT",
    "Graph",
    "Sites",
    "StructureLike",
    "as_crystal",
    "build_graph",
    "check_settings",
    "edges_of",
]

# What to do with atoms that have fewer than max_neighbors atoms within the cutoff.
SHORT = ("keep", "grow", "raise")
_LARGEST_CUTOFF = 100.0


class Sites(Protocol):
    """A pymatgen Structure, or what has its attributes; importing pymatgen takes a second."""

    lattice: Any
    frac_coords: Any


# What `as_crystal` reads, a str being a CIF text
StructureLike = structures.Crystal | str | Sites


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """A crystal with its neighbours: n atoms, e edges, lengths in Angstrom.

    edge_index (2, e) int64 holds centre and neighbour, distances (e,) float64, cell_shifts
    (e, 3) int64 the lattice translation of the neighbour: the edge runs from
    `positions[i]` to `positions[j] + cell_shifts @ lattice`, and distances are its lengths.
    """

    lattice: np.ndarray
    frac_coords: np.ndarray
    numbers: np.ndarray
    edge_index: np.ndarray
    cell_shifts: np.ndarray
    distances: np.ndarray

    @property
    def n_atoms(self) -> int:
        """Number of atoms in the cell."""
        return len(self.numbers)

    @property
    def n_edges(self) -> int:
        """Number of directed edges; within a cutoff every pair counts in both directions."""
        return len(self.distances)

    @property
    def positions(self) -> np.ndarray:
        """Cartesian coordinates (n, 3) in Angstrom."""
        return self.frac_coords @ self.lattice

    @property
    def vectors(self) -> np.ndarray:
        """Displacement (e, 3) in Angstrom from the centre to the neighbour of every edge."""
        centre, neighbor = self.edge_index
        return (
            self.frac_coords[neighbor] - self.frac_coords[centre] + self.cell_shifts
        ) @ self.lattice


def as_crystal(structure: object, *, name: str = "structure") -> structures.Crystal:
    """The checked Crystal of a Crystal, a CIF text or a pymatgen Structure; or InputError."""
    if isinstance(structure, structures.Crystal):
        return structures.check(structure, name=name)
    if isinstance(structure, str):
        return cif.read_cif(structure, name=name)
    if hasattr(structure, "lattice") and hasattr(structure, "frac_coords"):
        return structures.from_pymatgen(structure, name=name)
    raise InputError(
        f"{name}: a {type(structure).__name__} is no crystal; expected a pymatgen Structure, "
        "a CIF text or a mfutils.crystals.structure.Crystal"
    )


def check_settings(cutoff: object, max_neighbors: object, short: object) -> None:
    """Raises InputError unless the settings of a graph make sense."""
    if not (isinstance(cutoff, int | float | np.number) and 0 < cutoff <= _LARGEST_CUTOFF):
        raise InputError(
            f"cutoff is {cutoff!r}; expected a radius in Angstrom, above 0 and at most "
            f"{_LARGEST_CUTOFF:g}"
        )
    whole = isinstance(max_neighbors, int | np.integer) and not isinstance(max_neighbors, bool)
    if max_neighbors is not None and not (whole and max_neighbors > 0):
        raise InputError(f"max_neighbors is {max_neighbors!r}; expected a count above 0, or None")
    if short not in SHORT:
        raise InputError(f"short is {short!r}; expected one of {', '.join(SHORT)}")


def edges_of(
    crystal: structures.Crystal, *, cutoff: float, max_neighbors: int | None, short: str, name: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Neighbour lists of a checked crystal as of `mfutils.crystals.neighbors.neighbor_lists`."""
    lists = neighbors.neighbor_lists(
        crystal.lattice,
        crystal.frac_coords,
        crystal.numbers,
        cutoff=cutoff,
        max_neighbors=max_neighbors,
        grow=short == "grow",
    )
    if short == "raise" and max_neighbors is not None:
        counts = np.diff(lists[0])
        lacking = int((counts < max_neighbors).sum())
        if lacking:
            raise InputError(
                f"{name}: {lacking} of {len(counts)} atoms have fewer than {max_neighbors} "
                f"neighbours within {cutoff:g} Angstrom (least {counts.min()}); raise the cutoff, "
                "or choose short='keep' or 'grow'"
            )
    return lists


def build_graph(
    structure: StructureLike, *, cutoff: float, max_neighbors: int | None, short: str = "keep",
    name: str = "structure",
) -> Graph:  # fmt: skip
    """The neighbour graph of a pymatgen Structure, a CIF text or a Crystal.

    cutoff in Angstrom, its surface included (to 1e-8); max_neighbors is the number of nearest
    neighbours kept per atom, or None for all. An atom with fewer inside the cutoff keeps those it
    has (`short="keep"`), looks beyond the cutoff until it has enough ("grow"), or is an error
    ("raise"). Graphs are never padded with edges that do not exist.

    Returns a Graph; raises InputError, with `name` in front, for what cannot become one.
    """
    check_settings(cutoff, max_neighbors, short)
    crystal = as_crystal(structure, name=name)
    pointer, neighbor, shift, distance = edges_of(
        crystal, cutoff=cutoff, max_neighbors=max_neighbors, short=short, name=name
    )
    centre = np.repeat(np.arange(len(crystal), dtype=np.int64), np.diff(pointer))
    return Graph(
        lattice=crystal.lattice,
        frac_coords=crystal.frac_coords,
        numbers=crystal.numbers,
        edge_index=np.stack([centre, neighbor.astype(np.int64)]),
        cell_shifts=shift.astype(np.int64),
        distances=distance,
    )
