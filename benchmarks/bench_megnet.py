"""MEGNet beside matgl's: a training step from equal weights, and the graphs it reads.

    python benchmarks/bench_megnet.py [--crystals N] [--rounds N]

Embedded crystals in batches of 32, the study's hyperparameters (cutoff 5 Angstrom, three blocks,
three steps of set2set). A step is forward, squared error, backward and Adam; both sides start
from the same weights and get batches made beforehand. `megnet_step_unmerged_vs_matgl` computes
every atom and every edge like the peer, without the quotient of equal ones. Outputs and
gradients are compared before anything is timed. The sides take turns; times are medians over
rounds, in CPU seconds per step or structure, on one thread.
"""

import argparse
import json
import statistics
import time
import warnings

import numpy as np
import pandas as pd
import torch
from pymatgen.core import Lattice, Structure
from threadpoolctl import threadpool_limits

from mfutils.crystals import graph as graphs
from mfutils.crystals import graph_data
from mfutils.crystals import structure as structures
from mfutils.crystals.quotient import QuotientBatch
from mfutils.datasets import registry
from mfutils.networks.megnet_matgl import ELEMENTS, from_matgl

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of its dependencies, at import
    from matgl.ext.pymatgen import Structure2Graph
    from matgl.models import MEGNet as MatglMEGNet
    from torch_geometric.data import Batch

CUTOFF, GAUSS_WIDTH, BLOCKS, STEPS, BATCH_SIZE = 5.0, 0.4, 3, 3, 32
OUTPUT_TOLERANCE, GRADIENT_TOLERANCE = 1e-5, 1e-4  # of the largest output, the largest gradient
DISTANCE_TOLERANCE = 1e-4  # Angstrom; positions of the peer are single precision


def embedded_crystals(count):
    """`count` crystals of elements that matgl knows, spread evenly over the embedded data set."""
    table = pd.read_parquet(registry.path("open_bandgap"))
    known = [structures.ATOMIC_NUMBERS[symbol] for symbol in ELEMENTS]
    table = table[[np.isin(numbers, known).all() for numbers in table["numbers"]]]
    rows = table.iloc[np.unique(np.linspace(0, len(table) - 1, count).astype(int))]
    columns = zip(rows["lattice"], rows["frac_coords"], rows["numbers"], strict=True)
    return [structures.from_arrays(*arrays) for arrays in columns]


def matgl_graphs(structures):
    """Their graphs with everything that their model reads."""
    convert = Structure2Graph(ELEMENTS, cutoff=CUTOFF)
    out = []
    for structure in structures:
        graph, lattice, _ = convert.get_graph(structure)
        graph.pos = graph.frac_coords @ lattice[0]
        graph.pbc_offshift = graph.pbc_offset @ lattice[0]
        out.append(graph)
    return out


def equal_models():
    """A matgl model whose output varies from crystal to crystal, and ours with its weights."""
    torch.manual_seed(0)
    theirs = MatglMEGNet(
        cutoff=CUTOFF, gauss_width=GAUSS_WIDTH, nblocks=BLOCKS, niters_set2set=STEPS
    )
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if parameter.ndim == 2 and "embedding" not in name:
                parameter *= 2.5  # fresh weights hide differences: all outputs are nearly equal
    ours = from_matgl(theirs.state_dict(), gauss_width=GAUSS_WIDTH, set2set_steps=STEPS)
    return ours, theirs


def unmerged(batch):
    """The batch as a quotient in which every atom and edge stands for itself alone."""
    arrays = batch.numbers, batch.edge_index, batch.distances, batch.graph_index
    ones = torch.ones(len(batch.numbers)), torch.ones(len(batch.distances))
    return QuotientBatch(*arrays, batch.n_atoms, batch.n_edges, *ones)


def run_theirs(model, batch):
    return model(batch, torch.zeros(batch.num_graphs, 2))


def run_ours(model, batch):
    return model(batch)


def check_equal(ours, theirs, batches, peer_batches):
    """Assert equal outputs, and gradients of equal norm and direction; returns both errors."""
    errors = []
    for batch, peer_batch in zip(batches, peer_batches, strict=True):
        found, expected = run_ours(ours, batch), run_theirs(theirs, peer_batch)
        errors.append(
            float((found - expected).detach().abs().max() / expected.detach().abs().max())
        )
        found.square().mean().backward()
        expected.square().mean().backward()
    gradient = 0.0
    state = theirs.state_dict() | {
        n: p.grad for n, p in theirs.named_parameters() if p.grad is not None
    }
    converted = from_matgl(state, gauss_width=GAUSS_WIDTH, set2set_steps=STEPS)
    expected = dict(converted.named_parameters())
    expected["embedding.weight"].data[~converted.known] = 0
    for name, parameter in ours.named_parameters():
        size = float(expected[name].detach().abs().max())
        if size > 0:
            error = float((parameter.grad - expected[name].detach()).abs().max()) / size
            gradient = max(gradient, error)
    assert max(errors) < OUTPUT_TOLERANCE, f"outputs differ by {max(errors):.2g}"
    assert gradient < GRADIENT_TOLERANCE, f"gradients differ by {gradient:.2g}"
    return max(errors), gradient


def trainer(run, model):
    """A function that trains `model` for one step on a batch."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def step(batch):
        optimizer.zero_grad()
        run(model, batch).square().mean().backward()
        optimizer.step()

    return step


def seconds_each(function, inputs):
    start = time.process_time()  # so that a busy machine does not bend the ratio
    for item in inputs:
        function(item)
    return (time.process_time() - start) / len(inputs)


def entry(name, sides, *, peer, equal_to, rounds):
    """A result from ((function, inputs) of ours, the same of the peer), after a warming round."""
    times = [[seconds_each(*side) for side in sides] for _ in range(rounds + 1)][1:]
    ours_s, peer_s = (statistics.median(column) for column in zip(*times, strict=True))
    return {
        "name": name, "ours_s": ours_s, "peer_s": peer_s, "ratio": peer_s / ours_s, "peer": peer,
        "equal_to": equal_to,
    }  # fmt: skip


def measure_steps(arrays, structures, rounds):
    dataset = graph_data.build_dataset(arrays, cutoff=CUTOFF, max_neighbors=None, progress=False)
    peer_graphs = matgl_graphs(structures)
    parts = np.split(np.arange(len(arrays)), range(BATCH_SIZE, len(arrays), BATCH_SIZE))
    batches = [dataset.batch(part).to_torch() for part in parts]
    peer_batches = [Batch.from_data_list([peer_graphs[i] for i in part]) for part in parts]
    entries = []
    for name, inputs in (
        ("megnet_step_vs_matgl", batches),
        ("megnet_step_unmerged_vs_matgl", [unmerged(batch) for batch in batches]),
    ):
        ours, theirs = equal_models()
        output, gradient = check_equal(ours, theirs, inputs, peer_batches)
        sides = (trainer(run_ours, ours), inputs), (trainer(run_theirs, theirs), peer_batches)
        equal_to = (
            f"outputs to {output:.1e} and gradients to {gradient:.1e} of the largest, on "
            f"{len(arrays)} crystals"
        )
        entries.append(
            entry(name, sides, peer="matgl 4.1.2 MEGNet", equal_to=equal_to, rounds=rounds)
        )
    return entries


def measure_graphs(structures, rounds):
    def ours(structure):
        return graphs.build_graph(structure, cutoff=CUTOFF, max_neighbors=None)

    for structure, peer in zip(structures, matgl_graphs(structures), strict=True):
        graph = ours(structure)
        start, end = peer.edge_index
        lengths = (peer.pos[end] + peer.pbc_offshift - peer.pos[start]).norm(dim=1).numpy()
        mine, other = (
            np.lexsort([graph.distances, graph.edge_index[0]]),
            np.lexsort([lengths, start]),
        )
        assert np.array_equal(graph.edge_index[0][mine], start[other]), "edges per atom differ"
        np.testing.assert_allclose(graph.distances[mine], lengths[other], atol=DISTANCE_TOLERANCE)
    convert = Structure2Graph(ELEMENTS, cutoff=CUTOFF)
    return entry(
        "graphs_vs_matgl", ((ours, structures), (convert.get_graph, structures)),
        peer="matgl 4.1.2 Structure2Graph",
        equal_to=f"the sorted distances of every atom on {len(structures)} crystals to "
        f"{DISTANCE_TOLERANCE:g} Angstrom",
        rounds=rounds,
    )  # fmt: skip


def measure(*, count=320, rounds=9):
    """All comparisons of this file as a list of result entries."""
    arrays = embedded_crystals(count)
    structures = [Structure(Lattice(c.lattice), c.numbers, c.frac_coords) for c in arrays]
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [*measure_steps(arrays, structures, rounds), measure_graphs(structures, rounds)]
    finally:
        torch.set_num_threads(before)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--crystals", type=int, default=320)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    print(json.dumps(measure(count=options.crystals, rounds=options.rounds), indent=1))


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
