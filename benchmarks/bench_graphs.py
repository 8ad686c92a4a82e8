"""Graph building beside what a user would pick instead, on the embedded crystals.

    python benchmarks/bench_graphs.py [--crystals N] [--rounds N] [--full]

Every peer gets its own structure object, made beforehand; ours gets the same pymatgen Structure
where the peer is pymatgen, so that the conversion to arrays counts, and plain arrays where the
peer is ASE. Two tasks: every pair within 8 Angstrom (the same answer as the peer's), and the
12 nearest within 8 Angstrom (CGCNN's graph; the peers find all pairs, then sort and cut).
Equal distances and equal pairs are checked before anything is timed. Ours and the peer take
turns; the reported times are medians over rounds, in CPU seconds per structure, on one thread.
"""

import argparse
import json
import statistics
import time

import numpy as np
import pandas as pd
from ase import Atoms
from ase.neighborlist import neighbor_list
from pymatgen.core import Lattice, Structure
from threadpoolctl import threadpool_limits

from mfutils.crystals import graph, graph_data, neighbors
from mfutils.crystals import structure as structures
from mfutils.datasets import registry

CUTOFF, NEAREST = 8.0, 12
ALL_ATOL, NEAREST_ATOL = 1e-8, 2 * neighbors.TIE  # Angstrom
SNAPSHOT = "mp.2019.04.01.subset.json.gz"


def embedded_crystals(count):
    """`count` crystals spread evenly over the embedded data set."""
    table = pd.read_parquet(registry.path("open_bandgap"))
    rows = np.unique(np.linspace(0, len(table) - 1, count).astype(int))
    columns = zip(
        table["lattice"].iloc[rows],
        table["frac_coords"].iloc[rows],
        table["numbers"].iloc[rows],
        strict=True,
    )
    return [structures.from_arrays(*arrays) for arrays in columns]


def ours_all(structure):
    return graph.build_graph(structure, cutoff=CUTOFF, max_neighbors=None)


def ours_nearest(structure):
    return graph.build_graph(structure, cutoff=CUTOFF, max_neighbors=NEAREST)


def pymatgen_all(structure):
    return structure.get_all_neighbors(CUTOFF)


def pymatgen_nearest(structure):
    found = structure.get_all_neighbors(CUTOFF)
    return [sorted(others, key=lambda other: other.nn_distance)[:NEAREST] for others in found]


def pymatgen_arrays(structure):
    return structure.get_neighbor_list(CUTOFF)


def ase_all(atoms):
    return neighbor_list("ijdS", atoms, CUTOFF)


def ase_nearest(atoms):
    i, j, distance, shift = neighbor_list("ijdS", atoms, CUTOFF)
    order = np.lexsort([distance, i])
    starts = np.searchsorted(i[order], np.arange(len(atoms)))
    kept = order[np.concatenate([np.arange(s, s + NEAREST) for s in starts])]
    return i[kept], j[kept], distance[kept], shift[kept]


def rows_of(answer):
    """(centre, neighbour, shift) rows and distances of any of the answers above."""
    if isinstance(answer, graph.Graph):
        return (*answer.edge_index, answer.cell_shifts, answer.distances)
    if isinstance(answer, list):
        pairs = [
            (i, other.index, other.image, other.nn_distance)
            for i, others in enumerate(answer)
            for other in others
        ]
        return tuple(np.array(column) for column in zip(*pairs, strict=True))
    if answer[2].ndim == 2:  # pymatgen puts the shifts before the distances
        return answer[0], answer[1], answer[2], answer[3]
    return answer[0], answer[1], answer[3], answer[2]


def check_equal(ours, peer, *, same_pairs):
    """Assert equal distances atom by atom, and equal pairs where no shell is cut.

    Where one is cut, each side may keep another member, whose distance is the same within TIE.
    """
    a, b = rows_of(ours), rows_of(peer)
    atol = ALL_ATOL if same_pairs else NEAREST_ATOL
    in_order = [np.lexsort([distance, centre]) for centre, _, _, distance in (a, b)]
    assert np.array_equal(a[0][in_order[0]], b[0][in_order[1]]), "edges per atom differ"
    np.testing.assert_allclose(a[3][in_order[0]], b[3][in_order[1]], rtol=0, atol=atol)
    if same_pairs:
        tables = [np.column_stack([i, j, shift]).astype(int) for i, j, shift, _ in (a, b)]
        tables = [table[np.lexsort(table.T)] for table in tables]
        assert np.array_equal(*tables), "pairs differ"


def seconds_per_structure(build, inputs):
    start = time.process_time()  # so that a busy machine does not bend the ratio
    for item in inputs:
        build(item)
    return (time.process_time() - start) / len(inputs)


def compare(name, ours, our_inputs, peer, peer_inputs, *, peer_name, same_pairs, rounds):
    """One entry of the results: equality first, then interleaved rounds."""
    for our_input, peer_input in zip(our_inputs, peer_inputs, strict=True):
        check_equal(ours(our_input), peer(peer_input), same_pairs=same_pairs)
    times = [
        (seconds_per_structure(ours, our_inputs), seconds_per_structure(peer, peer_inputs))
        for _ in range(rounds)
    ]
    ours_s, peer_s = (statistics.median(column) for column in zip(*times, strict=True))
    pairs, atol = (
        ("pairs and distances", ALL_ATOL)
        if same_pairs
        else ("the sorted distances of every atom", NEAREST_ATOL)
    )
    return {
        "name": name,
        "ours_s": ours_s,
        "peer_s": peer_s,
        "ratio": peer_s / ours_s,
        "peer": peer_name,
        "equal_to": f"{pairs} on {len(our_inputs)} crystals to {atol:g} Angstrom",
    }


def measure(*, count=200, rounds=7):
    """All comparisons of this file as a list of result entries."""
    arrays = embedded_crystals(count)
    structures = [Structure(Lattice(c.lattice), c.numbers, c.frac_coords) for c in arrays]
    atoms = [
        Atoms(c.numbers, scaled_positions=c.frac_coords, cell=c.lattice, pbc=True) for c in arrays
    ]
    get_all, ase = "pymatgen get_all_neighbors", "ase neighbor_list"
    cases = [
        ("graphs_vs_get_all_neighbors", ours_all, structures, pymatgen_all, structures, get_all),
        ("graphs_vs_ase", ours_all, arrays, ase_all, atoms, ase),
        ("graphs_12_nearest_vs_get_all_neighbors", ours_nearest, structures, pymatgen_nearest,
         structures, f"{get_all}, sorted and cut"),
        ("graphs_12_nearest_vs_ase", ours_nearest, arrays, ase_nearest, atoms,
         f"{ase}, sorted and cut"),
        ("graphs_vs_get_neighbor_list", ours_all, structures, pymatgen_arrays, structures,
         "pymatgen get_neighbor_list (arrays)"),
    ]  # fmt: skip
    return [
        compare(
            name, ours, our_inputs, peer, peer_inputs,
            peer_name=peer_name, same_pairs=ours is ours_all, rounds=rounds,
        )
        for name, ours, our_inputs, peer, peer_inputs, peer_name in cases
    ]  # fmt: skip


def measure_full():
    """Reading and building the whole snapshot of the data directory: a dict of figures, or None."""
    import gzip
    import resource

    source = registry.data_dir() / SNAPSHOT
    if not source.is_file():
        return None
    with gzip.open(source) as handle:
        entries = json.load(handle)
    texts, ids = zip(*[(e["structure"], e["material_id"]) for e in entries], strict=True)
    start = time.perf_counter()
    dataset = graph_data.build_dataset(texts, ids=ids, cutoff=CUTOFF, max_neighbors=NEAREST)
    seconds = time.perf_counter() - start
    return {
        "structures": len(texts),
        "skipped": len(dataset.skips),
        "atoms": len(dataset.numbers),
        "edges": len(dataset.distance),
        "seconds": seconds,
        "ms_per_structure": 1e3 * seconds / len(texts),
        "peak_memory_GiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--crystals", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--full", action="store_true", help="only read and build the whole snapshot"
    )
    options = parser.parse_args()
    if options.full:
        found = measure_full()
        print(json.dumps(found) if found else f"{SNAPSHOT} is not in {registry.data_dir()}")
        return
    print(json.dumps(measure(count=options.crystals, rounds=options.rounds), indent=1))


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
