"""Graphs of crystals with shared sites: a site is a node, its mixture of elements the node's kind.

A site with one whole atom keeps its atomic number. Every other mixture of elements has a code
beyond the elements: the k-th mixture of a data set is code FIRST_CODE + k, and two sites have one
code exactly when they hold the same shares of the same elements. What merges equal atoms
(`mfutils.crystals.quotient`) and what orders equally distant neighbours therefore works on these
graphs as on those of ordered crystals. What a code means to a network is the network's business
(`mfutils.networks.mixtures`).

Sites that exclude each other, such as two halves of a split position, are neighbours like any
other, at distances that no two whole atoms have. Chen et al. 2021 (Nature Computational Science 1,
46) treat disorder so.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from mfutils.crystals import graph, graph_data
from mfutils.crystals.disordered import DisorderedCrystal
from mfutils.crystals.graph_data import GraphDataset
from mfutils.crystals.structure import SYMBOLS, Crystal, Skip, check
from mfutils.errors import InputError

__all__ = ["FIRST_CODE", "OccupancyGraphs", "build", "join"]

FIRST_CODE = len(SYMBOLS) + 1
_WHOLE = 1 - 1e-3  # published occupancies are rounded to three digits
_DIGITS = 9  # the sum of the shares of one element carries a rounding error
_MOST_CODES = np.iinfo(np.int16).max - FIRST_CODE  # what a GraphDataset has room for

_Key = tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True, eq=False)
class OccupancyGraphs:
    """graphs: a GraphDataset whose numbers are atomic numbers or codes; mixtures (m, 118) float64:
    the share of every element, by atomic number less one, in the mixture of code FIRST_CODE + k."""

    graphs: GraphDataset
    mixtures: np.ndarray

    def after(self, ordered: GraphDataset) -> "OccupancyGraphs":
        """One data set of the graphs of `ordered`, which come first, and of these."""
        return OccupancyGraphs(join(ordered, self.graphs), self.mixtures)


def build(
    crystals: Iterable, *, cutoff: float, max_neighbors: int | np.integer | None,
    ids: Iterable | None = None, short: str = "keep", on_error: str = "skip",
) -> OccupancyGraphs:  # fmt: skip
    """The OccupancyGraphs of disordered crystals; ids name them (default: their row).

    The other options, the skips and the errors are those of `graph_data.build_dataset`. Raises
    InputError too for what is no DisorderedCrystal and for more mixtures than there are codes.
    """
    graph.check_settings(cutoff, max_neighbors, short)
    graph_data.check_on_error(on_error)
    crystals = list(crystals)
    names = [str(row) for row in range(len(crystals))] if ids is None else list(ids)
    names = graph_data.unique_ids(names)
    if len(names) != len(crystals):
        raise InputError(f"{len(names)} ids for {len(crystals)} structures; expected one each")
    ranked, keys, skips = [], [], []
    for row, (name, crystal) in enumerate(zip(names, crystals, strict=True)):
        try:
            kinds = _kinds(crystal, name)
            ranked.append((row, name, _ranked(crystal, kinds, name)))
            keys.append(kinds)
        except InputError as error:
            if on_error == "raise":
                raise
            skips.append(Skip(row, name, str(error)))
    if not ranked:
        reason = f"; the first: {skips[0].reason}" if skips else ""
        raise InputError(f"no graph from {len(crystals)} structures{reason}")
    rows, kept, structures = zip(*ranked, strict=True)
    graphs = graph_data.build_dataset(
        structures, ids=kept, cutoff=cutoff, max_neighbors=max_neighbors, short=short,
        on_error=on_error, progress=False,
    )  # fmt: skip
    skips += [replace(skip, row=rows[skip.row]) for skip in graphs.skips]
    keys = [keys[row] for row in graphs.rows]
    codes, mixtures = _codes({key for kinds in keys for key in kinds})
    numbers = np.array([codes[key] for kinds in keys for key in kinds], dtype=np.int16)
    skips = tuple(sorted(skips, key=lambda skip: skip.row))
    rows = np.array(rows)[graphs.rows]
    return OccupancyGraphs(replace(graphs, numbers=numbers, rows=rows, skips=skips), mixtures)


def _kinds(crystal: object, name: str) -> list[_Key]:
    """What every site holds: (atomic number, share) of its elements, by atomic number."""
    if not isinstance(crystal, DisorderedCrystal):
        raise InputError(
            f"{name}: a {type(crystal).__name__} has no occupancies; expected a "
            "mfutils.crystals.disordered.DisorderedCrystal"
        )
    kinds = []
    for shares in crystal.occupancy:
        if shares.max() > _WHOLE:
            kinds.append(((int(shares.argmax()) + 1, 1.0),))
        else:
            present = np.flatnonzero(shares)
            kinds.append(tuple((int(z) + 1, round(float(shares[z]), _DIGITS)) for z in present))
    return kinds


def _ranked(crystal, kinds, name):
    """The crystal with the rank of its mixture in place of an atomic number.

    Equally distant neighbours are ordered by that number. Ranks order whole atoms as atomic numbers
    do, and depend on nothing outside of the crystal.
    """
    check(Crystal(crystal.lattice, crystal.frac_coords, crystal.numbers), name=name)
    rank = {key: place for place, key in enumerate(sorted(set(kinds)), start=1)}
    if len(rank) > len(SYMBOLS):
        raise InputError(
            f"{name}: {len(rank)} kinds of sites; expected at most {len(SYMBOLS)} in one crystal"
        )
    numbers = np.array([rank[key] for key in kinds], dtype=np.int64)
    return Crystal(crystal.lattice, crystal.frac_coords, numbers)


def _codes(keys: set[_Key]) -> tuple[dict[_Key, int], np.ndarray]:
    """Code of every mixture, and the table of those that are no whole atom."""
    codes, shared = {}, []
    for key in sorted(keys):
        if len(key) == 1 and key[0][1] == 1.0:
            codes[key] = key[0][0]
        else:
            codes[key] = FIRST_CODE + len(shared)
            shared.append(key)
    if len(shared) > _MOST_CODES:
        raise InputError(f"{len(shared)} different mixtures; expected at most {_MOST_CODES}")
    mixtures = np.zeros((len(shared), len(SYMBOLS)))
    for row, key in enumerate(shared):
        for number, share in key:
            mixtures[row, number - 1] = share
    return codes, mixtures


def join(first: GraphDataset, second: GraphDataset) -> GraphDataset:
    """One GraphDataset of the graphs of both, those of `first` in front.

    rows count on through the inputs of both. Raises InputError when the graphs were built with
    different settings and when an id stands in both.
    """
    for name in ("cutoff", "max_neighbors"):
        one, other = getattr(first, name), getattr(second, name)
        if one != other:
            raise InputError(
                f"the graphs have {name} {one} and {other}; build both with the same {name}"
            )
    graph_data.unique_ids([*first.ids, *second.ids])
    inputs = len(first) + len(first.skips)

    def both(name):
        return np.concatenate([getattr(first, name), getattr(second, name)])

    def counted_on(name):
        one, other = getattr(first, name), getattr(second, name)
        return np.concatenate([one, one[-1] + other[1:]])

    plain = ("ids", "lattices", "frac_coords", "numbers", "neighbor", "shift", "distance")
    return GraphDataset(
        **{name: both(name) for name in plain},
        rows=np.concatenate([first.rows, inputs + second.rows]),
        atom_pointer=counted_on("atom_pointer"),
        edge_pointer=counted_on("edge_pointer"),
        skips=(*first.skips, *(replace(skip, row=inputs + skip.row) for skip in second.skips)),
        cutoff=first.cutoff,
        max_neighbors=first.max_neighbors,
    )
