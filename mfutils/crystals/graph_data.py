"""Graphs of a whole data set as flat arrays, and batches cut from them by index.

The atoms of all crystals stand in one array and their edges in another; two pointer arrays say
where each crystal and each atom begins. A batch is a copy of some slices with the atom indices
shifted, so an epoch costs a memory copy and no collating of objects.
Structures that cannot become a graph are listed with their reason, never dropped in silence.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from mfutils.compiled import compiled
from mfutils.crystals import graph as graphs
from mfutils.crystals import structure as structures
from mfutils.errors import InputError

__all__ = [
    "GraphBatch",
    "GraphDataset",
    "build_dataset",
    "check_on_error",
    "report",
    "unique_ids",
]

_log = logging.getLogger(__name__)
_ON_ERROR = ("skip", "raise")


@dataclass(frozen=True, slots=True, eq=False)
class GraphBatch:
    """Some graphs side by side as one: g graphs, n atoms, e edges.

    numbers (n,) int64; edge_index (2, e) int64, centre and neighbour as indices into the batch;
    distances (e,) float32 in Angstrom; graph_index (n,) int64 says which graph an atom belongs
    to; n_atoms and n_edges (g,) int64 per graph. Edges are sorted by centre, so with k
    neighbours at every atom `distances.reshape(n, k)` is the neighbour table.
    """

    numbers: np.ndarray
    edge_index: np.ndarray
    distances: np.ndarray
    graph_index: np.ndarray
    n_atoms: np.ndarray
    n_edges: np.ndarray

    def to_torch(self, device: object = "cpu") -> "GraphBatch":
        """The same batch with torch tensors; on the CPU they share memory with the arrays."""
        import torch

        tensors = {f.name: torch.from_numpy(getattr(self, f.name)) for f in fields(self)}
        return replace(self, **{name: value.to(device) for name, value in tensors.items()})


@dataclass(frozen=True, slots=True, eq=False)
class GraphDataset:
    """m graphs in flat arrays: n atoms and e edges in all.

    ids (m,) str and rows (m,) int64 name each graph and its row in the input, so that
    `target[dataset.rows]` lines up. lattices (m, 3, 3), frac_coords (n, 3) float64 inside the
    cell, numbers (n,) int16. The atoms of graph i are atom_pointer[i]:atom_pointer[i + 1], the
    edges of atom a are edge_pointer[a]:edge_pointer[a + 1]. neighbor (e,) int32 counts within
    the graph; shift (e, 3) int8; distance (e,) float32 in Angstrom. skips lists what was left out.
    """

    ids: np.ndarray
    rows: np.ndarray
    lattices: np.ndarray
    frac_coords: np.ndarray
    numbers: np.ndarray
    atom_pointer: np.ndarray
    edge_pointer: np.ndarray
    neighbor: np.ndarray
    shift: np.ndarray
    distance: np.ndarray
    skips: tuple[structures.Skip, ...]
    cutoff: float
    max_neighbors: int | None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def n_atoms(self) -> np.ndarray:
        """Atoms per graph (m,)."""
        return np.diff(self.atom_pointer)

    @property
    def n_edges(self) -> np.ndarray:
        """Edges per graph (m,)."""
        return np.diff(self.edge_pointer[self.atom_pointer])

    @property
    def short_atoms(self) -> int:
        """How many atoms have fewer edges than max_neighbors (without it: no edge at all)."""
        return int((np.diff(self.edge_pointer) < (self.max_neighbors or 1)).sum())

    def graph(self, i: int | np.integer) -> graphs.Graph:
        """Graph number i with float64 distances, recomputed from positions and cell shifts."""
        atoms = slice(self.atom_pointer[i], self.atom_pointer[i + 1])
        pointer = self.edge_pointer[self.atom_pointer[i] : self.atom_pointer[i + 1] + 1]
        edges = slice(pointer[0], pointer[-1])
        centre = np.repeat(np.arange(len(pointer) - 1), np.diff(pointer))
        graph = graphs.Graph(
            lattice=self.lattices[i],
            frac_coords=self.frac_coords[atoms],
            numbers=self.numbers[atoms].astype(np.int64),
            edge_index=np.stack([centre, self.neighbor[edges].astype(np.int64)]),
            cell_shifts=self.shift[edges].astype(np.int64),
            distances=np.empty(0),
        )
        return replace(graph, distances=np.linalg.norm(graph.vectors, axis=1))

    def batch(self, index: npt.ArrayLike) -> GraphBatch:
        """The GraphBatch of the graphs `index`, an array of whole numbers, repeats allowed."""
        index = np.asarray(index)
        if index.ndim != 1 or (index.size and index.dtype.kind not in "iu"):
            raise InputError(
                f"batch index has shape {index.shape} and type {index.dtype}; expected a flat "
                "array of graph numbers"
            )
        index = index.astype(np.int64)
        if index.size and not (index.min() >= 0 and index.max() < len(self)):
            raise InputError(
                f"batch index runs from {index.min()} to {index.max()}; expected 0 to "
                f"{len(self) - 1}"
            )
        first, stop = self.atom_pointer[index], self.atom_pointer[index + 1]
        n_atoms = stop - first
        n_edges = self.edge_pointer[stop] - self.edge_pointer[first]
        numbers = np.empty(n_atoms.sum(), np.int64)
        graph_index = np.empty(len(numbers), np.int64)
        edge_index = np.empty((2, n_edges.sum()), np.int64)
        distances = np.empty(edge_index.shape[1], np.float32)
        _gather(
            first, stop, self.numbers, self.edge_pointer, self.neighbor, self.distance,
            numbers, graph_index, edge_index, distances,
        )  # fmt: skip
        return GraphBatch(numbers, edge_index, distances, graph_index, n_atoms, n_edges)


@compiled
def _gather(
    first, stop, all_numbers, edge_pointer, all_neighbor, all_distance,
    numbers, graph_index, edge_index, distances,
):  # fmt: skip
    atom = edge = 0
    for g in range(len(first)):
        base = atom
        for a in range(first[g], stop[g]):
            numbers[atom] = all_numbers[a]
            graph_index[atom] = g
            for e in range(edge_pointer[a], edge_pointer[a + 1]):
                edge_index[0, edge] = atom
                edge_index[1, edge] = base + all_neighbor[e]
                distances[edge] = all_distance[e]
                edge += 1
            atom += 1


def build_dataset(
    structures: Iterable, *, cutoff: float, max_neighbors: int | None,
    ids: Iterable | None = None, short: str = "keep", on_error: str = "skip",
    progress: bool | None = None,
) -> GraphDataset:  # fmt: skip
    """The GraphDataset of an iterable of structures, read one at a time.

    structures are pymatgen Structures, CIF texts or Crystals; ids name them (default: their row).
    cutoff, max_neighbors and short are those of `graph.build_graph`. A structure that
    cannot become a graph is listed in `.skips` and counted in a logged warning, or is raised as
    InputError with on_error="raise". progress=True or False shows or hides the bar; by default
    it shows on a terminal. Raises InputError for duplicate ids and when no graph is left.
    """
    graphs.check_settings(cutoff, max_neighbors, short)
    check_on_error(on_error)
    max_neighbors = None if max_neighbors is None else int(max_neighbors)
    ids = None if ids is None else unique_ids(ids)
    total = len(structures) if hasattr(structures, "__len__") else None
    if ids is not None and total is not None and len(ids) != total:
        raise InputError(f"{len(ids)} ids for {total} structures; expected one each")
    kept, skips, count = [], [], 0
    hide = None if progress is None else not progress
    for row, structure in enumerate(tqdm(structures, "graphs", total, disable=hide, unit="")):
        count = row + 1
        if ids is not None and row >= len(ids):
            raise InputError(f"{len(ids)} ids for more structures; expected one each")
        name = str(row) if ids is None else ids[row]
        try:
            crystal = graphs.as_crystal(structure, name=name)
            kept.append(_packed(row, name, crystal, cutoff, max_neighbors, short))
        except InputError as error:
            if on_error == "raise":
                raise
            skips.append(structures.Skip(row, name, str(error)))
    if ids is not None and len(ids) != count:
        raise InputError(f"{len(ids)} ids for {count} structures; expected one each")
    if not kept:
        reason = f"; the first: {skips[0].reason}" if skips else ""
        raise InputError(f"no graph from {count} structures{reason}")
    dataset = _joined(kept, tuple(skips), float(cutoff), max_neighbors)
    report(dataset, count)
    return dataset


def check_on_error(on_error: str) -> None:
    """Raises InputError unless `on_error` is one of the known words."""
    if on_error not in _ON_ERROR:
        raise InputError(f"on_error is {on_error!r}; expected one of {', '.join(_ON_ERROR)}")


def unique_ids(ids: Iterable) -> list[str]:
    """`ids` as a list of str; raises InputError when one stands twice."""
    ids = [str(i) for i in ids]
    first = {}
    for row, name in enumerate(ids):
        if first.setdefault(name, row) != row:
            raise InputError(
                f"id {name!r} stands at rows {first[name]} and {row}; expected unique ids, so "
                "drop or rename one"
            )
    return ids


def _packed(row, name, crystal, cutoff, max_neighbors, short):
    """The fields of one graph in their stored types, in the order of `_joined`."""
    inside = crystal.frac_coords - np.floor(crystal.frac_coords)
    crystal = structures.Crystal(crystal.lattice, inside, crystal.numbers)
    pointer, neighbor, shift, distance = graphs.edges_of(
        crystal, cutoff=cutoff, max_neighbors=max_neighbors, short=short, name=name
    )
    if shift.size and max(shift.max(), -shift.min()) > 127:
        raise InputError(
            f"{name}: a neighbour lies more than 127 cells away; expected a cell that is less "
            "thin against the cutoff, so use a supercell or build_graph"
        )
    return (
        name, row, crystal.lattice, inside, crystal.numbers.astype(np.int16), np.diff(pointer),
        neighbor, shift.astype(np.int8), distance.astype(np.float32),
    )  # fmt: skip


def _joined(kept, skips, cutoff, max_neighbors):
    """Concatenate field by field; `kept` is emptied on the way to bound the memory."""
    columns = [list(column) for column in zip(*kept, strict=True)]
    kept.clear()

    def join(column, whole=np.concatenate):
        out = whole(columns[column])
        columns[column].clear()
        return out

    def pointer(counts):
        return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])

    atom_pointer = pointer([len(part) for part in columns[4]])
    return GraphDataset(
        ids=join(0, np.array),
        rows=join(1, np.array),
        lattices=join(2, np.stack),
        frac_coords=join(3),
        numbers=join(4),
        atom_pointer=atom_pointer,
        edge_pointer=pointer(join(5)),
        neighbor=join(6),
        shift=join(7),
        distance=join(8),
        skips=skips,
        cutoff=cutoff,
        max_neighbors=max_neighbors,
    )


def report(dataset: GraphDataset, count: int) -> None:
    """Log what was left out of `count` structures, and how many atoms lack neighbours."""
    if dataset.skips:
        _log.warning(
            "skipped %d of %d structures; the first: %s",
            len(dataset.skips), count, dataset.skips[0].reason,
        )  # fmt: skip
    if dataset.short_atoms:
        wanted = dataset.max_neighbors or 1
        _log.warning(
            "%d of %d atoms have fewer than %d neighbours within %g Angstrom",
            dataset.short_atoms, len(dataset.numbers), wanted, dataset.cutoff,
        )  # fmt: skip
